"""What the companion papers' methods do for the denoiser, against SPANDEX's own at the same sparsity."""

from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spandex.companions.results import Runs, error_bars, over_seeds, percent_change, shown
from spandex.metrics.bootstrap import Interval
from spandex.params import Sparsify
from spandex.params.variants import DENSE, METHODS, Variant
from spandex.report.claims import Finding, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.tabular import Table

EQUAL_DB = 0.1  # SI-SNR that counts as equal: a fifth of what the write-up lost at 75 %
LABELS = {
    "dense": "dense control",
    "prune": "magnitude (SPANDEX)",
    "events": "activity regularization",
    "masks": "mask search",
    "noise": "noise pruning",
}
COSTS = {"events_per_step": "fewer events", "deployed_power_proxy_ops_per_s": "lower deployed power proxy"}
PAPERS = {"events": "Narduzzi et al. 2022", "masks": "Shi et al. 2024", "noise": "Chakraborty et al. 2024"}


def findings(runs: Mapping[str, Runs], settings: Sparsify) -> list[Finding]:
    """Each method against the dense control or magnitude pruning of the same sparsity: cost, and SI-SNR."""
    return [
        found
        for method, other, target in _comparisons(settings.targets)
        for found in _compared(runs["denoiser"], method, other, target)
    ]


def _compared(runs: Runs, method: str, other: str, target: float | None) -> list[Finding]:
    one, two = _name(method, target), _name(other, target)
    where = "without pruning" if target is None else f"at {100 * target:g} % sparsity"
    how = f"{LABELS[method]} with {LABELS['prune']}" if method == "events" and target else LABELS[method]
    who = f"{how[0].upper()}{how[1:]} {where}"
    found = []
    for metric, name in COSTS.items():
        if metric == "events_per_step" and method != "events":
            continue  # what activity regularization promises, and no other
        change = percent_change(over_seeds(runs, lambda run, m=metric: log(_of(run, one, m) / _of(run, two, m))))
        found.append(
            Finding(
                f"{who}: {name} than {LABELS[other]}",
                PAPERS[method],
                shown(change, 1, "%", signed=True),
                "the interval of the change lies below 0 %",
                *judge(change, high=0.0, of="seeds"),
            )
        )
    quality = over_seeds(runs, lambda run: _of(run, one, "si_snr_db") - _of(run, two, "si_snr_db"))
    return [
        *found,
        Finding(
            f"{who}: SI-SNR not below that of {LABELS[other]}",
            PAPERS[method],
            shown(quality, 2, "dB", signed=True),
            f"the interval of the change lies above -{EQUAL_DB:g} dB",
            *judge(quality, low=-EQUAL_DB, of="seeds"),
        ),
    ]


def tables(runs: Mapping[str, Runs]) -> list[Table]:
    """Quality and cost of every network, means over seeds with their intervals."""
    rows = [
        [
            name,
            LABELS[next(method for method in METHODS if name.startswith(method))],
            100 * _over(runs, name, "sparsity").mean,
            _over(runs, name, "si_snr_db"),
            _over(runs, name, "deployed_synops_per_step"),
            over_seeds(runs["denoiser"], lambda run, name=name: _of(run, name, "deployed_power_proxy_ops_per_s") / 1e6),
            _over(runs, name, "events_per_step"),
            _over(runs, name, "parameters").mean,
        ]
        for name in _names(runs["denoiser"])
    ]
    headings = ["network", "method", "sparsity (%)", "SI-SNR (dB)", "deployed SynOps a step"]
    headings += ["deployed power proxy (M-Ops/s)", "events a step", "parameters"]
    return [Table("plane", "Quality against synaptic operations on the denoiser", headings, rows)]


def figures(runs: Mapping[str, Runs], folder: Path) -> list[Path]:
    """Every network in the plane of synaptic operations and SI-SNR."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for marker, (method, label) in zip("osD^v", LABELS.items(), strict=True):
            names = [name for name in _names(runs["denoiser"]) if name.startswith(method)]
            synops = [_over(runs, name, "deployed_synops_per_step") for name in names]
            quality = [_over(runs, name, "si_snr_db") for name in names]
            axes.errorbar(
                [value.mean / 1e3 for value in synops],
                [value.mean for value in quality],
                xerr=error_bars(synops, 1e-3),
                yerr=error_bars(quality),
                fmt=marker,
                capsize=2,
                label=label,
            )
            for name, x, y in zip(names, synops, quality, strict=True):
                percent = name.removeprefix(method)
                axes.annotate(
                    f"{percent} %" if percent else "dense weights",
                    (x.mean / 1e3, y.mean),
                    textcoords="offset points",
                    xytext=(5, 4),
                    fontsize=7,
                )
        axes.set_xlabel("synaptic operations a step (thousand)")
        axes.set_ylabel("SI-SNR (dB)")
        axes.legend()
        return save_figure(figure, folder / "plane")


def _comparisons(targets: Sequence[float]) -> Iterator[tuple[str, str, float | None]]:
    yield "events", "dense", None
    for method in METHODS:
        if method not in ("dense", "prune"):
            yield from ((method, "prune", target) for target in targets)


def _name(method: str, target: float | None) -> str:
    return Variant(method, target if method not in DENSE or method == "events" else None, 0).name


def _names(runs: Runs) -> list[str]:
    return sorted(runs[0]["networks"], key=lambda name: -runs[0]["networks"][name]["deployed_synops_per_step"])


def _over(runs: Mapping[str, Runs], name: str, metric: str) -> Interval:
    return over_seeds(runs["denoiser"], lambda run: _of(run, name, metric))


def _of(run: Mapping[str, Any], name: str, metric: str) -> float:
    return run["networks"][name][metric]
