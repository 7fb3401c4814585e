"""Figure 1 of the paper, learning curves, and those of the ablation; equal logs and scores give equal bytes.

A figure's path has no suffix; see ``save_figure`` for what is written and returned. Each raises ``SpandexError`` if a
log is missing or lacks a column.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from spandex.files import atomic_path
from spandex.files.text import read_numbers
from spandex.report.looks import LIGHT, choice
from spandex.report.table import is_network, known_sparsity

FORMATS = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
VALIDATION = ("iteration", "validation_si_snr_db")
STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=LIGHT[1:]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
}


class KneePoint(NamedTuple):
    """A network in the plane of sparsity and quality.

    Attributes:
        sparsity: share of float weights that are zero, of deployed ones where these are not known.
        change_db: SI-SNR above that of the dense control, mean over clips.
        interval_db: of that mean, 95 %.
        power_mops_per_s: power proxy, of deployed weights.
    """

    sparsity: float
    change_db: float
    interval_db: tuple[float, float]
    power_mops_per_s: float


def knee_points(networks: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]) -> list[KneePoint]:
    """Networks against the control, by growing sparsity; clips that something else has denoised are left out.

    Args:
        networks: scores by name, from ``spandex.evaluation``, those of the control among them.
        changes: of the others to the control, see ``spandex.evaluation.differences_to``.
    """
    found = [_knee_point(scores, changes.get(name)) for name, scores in networks.items() if is_network(scores)]
    return sorted(found, key=lambda point: point.sparsity)


def _knee_point(scores: Mapping[str, Any], change: Mapping[str, Any] | None) -> KneePoint:
    """A network; the control, which is at zero itself, has no change."""
    difference = {"mean": 0.0, "interval": (0.0, 0.0)} if change is None else change["si_snr_db"]
    power = scores["deployed_power_proxy_ops_per_s"] / 1e6
    return KneePoint(known_sparsity(scores), difference["mean"], tuple(difference["interval"]), power)


def sparsity_figure(logs: Mapping[str, str | os.PathLike], names: Sequence[str], path: str | os.PathLike) -> list[Path]:
    """Figure 1: sparsity of the float weights over training iterations, one line a network.

    Args:
        logs: by name of the network, its log.csv with columns iteration and sparsity.
        names: of all networks.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.7), layout="constrained")
        axes = figure.add_subplot(xlabel="iteration", ylabel="sparsity (%)", ylim=(-2, 102))
        for name, log in logs.items():
            iterations, sparsity = _columns(log, "iteration", "sparsity")
            colour = choice(LIGHT, name, names)
            axes.step(iterations, [100 * value for value in sparsity], where="post", label=name, color=colour)
        axes.legend()
        return save_figure(figure, Path(path))


def learning_curves(
    epochs: Mapping[str, str | os.PathLike], names: Sequence[str], path: str | os.PathLike
) -> list[Path]:
    """Training loss and validation SI-SNR over training iterations, one line a network.

    Args:
        epochs: by name of the network, its epochs.csv with columns iteration, train_loss and validation_si_snr_db.
            A log without a row (published weights, not trained) is left out.
        names: of all networks.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        loss.set(xlabel="iteration", ylabel="training loss")
        quality.set(xlabel="iteration", ylabel="validation SI-SNR (dB)")
        for name, log in epochs.items():
            iterations, losses, validation = _columns(log, "iteration", "train_loss", "validation_si_snr_db")
            if iterations:
                looks = {"marker": ".", "label": name, "color": choice(LIGHT, name, names)}
                loss.plot(iterations, losses, **looks)
                quality.plot(iterations, validation, **looks)
        if quality.lines:
            quality.legend()
        return save_figure(figure, Path(path))


def schedules_figure(
    runs: Mapping[str, Mapping[str, str | os.PathLike]], control: str | os.PathLike, path: str | os.PathLike
) -> list[Path]:
    """Validation SI-SNR and sparsity over training iterations; a column a target, one line a schedule.

    Args:
        runs: by target and schedule, the folder of the training logs epochs.csv and log.csv.
        control: the folder of the dense control's logs, drawn in every column.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1 + 2.4 * len(runs), 4.4), layout="constrained")
        axes = figure.subplots(2, len(runs), sharex=True, sharey="row", squeeze=False)
        axes[0, 0].set_ylabel("validation SI-SNR (dB)")
        axes[1, 0].set(ylabel="sparsity (%)", ylim=(-2, 102))
        for (target, folders), (quality, sparsity) in zip(runs.items(), axes.T, strict=True):
            quality.set_title(target)
            sparsity.set_xlabel("iteration")
            quality.plot(*_columns(Path(control) / "epochs.csv", *VALIDATION), "--", color="grey", label="not pruned")
            for schedule, folder in folders.items():
                quality.plot(*_columns(Path(folder) / "epochs.csv", *VALIDATION), marker=".", label=schedule)
                iterations, values = _columns(Path(folder) / "log.csv", "iteration", "sparsity")
                sparsity.step(iterations, [100 * value for value in values], where="post", label=schedule)
        axes[0, 0].legend()
        return save_figure(figure, Path(path))


def knee_figure(points: Sequence[KneePoint], control: str, path: str | os.PathLike) -> list[Path]:
    """SI-SNR against that of the dense control, and deployed power proxy, over sparsity.

    Args:
        points: networks by growing sparsity.
        control: name of the dense control.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.4), layout="constrained")
        quality, power = figure.subplots(2, 1, sharex=True)
        quality.set_ylabel(f"SI-SNR - {control} (dB)")
        power.set(xlabel="sparsity (%)", ylabel="deployed power proxy (M-Ops/s)")
        sparsity = [100 * point.sparsity for point in points]
        low, high = ([point.interval_db[end] for point in points] for end in (0, 1))
        quality.fill_between(sparsity, low, high, alpha=0.25, linewidth=0)
        quality.plot(sparsity, [point.change_db for point in points], marker=".")
        quality.axhline(0, color="grey", linestyle="--")
        power.plot(sparsity, [point.power_mops_per_s for point in points], marker=".")
        power.set_ylim(bottom=0)
        return save_figure(figure, Path(path))


def _columns(path: str | os.PathLike, *names: str) -> list[list[float]]:
    rows = read_numbers(path, names)
    return [[row.get(name, math.nan) for row in rows] for name in names]


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PATH.png and PATH.pdf; return both."""
    written = []
    for suffix, metadata in FORMATS.items():
        target = path.with_name(f"{path.name}.{suffix}")
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
        written.append(target)
    return written
