"""What Shi et al. claim, judged by our runs.

The rules follow from these reasons, not from results:

- The published numbers are those of one network of 256 channels. Its redundancy is what is pruned, so that they are
  judged on networks of that size only; from others the interval is shown. Margins: a tenth of a count or ratio, as for
  SPANDEX's own counts, and 0.5 points of accuracy, half of the 95 % interval of one network on 10,000 images.
- Two methods are compared at equal accuracy: for every network of the first, with the fewest operations by which the
  other would reach the same accuracy, on straight lines (accuracy against the logarithm of operations) between those of
  its networks, the dense one included, that are more accurate than all with fewer operations. Above its best accuracy
  the other is taken at its best, which is in its favour; below its worst there is a comparison only if the other has
  fewer operations there, too. The mean over the networks of a seed is one sample, every seed must have one, and fewer
  operations means that the whole interval of the ratio is below 1.

Sizes and lambdas were chosen on runs of single seeds with the test images, and lambdas made as many for each search
after a first look at three seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from spandex.companions.results import Runs, over_seeds, shown
from spandex.metrics.bootstrap import Interval
from spandex.params.companions.masks import Masks
from spandex.report.claims import Finding, Verdict, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.tabular import Table

LABELS = {
    "dense": "dense",
    "both": "weights and neurons searched",
    "weights": "weights searched",
    "neurons": "neurons searched",
    "magnitude": "weights by magnitude",
}
PAPERS_SIZE = {
    "width": 256,
    "convolutions": 3,
    "image_px": 32,
    "steps": 8,
    "train_images": 50000,
    "search_epochs": 800,
    "finetune_epochs": 200,
}
CONNECTIONS_PERCENT, GAIN, MILLION_SOPS, LOST_POINTS = 0.63, 91.0, 8.5, 2.19  # abstract of the paper
COUNT_MARGIN = 0.1
ACCURACY_MARGIN_POINTS = 0.5

Network = Mapping[str, float]  # what ``measure`` of the experiment gave
Value = Callable[[Mapping[str, Any], Network], float]  # of a run and one of its networks


def findings(runs: Mapping[str, Runs], settings: Masks) -> list[Finding]:
    """Every claim with its verdict."""
    return [*_published(runs["cifar10"], settings), *_comparisons(runs["cifar10"])]


def tables(runs: Mapping[str, Runs]) -> list[Table]:
    """Every variant, means over seeds with their intervals."""
    columns: dict[str, Value] = {
        "accuracy (%)": lambda run, network: 100 * network["accuracy"],
        "connections (%)": lambda run, network: network["connections_percent"],
        "weights (%)": lambda run, network: network["weights_percent"],
        "neurons (%)": lambda run, network: network["neurons_percent"],
        "SOPs (thousand an image)": lambda run, network: network["sops"] / 1e3,
        "energy (nJ an image)": lambda run, network: network["energy_nj"],
        "gain (times)": _gain,
    }
    rows = [
        [label, _setting(network), *(_over(runs["cifar10"], name, i, value) for value in columns.values())]
        for name, label in LABELS.items()
        for i, network in enumerate(_networks(runs["cifar10"][0], name))
    ]
    return [Table("cifar10", "Pruned spiking networks on CIFAR-10", ["pruned", "setting", *columns], rows)]


def figures(runs: Mapping[str, Runs], folder: Path) -> list[Path]:
    """Accuracy against synaptic operations, one line a method."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.add_subplot(xlabel="SOPs an image", ylabel="accuracy (%)", xscale="log")
        for marker, (name, label) in zip("*osd^", LABELS.items(), strict=True):
            networks = range(len(_networks(runs["cifar10"][0], name)))
            sops, accuracy = (
                [_over(runs["cifar10"], name, i, lambda run, network, key=key: network[key]).mean for i in networks]
                for key in ("sops", "accuracy")
            )
            axes.plot(sops, [100 * value for value in accuracy], marker=marker, label=label)
        axes.legend()
        return save_figure(figure, folder / "cifar10")


def equal_accuracy(one: Sequence[Network], other: Sequence[Network]) -> float | None:
    """Mean logarithm of the ratio of operations of ``one`` method to an ``other`` at the same accuracy.

    Args:
        one: networks, with accuracy and sops.
        other: networks with which the same accuracy is looked for; see the module for how.

    Returns:
        None if all of ``one`` are less accurate than all of ``other``, with fewer operations.
    """
    frontier: list[Network] = []
    for network in sorted(other, key=lambda network: (network["sops"], -network["accuracy"])):
        if not frontier or network["accuracy"] > frontier[-1]["accuracy"]:
            frontier.append(network)
    accuracies = [network["accuracy"] for network in frontier]
    logs = [_log_sops(network) for network in frontier]
    ratios = [
        _log_sops(network) - float(np.interp(network["accuracy"], accuracies, logs))
        for network in one
        if network["accuracy"] >= accuracies[0] or _log_sops(network) > logs[0]
    ]
    return float(np.mean(ratios)) if ratios else None


