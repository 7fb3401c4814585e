"""What the paper claims, and what became of it.

A network is used at the last of the numbers of steps. Of each psi (and of all) the chosen network is, on validation
images, the one with the fewest SynOps among those whose spiking accuracy is at most ``TOLERANCE`` below that of the
unregularised one; where there is none, it is the unregularised one. All else is of test images.

The margins are older than any result. After a first look at some seeds the strengths were spread further, the rule for
L0.01 was made to hold against each of the others, and a psi whose mildest strength loses too much is not compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from spandex.companions.results import Runs, over_seeds, shown
from spandex.metrics.bootstrap import Interval
from spandex.params.companions.activity import Activity
from spandex.report.claims import Finding, Verdict, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.tabular import Table
from spandex.report.wording import number

Run = Mapping[str, Any]

NETWORKS = {"mnist": "MLP on MNIST", "cifar10": "LeNet-5 on CIFAR-10"}
NAMES = {
    "l1": "L1",
    "l2": "L2",
    "l0.5": "L0.5",
    "l0.1": "L0.1",
    "l0.01": "L0.01",
    "hoyer": "Hoyer",
    "hoyer-square": "Hoyer-Square",
}
LP = ("l1", "l0.5", "l0.1")  # the sparsifying ones, without L0.01, which is the subject of a claim of its own
TOLERANCE = 0.01  # of accuracy: about the standard error of a difference on 2000 images of CIFAR-10
LITTLE = 0.02  # of accuracy lost: the tolerance and as much again for choosing on other images
CUT = 0.8  # of the SynOps: a fifth less is more than another number of steps or percentile gives away unnoticed
LIMITED = 1.1  # times the SynOps of Lp
UNCORRELATED = 0.5  # rank correlation: a quarter of the variance of ranks
AGGRESSIVE = 0.01  # of accuracy, mean over all strengths
WORKS = 0.1  # of accuracy: a network that lost more is no point of a correlation, nobody would use it
CHANCE = 0.1
PUBLISHED = "as stated; its tables are not at hand"
LEAST_NETWORKS = 5  # for a rank correlation


def findings(runs: Mapping[str, Runs], settings: Activity) -> list[Finding]:
    """Every claim for each network, with its verdict.

    Args:
        runs: what ``run`` gave, by experiment, one a seed.
        settings: of these runs.
    """
    judges = (_cuts, _little, _hoyer, _uncorrelated, _aggressive)
    return [judged(NETWORKS[name], own, settings) for name, own in runs.items() for judged in judges]


def _cuts(network: str, runs: Runs, settings: Activity) -> Finding:
    share = _ratio(runs, lambda run: log(_synops(chosen(run)) / _synops(run["plain"])))
    return _found(
        runs,
        f"{network}: regularisation cuts the SynOps of the converted network",
        shown(_percent(share), 1, "% of the unregularised network's"),
        f"the interval of the chosen network's share lies below {100 * CUT:g} %",
        share,
        high=CUT,
    )


def _little(network: str, runs: Runs, settings: Activity) -> Finding:
    change = over_seeds(runs, lambda run: _accuracy(chosen(run)) - _accuracy(run["plain"]))
    return _found(
        runs,
        f"{network}: it costs little accuracy",
        shown(_percent(change), 2, "points", signed=True),
        f"the interval of the same network's change of spiking accuracy lies above {number(-100 * LITTLE, 0)} points",
        change,
        low=-LITTLE,
    )


def _hoyer(network: str, runs: Runs, settings: Activity) -> Finding:
    claim = f"{network}: Hoyer has a limited effect beside Lp"
    names = ", ".join(NAMES[psi] for psi in LP)
    rule = (
        f"the interval of its SynOps over the geometric mean of those of {names}, each as chosen, is above {LIMITED:g}"
    )
    if missing := {"hoyer", *LP} - set(settings.psi):
        return _untested(claim, rule, f"{', '.join(sorted(missing))} not among the penalties of these runs")

    if lost := sorted({psi for run in runs for psi in ("hoyer", *LP) if not _mild_enough(run, psi)}):
        reason = f"the mildest strength of {', '.join(NAMES[psi] for psi in lost)} costs a seed more accuracy than that"
        return _untested(claim, rule, reason)

    def of(psi: str) -> Interval:
        return _ratio(
            runs,
            lambda run: (
                log(_synops(chosen(run, psi))) - float(np.mean([log(_synops(chosen(run, other))) for other in LP]))
            ),
        )

    here = shown(of("hoyer"), 2)
    if "hoyer-square" in settings.psi:
        here += f"; Hoyer-Square {shown(of('hoyer-square'), 2)}"
    return _found(runs, claim, here, rule, of("hoyer"), low=LIMITED)


def _uncorrelated(network: str, runs: Runs, settings: Activity) -> Finding:
    claim = f"{network}: EFLOPS and SynOps are not correlated"
    rule = (
        f"the interval of Spearman's rank correlation over the networks that lose at most {100 * WORKS:g} points of "
        f"validation accuracy lies within {number(-UNCORRELATED, 1)} and {UNCORRELATED:g}"
    )
    few = min(len(_working(run)) for run in runs)
    if few < LEAST_NETWORKS:
        return _untested(claim, rule, f"only {few} networks of a seed lose so little; it takes {LEAST_NETWORKS}")
    if any(rank_correlation(run) is None for run in runs):
        return _untested(claim, rule, "all networks of a seed have the same count of one of the two")
    correlation = over_seeds(runs, rank_correlation)
    return _found(runs, claim, shown(correlation, 2), rule, correlation, -UNCORRELATED, UNCORRELATED)


def _aggressive(network: str, runs: Runs, settings: Activity) -> Finding:
    claim = f"{network}: L0.01 is too aggressive"
    names = ", ".join(NAMES[psi] for psi in LP)
    rule = (
        f"the interval of its spiking accuracy minus the lowest of those of {names}, each a mean over all strengths, "
        f"lies below {number(-100 * AGGRESSIVE, 0)} point"
    )
    if missing := {"l0.01", *LP} - set(settings.psi):
        return _untested(claim, rule, f"{', '.join(sorted(missing))} not among the penalties of these runs")

    def mean(run: Run, psi: str) -> float:
        return float(np.mean([_accuracy(variant) for variant in run["variants"] if variant["psi"] == psi]))

    change = over_seeds(runs, lambda run: mean(run, "l0.01") - min(mean(run, psi) for psi in LP))
    here = shown(_percent(change), 2, "points", signed=True)
    return _found(runs, claim, here, rule, change, high=-AGGRESSIVE)


def chosen(run: Run, psi: str | None = None) -> Mapping[str, Any]:
    """The network with the fewest SynOps at little loss of accuracy, of one psi or of all; see the module."""
    fit = [
        variant
        for variant in run["variants"]
        if variant["psi"] in (psi, psi or variant["psi"]) and _loses_little(run, variant)
    ]
    return min([run["plain"], *fit], key=lambda network: network["validation_synops"])


def _loses_little(run: Run, network: Mapping[str, Any]) -> bool:
    return network["validation_spiking_accuracy"] >= run["plain"]["validation_spiking_accuracy"] - TOLERANCE


def _mild_enough(run: Run, psi: str) -> bool:
    """Whether the strengths begin below the loss of accuracy up to which a psi's networks are compared."""
    own = [variant for variant in run["variants"] if variant["psi"] == psi]
    return _loses_little(run, min(own, key=lambda variant: variant["strength"]))


