"""How sparse a network should be, and when."""

from dataclasses import dataclass
from typing import Protocol

from spandex.errors import SpandexError


class Schedule(Protocol):
    """Sparsity as a function of the training iteration, reaching ``final`` at iteration ``steps``."""

    final: float
    steps: int

    def __call__(self, step: int) -> float:
        """Fraction of the weights that should be zero after iteration ``step`` (counted from 0)."""
        ...


@dataclass(frozen=True)
class Cubic:
    """Cubic schedule: fast while many weights are redundant, slow towards the end.

        s(t) = s_f + (s_i - s_f) (1 - t / T)^3,    s(t) = s_f for t >= T

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, equation 1, with t_0 = 0. SPANDEX writes the same as
    s_i + (s_f - s_i) (1 - (1 - t / T)^3).

    Attributes:
        initial: s_i, sparsity at iteration 0, a fraction of the weights.
        final: s_f, sparsity from iteration ``steps`` on, a fraction of the weights.
        steps: T, in training iterations.
    """

    initial: float
    final: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.final < 1:
            raise SpandexError(
                f"sparsity from {self.initial:g} to {self.final:g}: it can only grow, from at least 0 to below 1"
            )
        if self.steps < 1:
            raise SpandexError(f"pruning over {self.steps} iterations: it takes at least 1")

    def __call__(self, step: int) -> float:
        remaining = 1 - min(step / self.steps, 1)
        return self.final + (self.initial - self.final) * remaining**3
