"""Activity regularization: a penalty that makes the activations of a network sparse.

Source: Narduzzi, Bigdeli, Liu and Dunbar, "Optimizing the consumption of spiking neural networks with activity
regularization", ICASSP 2022, arXiv:2204.01460.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.sparsify.chain import layers
from spandex.sparsify.sparsifier import Sparsifier

# Far below the activations of interest (events of the SDNN are at least 6/64), so that it bounds gradients and
# leaves values almost as they are: 0.1 ** 0.01 is 0.9772, with it 0.9773.
EPSILON = 1e-3

Psi = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Lp:
    """psi(x) = sum |x_i| ** p over the last dimension, as a sum without the p-th root.

    For p < 1 the derivative has no bound at 0, so there it is sum (|x_i| + EPSILON) ** p over the x_i that are not 0:
    0 for x = 0, with a derivative of at most p * EPSILON ** (p - 1), and of 0 at x_i = 0.
    """

    p: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., values) -> (...)."""
        size = x.abs()
        if self.p >= 1:
            return (size**self.p).sum(-1)
        return torch.where(size > 0, (size + EPSILON) ** self.p, 0.0).sum(-1)


@dataclass(frozen=True)
class Hoyer:
    """psi(x) = (sum |x_i| / sqrt(sum x_i ** 2)) ** power over the last dimension; power 2 is Hoyer-Square.

    Between 1, for one x_i that is not 0, and sqrt(values) ** power, for all equal; whatever the scale of x. EPSILON
    squared is added to the sum of squares, so that value and derivative are 0 for x = 0.
    """

    power: int = 1

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., values) -> (...)."""
        return (x.abs().sum(-1) / (x.square().sum(-1) + EPSILON**2).sqrt()) ** self.power


PSI: Mapping[str, Psi] = {
    "l1": Lp(1),
    "l2": Lp(2),
    "l0.5": Lp(0.5),
    "l0.1": Lp(0.1),
    "l0.01": Lp(0.01),
    "hoyer": Hoyer(),
    "hoyer-square": Hoyer(2),
}


class EventPenalty(Sparsifier):
    """Penalty on what the hidden layers of a lava-dl network send, such as the events of sigma-delta blocks.

        events = EventPenalty(network, PSI["l1"], weight=0.01)
        for batch in batches:
            loss = ...
            (loss + events.penalty()).backward()
            optimizer.step()

    The penalty is ``weight`` times the sum over the hidden layers of psi of a layer's output at one step, mean over the
    batch and the steps, so that the weight means the same for other batches and longer segments. Events that are
    zero have no gradient; the others pull at the weights through the surrogate gradient of their neurons.

    No structure changes: it is done from the start. Outputs are taken by a forward hook on each hidden block, in
    training mode only; the hooks go with ``remove``.
    """

    def __init__(self, network: torch.nn.Module, psi: Psi, weight: float):
        """
        Args:
            network: a network of lava-dl blocks; the output of the last one with weights is not penalised.
            psi: of (..., neurons), one value each, such as those in ``PSI``; its repr tells runs apart.
            weight: of the penalty in the loss, at least 0.

        Raises:
            SpandexError: the weight is negative, or the network has synapses outside such blocks or no hidden layer.
        """
        if not weight >= 0:
            raise SpandexError(f"weight {weight} of the penalty on events: it must be at least 0")
        hidden = layers(network)[:-1]
        if not hidden:
            raise SpandexError(f"{type(network).__name__}: no hidden layer whose events could be penalised")
        self.psi = psi
        self.weight = weight
        self._layers = [link.name for link in hidden]
        self._events: dict[str, torch.Tensor] = {}
        self._hooks = [link.block.register_forward_hook(self._keep(link.name)) for link in hidden]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(psi={self.psi!r}, weight={self.weight:g}, layers={self._layers})"

    def penalty(self) -> torch.Tensor:
        """Of the last forward pass in training mode; it can be asked for once, and lets go of the events.

        Raises:
            SpandexError: there was no such pass since it was last asked for.
        """
        if self._events.keys() != set(self._layers):
            raise SpandexError("no penalty on events without a forward pass in training mode before it")
        # (batch, ..., steps) as (batch, steps, neurons)
        total = sum(self.psi(events.flatten(1, -2).transpose(1, 2)).mean() for events in self._events.values())
        self._events.clear()
        return self.weight * total

    def step(self) -> None:
        """Nothing."""

    def remove(self) -> None:
        """Take the hooks away."""
        super().remove()
        self._events.clear()

    def state_dict(self) -> dict[str, Any]:
        """Empty: all is in the settings and in the network."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accept what ``state_dict`` gives.

        Raises:
            SpandexError: it is the state of something else.
        """
        if state:
            raise SpandexError(f"not the state of a penalty on events: it holds {', '.join(state)}")

    def _keep(self, name: str) -> Callable[[torch.nn.Module, Any, torch.Tensor], None]:
        def hook(block: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            if block.training:
                self._events[name] = output

        return hook
