"""Sparsification inside a training loop: a mask source says which weights go, a schedule how many and when."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch

from spandex.errors import SpandexError
from spandex.metrics.weights import nonzero
from spandex.sparsify.masked import MaskedWeights
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.smallest import Tensors, magnitude
from spandex.sparsify.weights import Layers, synapse_weights

SCOPES = ("global", "layer")


class MaskSource(Protocol):
    """Chooses the weights to keep."""

    def __call__(self, weights: Tensors, masks: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
        """Boolean masks (True: keep), by layer, that remove the fraction ``sparsity`` of all ``weights``.

        ``masks`` are those of the step before. What they removed is zero in ``weights``; a source that keeps it again
        lets it grow from zero.
        """


class Pruner(MaskedWeights):
    """Prunes single weights while a network trains, and keeps what is pruned at zero under any optimiser.

    pruner = Pruner(network, Linear(0.75, steps=2000), scope="layer")
    for batch in batches:
        ...
        optimizer.step()
        pruner.step()
    """

    def __init__(
        self,
        network: torch.nn.Module,
        schedule: Schedule,
        *,
        source: MaskSource = magnitude,
        scope: str = "global",
        layers: Layers | None = None,
    ):
        """
        Args:
            network: a network with dense or convolutional lava-dl synapses; only these are pruned.
            schedule: how many of their weights, when. It starts at the ``sparsity`` there is if that is more than its
                ``initial``.
            source: which weights to remove. What it is made of should show in its name or repr, since
                ``repr(pruner)`` tells runs apart.
            scope: "global": the source is given all layers together; "layer": each layer alone, so that each is
                pruned to the same sparsity.
            layers: which synapses, by name (of the synapse or of a module that holds it) or by a predicate of the
                name; all if not given. Sparsity is a fraction of their weights.

        Raises:
            SpandexError: the network has nothing to prune, is sparser than the target already, or a name is unknown.
        """
        weights = synapse_weights(network, layers)
        self.source = source
        self.scope = scope
        self._groups = groups(weights, scope)
        zero = {name: ~nonzero(weight.value()) for name, weight in weights.items()}
        super().__init__(weights, schedule, {name: share(zero, group) for name, group in self._groups.items()})

    def __repr__(self) -> str:
        source = getattr(self.source, "__qualname__", None) or repr(self.source)
        return self._describe(source=source, scope=self.scope, layers=list(self.masks))

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks of the source, which is given the weights."""
        return self.rank(self.values(), sparsity)

    def rank(self, values: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks of the source for the weights, or for other values of their shapes in their place.

        Raises:
            SpandexError: they do not fit the weights.
        """
        masks: dict[str, torch.Tensor] = {}
        for names in self._groups.values():
            part = self.source({n: values[n] for n in names}, {n: self.masks[n] for n in names}, sparsity)
            for name in names:
                mask = part.get(name) if isinstance(part, Mapping) else None
                if mask is None or mask.dtype != torch.bool or mask.shape != values[name].shape:
                    raise SpandexError(f"{name}: the mask source gave no boolean mask of its shape")
                masks[name] = mask
        return masks


def groups(layers: Iterable[str], scope: str) -> dict[str, list[str]]:
    """Names of the layers that are pruned together, by what to call them: all for "global", each for "layer".

    Raises:
        SpandexError: another scope.
    """
    if scope not in SCOPES:
        raise SpandexError(f"scope {scope!r}: there are {', '.join(SCOPES)}")
    return {"the network": list(layers)} if scope == "global" else {name: [name] for name in layers}


def share(flags: Tensors, names: Iterable[str]) -> float:
    """Fraction of True in the named boolean tensors together."""
    return sum(int(flags[name].sum()) for name in names) / sum(flags[name].numel() for name in names)
