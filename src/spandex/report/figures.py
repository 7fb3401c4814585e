"""Figure 1 of the paper and the learning curves, from the training logs; equal logs give equal bytes."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from spandex.errors import SpandexError
from spandex.files import atomic_path

FORMATS = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
}


def sparsity_figure(logs: Mapping[str, str | os.PathLike], path: str | os.PathLike) -> list[Path]:
    """Figure 1: sparsity of the float weights over training iterations, one line a network.

    Args:
        logs: by name of the network, its log.csv with columns iteration and sparsity.
        path: of the figure, without suffix.

    Returns:
        The PNG and the PDF.

    Raises:
        SpandexError: a log is missing or lacks a column.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot(xlabel="iteration", ylabel="sparsity (%)", ylim=(-2, 102))
        for name, log in logs.items():
            iterations, sparsity = _columns(log, "iteration", "sparsity")
            axes.step(iterations, [100 * value for value in sparsity], where="post", label=name)
        axes.legend()
        return _save(figure, Path(path))


def learning_curves(epochs: Mapping[str, str | os.PathLike], path: str | os.PathLike) -> list[Path]:
    """Training loss and validation SI-SNR over training iterations, one line a network.

    Args:
        epochs: by name of the network, its epochs.csv with columns iteration, train_loss and validation_si_snr_db.
            A log without a row (published weights, not trained) is left out.
        path: of the figure, without suffix.

    Returns:
        The PNG and the PDF.

    Raises:
        SpandexError: a log is missing or lacks a column.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        loss.set(xlabel="iteration", ylabel="training loss")
        quality.set(xlabel="iteration", ylabel="validation SI-SNR (dB)")
        for name, log in epochs.items():
            iterations, losses, validation = _columns(log, "iteration", "train_loss", "validation_si_snr_db")
            if iterations:
                loss.plot(iterations, losses, marker=".", label=name)
                quality.plot(iterations, validation, marker=".", label=name)
        if quality.lines:
            quality.legend()
        return _save(figure, Path(path))


def _columns(path: str | os.PathLike, *names: str) -> list[list[float]]:
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [[float(row[name] or "nan") for row in rows] for name in names]
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except KeyError as error:
        raise SpandexError(f"{path}: no column {error}") from None
    except (TypeError, ValueError) as error:
        raise SpandexError(f"{path}: not a training log ({error})") from None


def _save(figure: Figure, path: Path) -> list[Path]:
    written = []
    for suffix, metadata in FORMATS.items():
        target = path.with_name(f"{path.name}.{suffix}")
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
        written.append(target)
    return written