def rank_correlation(run: Run) -> float | None:
    """Spearman's, of effective operations and SynOps, over the networks that work; None if either is constant."""
    working = _working(run)
    pairs = np.array([(network["effective_operations"], _synops(network)) for network in working])
    if (np.ptp(pairs, axis=0) == 0).any():
        return None
    return float(stats.spearmanr(*pairs.T).statistic)


def tables(runs: Mapping[str, Runs]) -> list[Table]:
    """All networks of each experiment, those chosen, and accuracy by the number of steps; means over seeds."""
    return [
        *(_all_table(name, own) for name, own in runs.items()),
        *(_chosen_table(name, own) for name, own in runs.items()),
        *(_steps_table(name, own) for name, own in runs.items()),
    ]


def _all_table(name: str, runs: Runs) -> Table:
    columns: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "lambda": lambda network: network.get("lambda", 0.0),
        "active units (%)": lambda network: 100 * float(np.mean(network["active"])),
        "accuracy (%)": lambda network: 100 * network["accuracy"],
        "spiking accuracy (%)": lambda network: 100 * _accuracy(network),
        "SynOps (k/image)": lambda network: _synops(network) / 1e3,
        "EFLOPS (k/image)": lambda network: network["effective_operations"] / 1e3,
        "product of counts (k/image)": lambda network: network["product_of_counts"] / 1e3,
    }
    rows = [
        [NAMES.get(psi, "none"), same[0].get("strength", 0.0), *(_mean(same, value) for value in columns.values())]
        for psi, networks in _series(runs)
        for same in networks
    ]
    headings = ["psi", "strength", *columns]
    return Table(f"activity_{name}", f"{NETWORKS[name]}: all networks, mean over seeds ({len(runs)})", headings, rows)


