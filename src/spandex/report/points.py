"""The page's charts of points: networks by quality and cost, clips by gain."""

import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from spandex.params import Network
from spandex.report.charts import Chart, new_chart, new_figure, sentence
from spandex.report.clip_names import described
from spandex.report.comparison import Differences
from spandex.report.headline import POWER
from spandex.report.looks import SYMBOLS, choice
from spandex.report.table import is_network
from spandex.report.wording import number

BACKGROUND = -1  # series of what is not ours
ROOM = 1.1  # for labels beyond the last point
MOST_CLIPS = 500  # of a chart; of more, those whose names have the smallest digests


def cost_chart(
    rows: Sequence[Network],
    networks: Mapping[str, Mapping[str, Any]],
    control: str,
    changes: Mapping[str, Differences],
) -> Chart:
    """SI-SNR over the power proxy as deployed, of every row that has a cost.

    Arrows lead from the control to what was made sparse from where it began, or from itself. Every point has a label,
    whose place the page finds; its bar is the interval of the change to the control.

    Args:
        rows: of the table.
        networks: scores by name.
        control, changes: what the networks are compared with, and how they differ from it.
    """
    names = [network.name for network in rows]
    shown = [network for network in rows if is_network(networks[network.name])]
    places = {n.name: (networks[n.name][POWER] / 1e6, networks[n.name]["si_snr_db"]) for n in shown}
    siblings = {control, *(network.start for network in rows if network.name == control)} - {None}
    traces, arrows, words = [], [], []
    for network in shown:
        name, (power, quality) = network.name, places[network.name]
        title = html.escape(network.label or name)
        open_ = "-open" if network.file else ""
        change = changes.get(name, {}).get("si_snr_db")
        above, below = (0, 0) if change is None else (change.high - change.mean, change.mean - change.low)
        traces.append(
            go.Scatter(
                x=[power],
                y=[quality],
                error_y={"type": "data", "array": [above], "arrayminus": [below], "thickness": 1},
                mode="markers",
                name=title,
                hovertemplate=f"{title}<br>%{{x:.4g}} M-Ops/s, %{{y:.4g}} dB<extra></extra>",
                marker={"symbol": choice(SYMBOLS, name, names) + open_, "size": 11},
                meta={"series": names.index(name), "label": title},
            )
        )
        if network.methods and network.start in siblings:
            x, y = places[control]
            arrows.append({"x": power, "y": quality, "ax": x, "ay": y, "axref": "x", "ayref": "y", "text": ""})
        words.append(f"{network.label or name} {number(quality, 2)} dB at {number(power, 2)} M-Ops/s")
    figure = new_figure(traces, "power proxy as deployed (M-Ops/s)", "SI-SNR (dB)")
    figure.update_xaxes(range=[0, ROOM * max(power for power, _ in places.values())])
    figure.update_layout(annotations=arrows, showlegend=False)
    return new_chart("cost", "Quality and cost on this build's clips", sentence(words), figure)


def gain_chart(networks: Mapping[str, Mapping[str, Any]], noisy: Mapping[str, Any], held: Mapping[str, str]) -> Chart:
    """Improvement of SI-SNR over that of the noisy input, a point a clip and network.

    Args:
        networks: scores by name, with ``per_clip``.
        noisy: scores of the noisy input.
        held: clips that the page plays, by name: the key of the player.
    """
    before = {clip["name"]: clip["si_snr_db"] for clip in noisy["per_clip"]}
    clips = sampled(list(before), held)
    labels = [html.escape(described(clip)) + f"<br>{html.escape(clip)}" for clip in clips]
    traces, words = [], []
    for series, (name, metrics) in enumerate(networks.items()):
        gains = {clip["name"]: clip["si_snri_db"] for clip in metrics["per_clip"]}
        traces.append(
            go.Scatter(
                x=[round(before[clip], 3) for clip in clips],
                y=[round(gains[clip], 3) for clip in clips],
                mode="markers",
                name=name,
                text=labels,
                customdata=[held.get(clip, "") for clip in clips],
                hovertemplate=f"{name}: %{{y:.2f}} dB from %{{x:.2f}} dB<br>%{{text}}<extra></extra>",
                marker={
                    "symbol": ["star" if clip in held else choice(SYMBOLS, name, list(networks)) for clip in clips],
                    "size": [15 if clip in held else 7 for clip in clips],
                    "line": {"width": [1 if clip in held else 0 for clip in clips]},
                },
                meta={"series": series},
            )
        )
        better = sum(gain > 0 for gain in gains.values())
        low, high = (number(end(gains.values()), 2, signed=True) for end in (min, max))
        words.append(f"{name} improves {better} of {len(gains)} clips, by {low} to {high} dB")
    figure = new_figure(traces, "SI-SNR of the noisy clip (dB)", "improvement (dB)")
    part = "" if len(clips) == len(before) else f": a fixed sample of {len(clips)} of {len(before):,}"
    return new_chart("gain", f"What clips gain{part}", sentence(words), figure)


