"""Masks that keep the pruned weights of a network at zero while it trains."""

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.weights import SynapseWeight


class MaskedWeights(Sparsifier):
    """Masks on the weights of a network that trains: what the methods share that choose weights by rank.

    Iterations count from 0; masks change when the schedule does. Gradients of pruned weights are zeroed in the
    backward pass, so that they count neither in a gradient norm nor in an optimiser's moments; what momentum, weight
    decay or a loaded state dict still move, ``step`` puts back.

    Weights are changed in place; nothing is added to the network's modules or state dict.

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
    def steps(self) -> int:
        """The iteration at which the schedule reaches its target."""
        return self.schedule.steps

    @property
    def done(self) -> bool:
        """Whether the target has been reached."""
        return self.iteration > self.steps

    def step(self) -> None:
        """Prune if it is time to, and put every pruned weight back to zero."""
        wanted = self.schedule(self.iteration)
        if self.iteration == 0 or wanted != self.schedule(self.iteration - 1):
            self._take(wanted)
        self.iteration += 1
        self._hold()

    def prune(self, sparsity: float) -> None:
        """Prune to a sparsity now, whatever the schedule says."""
        self._take(sparsity)
        self._hold()

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
        if not self.state_dict().keys() <= state.keys():
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

    def _take(self, sparsity: float) -> None:
        """Take new masks."""
        self.masks = self.choose(sparsity)

    def _hold(self) -> None:
        for name, weight in self._weights.items():
            weight.hold(self.masks[name])

    def _describe(self, **settings: object) -> str:
        """A repr that tells runs apart, for subclasses."""
        parts = [repr(self.schedule), *(f"{key}={value}" for key, value in settings.items())]
        return f"{type(self).__name__}({', '.join(parts)})"
