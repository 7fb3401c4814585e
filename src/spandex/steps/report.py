"""The build's MLflow run, and everything a reader looks at."""

import datetime
from pathlib import Path

from spandex.files import atomic_path, read_json
from spandex.params import Params
from spandex.provenance import produced_by
from spandex.report import figures, metricsboard, table, tracking

REFERENCE = Path("reports/reference")


def track(params: Params, output: Path) -> None:
    """Open the MLflow store and the parent run of this build, unless ``output`` names one of the same parameters."""
    uri = tracking.default_uri()
    if output.is_file():
        build = tracking.Build.load(output)
        if build.tracking_uri == uri and tracking.tags(build).get("params_digest") == params.digest():
            return
    record = produced_by(params)
    tags = {key: record[key] for key in ("profile", "params_digest", "code_digest")} | record["versions"]
    name = f"{params.profile} {params.digest()}"
    tracking.start_build(uri, name, params.model_dump(mode="json"), tags).save(output)


def report(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Write tables, figures and the board entry, and log the finished models to MLflow."""
    noisy = read_json(reports / "evaluate" / "noisy.json")
    metrics = {model: read_json(reports / "evaluate" / f"{model}.json") for model in params.models}
    inference = {model: read_json(reports / "infer" / f"{model}.json") for model in params.models}
    enc_dec_ms = read_json(reports / "times" / "latency.json")["latency_enc_dec_ms"]
    trained = {model: network_folder(models, model) for model in params.models}

    fixed_minus_float = {model: result["lava_minus_float_db"] for model, result in inference.items()}
    ours = table.our_rows(noisy, metrics.values(), fixed_minus_float)
    published = table.published_rows(REFERENCE)
    tables = table.write_tables(ours + published, reports)
    timed = table.with_latency(ours, metrics.values(), enc_dec_ms)
    with atomic_path(reports / "summary.md") as temporary:
        temporary.write_text(table.printed_table(timed + published), encoding="utf-8")

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
    scores = {model: metrics[model] | {"fixed_minus_float_db": fixed_minus_float[model]} for model in metrics}
    _log(params, tracking.Build.load(run), scores, models, tables + drawn)


def network_folder(models: Path, model: str) -> Path:
    """Where a model's network.pt and training logs lie."""
    return models / "baseline" if model == "baseline" else models / "sparsified" / model


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
