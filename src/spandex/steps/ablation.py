"""The ablation that the write-up tells of: how to prune, and how far."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spandex.evaluation import differences
from spandex.files import atomic_path
from spandex.params import Params
from spandex.report import figures, intervals, table
from spandex.report.figures import KneePoint
from spandex.steps.results import network_scores, noisy_scores
from spandex.steps.tracking import log_ablation

CONTROL = "dense"


def ablation(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Write tables and figures of the schedules compared and of the knee; log the networks to MLflow."""
    names = [CONTROL, *(params.schedules_compared | params.knee)]
    scores = {name: network_scores(params, models, reports, name) for name in names}
    changes = {name: differences({CONTROL: scores[CONTROL], name: scores[name]})[0] for name in names[1:]}
    folder = reports / "ablation"

    compared, knee = ([CONTROL, *part] for part in (params.schedules_compared, params.knee))
    rows = {row.model: row for row in table.our_rows(noisy_scores(reports), scores.values())}
    schedules = [_titled(params, rows[name]) for name in ["noisy", *compared]]
    sparsities = [_titled(params, rows[name]) for name in knee]
    files = table.write_tables(schedules, folder) + table.write_tables(sparsities, folder, "knee")

    intervals.write_intervals(
        folder / "intervals.md",
        intervals.intervals_table(scores, CONTROL, list(changes.values())),
        intervals.losses_table(scores),
    )
    points = [figures.knee_point(scores[name], changes.get(name)) for name in knee]
    with atomic_path(folder / "summary.md") as temporary:
        text = f"{table.to_markdown(schedules)}\nOver sparsity:\n\n{table.to_markdown(sparsities)}\n{_knee(points)}\n"
        temporary.write_text(text, encoding="utf-8")

    logs: dict[str, dict[str, Path]] = {}
    for name, pruning in params.schedules_compared.items():
        logs.setdefault(f"{100 * pruning.target:g} %", {})[pruning.schedule] = models / params.folder(name)
    files += figures.schedules_figure(logs, models / params.folder(CONTROL), folder / "figures" / "schedules")
    files += figures.knee_figure(points, folder / "figures" / "knee")

    log_ablation(params, models, reports, run, files)


def _titled(params: Params, row: table.Row) -> table.Row:
    """A pruned network's row, named by schedule and target."""
    pruning = params.prunings.get(row.model)
    return row if pruning is None else replace(row, model=f"{pruning.schedule} {100 * pruning.target:g} %")


def _knee(points: Sequence[KneePoint]) -> str:
    """How far pruning costs nothing that these clips could show."""
    free = [point for point in points if point.interval_db[1] >= 0]
    return (
        f"The sparsest network whose SI-SNR is not below that of {CONTROL}, as far as these clips tell (95 %), has "
        f"{100 * max(point.sparsity for point in free):.1f} % of its weights at zero."
    )
