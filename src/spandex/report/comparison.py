"""Networks against the control: which differences of the paper's metrics the clips tell apart."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from spandex.metrics.bootstrap import Interval

LOWER_IS_BETTER = ("power_proxy_ops_per_s", "pdp_proxy_ops")  # how their names end

Differences = Mapping[str, Interval]


class Significance(StrEnum):
    """What the 95 % interval of a difference says."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "interval includes 0"


def by_score(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Differences]:
    """Differences to the control by network and score: network minus control, mean over clips and 95 % interval.

    Args:
        changes: what ``spandex.evaluation.summary.differences_to`` gives.
    """
    return {
        network: {name: Interval(s["mean"], *s["interval"]) for name, s in entry.items() if isinstance(s, Mapping)}
        for network, entry in changes.items()
    }


def significance(score: str, difference: Interval) -> Significance:
    """Whether a difference of a score is one, and for better or worse."""
    if difference.low <= 0 <= difference.high:
        return Significance.OPEN
    return Significance.BETTER if (difference.mean > 0) != score.endswith(LOWER_IS_BETTER) else Significance.WORSE
