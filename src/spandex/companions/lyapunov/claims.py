"""The paper's claims, judged by the differences of variants of the same seed.

Errors count as equal up to ``EQUAL_PERCENT`` of the RMSE, and up to ``EQUAL_POINTS`` of accuracy: two standard errors
of a share of 0.4 of 2,000 test images. Both were set when single seeds had been tried, and not changed after.
"""

from collections.abc import Callable, Mapping
from math import log
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spandex.companions.lyapunov.variants import ACTIVITY, KINDS, PRUNED, RANDOM_PEER, VARIANTS
from spandex.companions.results import Runs, error_bars, over_seeds, percent_change, shown
from spandex.metrics.bootstrap import Interval
from spandex.params.companions.lyapunov import Lyapunov
from spandex.report.claims import Finding, Verdict, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.tabular import Table

EQUAL_PERCENT = 10.0  # of an RMSE
EQUAL_POINTS = 2.0  # of an accuracy
TASKS = {"lorenz63": "Lorenz63 prediction", "cifar10": "CIFAR-10"}
OURS = f"{PRUNED}, heterogeneous"
SIZES = {"neurons": "neurons", "synapses": "synapses", "operations": "SOPs a step"}
COURSE = {
    "neurons": "neurons",
    "synapses": "synapses",
    "operations": "SOPs a step, on noise",
    "exponent": "largest exponent (1/step)",
    "distance": "spectrum's distance to the dense one (1/step)",
    "localisation": "inverse participation ratio x neurons",
    "time_constant": "mean time constant (steps)",
}


def findings(runs: Mapping[str, Runs], settings: Lyapunov) -> list[Finding]:
    """Every claim, on each task."""
    return [
        _several_tasks(runs),
        *(_against_activity(runs[name], name) for name in TASKS),
        *(_heterogeneity(runs[name], name) for name in TASKS),
    ]


def tables(runs: Mapping[str, Runs]) -> list[Table]:
    """Results of each task, and the course of pruning."""
    return [_lorenz_table(runs["lorenz63"]), _cifar_table(runs["cifar10"]), _course_table(runs["lorenz63"])]


def figures(runs: Mapping[str, Runs], folder: Path) -> list[Path]:
    """The course of pruning, and all variants by operations and error."""
    with matplotlib.rc_context(STYLE):
        return [
            *save_figure(_course_figure(runs["lorenz63"]), folder / "iterations"),
            *save_figure(_variants_figure(runs), folder / "variants"),
        ]


def _several_tasks(runs: Mapping[str, Runs]) -> Finding:
    rmse = _percent(runs["lorenz63"], OURS, "dense, heterogeneous", "rmse")
    points = _accuracy_change(runs["cifar10"], OURS, "dense, heterogeneous")
    same = _networks(runs["lorenz63"]) == _networks(runs["cifar10"])
    verdict, reason = _both(judge(rmse, high=EQUAL_PERCENT, of="seeds"), judge(points, low=-EQUAL_POINTS, of="seeds"))
    if not same:
        verdict, reason = Verdict.NOT_TESTABLE, "the tasks were not given the same pruned networks"
    return Finding(
        "One network, pruned before training and without a task, serves several tasks",
        "prediction and classification about as good as the dense network's",
        f"against the dense network: RMSE on Lorenz63 {shown(rmse, 1, '%', signed=True)}, "
        f"accuracy on CIFAR-10 {shown(points, 1, 'points', signed=True)}",
        f"for the same pruned network the interval of the RMSE's change lies below {EQUAL_PERCENT:g} % "
        f"and that of the accuracy's above -{EQUAL_POINTS:g} points",
        verdict,
        reason,
    )


def _against_activity(runs: Runs, task: str) -> Finding:
    other = f"{ACTIVITY}, heterogeneous"
    operations = _percent(runs, OURS, other, "operations")
    equal, how, rule = _no_worse(runs, task, other)
    verdict, reason = _both(judge(operations, high=0.0, of="seeds"), equal)
    return Finding(
        f"{TASKS[task]}: fewer synaptic operations than activity pruning at equal or better error",
        "fewer SOPs and a lower error",
        f"SOPs {shown(operations, 1, '%', signed=True)}, {how}",
        f"the interval of the change of SOPs lies below 0 % and {rule}",
        verdict,
        reason,
    )


def _heterogeneity(runs: Runs, task: str) -> Finding:
    other = f"{PRUNED}, homogeneous"
    if task == "lorenz63":
        change, unit, better, limits = _percent(runs, OURS, other, "rmse"), "%", "below 0 %", {"high": 0.0}
        what = "RMSE"
    else:
        change, unit, better, limits = _accuracy_change(runs, OURS, other), "points", "above 0", {"low": 0.0}
        what = "accuracy"
    return Finding(
        f"{TASKS[task]}: heterogeneous time constants help the pruned network",
        "better than the homogeneous network on every task",
        f"{what} {shown(change, 1, unit, signed=True)} against the pruned homogeneous network",
        f"the interval of the change of {what} lies {better}",
        *judge(change, **limits, of="seeds"),
    )


