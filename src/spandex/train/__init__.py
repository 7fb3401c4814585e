"""Training of the denoiser: loss, loop, checkpoints, one process or several."""

from spandex.devices import choose_device
from spandex.train.distillation import Distillation
from spandex.train.loop import Batches, FitResult, NoisyClip, TrainingError, fit
from spandex.train.losses import denoising_loss
from spandex.train.settings import TrainSettings
from spandex.train.world import torchrun_place

__all__ = [
    "Batches",
    "Distillation",
    "FitResult",
    "NoisyClip",
    "TrainSettings",
    "TrainingError",
    "choose_device",
    "denoising_loss",
    "fit",
    "torchrun_place",
]
