"""What decides a training run."""

import dataclasses
import hashlib
import math
from dataclasses import dataclass

from spandex.errors import SpandexError


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one training run. The defaults are the challenge's (IntelLabs/IntelNeuromorphicDNSChallenge,
    train_sdnn.py), except for the learning rate: with its 0.01 training stalls near 11 dB; and for the limit of masks.

    Attributes:
        epochs: passes over the training set.
        batch_size: segments a batch. Used by whoever makes the batches, as are ``segment_s`` and ``seed``.
        segment_s: length of a training segment, in seconds.
        lr: learning rate of RAdam.
        lam: weight of the magnitude error in the loss.
        weight_decay: of RAdam.
        mask_limit: magnitude of the network's outputs, in units of the mask, beyond which they are penalised, so that
            the deployed network's stay in range (see ``MaskRange``); None: none are.
        gradient_clip: largest 2-norm of all gradients together.
        skip_nonfinite: how many batches whose loss or gradient is not finite a run may pass over before it stops.
        lr_factor: factor on the learning rate once it has fallen (0.7 in SPANDEX).
        lr_drop_epoch: the first epoch, counted from 0, of the lower rate; None: never. With pruning, the number of
            pruning epochs; the dense control has the same.
        lr_schedule: "drop": it falls at once; "cosine": from epoch to epoch along half a cosine, and has fallen in the
            last (Loshchilov and Hutter 2017, equation 5, without restarts).
        average: decay of a running mean of the weights (see ``RunningMean``), which is what is validated and kept;
            None: the weights themselves are.
        seed: of torch's random numbers.
        threads: of torch. Another number may round sums differently.
        log_every: iterations between two rows of log.csv.
        validation_limit: how many validation clips are used, from the first; None: all.
        validation_batch_size: clips of equal length denoised at once.
        checkpoint_minutes: time between checkpoints.
    """

    epochs: int
    batch_size: int
    segment_s: float
    lr: float = 1e-3
    lam: float = 1e-3
    weight_decay: float = 1e-5
    mask_limit: float | None = 8.0
    gradient_clip: float = 10.0
    skip_nonfinite: int = 0
    lr_factor: float = 1.0
    lr_drop_epoch: int | None = None
    lr_schedule: str = "drop"
    average: float | None = None
    seed: int = 1
    threads: int = 2
    log_every: int = 10
    validation_limit: int | None = None
    validation_batch_size: int = 4
    checkpoint_minutes: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads", "log_every", "validation_batch_size"):
            if getattr(self, name) < 1:
                raise SpandexError(f"{name}: {getattr(self, name)} is below 1")
        if self.validation_limit is not None and self.validation_limit < 1:
            raise SpandexError(f"validation_limit: {self.validation_limit} is below 1")
        if self.skip_nonfinite < 0:
            raise SpandexError(f"skip_nonfinite: {self.skip_nonfinite} is below 0")
        if self.lr_schedule not in ("drop", "cosine"):
            raise SpandexError(f"lr_schedule: {self.lr_schedule!r} is neither drop nor cosine")
        if self.average is not None and not 0 < self.average < 1:
            raise SpandexError(f"average: {self.average:g} is not between 0 and 1")

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        start = self.lr_drop_epoch
        if start is None or epoch < start:
            return self.lr
        left = 0.0
        if self.lr_schedule == "cosine":
            left = (1 + math.cos(math.pi * (epoch - start + 1) / (self.epochs - start))) / 2
        return self.lr * (self.lr_factor + left * (1 - self.lr_factor))

    def digest(self, *more: str) -> str:
        """SHA-256 of what decides the result and of ``more``.

        All but the time between checkpoints, and how many batches may be skipped: a run that stopped there can go on
        with a higher limit.
        """
        decisive = dataclasses.asdict(self) | {"checkpoint_minutes": None, "skip_nonfinite": None}
        return hashlib.sha256(repr([sorted(decisive.items()), *more]).encode()).hexdigest()
