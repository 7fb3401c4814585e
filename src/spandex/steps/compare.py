"""Reports that compare networks: one for every entry of ``reports`` but the table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spandex.companions import denoiser
from spandex.companions.report import write_paper_report
from spandex.evaluation import differences
from spandex.files import atomic_path
from spandex.params import Network, Params
from spandex.pipeline.phases import comparison
from spandex.report import figures, intervals, table
from spandex.report.figures import KneePoint
from spandex.steps.results import network_scores, noisy_scores
from spandex.steps.tracking import log_comparison


def compare(params: Params, report: str, models: Path, reports: Path, run: Path) -> None:
    """Write table, figures and verdicts of a report, and log its networks to MLflow.

    Args:
        params: of the build.
        report: name of an entry of ``reports``.
        models, reports: folders of the profile.
        run: JSON file of the build's MLflow run.

    Raises:
        SpandexError: there is no such report, or a file is missing.
    """
    settings = params.comparison(report)
    seeds = params.compared(report)
    networks = seeds[0]
    control = params.control
    names = dict.fromkeys([control, *(network.name for network in networks)])
    scores = {name: network_scores(params, models, reports, name) for name in names}
    changes = {
        name: differences({control: scores[control], name: scores[name]})[0] for name in scores if name != control
    }
    folder = comparison(params, report)

    rows = table.our_rows(noisy_scores(reports), [scores[network.name] for network in networks])
    rows = table.labelled(rows, networks)
    intervals.write_intervals(
        folder / "intervals.md",
        intervals.intervals_table(scores, control, list(changes.values())),
        intervals.losses_table(scores),
    )
    files: list[Path] = []
    said = [table.to_markdown(rows)]
    if "curves" in settings.figures:
        files += _curves(networks, models, models / params.network(control).folder, folder / "figures" / "curves")
    if "knee" in settings.figures:
        points = [figures.knee_point(scores[name], changes.get(name)) for name in scores]
        points.sort(key=lambda point: point.sparsity)
        files += figures.knee_figure(points, control, folder / "figures" / "knee")
        said.append(_knee(points, control))
    files += _methods(params, report, networks, seeds, scores, models, reports)
    with atomic_path(folder / "summary.md") as temporary:
        temporary.write_text("\n".join(said) + "\n", encoding="utf-8")
    files += table.write_tables(rows, folder)
    log_comparison(params, report, models, reports, run, files)


def _curves(networks: Sequence[Network], models: Path, control: Path, path: Path) -> list[Path]:
    """Training logs in a column a target: one line a schedule, others by name."""
    logs: dict[str, dict[str, Path]] = {}
    for network in networks:
        if network.target is not None:
            schedule = network.methods["magnitude"]["schedule"] if network.by_magnitude else network.name
            logs.setdefault(f"{100 * network.target:g} %", {})[schedule] = models / network.folder
    return figures.schedules_figure(logs, control, path) if logs else []


def _methods(
    params: Params,
    report: str,
    networks: Sequence[Network],
    seeds: Sequence[Sequence[Network]],
    scores: Mapping[str, Mapping[str, Any]],
    models: Path,
    reports: Path,
) -> list[Path]:
    """The plane of quality and operations over seeds, and verdicts on the methods, where the report has them."""
    settings = params.comparison(report)
    if not (settings.claims or "plane" in settings.figures):
        return []
    every = {network.name for seed in seeds for network in seed}
    found = {name: scores.get(name) or network_scores(params, models, reports, name) for name in every}
    runs = denoiser.by_seed(seeds, found)
    folder = comparison(params, report)
    drawn = denoiser.plane(runs, networks, folder / "figures" / "plane") if "plane" in settings.figures else []
    if not settings.claims:
        return drawn
    findings, tables = denoiser.findings(runs, networks), denoiser.tables(runs, networks)
    return write_paper_report(denoiser.TITLE, findings, tables, drawn, folder)


def _knee(points: Sequence[KneePoint], control: str) -> str:
    """How far pruning costs nothing that these clips could show."""
    free = [point for point in points if point.interval_db[1] >= 0]
    return (
        f"The sparsest network whose SI-SNR is not below that of {control}, as far as these clips tell (95 %), has "
        f"{100 * max(point.sparsity for point in free):.1f} % of its weights at zero.\n"
    )
