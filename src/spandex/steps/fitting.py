"""Train a network and write it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from spandex.data import SegmentBatches
from spandex.data.dataset import NoisyClips
from spandex.kernels import accelerate, restore
from spandex.sparsify import Sparsifier
from spandex.steps.memory import keep_freed_memory
from spandex.train import Batches, Distillation, FitResult, NoisyClip, TrainSettings, fit, torchrun_place
from spandex.train.checkpoint import state_digest
from spandex.train.logs import Row


def own_batches(clips: NoisyClips, *settings: Any, fresh: int | None = None) -> SegmentBatches:
    """This process's share of the batches, as ``SegmentBatches`` has them: all of them, but under torchrun."""
    rank, size = torchrun_place()
    return SegmentBatches(clips, *settings, rank=rank, world_size=size, fresh=fresh)


def fit_accelerated(
    network: torch.nn.Module,
    batches: Batches,
    validation: Sequence[NoisyClip],
    settings: TrainSettings,
    directory: Path,
    checkpoints: Path,
    digest: str,
    pruner: Sparsifier | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    gradient_dtype: torch.dtype = torch.float32,
    distillation: Distillation | None = None,
) -> FitResult | None:
    """``spandex.train.fit`` through the fused kernels, from the weights as they are; logs go to ``directory``.

    Where it has trained and writes, the pruner has let go of the network.

    Args:
        digest: of the clips, and of what weights do not tell of a network; checkpoints of others are not continued.
        gradient_dtype: see ``spandex.kernels.accelerate``.

    Returns:
        None in the processes of torchrun that write nothing.
    """
    main = torchrun_place()[0] == 0  # the process that writes
    options = {"pruner": pruner, "distillation": distillation, "checkpoints": checkpoints}
    options |= {"device": next(network.parameters()).device, "on_epoch": on_epoch if main else None}
    options["identity"] = f"{state_digest(network)} {digest} {gradient_dtype}"
    if distillation is not None:
        accelerate(distillation.teacher)
    keep_freed_memory()
    result = fit(accelerate(network, gradient_dtype), batches, validation, settings, directory, **options)
    restore(network)
    if not main:
        return None
    if pruner is not None:
        pruner.remove()  # what it added to the network's parameters is no part of the files
    print(f"{directory.name}: epoch {result.epoch} is the best, validation SI-SNR {result.validation_si_snr_db:.2f} dB")
    return result
