"""The numbers of a build as DVC compares and plots them: JSON and CSV that follow from networks and clips alone."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spandex.files import atomic_path, write_json
from spandex.files.text import read_csv

# short name of a metric: key in the scores of spandex.evaluation, factor to its unit, decimals; fewer decimals than an
# order of summation decides
MEASURES = {
    "si_snr_db": ("si_snr_db", 1, 4),
    "si_snri_db": ("si_snri_db", 1, 4),
    "float_si_snr_db": ("float_si_snr_db", 1, 4),
    "fixed_minus_float_db": ("fixed_minus_float_db", 1, 5),
    "mos_ovrl": ("mos_ovrl", 1, 4),
    "mos_sig": ("mos_sig", 1, 4),
    "mos_bak": ("mos_bak", 1, 4),
    "float_power_proxy_mops_per_s": ("float_power_proxy_ops_per_s", 1e-6, 4),
    "deployed_power_proxy_mops_per_s": ("deployed_power_proxy_ops_per_s", 1e-6, 4),
    "float_pdp_proxy_mops": ("float_pdp_proxy_ops", 1e-6, 4),
    "deployed_pdp_proxy_mops": ("deployed_pdp_proxy_ops", 1e-6, 4),
    "params": ("parameters", 1, 0),
    "size_kb": ("size_kb", 1, 3),
    "sparsity": ("sparsity", 1, 5),
    "deployed_sparsity": ("deployed_sparsity", 1, 5),
}
CURVE_COLUMNS = ("model", "epoch", "iteration", "train_loss", "validation_si_snr_db")

Metrics = Mapping[str, Any]


def measures(noisy: Metrics, networks: Mapping[str, Metrics]) -> dict[str, dict[str, float | int]]:
    """What the noisy input and every network come to, by name and short name of the metric.

    Args:
        noisy: scores of the noisy input, from ``spandex.evaluation``.
        networks: scores by name.
    """
    return {"noisy": _measures(noisy)} | {name: _measures(metrics) for name, metrics in networks.items()}


def write_numbers(
    folder: str | os.PathLike,
    noisy: Metrics,
    networks: Mapping[str, Metrics],
    epochs: Mapping[str, str | os.PathLike],
) -> list[Path]:
    """Write metrics.json and plots/curves.csv into ``folder``; return their paths.

    Args:
        folder: of the report.
        noisy, networks: see ``measures``.
        epochs: by name of the network, its epochs.csv; one without a row (published weights) adds none.

    Raises:
        SpandexError: a log is missing or lacks a column.
    """
    folder = Path(folder)
    paths = [folder / "metrics.json", folder / "plots/curves.csv"]
    write_json(paths[0], measures(noisy, networks))
    curves = [{**row, "model": name} for name, log in epochs.items() for row in read_csv(log, CURVE_COLUMNS[1:])]
    with atomic_path(paths[1]) as temporary:
        _write_csv(temporary, CURVE_COLUMNS, curves)
    return paths


def _measures(metrics: Metrics) -> dict[str, float | int]:
    return {
        short: _rounded(metrics[key] * factor, decimals)
        for short, (key, factor, decimals) in MEASURES.items()
        if metrics.get(key) is not None
    }


def _rounded(value: float, decimals: int) -> float | int:
    return round(value, decimals) + 0.0 if decimals else round(value)  # + 0.0: no negative zero


def _write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