def sampled(clips: Sequence[str], held: Mapping[str, str]) -> list[str]:
    """All clips, or a fixed choice of them that holds those of ``held``."""
    others = sorted(clips, key=lambda clip: (clip not in held, hashlib.sha256(clip.encode()).hexdigest()))
    return sorted(others[:MOST_CLIPS])


def plane_charts(
    board: Sequence[Mapping[str, str]],
    networks: Mapping[str, Mapping[str, Any]],
    counterparts: Mapping[str, tuple[str, ...]],
) -> list[Chart]:
    """SI-SNR, and its improvement over the noisy input, over the power proxy, with the challenge's board behind.

    The power proxy is of float weights, as the published networks' is.

    Args:
        board: entries of the challenge's track 1, cells as in ndns_track1_test_set_1.csv.
        networks: ours, scores of ``spandex.evaluation``.
        counterparts: by network, all of ours, how the names of the entries begin that it rebuilds.
    """
    charts, names = [], list(counterparts)
    for key, theirs, ours, title in (
        ("plane", "si_snr_db", "si_snr_db", "SI-SNR"),
        ("plane_improvement", "si_snri_data_db", "si_snri_db", "SI-SNR improvement"),
    ):
        entries = [entry for entry in board if entry["power_proxy_mops_per_s"] and entry[theirs]]
        rebuilt = {name: [e for e in entries if e["entry"].startswith(counterparts[name])] for name in networks}
        others = [entry for entry in entries if not any(entry in own for own in rebuilt.values())]
        traces = [_entries("challenge's board", others, theirs, "circle-open", BACKGROUND)]
        words = []
        for name, metrics in networks.items():
            symbol, series = choice(SYMBOLS, name, names), names.index(name)
            if rebuilt[name]:
                traces.append(_entries(name, rebuilt[name], theirs, f"{symbol}-open", series))
            power, quality = metrics["float_power_proxy_ops_per_s"] / 1e6, metrics[ours]
            low, high = metrics["intervals"][ours]
            traces.append(
                go.Scatter(
                    x=[power],
                    y=[quality],
                    error_y={"type": "data", "array": [high - quality], "arrayminus": [quality - low], "thickness": 1},
                    mode="markers",
                    name=name,
                    hovertemplate=f"{name}<br>%{{x:.2f}} M-Ops/s, %{{y:.2f}} dB<extra></extra>",
                    marker={"symbol": symbol, "size": 11},
                    meta={"series": series},
                )
            )
            words.append(f"{name} {number(quality, 2)} dB at {number(power, 2)} M-Ops/s")
        words += [
            f"{entry['entry']} of {entry['team']} {entry[theirs]} dB at {entry['power_proxy_mops_per_s']} M-Ops/s"
            for entry in entries
        ]
        figure = new_figure(traces, "float power proxy (M-Ops/s)", f"{title} (dB)")
        figure.update_xaxes(type="log", dtick=1)
        charts.append(new_chart(key, f"{title} and power proxy", sentence(words), figure))
    return charts


def _entries(name: str, entries: Sequence[Mapping[str, str]], column: str, symbol: str, series: int) -> go.Scatter:
    """Entries of the board in the plane."""
    return go.Scatter(
        x=[float(entry["power_proxy_mops_per_s"]) for entry in entries],
        y=[float(entry[column]) for entry in entries],
        mode="markers",
        name=name,
        text=[html.escape(f"{entry['team']}: {entry['entry']}") for entry in entries],
        hovertemplate="%{text}<br>%{x:.2f} M-Ops/s, %{y:.2f} dB<extra></extra>",
        marker={"symbol": symbol, "size": 10},
        showlegend=series == BACKGROUND,
        meta={"series": series},
    )
