"""Sparsification inside a training loop: a mask source says which weights go, a schedule how many and when."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch

from spandex.errors import SpandexError
from spandex.sparsify.magnitude import NEGLIGIBLE, Tensors, magnitude
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.weights import Layers, SynapseWeight, synapse_weights

SCOPES = ("global", "layer")


class MaskSource(Protocol):
    """Chooses the weights to keep."""

    def __call__(self, weights: Tensors, masks: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
        """Boolean masks (True: keep), by layer, that remove the fraction ``sparsity`` of all ``weights``.

        ``masks`` are those of the step before. What they removed is zero in ``weights``; a source that keeps it again
        lets it grow from zero.
        """
        ...


class Sparsifier(ABC):
    """Masks on the weights of a network that trains: what every method shares.

    In a training loop it takes one call an iteration, after the optimiser's:

        optimizer.step()
        sparsifier.step()

    Iterations count from 0; masks change when the schedule does. Gradients of pruned weights are zeroed in the
    backward pass, so that they count neither in a gradient norm nor in an optimiser's moments; what momentum, weight
    decay or a loaded state dict still move, ``step`` puts back.

    Make it once the network is on its device. Weights are changed in place; nothing is added to the network's modules
    or state dict.

    Attributes:
        schedule: how much is pruned, when; its ``initial`` is at least the sparsity the network came with.
        masks: boolean tensors by layer, of the weights' shapes; False: pruned.
        iteration: calls of ``step`` so far.
    """

    def __init__(self, weights: Mapping[str, SynapseWeight], schedule: Schedule, present: Mapping[str, float]):
        """
        Args:
            weights: what is masked, by layer.
            schedule: how much, when.
            present: sparsity that each part pruned on its own has already, by what to call it.

        Raises:
            SpandexError: a part is sparser than the target already.
        """
        for name, there in present.items():
            if there > schedule.target:
                raise SpandexError(f"target sparsity {schedule.target:g}: {name} is already at {there:g}")
        self.schedule = dataclasses.replace(schedule, initial=max(schedule.initial, min(present.values())))
        self.iteration = 0
        self._weights = dict(weights)
        self.masks = {name: torch.ones_like(w.value(), dtype=torch.bool) for name, w in weights.items()}
        self._hooks = [
            handle
            for name, weight in weights.items()
            for handle in weight.mask_gradients(lambda name=name: self.masks[name])
        ]

    @abstractmethod
    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks (True: keep) by layer for a new sparsity, from the weights as they are."""

    @property
    def done(self) -> bool:
        """Whether the target has been reached."""
        return self.iteration > self.schedule.steps

    def step(self) -> None:
        """Prune if it is time to, and put every pruned weight back to zero."""
        wanted = self.schedule(self.iteration)
        if self.iteration == 0 or wanted != self.schedule(self.iteration - 1):
            self.masks = self.choose(wanted)
        self.iteration += 1
        self._hold()

    def remove(self) -> None:
        """Let go of the network: its weights stay as they are, zeros included, and train freely from now on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def state_dict(self) -> dict[str, Any]:
        """Position, initial sparsity and masks, as plain types and tensors."""
        return {
            "iteration": self.iteration,
            "initial": self.schedule.initial,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same layers.

        Raises:
            SpandexError: it is no such state, or belongs to another network or to other layers.
        """
        if not {"iteration", "initial", "masks"} <= state.keys():
            raise SpandexError(f"not the state of a {type(self).__name__}: it holds {', '.join(state) or 'nothing'}")
        masks = state["masks"]
        if {name: mask.shape for name, mask in masks.items()} != {name: m.shape for name, m in self.masks.items()}:
            raise SpandexError(f"masks of {', '.join(masks)} do not fit a network with {', '.join(self.masks)}")
        self.iteration = state["iteration"]
        self.schedule = dataclasses.replace(self.schedule, initial=state["initial"])
        self.masks = {name: mask.to(self.masks[name].device) for name, mask in masks.items()}
        self._hold()

    def values(self) -> dict[str, torch.Tensor]:
        """The weights as they are used, by layer."""
        return {name: weight.value() for name, weight in self._weights.items()}

    def _hold(self) -> None:
        for name, weight in self._weights.items():
            weight.hold(self.masks[name])

    def _describe(self, **settings: object) -> str:
        """A repr that tells runs apart, for subclasses."""
        parts = [repr(self.schedule), *(f"{key}={value}" for key, value in settings.items())]
        return f"{type(self).__name__}({', '.join(parts)})"


class Pruner(Sparsifier):
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
            schedule: how many of their weights, when. It starts at the sparsity there is (magnitudes below 1e-5) if
                that is more than its ``initial``.
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
        negligible = {name: weight.value().abs() < NEGLIGIBLE for name, weight in weights.items()}
        super().__init__(weights, schedule, {name: share(negligible, group) for name, group in self._groups.items()})

    def __repr__(self) -> str:
        source = getattr(self.source, "__qualname__", None) or repr(self.source)
        return self._describe(source=source, scope=self.scope, layers=list(self.masks))

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks of the source.

        Raises:
            SpandexError: they do not fit the weights.
        """
        values = self.values()
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
