"""How well a network denoises clips that it is not trained on."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from spandex.errors import SpandexError
from spandex.metrics import si_snr
from spandex.networks import denoise
from spandex.train.losses import audible
from spandex.train.world import World


class NoisyClip(Protocol):
    """A clip with its clean speech, both float32 (samples,), such as ``spandex.data.Clip``."""

    noisy: np.ndarray
    clean: np.ndarray


def mean_si_snr(
    network: torch.nn.Module,
    clips: Sequence[NoisyClip],
    count: int,
    batch_size: int,
    world: World,
    between: Callable[[], None],
) -> float:
    """Mean SI-SNR in dB of the denoised clips that have one, of the first ``count``; the same in every process.

    Each process takes every ``world.size``-th clip.

    Args:
        network: as ``denoise`` takes it, on the device of ``world``.
        clips: read one at a time.
        count: how many of them are used.
        batch_size: clips of equal length that a process denoises at once.
        world: the processes that share the work.
        between: called equally often in each of them, after every ``batch_size`` clips of its own.

    Raises:
        SpandexError: there is no speech in any clip.
    """
    network.eval()
    scores: list[float | None] = []
    chunk = world.size * batch_size
    for start in range(0, count, chunk):
        own = range(start + world.rank, min(start + chunk, count), world.size)
        for group in equal_lengths((clips[i] for i in own), batch_size):
            noisy, clean = (
                torch.from_numpy(np.stack([getattr(clip, kind) for clip in group])).to(world.device)
                for kind in ("noisy", "clean")
            )
            found = zip(si_snr(denoise(network, noisy), clean).tolist(), audible(clean).tolist(), strict=True)
            scores += [score if has_speech else None for score, has_speech in found]
        between()
    in_order = itertools.chain(*itertools.zip_longest(*world.gather(scores)))
    heard = [score for score in in_order if score is not None]
    if not heard:
        raise SpandexError(f"no speech in any of {count} validation clips")
    return float(torch.tensor(heard, dtype=torch.float64).mean())


def equal_lengths(clips: Iterable[NoisyClip], size: int) -> Iterator[list[NoisyClip]]:
    """Neighbouring clips of equal length, at most ``size`` at a time."""
    group: list[NoisyClip] = []
    for clip in clips:
        if group and (len(group) == size or clip.noisy.shape != group[0].noisy.shape):
            yield group
            group = []
        group.append(clip)
    if group:
        yield group
