from .denoise import denoiser
from .executor import Executor, LayerActivity, Run, State
from .inference import Inference, infer
from .netx import Network

__all__ = [
    "Executor",
    "Inference",
    "LayerActivity",
    "Network",
    "Run",
    "State",
    "denoiser",
    "infer",
]