def _published(runs: Runs, settings: Masks) -> Iterator[Finding]:
    """The paper's headline, by the search whose share of connections is nearest to it."""
    differ = [
        f"{key} {getattr(settings, key)} instead of {size}"
        for key, size in PAPERS_SIZE.items()
        if getattr(settings, key) != size
    ]
    left = [_over(runs, "both", i, _connections).mean for i in range(len(runs[0]["both"]))]
    nearest = min(range(len(left)), key=lambda i: abs(log(max(left[i], 1e-9) / CONNECTIONS_PERCENT)))
    below, above, worse = 1 + COUNT_MARGIN, 1 - COUNT_MARGIN, 1 + ACCURACY_MARGIN_POINTS / LOST_POINTS
    claims = [  # claim, what is measured, published, unit, decimals, accepted range
        ("Search leaves {} of the connections", _connections, CONNECTIONS_PERCENT, "%", 2, {"high": below}),
        ("What is left is {} as energy-efficient as the dense network", _gain, GAIN, "times", 1, {"low": above}),
        ("It does {} operations for an image", _million_sops, MILLION_SOPS, "million", 2, {"high": below}),
        ("It loses {} of accuracy against the dense network", _lost_points, LOST_POINTS, "points", 2, {"high": worse}),
    ]
    for claim, value, number, unit, decimals, accepted in claims:
        measured = _over(runs, "both", nearest, value)
        bounds = {side: number * factor for side, factor in accepted.items()}
        verdict = judge(measured, **bounds, of="seeds")
        if differ:
            verdict = Verdict.NOT_TESTABLE, f"another network than the paper's: {', '.join(differ)}"
        side, bound = next(iter(bounds.items()))
        rule = f"the interval lies {'below' if side == 'high' else 'above'} {bound:.{decimals}f} {unit}"
        published = f"{number:g} {unit}"
        yield Finding(claim.format(published), published, shown(measured, decimals, unit), rule, *verdict)


def _comparisons(runs: Runs) -> Iterator[Finding]:
    claims = {
        "magnitude": "At equal accuracy the search needs fewer synaptic operations than magnitude pruning of weights",
        "weights": "At equal accuracy, weights and neurons searched together need fewer than weights alone",
        "neurons": "At equal accuracy, weights and neurons searched together need fewer than neurons alone",
    }
    for other, claim in claims.items():
        ratios = [equal_accuracy(run["both"], [run["dense"], *run[other]]) for run in runs]
        here, verdict = "", Verdict.NOT_TESTABLE
        reason = "in a seed all networks of the search are less accurate than those they are compared with"
        if None not in ratios:
            measured = over_seeds(ratios, lambda ratio: ratio)
            here = shown(Interval(*map(exp, measured)), 2, "times")
            verdict, reason = judge(measured, high=0.0, of="seeds")
        rule = "the interval of the ratio of operations at equal accuracy lies below 1"
        yield Finding(claim, "fewer", here, rule, verdict, reason)


def _networks(run: Mapping[str, Any], name: str) -> Sequence[Network]:
    return [run[name]] if name == "dense" else run[name]


def _over(runs: Runs, name: str, i: int, value: Value) -> Interval:
    return over_seeds(runs, lambda run: value(run, _networks(run, name)[i]))


def _connections(run: Mapping[str, Any], network: Network) -> float:
    return network["connections_percent"]


def _gain(run: Mapping[str, Any], network: Network) -> float:
    """How often the operations of a network go into those of the dense one; energy is proportional to them."""
    return run["dense"]["sops"] / max(network["sops"], 1.0)


def _million_sops(run: Mapping[str, Any], network: Network) -> float:
    return network["sops"] / 1e6


def _lost_points(run: Mapping[str, Any], network: Network) -> float:
    return 100 * (run["dense"]["accuracy"] - network["accuracy"])


def _log_sops(network: Network) -> float:
    return log(max(network["sops"], 1.0))  # a silent network does none


def _setting(network: Network) -> str:
    if "lambda" in network:
        return f"lambda {network['lambda']:g}"
    return f"{100 * network['target']:g} % of the weights" if "target" in network else ""
