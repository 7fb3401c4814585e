"""The build's MLflow run, and everything a reader looks at."""

import datetime
from pathlib import Path
from typing import Any

from spandex.evaluation import differences
from spandex.files import atomic_path, read_json
from spandex.models import load_state
from spandex.params import Params
from spandex.provenance import produced_by
from spandex.report import figures, intervals, metricsboard, table, tracking
from spandex.sparsify import sparsity
from spandex.steps.common import new_network

REFERENCE = Path("reports/reference")


def track(params: Params, output: Path) -> None:
    """Open the MLflow store and the parent run of this build, unless ``output`` names one of the same parameters."""
    uri = tracking.default_uri()
    if output.is_file():
        build = tracking.Build.load(output)
        if build.tracking_uri == uri and tracking.tags(build).get("params_digest") == params.digest():
            return
    record = produced_by(params=params)
    tags = {key: record[key] for key in ("profile", "params_digest", "code_digest")} | record["versions"]
    name = f"{params.profile} {params.digest()}"
    tracking.start_build(uri, name, params.model_dump(mode="json"), tags).save(output)


def report(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Write tables, figures and the board entry, and log the finished models to MLflow."""
    noisy = read_json(reports / "evaluate" / "noisy.json")["noisy"] | {"model": "noisy"}
    metrics = {model: _metrics(params, models, reports, model) for model in params.models}
    enc_dec_ms = read_json(reports / "times" / "latency.json")["latency_enc_dec_ms"]
    trained = {model: network_folder(models, model) for model in params.models}

    ours = table.our_rows(noisy, metrics.values())
    published = table.published_rows(REFERENCE)
    tables = table.write_tables(ours + published, reports)
    timed = table.with_latency(ours, metrics.values(), enc_dec_ms)
    with atomic_path(reports / "summary.md") as temporary:
        temporary.write_text(table.printed_table(timed + published), encoding="utf-8")

    control = "dense" if "dense" in metrics else next(iter(metrics))
    intervals.write_intervals(
        reports / "intervals.md",
        intervals.intervals_table(metrics, control, differences(metrics)),
        intervals.losses_table(metrics),
    )

    drawn = figures.sparsity_figure(
        {model: trained[model] / "log.csv" for model in params.fine_tuned}, reports / "figures" / "figure1"
    )
    drawn += figures.learning_curves(
        {model: folder / "epochs.csv" for model, folder in trained.items()}, reports / "figures" / "learning_curves"
    )
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
    _log(params, tracking.Build.load(run), metrics, models, tables + drawn)


def network_folder(models: Path, model: str) -> Path:
    """Where a model's network.pt and training logs lie."""
    return models / "baseline" if model == "baseline" else models / "sparsified" / model


def _metrics(params: Params, models: Path, reports: Path, model: str) -> dict[str, Any]:
    """What was found out about a model, with the sparsity of its float weights and what produced it."""
    content = read_json(reports / "evaluate" / f"{model}.json")
    network = new_network(params)
    load_state(network, network_folder(models, model) / "network.pt")
    about = {"model": model, "sparsity": sparsity(network).total, "produced_by": content["produced_by"]}
    return content["networks"][model] | about


def _log(params: Params, build: tracking.Build, scores: dict[str, dict], models: Path, files: list[Path]) -> None:
    for model, values in scores.items():
        folder = network_folder(models, model)
        tracking.log_model(
            build,
            model,
            metrics=values,
            epochs=folder / "epochs.csv",
            params={"target": params.pruned.get(model, 0), "train": params.train.model_dump()},
            artifacts=[folder / "network.pt", models / "exported" / model / "network.net"],
            tags={key: value for key, value in values["produced_by"].items() if isinstance(value, str)},
        )
    tracking.finish_build(build, files)
