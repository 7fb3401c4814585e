"""How a network of the parameters is made sparse."""

from collections.abc import Mapping
from typing import Any

import torch

from spandex.sparsify import PSI, EventPenalty, MaskSearch, NoisePruner, Sparsifier, Together
from spandex.steps.fitting import pruner_within

GMP = ("schedule", "target", "scope", "frequency", "rounds")  # settings of pruning by magnitude


def sparsifier_within(iterations: int, network: torch.nn.Module, settings: Mapping[str, Any]) -> Sparsifier | None:
    """What makes a network sparse within so many iterations; None if nothing does.

    Args:
        settings: of ``Params.pruning``.
    """
    method = settings.get("method", "prune")
    if method == "masks":
        beta = tuple(settings["beta"])
        return MaskSearch(network, settings["weight"], iterations - 1, target=settings["target"], beta=beta)
    if method == "noise":
        return NoisePruner(network, settings["target"], gain_limit=settings["gain_limit"], seed=settings["seed"])
    parts: list[Sparsifier] = []
    if settings.get("target") is not None:
        parts.append(pruner_within(iterations, network, **{key: settings[key] for key in GMP if key in settings}))
    if method == "events":
        parts.append(EventPenalty(network, PSI[settings["psi"]], settings["weight"]))
    if len(parts) > 1:
        return Together(*parts)
    return parts[0] if parts else None