def _chosen_table(name: str, runs: Runs) -> Table:
    rows = []
    for psi in _psis(runs):
        share = _ratio(runs, lambda run, psi=psi: log(_synops(chosen(run, psi)) / _synops(run["plain"])))
        change = over_seeds(runs, lambda run, psi=psi: _accuracy(chosen(run, psi)) - _accuracy(run["plain"]))
        effective = _ratio(
            runs,
            lambda run, psi=psi: log(chosen(run, psi)["effective_operations"] / run["plain"]["effective_operations"]),
        )
        rows.append([NAMES[psi], *map(_percent, (share, effective, change))])
    headings = ("psi", "SynOps (% of plain)", "EFLOPS (% of plain)", "change of spiking accuracy (points)")
    caption = (
        f"{NETWORKS[name]}: of each psi the network with the fewest SynOps at most {100 * TOLERANCE:g} point of "
        "validation accuracy below the unregularised one"
    )
    return Table(f"activity_{name}_chosen", caption, headings, rows)


def _steps_table(name: str, runs: Runs) -> Table:
    rows = []
    for place, step in enumerate(runs[0]["steps"]):
        row: list[Any] = [str(step)]
        for network in (lambda run: run["plain"], chosen):
            row.append(float(np.mean([100 * network(run)["spiking_accuracy"][place] for run in runs])))
            row.append(float(np.mean([network(run)["synops"][place] / 1e3 for run in runs])))
        rows.append(row)
    headings = (
        "steps T",
        "spiking accuracy (%), unregularised",
        "SynOps (k/image), unregularised",
        "spiking accuracy (%), chosen",
        "SynOps (k/image), chosen",
    )
    caption = f"{NETWORKS[name]}: the converted network over the number of steps, mean over seeds ({len(runs)})"
    return Table(f"activity_{name}_steps", caption, headings, rows)


def figures(runs: Mapping[str, Runs], folder: Path) -> list[Path]:
    """Accuracy over SynOps, accuracy over steps, and SynOps over EFLOPS; a panel an experiment, means over seeds."""
    return [
        *_figure(runs, folder / "activity_plane", _plane),
        *_figure(runs, folder / "activity_steps", _by_steps),
        *_figure(runs, folder / "activity_operations", _operations),
    ]


