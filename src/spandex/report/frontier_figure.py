"""The figure of the frontier: networks on this build's clips, and beside them the challenge's board on its own."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spandex.report.cost_figure import XY, place_labels
from spandex.report.figures import STYLE, save_figure
from spandex.report.frontier import Point, Seed, about, pareto_front, points
from spandex.report.looks import BEHIND, LIGHT, MARKERS, SYMBOLS, choice
from spandex.report.published import COUNTED

Labels = list[tuple[str, XY]]
Lines = list[tuple[XY, XY]]
CAPTION = 130  # characters of a line


def frontier_figure(seeds: Sequence[Seed], board: Sequence[Mapping[str, str]], path: str | os.PathLike) -> list[Path]:
    """SI-SNR over the power proxy: a line a method through its budgets, published networks, and the Pareto front.

    Args:
        seeds: of the same networks.
        board: entries of the challenge's track 1, cells as in ndns_track1_test_set_1.csv.
        path: of the figure, without suffix.

    Returns:
        The PNG and the PDF.
    """
    clips = "the same clips" if seeds[0].same_clips else "other clips"
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        ours, theirs = figure.subplots(1, 2)
        ours.set(xlabel="power proxy as deployed (M-Ops/s)", ylabel="SI-SNR (dB)", title="All on the same test clips")
        theirs.set(xlabel="power proxy as published (M-Ops/s)", ylabel="SI-SNR (dB)", xscale="log")
        theirs.set_title(f"The challenge's board: test set 1, {clips}")
        panels = {ours: _draw_ours(ours, points(seeds)), theirs: _draw_board(theirs, board)}
        figure.supxlabel(textwrap.fill(f"{about(seeds)} Bars: of the difference to it.", CAPTION), fontsize=7)
        for axes, columns in zip(panels, (2, 1), strict=True):
            axes.margins(0.1)
            axes.legend(fontsize=7, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.14))
        figure.draw_without_rendering()  # the axes have their place from here on
        for axes, (labels, drawn) in panels.items():
            axes.autoscale(False)
            place_labels(axes, labels, drawn)
        return save_figure(figure, Path(path))


def _draw_ours(axes: Axes, found: Sequence[Point]) -> tuple[Labels, Lines]:
    """Networks and their front; the labels of those that were not trained here, and what no label is to cover."""
    front = _places(pareto_front(found))
    looks = {"color": BEHIND, "linestyle": "--", "linewidth": 1}
    axes.step(*zip(*front, strict=True), where="post", label="Pareto front", **looks)
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(found, key=lambda point: point.power_mops_per_s):
        groups.setdefault((point.kind, point.method), []).append(point)
    drawn: Lines = []
    for key in sorted(groups):
        members = _places(groups[key])
        axes.errorbar(
            *zip(*members, strict=True),
            yerr=[*zip(*(point.bars_db for point in groups[key]), strict=True)],
            marker=MARKERS[choice(SYMBOLS, key, sorted(groups))],
            color=choice(LIGHT, key, sorted(groups)),
            linestyle="-" if key[0] == "sparse" else "",
            markerfacecolor="white" if key[0] == "reference" else None,
            elinewidth=0.8,
            label=key[1] or "not fine-tuned here",
        )
        drawn += pairwise(members) if key[0] == "sparse" else []
        bars = zip(members, (point.bars_db for point in groups[key]), strict=True)
        drawn += [((x, y - below), (x, y + above)) for (x, y), (below, above) in bars]
    untrained = [point for point in found if point.kind == "reference"]
    return [*zip((point.title for point in untrained), _places(untrained), strict=True)], drawn


def _draw_board(axes: Axes, board: Sequence[Mapping[str, str]]) -> tuple[Labels, Lines]:
    """Entries by what their power counts; as ``_draw_ours``."""
    known = [entry for entry in board if entry["power_proxy_mops_per_s"] and entry["si_snr_db"]]
    labels: Labels = []
    for team, counted in COUNTED.items():
        entries = [entry for entry in known if (entry["team"] if entry["team"] in COUNTED else "") == team]
        places = [(float(entry["power_proxy_mops_per_s"]), float(entry["si_snr_db"])) for entry in entries]
        axes.plot(
            *zip(*places, strict=True),
            MARKERS[choice(SYMBOLS, team, [*COUNTED])],
            color=choice(LIGHT, team, [*COUNTED]),
            label=f"{team or 'others'}: {counted}",
        )
        names = [f"{entry['team']}: {entry['entry'].rsplit(' ', 1)[0]}" for entry in entries]  # without its date
        labels += zip(names, places, strict=True)
    return labels, [(place, place) for _, place in labels]


def _places(found: Sequence[Point]) -> list[XY]:
    return [(point.power_mops_per_s, point.si_snr_db) for point in found]
