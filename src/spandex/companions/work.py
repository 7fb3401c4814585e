"""What an experiment works with: its seed, its images, and what it has found out before it was stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spandex.companions import images
from spandex.companions.images import Images
from spandex.files.results import ResultLog
from spandex.train.checkpoint import read_checkpoint, write_checkpoint


@dataclass(frozen=True)
class Work:
    """One run of an experiment.

    Attributes:
        seed: of all that is drawn.
        device: where to train.
        folder: for checkpoints; gone when the run is over.
        mirror: tried before the public originals, or None.
        log: results of parts that are finished.
    """

    seed: int
    device: torch.device
    folder: Path
    mirror: str | None
    log: ResultLog

    def part(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of one part, computed unless a run that was stopped had it already.

        Parts are what a stopped run does not do again, so each should draw its random numbers from a seed of its own.

        Args:
            name: unique in the run, such as that of a variant.
            compute: gives what JSON can hold; no NaN or infinity.
        """
        found = self.log.get(name)
        if found is None:
            found = compute()
            self.log.add(name, found)
            print(f"{name}: {_brief(found)}", flush=True)
        return found

    def trained(self, network: torch.nn.Module, train: Callable[[], None]) -> None:
        """Train a network in place, unless a run that was stopped has; ``train`` does it. Once a run."""
        file = self.folder / "trained.ckpt"
        if file.is_file():
            network.load_state_dict(read_checkpoint(file))
        else:
            train()
            write_checkpoint(file, network.state_dict())

    def images(self, name: str, train: int, test: int) -> Images:
        """A data set by name, see ``spandex.companions.images.load``; the training images are drawn by the seed."""
        return images.load(name, self.mirror, train, test, self.seed)


def _brief(found: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value:.5g}" for key, value in found.items() if isinstance(value, int | float))
