"""Running means of the weights of a network that trains."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class RunningMean:
    """Means of parameters, which stand in their place while a network is judged and kept.

    After n steps of an optimiser a mean m moves to

        c m + (1 - c) w,    c = min(decay, (1 + n) / (10 + n))

    A weight that is exactly zero is one that is pruned: its mean is zero, and one that is pruned while the mean stands
    in its place is zero afterwards.

    Sources: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the growth of c is that
    of tf.train.ExponentialMovingAverage.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float):
        self.decay = decay
        self.steps = 0
        self._parameters = list(parameters)
        self._means = [parameter.detach().clone() for parameter in self._parameters]
        self._weights: list[torch.Tensor] | None = None  # while means stand in their place

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimiser."""
        self.steps += 1
        share = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.lerp_(parameter, 1 - share).masked_fill_(parameter == 0, 0.0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters hold their means."""
        self._weights = [parameter.detach().clone() for parameter in self._parameters]
        with torch.no_grad():
            for parameter, mean in zip(self._parameters, self._means, strict=True):
                parameter.copy_(mean.masked_fill(parameter == 0, 0.0))
        try:
            yield
        finally:
            self._put_back()

    def state_dict(self) -> dict[str, Any]:
        """Steps, means and, where means are in their place, the weights."""
        return {"steps": self.steps, "means": self._means, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``; the parameters hold what they did then."""
        self.steps, self._weights = state["steps"], state["weights"]
        for mean, value in zip(self._means, state["means"], strict=True):
            mean.copy_(value)
        if self._weights is not None:
            self._put_back()

    @torch.no_grad()
    def _put_back(self) -> None:
        for parameter, mean, weight in zip(self._parameters, self._means, self._weights, strict=True):
            mean.copy_(parameter)
            parameter.copy_(weight.to(parameter.device).masked_fill(parameter == 0, 0.0))
        self._weights = None
