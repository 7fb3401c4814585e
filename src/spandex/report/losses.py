"""What fixed point loses against float, as warnings."""

from collections.abc import Mapping
from typing import Any

from spandex.evaluation.evaluate import EXPLAINED_LOSS_DB
from spandex.metrics.bootstrap import Interval
from spandex.report.wording import interval, number

WORDS = {
    "framing": "frames that begin in silence",
    "delay_clamp": "delays cut to 62 steps",
    "rounding": "sums and events as integers",
    "exponents": "weights and sums scaled to 8 bits",
    "output_wrap": "outputs that wrap at 24 bits",
}


def loss_sentences(networks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of each network that fixed point makes worse by more than evaluations leave unexplained, and why."""
    return [
        _sentence(name, metrics)
        for name, metrics in networks.items()
        if metrics.get("fixed_minus_float_db", 0.0) < -EXPLAINED_LOSS_DB
    ]


def _sentence(name: str, metrics: Mapping[str, Any]) -> str:
    change = Interval(metrics["fixed_minus_float_db"], *metrics["intervals"]["fixed_minus_float_db"])
    told = f"{name} changes by {interval(change, 3, 'dB', signed=True)} from float to fixed point"
    causes = metrics.get("fixed_minus_float_db_by_cause")
    if causes is None:
        return f"{told}; its causes were not measured."
    parts = (f"{WORDS[cause]} {number(value, 3, signed=True)} dB" for cause, value in causes.items())
    return f"{told}: {', '.join(parts)}."
