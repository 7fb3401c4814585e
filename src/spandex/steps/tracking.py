"""What a build logs to MLflow."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spandex import tracking
from spandex.params import Params
from spandex.provenance import produced_by
from spandex.steps.results import network_scores


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


def log_build(params: Params, models: Path, reports: Path, run: Path, artifacts: Iterable[Path]) -> None:
    """Log the networks of the table and the files of the report, and close the build's run.

    Args:
        models, reports: folders of the profile.
        run: JSON file of the build.
        artifacts: tables, figures and pages to keep.
    """
    _log(params, params.models, models, reports, run, artifacts)


def log_ablation(params: Params, models: Path, reports: Path, run: Path, artifacts: Iterable[Path]) -> None:
    """Log the networks of the ablation and the files of its report; see ``log_build``."""
    _log(params, params.variants, models, reports, run, artifacts, "ablation")


def _log(
    params: Params,
    names: Iterable[str],
    models: Path,
    reports: Path,
    run: Path,
    artifacts: Iterable[Path],
    folder: str | None = None,
) -> None:
    build = tracking.Build.load(run)
    for name in names:
        _log_network(params, build, models, network_scores(params, models, reports, name))
    tracking.finish_build(build, artifacts, folder=folder)


def _log_network(params: Params, build: tracking.Build, models: Path, scores: Mapping[str, Any]) -> None:
    """Log a finished network to MLflow."""
    model = scores["model"]
    folder = models / params.folder(model)
    exported = folder if model in params.variants else models / "exported" / model
    pruning = params.prunings.get(model)
    tracking.log_model(
        build,
        model,
        metrics=scores,
        epochs=folder / "epochs.csv",
        params={
            "target": pruning.target if pruning else 0,
            "schedule": pruning.schedule if pruning else "none",
            "train": params.train.model_dump(),
        },
        artifacts=[folder / "network.pt", exported / "network.net"],
        tags={key: value for key, value in scores["produced_by"].items() if isinstance(value, str)},
    )
