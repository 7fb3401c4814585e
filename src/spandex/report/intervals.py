"""How sure the table is: 95 % intervals of the networks and of their differences, and where fixed point loses."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from spandex.files import write_text
from spandex.metrics.bootstrap import Interval
from spandex.report.tabular import markdown
from spandex.report.wording import interval, number

SCORES = {
    "si_snr_db": ("SI-SNR (dB)", 2),
    "mos_ovrl": ("MOS ovrl", 3),
    "float_power_proxy_ops_per_s": ("float power (Ops/s)", 0),
    "deployed_power_proxy_ops_per_s": ("deployed power (Ops/s)", 0),
}
NOTHING = "-"

Metrics = Mapping[str, Any]


def intervals_table(networks: Mapping[str, Metrics], control: str, changes: Mapping[str, Metrics]) -> str:
    """Markdown: each network's mean with its interval, and its paired difference to the control.

    Args:
        networks: by name, summaries of ``spandex.evaluation``.
        control: the network to compare with, such as the dense control.
        changes: what ``spandex.evaluation.summary.differences_to`` gives for these networks, or more of them.
    """
    shown = [score for score in SCORES if any(score in metrics for metrics in networks.values())]
    headings = ["model", *(SCORES[score][0] for score in shown), *(f"{SCORES[s][0]} - {control}" for s in shown)]
    rows = []
    for name, metrics in networks.items():
        cells = [
            _cell(score, metrics[score], metrics["intervals"][score]) if score in metrics else NOTHING
            for score in shown
        ]
        change = changes.get(name, {})
        cells += [
            _cell(score, change[score]["mean"], change[score]["interval"], signed=True) if score in change else NOTHING
            for score in shown
        ]
        rows.append([name, *cells])
    return markdown([headings, *rows], _right(headings))


def losses_table(networks: Mapping[str, Metrics]) -> str:
    """Markdown: causes of what fixed point loses, for networks that lose more than 0.02 dB; empty if there is none."""
    losing = {
        name: metrics["fixed_minus_float_db_by_cause"]
        for name, metrics in networks.items()
        if "fixed_minus_float_db_by_cause" in metrics
    }
    if not losing:
        return ""
    causes = list(next(iter(losing.values())))
    rows = [[name, *(number(values[cause], 3) for cause in causes)] for name, values in losing.items()]
    headings = ["fixed - float, by cause (dB)", *causes]
    return markdown([headings, *rows], _right(headings))


def range_table(networks: Mapping[str, Metrics]) -> str:
    """Markdown: how often a network's values left 24 bits (by layer, the input layer first) or 32, and what the
    outputs that wrapped cost; empty if no network was evaluated with these counts."""
    counted = {name: metrics for name, metrics in networks.items() if "wrapped_outputs" in metrics}
    if not counted:
        return ""
    headings = [
        "out of range",
        "sums, 24 bits",
        "states, 24 bits",
        "32 bits",
        "wrapped outputs",
        "in clips",
        "change (dB)",
    ]
    rows = []
    for name, metrics in counted.items():
        by_layer = [
            " / ".join(f"{count:,}" for count in metrics[f"{kind}_beyond_24_bits"]) for kind in ("sums", "states")
        ]
        wider = sum(sum(metrics[f"{kind}_beyond_32_bits"]) for kind in ("sums", "states"))
        outputs = [
            f"{metrics['wrapped_outputs']:,}",
            str(metrics["wrapped_clips"]),
            number(metrics["output_wrap_db"], 3, signed=True),
        ]
        rows.append([name, *by_layer, f"{wider:,}", *outputs])
    return markdown([headings, *rows], _right(headings))


def range_sentences(networks: Mapping[str, Metrics]) -> list[str]:
    """What became of masks in the 24 bits of Loihi 2's neurons, a sentence for each network whose masks wrapped."""
    counted = {name: metrics for name, metrics in networks.items() if "wrapped_outputs" in metrics}
    sentences = [
        f"{name}: {metrics['wrapped_outputs']:,} masks left 24 bits and wrapped, in {metrics['wrapped_clips']} of "
        f"{len(metrics['per_clip'])} clips; that changed its SI-SNR by "
        f"{number(metrics['output_wrap_db'], 3, signed=True)} dB."
        for name, metrics in counted.items()
        if metrics["wrapped_outputs"]
    ]
    kept = "All masks stayed in the 24 bits of Loihi 2's neurons."
    return sentences or ([kept] if counted else [])


def write_intervals(path: str | os.PathLike, *tables: str) -> None:
    """Write the tables that are not empty, as Markdown."""
    write_text(path, "\n".join(table for table in tables if table))


def _right(headings: Sequence[str]) -> list[bool]:
    return [False, *(True for _ in headings[1:])]


def _cell(score: str, mean: float, bounds: list[float], signed: bool = False) -> str:
    return interval(Interval(mean, *bounds), SCORES[score][1], signed=signed)
