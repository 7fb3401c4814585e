"""What the write-up says of its earlier experiment, judged by the runs."""

from collections.abc import Mapping, Sequence
from math import log
from operator import itemgetter
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spandex.companions.results import Runs, over_seeds, percent_change, shown
from spandex.companions.vgg import PRUNED
from spandex.metrics.bootstrap import Interval
from spandex.params.companions.vgg import Vgg
from spandex.report.claims import Finding, Verdict, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.tabular import Table

PUBLISHED = "no number at hand"
POINTS = 3.0  # of accuracy: Shi et al. 2024 call 2.19 points a small loss for a network with 0.6 % of its connections
ROUNDING = 0.05  # % of sparsity: the count of weights is rounded in each layer
FAN_OUT = 10.0  # % that may be left: weights differ in how many positions use them, so twice the weights that are left
SYNOPS = 20.0  # % that may be left: the neurons that stay may spike more, so twice the fan-out


def findings(runs: Mapping[str, Runs], settings: Vgg) -> list[Finding]:
    """That the network becomes sparse at little loss, and that this shows in what its spikes cause."""
    there = runs["cifar10"]
    target = 100 * settings.sparsity
    sparsity = over_seeds(there, lambda run: 100 * _of(run, PRUNED)["deployed_sparsity"])
    change = over_seeds(there, lambda run: 100 * (_of(run, PRUNED)["accuracy"] - _of(run, "dense")["accuracy"]))
    spread = _left(there, _per_spike)
    operations = _left(there, itemgetter("synops"))
    pruned = [_of(run, PRUNED) for run in there]
    spikes = [variant["output_spikes"] for variant in pruned]
    differing = sum(variant["differing_images"] for variant in pruned)
    return [
        Finding(
            f"Iterative unstructured and structured pruning reaches {target:g} % synaptic sparsity",
            f"toward {target:g} %",
            shown(sparsity, 2, "%"),
            f"the interval of the share of weights that the file lacks lies above {target - ROUNDING:g} %",
            *judge(sparsity, low=target - ROUNDING, of="seeds"),
        ),
        Finding(
            "The pruned network classifies about as well as the dense one, trained equally long",
            PUBLISHED,
            shown(change, 2, "points", signed=True),
            f"the interval of the change of accuracy lies above -{POINTS:g} points",
            *judge(change, low=-POINTS, of="seeds"),
        ),
        Finding(
            "Pruning cuts the fan-out, the synapses that a spike reaches",
            PUBLISHED,
            f"{shown(spread, 1, '%')} of the dense network's",
            f"the interval of the share that is left lies below {FAN_OUT:g} %",
            *judge(spread, high=FAN_OUT, of="seeds"),
        ),
        Finding(
            "Pruning cuts the synaptic operations of an image",
            PUBLISHED,
            f"{shown(operations, 1, '%')} of the dense network's",
            f"the interval of the share that is left lies below {SYNOPS:g} %",
            *judge(operations, high=SYNOPS, of="seeds"),
        ),
        Finding(
            "The pruned network runs in Lava through netx, with sparse synapses, as it does in lava-dl",
            "exported to netx",
            f"{sum(spikes):,} output spikes for all test images, of which Lava ran {settings.lava_images} a seed: "
            + (f"those of {differing:,} images differ" if differing else "all the same"),
            "no output spike of any test image differs, and every seed's network has some",
            *_same_spikes(differing, spikes),
        ),
    ]


def _same_spikes(differing: int, spikes: Sequence[int]) -> tuple[Verdict, str]:
    """No sample of a distribution: one difference is enough to refute it."""
    if differing:
        return Verdict.NOT_REPRODUCED, "an image's output differs"
    if not all(spikes):
        return Verdict.NOT_TESTABLE, "a network has no output spike"
    return Verdict.REPRODUCED, "spike by spike the same"


def tables(runs: Mapping[str, Runs]) -> list[Table]:
    """Every variant, and the fan-out of each layer."""
    there = runs["cifar10"]
    names = list(there[0]["variants"])

    def over(name: str, value: Any) -> Interval:
        return over_seeds(there, lambda run: value(_of(run, name)))

    columns = {
        "weights gone (%)": lambda variant: 100 * variant["deployed_sparsity"],
        "accuracy (%)": lambda variant: 100 * variant["accuracy"],
        "accuracy in fixed point (%)": lambda variant: 100 * variant["fixed_point_accuracy"],
        "neurons": itemgetter("neurons"),
        "spikes an image": itemgetter("spikes"),
        "fan-out of a spike": _per_spike,
        "SynOps an image": itemgetter("synops"),
        "synapses of dense layers in Lava": itemgetter("dense_synapses"),
    }
    variants = [[name, *(over(name, value) for value in columns.values())] for name in names]
    caption = "Networks pruned in rounds with retraining, and the dense one trained as long"
    layers = [
        [f"{layer + 1}", name, *(over(name, lambda v, k=kind, n=layer: v["layers"][k][n]) for kind in KINDS)]
        for layer in range(len(there[0]["variants"][names[0]]["layers"]["spikes"]))
        for name in names
    ]
    return [
        Table("variants", caption, ["pruned", *columns], variants),
        Table("layers", "Fan-out and traffic by layer with synapses", ["layer", "pruned", *KINDS.values()], layers),
    ]


KINDS = {
    "fan_out": "fan-out of a neuron",
    "held": "with whole kernels, as Lava holds them",
    "spikes": "spikes an image",
    "operations": "SynOps an image",
}


def figures(runs: Mapping[str, Runs], folder: Path) -> list[Path]:
    """Fan-out of a neuron by layer, before and after; means over seeds."""
    (_, layers) = tables(runs)
    names = list(dict.fromkeys(row[1] for row in layers.rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot(xlabel="layer", ylabel="fan-out of a neuron", yscale="symlog")
        for place, name in enumerate(names):
            rows = [row for row in layers.rows if row[1] == name]
            width = 0.8 / len(names)
            axes.bar(
                [layer + (place - (len(names) - 1) / 2) * width for layer in range(len(rows))],
                [row[2].mean for row in rows],
                width,
                label=name,
            )
        axes.set_xticks(range(len(rows)), [row[0] for row in rows])
        axes.legend(ncols=len(names), loc="lower center", bbox_to_anchor=(0.5, 1))
        return save_figure(figure, folder / "fan_out")


def _of(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return run["variants"][name]


def _per_spike(variant: Mapping[str, Any]) -> float:
    return variant["synops"] / variant["spikes"]


def _left(there: Runs, value: Any) -> Interval:
    """What the pruned network has of a value, in percent of the dense one; the mean is geometric."""
    ratio = over_seeds(there, lambda run: log(value(_of(run, PRUNED)) / value(_of(run, "dense"))))
    return Interval(*(100 + change for change in percent_change(ratio)))
