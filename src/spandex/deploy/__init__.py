"""Networks in Lava: sparse conversion, exact execution, the audio chain of Lava processes and its inference.

What needs Lava and torch, which take seconds to load and most of a GB, is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spandex.deploy.denoise import denoiser
    from spandex.deploy.executor import Executor, LayerActivity, Run, State
    from spandex.deploy.inference import Inference, infer
    from spandex.deploy.network_file import DeployedLayer, deployed_weights
    from spandex.deploy.netx import Network

_MODULES = {
    "denoiser": "denoise",
    "Executor": "executor",
    "LayerActivity": "executor",
    "Run": "executor",
    "State": "executor",
    "Inference": "inference",
    "infer": "inference",
    "DeployedLayer": "network_file",
    "Network": "netx",
    "deployed_weights": "network_file",
}

__all__ = [
    "DeployedLayer",
    "Executor",
    "Inference",
    "LayerActivity",
    "Network",
    "Run",
    "State",
    "denoiser",
    "deployed_weights",
    "infer",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