def _figure(runs: Mapping[str, Runs], path: Path, draw: Callable[[Any, Runs], None]) -> list[Path]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1 + 4 * len(runs), 3.4), layout="constrained")
        panels = figure.subplots(1, len(runs), squeeze=False)[0]
        for axes, (name, own) in zip(panels, runs.items(), strict=True):
            axes.set_title(NETWORKS[name])
            draw(axes, own)
        panels[-1].legend(fontsize=7)
        return save_figure(figure, path)


def _plane(axes: Any, runs: Runs) -> None:
    axes.set(xlabel="SynOps of an image", ylabel="spiking accuracy (%)", xscale="log")
    _plot_all(axes, runs, _synops, lambda network: 100 * _accuracy(network))


def _operations(axes: Any, runs: Runs) -> None:
    axes.set(xlabel="EFLOPS of an image", ylabel="SynOps of an image", xscale="log", yscale="log")
    _plot_all(axes, runs, lambda network: network["effective_operations"], _synops)


def _plot_all(axes: Any, runs: Runs, *values: Callable[[Mapping[str, Any]], float]) -> None:
    for psi, networks in _series(runs):
        x, y = ([_mean(same, value) for same in networks] for value in values)
        axes.plot(x, y, marker="." if psi else "*", color=None if psi else "black", label=NAMES.get(psi, "none"))


def _by_steps(axes: Any, runs: Runs) -> None:
    axes.set(xlabel="steps T", ylabel="accuracy (%), of ReLUs dashed", xscale="log")
    steps = runs[0]["steps"]
    for label, network in (("none", lambda run: run["plain"]), ("chosen", chosen)):
        networks = [network(run) for run in runs]
        (line,) = axes.plot(
            steps, 100 * np.mean([found["spiking_accuracy"] for found in networks], axis=0), marker=".", label=label
        )
        axes.axhline(100 * _mean(networks, lambda n: n["accuracy"]), color=line.get_color(), linestyle="--")


def _series(runs: Runs) -> list[tuple[str, list[list[Mapping[str, Any]]]]]:
    """By psi, for each strength the networks of all seeds; the unregularised one, "", first."""
    series = [("", [[run["plain"] for run in runs]])]
    for psi in _psis(runs):
        own = [[variant for variant in run["variants"] if variant["psi"] == psi] for run in runs]
        series.append((psi, [list(same) for same in zip(*own, strict=True)]))
    return series


def _psis(runs: Runs) -> list[str]:
    return list(dict.fromkeys(variant["psi"] for variant in runs[0]["variants"]))


def _working(run: Run) -> list[Mapping[str, Any]]:
    least = run["plain"]["validation_spiking_accuracy"] - WORKS
    return [n for n in [run["plain"], *run["variants"]] if n["validation_spiking_accuracy"] >= least]


def _mean(networks: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]) -> float:
    return float(np.mean([value(network) for network in networks]))


def _synops(network: Mapping[str, Any]) -> float:
    return max(network["synops"][-1], 1.0)  # of a network that is silent, so that it has a logarithm


def _accuracy(network: Mapping[str, Any]) -> float:
    return network["spiking_accuracy"][-1]


def _ratio(runs: Runs, log_ratio: Callable[[Run], float]) -> Interval:
    """Geometric mean over the seeds and its interval, from that of the logarithm."""
    return Interval(*map(exp, over_seeds(runs, log_ratio)))


def _percent(interval: Interval) -> Interval:
    return Interval(*(100 * bound for bound in interval))


def _untested(claim: str, rule: str, reason: str) -> Finding:
    return Finding(claim, PUBLISHED, "", rule, Verdict.NOT_TESTABLE, reason)


def _found(
    runs: Runs, claim: str, here: str, rule: str, measured: Interval, low: float = -math.inf, high: float = math.inf
) -> Finding:
    verdict = judge(measured, low, high, of="seeds")
    if np.mean([_accuracy(run["plain"]) for run in runs]) < 2 * CHANCE:
        verdict = Verdict.NOT_TESTABLE, "the unregularised network has learnt too little"
    return Finding(claim, PUBLISHED, here, rule, *verdict)
