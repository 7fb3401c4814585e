"""Networks in Lava: sparse conversion, exact execution, the audio chain of Lava processes and its inference."""

from spandex.deploy.denoise import denoiser
from spandex.deploy.executor import Executor, LayerActivity, Run, State
from spandex.deploy.inference import Inference, infer
from spandex.deploy.netx import DeployedLayer, Network, deployed_weights

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
