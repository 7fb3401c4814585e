"""What MLflow keeps of a build: params, tags, curves, metrics, data sets and files, each logged once."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlflow.utils.time import get_current_time_millis

from spandex.errors import SpandexError
from spandex.files.locking import locked
from spandex.params import flatten
from spandex.tracking.build import TrackingError, sqlite_file
from spandex.tracking.client import reach

EXPERIMENT = "spandex"
MAX_PARAM_LENGTH = 6000  # characters; MLflow refuses longer values
MAX_BATCH = 100  # params or tags that MLflow takes at once; of metrics it takes 1000

Row = Mapping[str, int | float]


@dataclass(frozen=True)
class InputData:
    """Clips that a network was trained or judged on.

    Attributes:
        name: such as ``synthetic-train``.
        digest: of the clips, at most 36 characters.
        source: path or address.
        context: what they were used for: training, validation or evaluation.
        clips: how many.
    """

    name: str
    digest: str
    source: str
    context: str
    clips: int


def create_store(uri: str) -> str:
    """Create the store with its schema, and the experiment in it, unless they exist; return the experiment's id.

    Two processes that open a fresh sqlite store race on its schema, so they do it one after the other. Artifacts of
    an sqlite store lie in the folder mlruns beside its file.

    Raises:
        TrackingError: the store cannot be reached.
    """

    def create(client: MlflowClient) -> str:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return found.experiment_id
        return client.create_experiment(EXPERIMENT, artifact_location=_artifact_location(uri))

    file = sqlite_file(uri)
    with contextlib.nullcontext() if file is None else locked(file, TrackingError):
        return reach(uri, create)


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    """Log params, nested or flat, that the run does not have; nested keys are joined by dots."""
    known = client.get_run(run_id).data.params
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flatten(params).items()}
    new = [Param(key, text[:MAX_PARAM_LENGTH]) for key, text in texts.items() if key not in known]
    for batch in _batches(new, MAX_BATCH):
        client.log_batch(run_id, params=batch)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, Any]) -> None:
    """Set tags."""
    for batch in _batches([RunTag(key, str(value)) for key, value in tags.items()], MAX_BATCH):
        client.log_batch(run_id, tags=batch)


def log_rows(client: MlflowClient, run_id: str, rows: Iterable[Row]) -> None:
    """Log rows of a training log at their iterations."""
    now = get_current_time_millis()
    points = [
        Metric(name, float(value), now, int(row["iteration"]))
        for row in rows
        for name, value in row.items()
        if name not in ("iteration", "epoch")
    ]
    log_points(client, run_id, points)


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, Any], prefix: str = "") -> None:
    """Log final numbers, nested or flat, at step 0; lists and texts among them are left out."""
    now = get_current_time_millis()
    numbers = {
        key: float(value)
        for key, value in flatten(metrics).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    known = client.get_run(run_id).data.metrics
    new = [Metric(prefix + key, value, now, 0) for key, value in numbers.items() if known.get(prefix + key) != value]
    _send(client, run_id, new)


def log_points(client: MlflowClient, run_id: str, points: Sequence[Metric]) -> None:
    """Log points at steps that the run has none at; at step 0, of final numbers, those that change the newest."""
    names = {point.key for point in points} & set(client.get_run(run_id).data.metrics)
    past = [point for name in names for point in client.get_metric_history(run_id, name)]
    newest = {(point.key, point.step): point for point in sorted(past, key=attrgetter("timestamp"))}
    new = []
    for point in sorted(points, key=attrgetter("timestamp")):
        known = newest.get((point.key, point.step))
        if known is None or (not point.step and point.timestamp > known.timestamp and point.value != known.value):
            new.append(point)
            newest[point.key, point.step] = point
    _send(client, run_id, new)


def _send(client: MlflowClient, run_id: str, points: Sequence[Metric]) -> None:
    for batch in _batches(points, 10 * MAX_BATCH):
        client.log_batch(run_id, metrics=batch)


def log_inputs(client: MlflowClient, run_id: str, inputs: Iterable[InputData]) -> None:
    """Log data sets as MLflow's inputs of the run."""
    entries = [
        DatasetInput(
            Dataset(
                data.name,
                data.digest,
                "local",
                json.dumps({"uri": data.source}),
                profile=json.dumps({"clips": data.clips}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, data.context)],
        )
        for data in inputs
    ]
    if entries:
        client.log_inputs(run_id, datasets=entries)


def log_files(client: MlflowClient, run_id: str, paths: Iterable[str | Path], folder: str | None = None) -> None:
    """Keep files with the run.

    Raises:
        SpandexError: a file is missing.
    """
    for path in paths:
        if not Path(path).is_file():
            raise SpandexError(f"{path}: no such file")
        client.log_artifact(run_id, str(path), folder)


def _artifact_location(uri: str) -> str | None:
    """Beside the file of an sqlite store; a server's own default otherwise."""
    file = sqlite_file(uri)
    return None if file is None else (file.resolve().parent / "mlruns").as_uri()


def _batches(entries: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))
