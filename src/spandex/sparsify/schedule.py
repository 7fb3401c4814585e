"""How sparse a network should be, and when."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from spandex.errors import SpandexError


@dataclass(frozen=True)
class Schedule(ABC):
    """Sparsity as a function of the training iteration t, counted from 0; constant between pruning steps.

    Attributes:
        target: s_f, sparsity from iteration ``steps`` on, a fraction.
        steps: T, the iteration at which the target is reached.
        initial: s_i, sparsity before pruning, a fraction.

    Raises:
        SpandexError: the sparsity would shrink or reach 1, or ``steps`` are too few.
    """

    target: float
    steps: int
    initial: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.target < 1:
            raise SpandexError(
                f"sparsity from {self.initial:g} to {self.target:g}: it can only grow, from at least 0 to below 1"
            )
        if self.steps < self._fewest_steps:
            raise SpandexError(f"pruning over {self.steps} iterations: it takes at least {self._fewest_steps}")

    _fewest_steps: ClassVar[int] = 1

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Fraction that should be zero after iteration ``step``."""


@dataclass(frozen=True)
class _Polynomial(Schedule):
    frequency: int = 30

    power: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frequency < 1:
            raise SpandexError(f"pruning every {self.frequency} iterations: at least 1 must lie between two steps")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.target
        remaining = 1 - (step - step % self.frequency) / self.steps
        return self.target + (self.initial - self.target) * remaining**self.power


@dataclass(frozen=True)
class Cubic(_Polynomial):
    """Gradual schedule: fast while many weights are redundant, slow towards the end.

        s(t) = s_f + (s_i - s_f) (1 - t / T)^3    at multiples t of the frequency below T, s(t) = s_f for t >= T

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, equation 1, with t_0 = 0. SPANDEX writes the same as
    s_i + (s_f - s_i) (1 - (1 - t / T)^3).

    Attributes:
        frequency: iterations between two pruning steps.
    """

    power = 3


@dataclass(frozen=True)
class Linear(_Polynomial):
    """Gradual schedule that removes equally many weights at every pruning step.

        s(t) = s_f + (s_i - s_f) (1 - t / T)    at multiples t of the frequency below T, s(t) = s_f for t >= T

    Attributes:
        frequency: iterations between two pruning steps.
    """

    power = 1


@dataclass(frozen=True)
class OneShot(Schedule):
    """All at iteration T, which may be 0; what training follows is fine-tuning.

    s(t) = s_i for t < T,    s(t) = s_f for t >= T
    """

    _fewest_steps = 0

    def __call__(self, step: int) -> float:
        return self.target if step >= self.steps else self.initial


@dataclass(frozen=True)
class Iterative(Schedule):
    """Prune and retrain in k rounds, each of which removes the same share of what is left.

        s(t) = 1 - (1 - s_i) ((1 - s_f) / (1 - s_i))^(j / k)    after j = 1 + floor(t (k - 1) / T) rounds,
        s(t) = s_f for t >= T

    The first round is at iteration 0, the last at T; T / (k - 1) iterations of retraining follow each but the last.

    Sources: Han et al., "Learning both weights and connections for efficient neural networks", 2015 (iterative
    pruning and retraining); Frankle and Carbin, "The lottery ticket hypothesis", 2019, section 1 (equal shares of
    what survives).

    Attributes:
        rounds: k, at least 2; one round is ``OneShot``.
    """

    rounds: int = 5

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise SpandexError(f"pruning in {self.rounds} rounds: it takes at least 2; one is one-shot")
        super().__post_init__()

    @property
    def _fewest_steps(self) -> int:
        return self.rounds - 1

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.target
        done = 1 + step * (self.rounds - 1) // self.steps
        left = (1 - self.target) / (1 - self.initial)
        # rounding must not lead beyond the target
        return min(1 - (1 - self.initial) * left ** (done / self.rounds), self.target)


SCHEDULES: dict[str, type[Schedule]] = {
    "cubic": Cubic,
    "linear": Linear,
    "one-shot": OneShot,
    "iterative": Iterative,
}


def make_schedule(name: str, target: float, steps: int, *, frequency: int = 30, rounds: int = 5) -> Schedule:
    """The schedule of a name in ``SCHEDULES``; it takes of ``frequency`` and ``rounds`` what it knows.

    Raises:
        SpandexError: no schedule has that name, or the schedule refuses the numbers.
    """
    if name not in SCHEDULES:
        raise SpandexError(f"schedule {name!r}: there are {', '.join(SCHEDULES)}")
    own = {"frequency": frequency, "rounds": rounds}
    kind = SCHEDULES[name]
    return kind(target, steps, **{key: value for key, value in own.items() if key in kind.__dataclass_fields__})
