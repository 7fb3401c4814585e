"""The page's charts, for plotly: what is drawn, and the same in words.

Colours are left to the page, which has a palette for light and one for dark: every trace names its ``series``, the
place of its network among all ``names`` of the page. Series differ in dash, marker and hatching too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import plotly.graph_objects as go

from spandex.metrics.bootstrap import Interval
from spandex.report.figures import KneePoint
from spandex.report.layers import LayerWeights, histograms
from spandex.report.looks import DASHES, PATTERNS, SYMBOLS, choice
from spandex.report.wording import interval, number

Log = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        key: of the element that holds it.
        title: heading.
        summary: what it shows, in words.
        figure: data and layout as plotly's JSON.
    """

    key: str
    title: str
    summary: str
    figure: dict[str, Any]


def sparsity_chart(logs: Mapping[str, Log], names: Sequence[str]) -> Chart:
    """Figure 1: sparsity of the float weights over training iterations.

    Args:
        logs: by network, rows of log.csv.
        names: of all networks.
    """
    traces, words = [], []
    for name, rows in logs.items():
        iterations, values = _columns(rows, "iteration", "sparsity")
        values = [100 * value for value in values]
        traces.append(_line(name, iterations, values, names, shape="hv"))
        if values:
            reached = next(i for i, value in zip(iterations, values, strict=True) if value == values[-1])
            words.append(f"{name} ends at {number(values[-1], 1)} %, reached at iteration {number(reached, 0)}")
    figure = new_figure(traces, "iteration", "sparsity (%)")
    figure.update_yaxes(range=[-2, 102])
    return new_chart("figure1", "Sparsity while training", sentence(words), figure)


def learning_charts(epochs: Mapping[str, Log], names: Sequence[str]) -> list[Chart]:
    """Training loss and validation SI-SNR over iterations.

    Args:
        epochs: by network, rows of epochs.csv; a network without any was not trained.
        names: of all networks.
    """
    charts = []
    for key, column, title, axis in (
        ("loss", "train_loss", "Training loss", "training loss"),
        ("validation", "validation_si_snr_db", "Validation SI-SNR", "validation SI-SNR (dB)"),
    ):
        traces, words = [], []
        for name, rows in epochs.items():
            iterations, values = _columns(rows, "iteration", column)
            if values:
                traces.append(_line(name, iterations, values, names, markers=True))
                words.append(f"{name} from {number(values[0], 2)} to {number(values[-1], 2)}")
        charts.append(new_chart(key, title, sentence(words), new_figure(traces, "iteration", axis)))
    return charts


def layer_charts(layers: Mapping[str, Sequence[LayerWeights]], metrics: Mapping[str, Mapping[str, Any]]) -> list[Chart]:
    """Deployed sparsity, synaptic operations and events by layer.

    Args:
        layers: by network.
        metrics: scores of all networks; of those, with ``deployed_layer_synops_per_step`` and ``events_per_step``.
    """
    ticks = [f"layer {layer.name}" for layer in max(layers.values(), key=len)]
    deployed_sparsity = {name: [100 * layer.deployed_sparsity for layer in found] for name, found in layers.items()}
    synops = {name: [value / 1e3 for value in metrics[name]["deployed_layer_synops_per_step"]] for name in layers}
    events = {name: metrics[name]["events_per_step"] for name in layers}
    bars = partial(_bars, names=list(metrics), ticks=ticks)
    return [
        bars("deployed_sparsity", "Deployed sparsity by layer", "zero weights (%)", deployed_sparsity, "%"),
        bars("synops", "Deployed synaptic operations by layer", "thousand SynOps a step", synops, "thousand"),
        bars("events", "Events that enter a layer", "events a step", events, "events"),
    ]


def weight_charts(layers: Mapping[str, Sequence[LayerWeights]], names: Sequence[str]) -> list[Chart]:
    """Histogram of the non-zero weights of every layer, as the integers that Lava holds; ``names`` of all networks."""
    charts = []
    for place in range(max(map(len, layers.values()))):
        here = {name: found[place] for name, found in layers.items() if place < len(found)}
        centres, counts = histograms(list(here.values()))
        traces, words = [], []
        for (name, layer), count in zip(here.items(), counts, strict=True):
            drawn = [value or None for value in count.tolist()]  # a logarithm has no place for 0
            traces.append(_line(name, centres.tolist(), drawn, names, shape="hvh"))
            words.append(f"{name} keeps {number(layer.kept.size, 0)} of {number(layer.weights, 0)} weights")
        figure = new_figure(traces, "weight (Lava's integer)", "weights in a bin")
        figure.update_yaxes(type="log", dtick=1)
        charts.append(new_chart(f"weights{place + 1}", f"Weights of layer {place + 1}", sentence(words), figure))
    return charts


