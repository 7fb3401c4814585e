"""Everything a reader looks at."""

from pathlib import Path
from typing import Any

from spandex.companions.report import write_summary
from spandex.evaluation import differences_to
from spandex.files import write_text
from spandex.files.text import read_json
from spandex.params import Network, Params
from spandex.pipeline.phases import scores
from spandex.pipeline.recipes import is_made
from spandex.report import figures, intervals, metricsboard, table
from spandex.report.claims import Evidence
from spandex.report.comparison import by_score
from spandex.report.cost_figure import cost_figure
from spandex.report.latex import Figure, to_paper
from spandex.report.numbers import write_numbers
from spandex.report.page import to_html
from spandex.report.published import REFERENCE
from spandex.steps.page import page_of
from spandex.steps.results import network_scores, noisy_scores
from spandex.steps.tracking import log_build

FIGURES = (
    Figure("figures/figure1.pdf", "Sparsity of the float weights while training (Figure 1 of SPANDEX)."),
    Figure("figures/learning_curves.pdf", "Training loss and SI-SNR on the validation clips.", wide=True),
)


def report(params: Params, clips: Path, run: Path) -> None:
    """Write tables, figures, the page, the paper and the board entry, and log the finished models to MLflow.

    Args:
        params: of the build.
        clips: clips.json of the test clips, which lie beside it.
        run: JSON file of the build's MLflow run.
    """
    models, reports = params.folder("models"), params.folder("reports")
    noisy = noisy_scores(params)
    metrics = {network.name: network_scores(params, network.name) for network in params.table}
    enc_dec_ms = read_json(reports / "latency" / "latency.json")["latency_enc_dec_ms"]
    compared = _beside(params)
    shown = metrics | compared
    logs = {network.name: models / network.folder for network in params.table if network.has_logs}

    ours = table.labelled(table.our_rows(noisy, shown.values()), params.every)
    published = table.published_rows(REFERENCE)
    tables = table.write_tables(ours + published, reports)
    timed = table.with_latency(ours, shown.values(), enc_dec_ms)
    write_text(reports / "summary.md", table.printed_table(timed + published))

    epochs = {model: folder / "epochs.csv" for model, folder in logs.items()}
    numbers = write_numbers(reports, noisy, metrics, epochs)

    control = params.control
    names = list(shown)
    changes = differences_to(control, shown)
    intervals.write_intervals(
        reports / "intervals.md",
        intervals.intervals_table(metrics, control, changes),
        intervals.losses_table(metrics),
        intervals.range_table(metrics),
    )

    drawn = figures.sparsity_figure(
        {model: logs[model] / "log.csv" for model in params.fine_tuned}, names, reports / "figures" / "figure1"
    )
    drawn += figures.learning_curves(epochs, names, reports / "figures" / "learning_curves")
    date = params.report.date.isoformat() if params.report.date else None
    entries = [
        metricsboard.board_entry(metrics[network.name], enc_dec_ms, params.report.team, date, _place(params, network))
        for network in params.table
    ]
    note = "" if params.data.is_linked("test") else metricsboard.OTHER_CLIPS
    metricsboard.write_board(entries, reports / metricsboard.BOARD, note)
    evidence = Evidence(params, metrics, control, by_score(changes), published, enc_dec_ms)
    page = page_of(evidence, clips.parent, noisy=noisy, compared=compared, ours=timed)
    write_text(reports / "headline.md", f"{page.about}\n{page.headline}\n")
    summary = reports / "companions" / "summary.md"
    if page.companions:
        write_summary(page.companions, summary)
    else:
        summary.unlink(missing_ok=True)
    pages = [reports / "index.html", reports / "paper.tex"]
    write_text(pages[0], to_html(page))
    drawn += cost_figure(page.cost, reports / "figures" / "cost")
    cost = Figure("figures/cost.pdf", f"{page.cost.title}. {page.legend}")
    write_text(pages[1], to_paper(page, [cost, *FIGURES]))
    log_build(params, run, tables + drawn + numbers + pages)


def _place(params: Params, network: Network) -> str:
    """Where a row of the table comes from."""
    return network.audio or (params.folder("models") / network.weights).as_posix()


def _beside(params: Params) -> dict[str, Any]:
    """Scores of the networks that the table shows where they are made."""
    made = [network.name for network in params.beside if is_made(scores(params, network.name))]
    return {name: network_scores(params, name) for name in made}
