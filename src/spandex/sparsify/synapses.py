"""The prunable weights of a lava-dl network."""

from dataclasses import dataclass

import torch
from lava.lib.dl import slayer

from spandex.errors import SpandexError


def dense_weights(network: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Weights of every ``slayer.synapse.Dense`` in a network, by the name of the synapse, in the network's order.

    Raises:
        SpandexError: there is none, or one is under weight normalisation, where a zero cannot be held.
    """
    weights = {}
    for name, module in network.named_modules():
        if isinstance(module, slayer.synapse.Dense):
            if module.weight_norm_enabled:
                raise SpandexError(f"{name}: its weights are normalised; call disable_weight_norm() before pruning")
            weights[name] = module.weight
    if not weights:
        raise SpandexError(f"{type(network).__name__}: no dense synapse to prune")
    return weights


@dataclass(frozen=True)
class Sparsity:
    """Fractions of weights that are exactly zero.

    Attributes:
        layers: one fraction a dense synapse, by name.
        total: fraction over all dense synapses.
    """

    layers: dict[str, float]
    total: float


def sparsity(network: torch.nn.Module) -> Sparsity:
    """Exact zero fraction of the float weights of every dense synapse and of all of them together."""
    weights = dense_weights(network)
    zeros = {name: weight.numel() - int(weight.count_nonzero()) for name, weight in weights.items()}
    return Sparsity(
        layers={name: zeros[name] / weight.numel() for name, weight in weights.items()},
        total=sum(zeros.values()) / sum(weight.numel() for weight in weights.values()),
    )