def knee_charts(points: Sequence[KneePoint]) -> list[Chart]:
    """SI-SNR against the control, and deployed power proxy, over sparsity; from the ablation."""
    sparsity = [100 * point.sparsity for point in points]
    bands = [point.interval_db for point in points]
    quality = [
        go.Scatter(
            x=sparsity + sparsity[::-1],
            y=[high for _, high in bands] + [low for low, _ in bands[::-1]],
            fill="toself",
            mode="lines",
            line={"width": 0},
            name="95 % interval",
            hoverinfo="skip",
            meta={"series": 1},
        ),
        _line("mean", sparsity, [point.change_db for point in points], ["", "mean"], markers=True),
    ]
    power = [_line("power proxy", sparsity, [p.power_mops_per_s for p in points], ["", "power proxy"], markers=True)]
    pairs = list(zip(points, bands, strict=True))
    words = [
        f"{number(100 * p.sparsity, 1)} %: {interval(Interval(p.change_db, *band), 2, 'dB', signed=True)}"
        for p, band in pairs
    ]
    costs = [f"{number(100 * p.sparsity, 1)} %: {number(p.power_mops_per_s, 2)} M-Ops/s" for p in points]
    figure = new_figure(power, "sparsity (%)", "deployed power proxy (M-Ops/s)")
    figure.update_yaxes(rangemode="tozero")
    return [
        new_chart("knee", "SI-SNR over sparsity", sentence(words), new_figure(quality, "sparsity (%)", "change (dB)")),
        new_chart("knee_power", "Deployed power proxy over sparsity", sentence(costs), figure),
    ]


def _bars(
    key: str,
    title: str,
    axis: str,
    values: Mapping[str, Sequence[float]],
    unit: str,
    names: Sequence[str],
    ticks: Sequence[str],
) -> Chart:
    traces = [
        go.Bar(
            x=list(ticks),
            y=list(found),
            name=name,
            marker={"pattern": {"shape": choice(PATTERNS, name, names), "solidity": 0.25}},
            hovertemplate=f"{name}, %{{x}}: %{{y:.1f}} {unit}<extra></extra>",
            meta={"series": names.index(name)},
        )
        for name, found in values.items()
    ]
    words = [f"{name} {', '.join(number(v, 1) for v in found)} {unit}" for name, found in values.items()]
    figure = new_figure(traces, "", axis)
    figure.update_layout(barmode="group", bargap=0.25)
    return new_chart(key, title, sentence(words), figure)


def _line(
    name: str, x: Sequence[float], y: Sequence[float | None], names: Sequence[str], shape="linear", markers=False
) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=name,
        mode="lines+markers" if markers else "lines",
        line={"shape": shape, "width": 2, "dash": choice(DASHES, name, names)},
        marker={"symbol": choice(SYMBOLS, name, names), "size": 7},
        meta={"series": list(names).index(name)},
    )


def new_figure(traces: Sequence[Any], x: str, y: str) -> go.Figure:
    """Lines, bars or points over two axes, with a legend above."""
    figure = go.Figure(list(traces), layout={"template": "none", "xaxis_title": x, "yaxis_title": y})
    return figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})


def new_chart(key: str, title: str, summary: str, figure: go.Figure) -> Chart:
    """A chart of a figure."""
    content = figure.to_plotly_json()
    content["layout"].pop("template", None)
    return Chart(key, title, summary, content)


def _columns(rows: Log, x: str, y: str) -> tuple[list[float], list[float]]:
    """Two columns of the rows that have a value of the second; what is not finite cannot be drawn."""
    points = [(float(row[x]), float(row[y])) for row in rows if row[y] and isfinite(float(row[y]))]
    return [point[0] for point in points], [point[1] for point in points]


def sentence(words: Sequence[str]) -> str:
    """Parts of a summary as one sentence."""
    return f"{'; '.join(words)}." if words else "Nothing to show."
