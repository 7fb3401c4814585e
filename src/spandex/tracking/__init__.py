"""MLflow tracking: one parent run a build, one child run a model.

The store is the one that MLFLOW_TRACKING_URI names, or else an sqlite file with a folder of artifacts beside it.
A build is known across processes by a small JSON file; whoever holds it finds or opens the run of a model.
Everything can be logged again: points, params and tags that are there already are left as they are.
"""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError
from spandex.files import read_json, write_json

# read while mlflow is imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from mlflow.utils.time import get_current_time_millis

EXPERIMENT = "spandex"
MODEL_TAG = "spandex.model"
MAX_PARAM_LENGTH = 6000  # characters; MLflow refuses longer values
MAX_BATCH = 100  # params or tags that MLflow takes at once

for _name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
    logging.getLogger(_name).setLevel(logging.WARNING)

Row = Mapping[str, int | float]


class TrackingError(SpandexError):
    """The tracking store cannot be reached or refuses what is logged."""


@dataclass(frozen=True)
class Build:
    """The parent run of a build.

    Attributes:
        tracking_uri: address of the store.
        experiment_id, run_id: MLflow's.
    """

    tracking_uri: str
    experiment_id: str
    run_id: str

    def save(self, path: str | os.PathLike) -> None:
        """Write the build to a JSON file."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Build":
        """Read a build from a JSON file.

        Raises:
            SpandexError: the file is missing or describes no build.
        """
        try:
            return cls(**read_json(path))
        except TypeError:
            raise SpandexError(f"{path}: describes no build; remove it and start again") from None


def default_uri(folder: str | os.PathLike = ".") -> str:
    """MLFLOW_TRACKING_URI, or the sqlite file mlflow.db in ``folder``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(Path(folder) / 'mlflow.db').resolve()}"


def create_store(uri: str, experiment: str = EXPERIMENT) -> str:
    """Create the store with its schema, and the experiment in it, unless they exist; return the experiment's id.

    Two processes that open a fresh sqlite store race on its schema, so this runs once before them. Artifacts of an
    sqlite store lie in the folder mlruns beside its file.

    Raises:
        TrackingError: the store cannot be reached.
    """
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return found.experiment_id
        return client.create_experiment(experiment, artifact_location=_artifact_location(uri))
    except MlflowException as error:
        raise _explain(uri, error) from None


def start_build(
    uri: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], experiment: str = EXPERIMENT
) -> Build:
    """Open the parent run of a build.

    Args:
        uri: of a store, created if need be.
        name: of the run.
        params: parameters of the build, nested or flat; nested keys are joined by dots.
        tags: revision, digests, versions and the like.

    Raises:
        TrackingError: the store cannot be reached.
    """
    experiment_id = create_store(uri, experiment)
    try:
        client = MlflowClient(uri)
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
        _log_params(client, run.info.run_id, params)
    except MlflowException as error:
        raise _explain(uri, error) from None
    return Build(uri, experiment_id, run.info.run_id)


def tags(build: Build) -> dict[str, str]:
    """Tags of the parent run; none if the store does not have it."""
    try:
        return dict(MlflowClient(build.tracking_uri).get_run(build.run_id).data.tags)
    except MlflowException:
        return {}


def model_run(build: Build, model: str) -> str:
    """Id of the child run of ``model`` in a build, opened at its first mention.

    Raises:
        TrackingError: the store cannot be reached.
    """
    try:
        client = MlflowClient(build.tracking_uri)
        wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{build.run_id}' and tags.`{MODEL_TAG}` = '{model}'"
        found = client.search_runs([build.experiment_id], filter_string=wanted, max_results=1)
        if found:
            return found[0].info.run_id
        tags = {MLFLOW_PARENT_RUN_ID: build.run_id, MODEL_TAG: model, MLFLOW_RUN_NAME: model}
        return client.create_run(build.experiment_id, run_name=model, tags=tags).info.run_id
    except MlflowException as error:
        raise _explain(build.tracking_uri, error) from None


def epoch_logger(build: Build, run_id: str) -> Callable[[Row], None]:
    """A callback that logs a row of epochs.csv at its iteration, for use while training.

    A store that does not answer costs a warning, not the training: ``log_model`` logs the rows again.
    """
    client = MlflowClient(build.tracking_uri)

    def log(row: Row) -> None:
        try:
            _log_rows(client, run_id, [row])
        except MlflowException as error:
            logging.getLogger(__name__).warning("%s", _explain(build.tracking_uri, error))

    return log


