"""Everything a reader looks at."""

import datetime
from pathlib import Path

from spandex.evaluation import differences
from spandex.files import atomic_path, read_json
from spandex.params import Params
from spandex.report import figures, intervals, metricsboard, table
from spandex.report.numbers import write_numbers
from spandex.steps.results import network_scores, noisy_scores
from spandex.steps.tracking import log_build

REFERENCE = Path("reports/reference")


def report(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Write tables, figures and the board entry, and log the finished models to MLflow."""
    noisy = noisy_scores(reports)
    metrics = {model: network_scores(params, models, reports, model) for model in params.models}
    enc_dec_ms = read_json(reports / "latency" / "latency.json")["latency_enc_dec_ms"]
    trained = {model: models / params.folder(model) for model in params.models}

    ours = table.our_rows(noisy, metrics.values())
    published = table.published_rows(REFERENCE)
    tables = table.write_tables(ours + published, reports)
    timed = table.with_latency(ours, metrics.values(), enc_dec_ms)
    with atomic_path(reports / "summary.md") as temporary:
        temporary.write_text(table.printed_table(timed + published), encoding="utf-8")

    epochs = {model: folder / "epochs.csv" for model, folder in trained.items()}
    numbers = write_numbers(reports, noisy, metrics, epochs)

    control = "dense" if "dense" in metrics else next(iter(metrics))
    intervals.write_intervals(
        reports / "intervals.md",
        intervals.intervals_table(metrics, control, differences(metrics)),
        intervals.losses_table(metrics),
    )

    drawn = figures.sparsity_figure(
        {model: trained[model] / "log.csv" for model in params.fine_tuned}, reports / "figures" / "figure1"
    )
    drawn += figures.learning_curves(epochs, reports / "figures" / "learning_curves")
    today = datetime.date.today().isoformat()
    metricsboard.write_board(
        [
            metricsboard.board_entry(
                metrics[model], enc_dec_ms, params.report.team, today, (trained[model] / "network.pt").as_posix()
            )
            for model in params.models
        ],
        reports / "metricsboard.yml",
    )
    log_build(params, models, reports, run, tables + drawn + numbers)
