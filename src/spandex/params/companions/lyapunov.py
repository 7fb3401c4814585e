"""Sizes of the experiments."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from spandex.params.section import Count, Fraction, Positive, Section

Share = Annotated[float, Field(ge=0, lt=1)]


class Network(Section):
    """The network before pruning. Time constants are in steps, the threshold is 1."""

    neurons: Annotated[int, Field(ge=10)]
    neighbours: Annotated[int, Field(ge=2)]
    rewired: Share
    inhibitory: Share
    strength: Positive
    time_constant: Positive
    shape: Positive
    bias: float
    input_strength: Positive


class Pruning(Section):
    """Iterations of Lyapunov noise pruning."""

    iterations: Count
    synapses_kept: Fraction
    neurons_removed: Share
    noise: Positive
    steps: Count
    settle: Count
    orthonormal_every: Count
    pivots: Count
    draws: Count
    localisation: Positive
    trials: Count

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.orthonormal_every > self.steps:
            raise ValueError(f"orthonormal_every {self.orthonormal_every} is more than {self.steps} steps")
        return self


class Lorenz63(Section):
    """Prediction of a chaotic flow."""

    interval: Positive
    train: Count
    test: Count
    washout: Count
    horizon: Count
    forecasts: Count
    forecast_steps: Count
    tolerance: Positive


class Cifar10(Section):
    """Classification of images that are shown row by row."""

    train: Count
    test: Count
    row_steps: Count
    windows: Count


class Lyapunov(Section):
    """See docs/reference/params.md."""

    network: Network
    pruning: Pruning
    lorenz63: Lorenz63
    cifar10: Cifar10