def log_model(
    build: Build,
    model: str,
    metrics: Mapping[str, Any] | None = None,
    epochs: str | os.PathLike | None = None,
    artifacts: Iterable[str | os.PathLike] = (),
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Log the results of one model and close its run.

    Args:
        build: its parent.
        model: its name.
        metrics: numbers, nested or flat; lists and texts among them are left out.
        epochs: its epochs.csv; epochs that were logged while training are not logged twice.
        artifacts: files to keep, such as network.pt and network.net.
        params: parameters of this model alone.
        tags: digests, versions and the like.

    Returns:
        The id of the run.

    Raises:
        TrackingError: the store cannot be reached or refuses something.
        SpandexError: a file is missing.
    """
    run_id = model_run(build, model)
    try:
        client = MlflowClient(build.tracking_uri)
        _log_params(client, run_id, params or {})
        _log_tags(client, run_id, tags or {})
        if epochs is not None:
            _log_rows(client, run_id, _read_rows(epochs))
        _log_final(client, run_id, metrics or {})
        _log_artifacts(client, run_id, artifacts)
        client.set_terminated(run_id, "FINISHED")
    except MlflowException as error:
        raise _explain(build.tracking_uri, error) from None
    return run_id


def finish_build(
    build: Build,
    artifacts: Iterable[str | os.PathLike] = (),
    tags: Mapping[str, str] | None = None,
    status: str = "FINISHED",
    folder: str | None = None,
) -> None:
    """Log the report of a build and close its run.

    Args:
        artifacts: tables and figures to keep.
        folder: where to keep them, in the run; at its top if None.
        tags: what is known only now.
        status: FINISHED or FAILED.

    Raises:
        TrackingError: the store cannot be reached or refuses something.
        SpandexError: a file is missing.
    """
    try:
        client = MlflowClient(build.tracking_uri)
        _log_tags(client, build.run_id, tags or {})
        _log_artifacts(client, build.run_id, artifacts, folder)
        client.set_terminated(build.run_id, status)
    except MlflowException as error:
        raise _explain(build.tracking_uri, error) from None


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _artifact_location(uri: str) -> str | None:
    """Beside the file of an sqlite store; a server's own default otherwise."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlruns").as_uri()


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    known = client.get_run(run_id).data.params
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flatten(params).items()}
    new = [Param(key, text[:MAX_PARAM_LENGTH]) for key, text in texts.items() if key not in known]
    for start in range(0, len(new), MAX_BATCH):
        client.log_batch(run_id, params=new[start : start + MAX_BATCH])


def _log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    entries = [RunTag(key, str(value)) for key, value in tags.items()]
    for start in range(0, len(entries), MAX_BATCH):
        client.log_batch(run_id, tags=entries[start : start + MAX_BATCH])


def _log_rows(client: MlflowClient, run_id: str, rows: Iterable[Row]) -> None:
    """Log rows at their iterations, without points that the run already has."""
    now = get_current_time_millis()
    known: dict[str, set[int]] = {}
    for row in rows:
        step = int(row["iteration"])
        points = []
        for name, value in row.items():
            if name == "iteration":
                continue
            if name not in known:
                known[name] = {point.step for point in client.get_metric_history(run_id, name)}
            if step not in known[name]:
                points.append(Metric(name, float(value), now, step))
        client.log_batch(run_id, metrics=points)


def _log_final(client: MlflowClient, run_id: str, metrics: Mapping[str, Any]) -> None:
    known = client.get_run(run_id).data.metrics
    now = get_current_time_millis()
    numbers = {
        key: float(value)
        for key, value in flatten(metrics).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    new = [Metric(key, value, now, 0) for key, value in numbers.items() if known.get(key) != value]
    client.log_batch(run_id, metrics=new)


def _log_artifacts(
    client: MlflowClient, run_id: str, paths: Iterable[str | os.PathLike], folder: str | None = None
) -> None:
    for path in paths:
        if not Path(path).is_file():
            raise SpandexError(f"{path}: no such file")
        client.log_artifact(run_id, str(path), folder)


def _read_rows(path: str | os.PathLike) -> list[dict[str, float]]:
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except (TypeError, ValueError) as error:
        raise SpandexError(f"{path}: not a training log ({error})") from None


def _explain(uri: str, error: MlflowException) -> TrackingError:
    return TrackingError(f"MLflow at {uri}: {' '.join(str(error).split())}")
