"""Reports that compare networks: one for every entry of ``reports`` but the table."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spandex.companions import denoiser
from spandex.companions.report import write_paper_report
from spandex.evaluation import differences_to
from spandex.files import write_text
from spandex.params import Network, Params
from spandex.params.sections import Comparison
from spandex.pipeline.phases import comparison
from spandex.report import figures, intervals, table
from spandex.report.figures import KneePoint
from spandex.steps.frontier import frontier
from spandex.steps.results import network_scores, noisy_scores
from spandex.steps.tracking import log_comparison


def compare(params: Params, report: str, run: Path) -> None:
    """Write table, figures and verdicts of a report, and log its networks to MLflow.

    Args:
        params: of the build.
        report: name of an entry of ``reports``.
        run: JSON file of the build's MLflow run.

    Raises:
        SpandexError: there is no such report, or a file is missing.
    """
    settings, folder, control = params.comparison(report), comparison(params, report), params.control
    seeds = params.compared(report)
    names = dict.fromkeys([control, *(network.name for seed in seeds for network in seed)])
    scores = {name: network_scores(params, name) for name in names}
    shown = {name: scores[name] for name in dict.fromkeys([control, *(network.name for network in seeds[0])])}
    changes = differences_to(control, shown)

    rows = table.our_rows(noisy_scores(params), [scores[network.name] for network in seeds[0]])
    rows = table.labelled(rows, seeds[0])
    intervals.write_intervals(
        folder / "intervals.md",
        intervals.intervals_table(shown, control, changes),
        intervals.losses_table(shown),
    )
    files: list[Path] = []
    said = [table.to_markdown(rows)]
    if "curves" in settings.figures:
        files += _curves(params, seeds[0], folder / "figures" / "curves")
    if "knee" in settings.figures:
        points = figures.knee_points(shown, changes)
        files += figures.knee_figure(points, control, folder / "figures" / "knee")
        said.append(_knee(points, control))
    costed = [[network for network in seed if network.audio is None] for seed in seeds]
    files += _methods(settings, costed, scores, folder)
    if "frontier" in settings.figures:
        drawn, told = frontier(params, costed, scores, folder)
        files, said = files + drawn, [*said, told]
    write_text(folder / "summary.md", "\n".join(said) + "\n")
    files += table.write_tables(rows, folder)
    log_comparison(params, report, run, files)


def _curves(params: Params, networks: Sequence[Network], path: Path) -> list[Path]:
    """Training logs in a column a target: one line a schedule, others by name."""
    models, logs = params.folder("models"), defaultdict(dict)
    for network in networks:
        if network.target is not None:
            lines = logs[f"{100 * network.target:g} %"]
            schedule = network.methods["magnitude"]["schedule"] if network.by_magnitude else network.name
            lines[network.name if schedule in lines else schedule] = models / network.folder
    return figures.schedules_figure(logs, models / params.network(params.control).folder, path) if logs else []


def _methods(
    settings: Comparison,
    seeds: Sequence[Sequence[Network]],
    scores: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> list[Path]:
    """The plane of quality and operations over seeds, and verdicts on the methods, where a report has them."""
    runs, networks = denoiser.by_seed(seeds, scores), seeds[0]
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