def _no_worse(runs: Runs, task: str, other: str) -> tuple[tuple[Verdict, str], str, str]:
    """Judged: the pruned network errs no more than another; what was measured; the rule."""
    if task == "lorenz63":
        change = _percent(runs, OURS, other, "rmse")
        rule = f"that of the RMSE lies below {EQUAL_PERCENT:g} %"
        return judge(change, high=EQUAL_PERCENT, of="seeds"), f"RMSE {shown(change, 1, '%', signed=True)}", rule
    change = _accuracy_change(runs, OURS, other)
    rule = f"that of the accuracy lies above -{EQUAL_POINTS:g} points"
    return judge(change, low=-EQUAL_POINTS, of="seeds"), f"accuracy {shown(change, 1, 'points', signed=True)}", rule


def _both(*judged: tuple[Verdict, str]) -> tuple[Verdict, str]:
    """The verdict on a claim of several parts: the worst of them."""
    for verdict in (Verdict.NOT_REPRODUCED, Verdict.NOT_TESTABLE):
        for found, reason in judged:
            if found == verdict:
                return found, reason
    return judged[0]


def _accuracy_change(runs: Runs, one: str, other: str) -> Interval:
    return over_seeds(runs, lambda run: _metric(run, one, "accuracy") - _metric(run, other, "accuracy"))


def _percent(runs: Runs, one: str, other: str, metric: str) -> Interval:
    return percent_change(over_seeds(runs, lambda run: log(_metric(run, one, metric) / _metric(run, other, metric))))


def _metric(run: Mapping[str, Any], variant: str, metric: str) -> float:
    return run["variants"][variant][metric]


def _networks(runs: Runs) -> list[tuple[int, int]]:
    """Which pruned network each seed had."""
    return [(run["seed"], run["network"]["heterogeneous"]) for run in runs]


def _lorenz_table(runs: Runs) -> Table:
    metrics = SIZES | {"rmse": "RMSE (SD)", "valid_time": "valid prediction time (Lyapunov times)"}
    persistence = over_seeds(runs, lambda run: _metric(run, OURS, "persistence_rmse")).mean
    caption = f"Prediction of Lorenz63; the present state as prediction has an RMSE of {persistence:.2f} SD"
    return Table("lorenz63", caption, ["network", *metrics.values()], _rows(runs, metrics))


def _cifar_table(runs: Runs) -> Table:
    metrics = SIZES | {"accuracy": "accuracy (%)"}
    return Table("cifar10", "Classification of CIFAR-10", ["network", *metrics.values()], _rows(runs, metrics))


def _rows(runs: Runs, metrics: Mapping[str, str]) -> list[list[Any]]:
    return [[variant, *(_cell(runs, _of(variant, metric)) for metric in metrics)] for variant in VARIANTS]


def _course_table(runs: Runs) -> Table:
    rows = [
        [
            f"{kind}, {'unpruned' if not iteration else f'iteration {iteration}'}",
            *(_cell(runs, _at(kind, iteration, metric)) for metric in COURSE),
        ]
        for kind in KINDS
        for iteration in range(_iterations(runs))
    ]
    return Table("iterations", "The network over the iterations of pruning", ["network", *COURSE.values()], rows)


def _cell(runs: Runs, value: Callable[[Mapping[str, Any]], float]) -> float | Interval:
    """An interval, or the number alone if all seeds agree."""
    found = over_seeds(runs, value)
    return found.mean if found.low == found.high else found


def _of(variant: str, metric: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda run: _metric(run, variant, metric)


def _at(kind: str, iteration: int, metric: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda run: run["iterations"][kind][iteration][metric]


def _iterations(runs: Runs) -> int:
    return len(runs[0]["iterations"]["heterogeneous"])


def _course_figure(runs: Runs) -> Figure:
    shown_metrics = ["neurons", "synapses", "operations", "exponent"]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(shown_metrics)), shown_metrics, strict=True):
        iterations = list(range(_iterations(runs)))
        for kind in KINDS:
            means = [over_seeds(runs, _at(kind, iteration, metric)).mean for iteration in iterations]
            axes.plot(iterations, means, marker=".", label=kind)
        axes.set(xlabel="iteration", ylabel=COURSE[metric], xticks=iterations)
        if metric != "exponent":
            axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _variants_figure(runs: Mapping[str, Runs]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    markers = dict(zip(("dense", PRUNED, ACTIVITY, RANDOM_PEER), "osD^", strict=True))
    metrics = {"lorenz63": ("rmse", "RMSE (SD)"), "cifar10": ("accuracy", "accuracy (%)")}
    for axes, (task, (metric, label)) in zip(figure.subplots(1, 2), metrics.items(), strict=True):
        for variant in VARIANTS:
            way, kind = variant.split(", ")
            operations, quality = (over_seeds(runs[task], _of(variant, name)) for name in ("operations", metric))
            axes.errorbar(
                operations.mean,
                quality.mean,
                yerr=error_bars([quality]),
                marker=markers[way],
                fillstyle="full" if kind == "heterogeneous" else "none",
                color=f"C{list(markers).index(way)}",
                linestyle="none",
                capsize=2,
                label=variant,
            )
        axes.set(title=TASKS[task], xlabel="synaptic operations a step", ylabel=label, xscale="log")
    axes.legend(fontsize=7)
    return figure
