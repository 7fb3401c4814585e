"""How far a training run has come."""

import datetime
import math
import time
from dataclasses import dataclass, field
from typing import Any

from spandex.train.logs import Row

SETTLED, MEASURED = 5, 20  # batches that compile and warm up, and those that are timed then


@dataclass
class Mean:
    """Running means of the loss (over batches) and of SI-SNR (over the segments that have one)."""

    loss: float = 0.0
    batches: int = 0
    si_snr_db: float = 0.0
    segments: int = 0

    def add(self, loss: float, si_snr_db: float, segments: int) -> None:
        """Count a batch: its loss, and the sum in dB over the segments that have an SI-SNR."""
        self.loss += loss
        self.batches += 1
        self.si_snr_db += si_snr_db
        self.segments += segments

    def row(self, prefix: str = "") -> Row:
        """Both means, NaN where there is nothing to take one of."""
        return {
            f"{prefix}loss": self.loss / self.batches if self.batches else math.nan,
            f"{prefix}si_snr_db": self.si_snr_db / self.segments if self.segments else math.nan,
        }


@dataclass
class Position:
    """How far training has come; together with network, optimiser, pruner and random numbers all that a checkpoint
    needs.

    ``epoch`` and ``batch`` count what is complete, ``iteration`` all batches, ``skipped`` those among them that
    changed nothing. ``best`` holds epoch, validation_si_snr_db, sparsity and network.
    """

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    skipped: int = 0
    seconds: float = 0.0
    since_row: Mean = field(default_factory=Mean)
    since_epoch: Mean = field(default_factory=Mean)
    best: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors."""
        return vars(self) | {"since_row": vars(self.since_row), "since_epoch": vars(self.since_epoch)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Position":
        """The position of a ``state_dict``."""
        means = {name: Mean(**state[name]) for name in ("since_row", "since_epoch")}
        return cls(**(state | means))


@dataclass
class Forecast:
    """How long a run will take, told once, by the time that its first batches take.

    Attributes:
        validation_s: what validation took last, in seconds; 0 before it is known.
    """

    validation_s: float = 0.0
    _times: list[float] = field(default_factory=list)  # seconds from batch to batch
    _began: tuple[float, int] = (0.0, 0)  # when the last batch did, and the epochs that were left

    def begin_batch(self, batches: int, epochs: int) -> str:
        """What to tell at the beginning of a batch; empty but for once.

        Args:
            batches: that are left, with this one.
            epochs: that are left to validate.
        """
        if len(self._times) == SETTLED + MEASURED:
            return ""
        now, (began, epoch) = time.monotonic(), self._began
        self._began = now, epochs
        if epochs == epoch:  # from epoch to epoch validation takes time, too
            self._times.append(now - began)
        if len(self._times) < SETTLED + MEASURED:
            return ""
        batch_s = sum(self._times[SETTLED:]) / MEASURED
        left = datetime.timedelta(seconds=round(batches * batch_s + epochs * self.validation_s))
        return f"about {left} left for {batches} batches and {epochs} validations"
