"""Training of the denoiser: loss, loop, checkpoints."""

from spandex.train.loop import Batches, FitResult, NoisyClip, TrainingError, fit
from spandex.train.losses import denoising_loss
from spandex.train.settings import TrainSettings
from spandex.train.stopping import Stopped

__all__ = ["Batches", "FitResult", "NoisyClip", "Stopped", "TrainSettings", "TrainingError", "denoising_loss", "fit"]
