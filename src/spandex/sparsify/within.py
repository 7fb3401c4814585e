"""Pruning that ends within a number of iterations."""

from collections.abc import Callable

import torch

from spandex.sparsify.pruner import Pruner
from spandex.sparsify.schedule import make_schedule
from spandex.sparsify.sparsifier import Sparsifier


def pruner_within(
    iterations: int,
    network: torch.nn.Module,
    schedule: str,
    target: float,
    scope: str,
    method: Callable[..., Sparsifier] = Pruner,
    **settings: int,
) -> Sparsifier:
    """What prunes a network to its target within so many iterations, by a schedule's name and settings.

    One-shot pruning happens at the first iteration, so that all others are left to recover in.
    """
    steps = 0 if schedule == "one-shot" else iterations - 1
    return method(network, make_schedule(schedule, target, steps, **settings), scope=scope)
