"""Sparsification inside a training loop: a mask source says which weights go, a schedule how many and when."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from spandex.errors import SpandexError
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.synapses import dense_weights

Tensors = Mapping[str, torch.Tensor]


class MaskSource(Protocol):
    """Chooses the weights to keep."""

    def __call__(self, weights: Tensors, masks: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks (True: keep) that remove the fraction ``sparsity`` of all weights, what ``masks`` removed included."""
        ...


class Pruner:
    """Prunes a network while it trains, and keeps what is pruned at zero under any optimiser.

    In a training loop it takes one call an iteration, after the optimiser's:

        optimizer.step()
        pruner.step()

    Iterations count from 0. Pruning happens at every multiple of ``frequency`` before ``schedule.steps`` and at
    ``schedule.steps`` itself. Gradients of pruned weights are zeroed in the backward pass, so that they count neither
    in a gradient norm nor in an optimiser's moments; what momentum or weight decay still move, ``step`` puts back.

    Make it once the network is on its device. Weights are changed in place.
    """

    def __init__(self, network: torch.nn.Module, source: MaskSource, schedule: Schedule, frequency: int):
        """
        Args:
            network: a network with lava-dl dense synapses; only these are pruned.
            source: which weights to remove.
            schedule: how many of them, when.
            frequency: iterations between two pruning steps.

        Raises:
            SpandexError: the network has nothing to prune, or ``frequency`` is below 1.
        """
        if frequency < 1:
            raise SpandexError(f"pruning every {frequency} iterations: at least 1 must lie between two steps")
        self.source = source
        self.schedule = schedule
        self.frequency = frequency
        self.iteration = 0
        self.weights = dense_weights(network)
        self.masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}
        self._hooks = [
            weight.register_hook(lambda gradient, name=name: gradient * self.masks[name])
            for name, weight in self.weights.items()
        ]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.schedule}, frequency={self.frequency})"

    @property
    def done(self) -> bool:
        """Whether the final sparsity has been reached."""
        return self.iteration > self.schedule.steps

    def step(self) -> None:
        """Prune if it is time to, and put every pruned weight back to zero."""
        step, last = self.iteration, self.schedule.steps
        if step == last or (step < last and step % self.frequency == 0):
            self.masks = self.source(self.weights, self.masks, self.schedule(step))
        self.iteration += 1
        self._apply()

    def remove(self) -> None:
        """Let go of the network: its weights stay as they are, zeros included, and train freely from now on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def state_dict(self) -> dict[str, Any]:
        """Position, schedule and masks, as plain types and tensors."""
        return {
            "iteration": self.iteration,
            "frequency": self.frequency,
            "schedule": dataclasses.asdict(self.schedule),
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            SpandexError: it belongs to another network.
        """
        masks = state["masks"]
        if {name: mask.shape for name, mask in masks.items()} != {name: w.shape for name, w in self.weights.items()}:
            raise SpandexError(f"masks of {', '.join(masks)} do not fit a network with {', '.join(self.weights)}")
        self.iteration = state["iteration"]
        self.frequency = state["frequency"]
        self.schedule = dataclasses.replace(self.schedule, **state["schedule"])
        self.masks = {name: mask.to(self.weights[name].device) for name, mask in masks.items()}
        self._apply()

    @torch.no_grad()
    def _apply(self) -> None:
        for name, weight in self.weights.items():
            # Not a product with the mask: 0 * -1 is -0.0, and 0 * inf is not a number.
            weight.masked_fill_(~self.masks[name], 0.0)
