"""Networks against the control: which differences of the paper's metrics the clips tell apart."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from spandex.metrics.bootstrap import Interval

LOWER_IS_BETTER = ("power_proxy_ops_per_s", "pdp_proxy_ops", "synops_per_step")  # how their names end

Differences = Mapping[str, Interval]


class Significance(StrEnum):
    """What the 95 % interval of a difference says."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "interval includes 0"


def against(control: str, differences: Iterable[Mapping[str, Any]]) -> dict[str, Differences]:
    """Differences to the control by network and score: network minus control, mean over clips and 95 % interval.

    Args:
        control: name of a network.
        differences: what ``spandex.evaluation.differences`` gives, of any networks.
    """
    found: dict[str, Differences] = {}
    for entry in differences:
        scores = {name: value for name, value in entry.items() if isinstance(value, Mapping)}
        if entry["minus"] == control:
            found[entry["of"]] = {name: Interval(s["mean"], *s["interval"]) for name, s in scores.items()}
        elif entry["of"] == control:
            found[entry["minus"]] = {name: _negated(s["mean"], *s["interval"]) for name, s in scores.items()}
    return found


def significance(score: str, difference: Interval) -> Significance:
    """Whether a difference of a score is one, and for better or worse."""
    if difference.low <= 0 <= difference.high:
        return Significance.OPEN
    return Significance.BETTER if (difference.mean > 0) != score.endswith(LOWER_IS_BETTER) else Significance.WORSE


def _negated(mean: float, low: float, high: float) -> Interval:
    return Interval(-mean, -high, -low)
