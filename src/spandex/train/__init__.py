"""Training of the denoiser: loss, loop, checkpoints."""

from spandex.train.loop import Batches, FitResult, NoisyClip, TrainingError, fit
from spandex.train.losses import denoising_loss
from spandex.train.settings import TrainSettings

__all__ = ["Batches", "FitResult", "NoisyClip", "TrainSettings", "TrainingError", "denoising_loss", "fit"]
