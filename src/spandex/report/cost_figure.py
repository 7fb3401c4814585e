"""The chart of quality and cost as a figure that fits a column: PNG and PDF."""

import html
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spandex.report.charts import Chart
from spandex.report.figures import STYLE, save_figure
from spandex.report.looks import BEHIND, LIGHT, MARKERS

GAPS = (8, 20, 34)  # of a label to its point, in pixels
ROOM = 5  # between a label and the middle of what is not its own
XY = tuple[float, float]  # in units of the axes
SIDES = np.array([(1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)])


def cost_figure(chart: Chart, path: str | os.PathLike) -> list[Path]:
    """Points with their labels, bars, and arrows.

    Args:
        chart: see ``spandex.report.points.cost_chart``.
        path: of the figure, without suffix.

    Returns:
        The PNG and the PDF.
    """
    layout = chart.figure["layout"]
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        figure = Figure(figsize=(3.4, 2.8), layout="constrained")
        axes = figure.add_subplot(xlabel=layout["xaxis"]["title"]["text"], ylabel=layout["yaxis"]["title"]["text"])
        drawn, labels = [], []
        for trace in chart.figure["data"]:
            (x, y), bar, symbol = (*trace["x"], *trace["y"]), trace["error_y"], trace["marker"]["symbol"]
            axes.errorbar(
                x,
                y,
                [bar["arrayminus"], bar["array"]],
                fmt=MARKERS[symbol.removesuffix("-open")],
                color=LIGHT[trace["meta"]["series"] % len(LIGHT)],
                markerfacecolor="white" if symbol.endswith("-open") else None,
                elinewidth=0.8,
            )
            drawn += [((x, y), (x, y)), ((x, y - bar["arrayminus"][0]), (x, y + bar["array"][0]))]
            labels.append((html.unescape(trace["meta"]["label"]), (x, y)))
        for arrow in layout.get("annotations", ()):
            end, start = (arrow["x"], arrow["y"]), (arrow["ax"], arrow["ay"])
            look = {"arrowstyle": "->", "color": BEHIND, "shrinkA": 6, "shrinkB": 6}
            axes.annotate("", end, start, arrowprops=look)
            drawn.append((end, start))
        axes.set_xlim(layout["xaxis"]["range"])
        axes.margins(y=0.15)
        axes.autoscale_view()
        axes.autoscale(False)
        figure.draw_without_rendering()  # the axes have their place from here on
        place_labels(axes, labels, drawn)
        return save_figure(figure, Path(path))


def place_labels(axes: Axes, labels: Sequence[tuple[str, XY]], drawn: Sequence[tuple[XY, XY]]) -> None:
    """Write each label at the nearest place where it covers least of the lines from place to place, and of others.

    Args:
        axes: of a figure that was drawn without rendering, so that they have their place.
        labels: text and the point that it is of.
        drawn: lines not to be covered, from end to end; a point is a line from itself to itself.
    """
    to_pixels = axes.transData
    steps = np.linspace(0, 1, 100)[:, None]
    taken = np.concatenate([a + steps * (b - a) for a, b in map(to_pixels.transform, drawn)])
    window = axes.get_window_extent()
    for text, place in labels:
        written = axes.text(*place, text, ha="center", va="center", fontsize=7)
        extent = written.get_window_extent()
        half = np.array([extent.width, extent.height]) / 2 + 2
        found = [(gap, side, to_pixels.transform(place) + side * (gap + half)) for gap in GAPS for side in SIDES]
        costs = [
            gap
            + (np.abs(taken - centre) < half + ROOM).all(axis=1).sum()
            + 1e4 * (not window.contains(*(centre - half)) or not window.contains(*(centre + half)))
            for gap, _, centre in found
        ]
        gap, side, centre = found[int(np.argmin(costs))]
        written.set_position(to_pixels.inverted().transform(centre))
        covered = np.stack(np.meshgrid(*np.linspace(-half, half, 20).T), axis=-1).reshape(-1, 2)
        taken = np.concatenate([taken, centre + covered])
        if gap > GAPS[0]:
            end = to_pixels.inverted().transform(centre - side * half)
            axes.plot(*zip(place, end, strict=True), color="black", linewidth=0.4, zorder=1)
