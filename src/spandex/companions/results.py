"""What the runs of a paper came to: intervals over seeds, verdicts and tables."""

from collections.abc import Callable, Mapping, Sequence
from math import exp, isinf
from typing import Any

from spandex.metrics.bootstrap import Interval
from spandex.metrics.repeats import interval_over_seeds
from spandex.report import wording

Runs = Sequence[Mapping[str, Any]]  # what ``run`` of an experiment gave, one a seed


def over_seeds(runs: Runs, value: Callable[[Mapping[str, Any]], float]) -> Interval:
    """Mean of a value of each run with Student's t interval over the seeds; unbounded if there is one alone.

    Differences between variants of one run are paired by its seed: give the difference as the value.
    """
    return interval_over_seeds([value(run) for run in runs])


def percent_change(log_ratio: Interval) -> Interval:
    """The interval of a change in percent from that of a logarithm of a ratio."""
    return Interval(*(100 * (exp(value) - 1) for value in log_ratio))


def shown(found: Interval, decimals: int, unit: str = "", signed: bool = False) -> str:
    """An interval for people; the mean alone where one seed gives no bounds."""
    if isinf(found.low) or isinf(found.high):
        return f"{wording.number(found.mean, decimals, signed)} {unit}".rstrip() + " (one seed)"
    return wording.interval(found, decimals, unit, signed)


def error_bars(values: Sequence[Interval], scale: float = 1.0) -> list[list[float]] | None:
    """Distances below and above the means, as matplotlib takes them; None where one seed gives no bounds."""
    if any(isinf(value.high) for value in values):
        return None
    return [[scale * (v.mean - v.low) for v in values], [scale * (v.high - v.mean) for v in values]]
