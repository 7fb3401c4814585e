"""Copies builds that were logged locally, because their server was away, to a server."""

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from spandex.errors import one_line
from spandex.tracking import store
from spandex.tracking.build import Build, TrackingError, local_uri, sqlite_file
from spandex.tracking.client import reach
from spandex.tracking.networks import DIGEST_TAG, register
from spandex.tracking.runs import (
    MODEL_TAG,
    PENDING_TAG,
    REGISTERED_TAG,
    SCORES_TAG,
    SERVER_RUN_TAG,
    UNCHANGED_TAG,
    children,
    link,
    model_run,
    show_charts,
    unchanged,
)


class LostError(TrackingError):
    """Something of a build that the local store should have and has not."""


def sync(server: str, unfinished: Collection[str] = ()) -> tuple[dict[str, Build], list[str]]:
    """Copy the builds of the local store that wait for a server.

    A build that still runs is left for later, so is one of which something is lost, and what the server has of a build
    is left as it is.

    Args:
        server: address; whichever server the builds should have been logged to.
        unfinished: ids of local runs that are copied though they have not ended.

    Returns:
        The builds at the server, by the ids of the local runs that they were copied from; and what others lack.

    Raises:
        TrackingError: a store cannot be reached or refuses something.
    """
    experiment_id = store.create_store(server)
    uri = local_uri()
    if not sqlite_file(uri).is_file():
        return {}, []
    copied, problems = {}, []
    for run in reach(uri, _pending):
        if run.info.status != "RUNNING" or run.info.run_id in unfinished:
            try:
                copied[run.info.run_id] = _copy_build(run, MlflowClient(uri), server, experiment_id)
            except LostError as error:
                problems.append(f"{error}; the build {run.info.run_name} is not copied to {server}")
    return copied, problems


@contextlib.contextmanager
def _reading(local: MlflowClient) -> Iterator[None]:
    """Tells errors of the local store from those of the server that it is copied to."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise LostError(f"MLflow at {local.tracking_uri}: {one_line(error)}") from None


def _pending(local: MlflowClient) -> list[Run]:
    experiment = local.get_experiment_by_name(store.EXPERIMENT)
    if experiment is None:
        return []
    return list(local.search_runs([experiment.experiment_id], f"tags.`{PENDING_TAG}` LIKE '%'"))


def _copy_build(run: Run, local: MlflowClient, server: str, experiment_id: str) -> Build:
    tags = run.data.tags
    run_id = reach(server, lambda client: _run_at_server(run, local, client, experiment_id))
    source = Build(run.info.run_name, {}, {}, local.tracking_uri, run.info.experiment_id, run.info.run_id)
    target = replace(source, tracking_uri=server, experiment_id=experiment_id, run_id=run_id)
    with _reading(local):
        models = children(local, source)
        models += [local.get_run(value) for key, value in tags.items() if key.startswith(UNCHANGED_TAG)]
    for model in models:
        reach(server, lambda client, model=model: _copy_model(model, local, client, target))
    reach(server, lambda client: _copy_run(run, local, client, run_id))
    reach(server, lambda client: show_charts(client, target))
    local.delete_tag(run.info.run_id, PENDING_TAG)
    local.set_tag(run.info.run_id, SERVER_RUN_TAG, run_id)
    return target


def _run_at_server(run: Run, local: MlflowClient, client: MlflowClient, experiment_id: str) -> str:
    """Id of the build's run at the server, opened if it is not there."""
    known = run.data.tags.get(SERVER_RUN_TAG)
    if known and client.search_runs([experiment_id], f"attributes.run_id = '{known}'"):
        return known
    created = client.create_run(experiment_id, run.info.start_time, run_name=run.info.run_name)
    local.set_tag(run.info.run_id, SERVER_RUN_TAG, created.info.run_id)
    return created.info.run_id


def _copy_model(run: Run, local: MlflowClient, client: MlflowClient, build: Build) -> None:
    """Copy a model's run below the build's, or link the one that the server has of the same network and scores."""
    tags = run.data.tags
    model = tags[MODEL_TAG]
    finished = {DIGEST_TAG, SCORES_TAG} <= tags.keys()
    same = unchanged(client, build, tags) if finished and not children(client, build, model) else None
    if same is not None:
        link(client, build, model, same.info.run_id)
    else:
        _copy_run(run, local, client, model_run(client, build, model))


def _copy_run(run: Run, local: MlflowClient, client: MlflowClient, run_id: str) -> None:
    """Copy what a run holds, and register its network."""
    with _reading(local):
        past = [point for name in run.data.metrics for point in local.get_metric_history(run.info.run_id, name)]
    store.log_params(client, run_id, run.data.params)
    store.log_points(client, run_id, past)
    if run.inputs.dataset_inputs:
        client.log_inputs(run_id, datasets=run.inputs.dataset_inputs)
    tags = {key: value for key, value in run.data.tags.items() if _goes_along(key)}
    network = Path(local_file_uri_to_path(run.info.artifact_uri), "network.net")
    if REGISTERED_TAG in tags and not network.is_file():
        raise LostError(f"{network}: no such file")
    with tempfile.TemporaryDirectory() as folder:
        with _reading(local):
            files = Path(local.download_artifacts(run.info.run_id, "", folder))
        client.log_artifacts(run_id, str(files))
        if REGISTERED_TAG in tags:
            name = tags[REGISTERED_TAG].removeprefix("models:/").rpartition("/")[0]
            about = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
            tags[REGISTERED_TAG] = register(client, run_id, name, files / "network.net", about)
    store.log_tags(client, run_id, tags)
    client.set_terminated(run_id, run.info.status, run.info.end_time)


def _goes_along(tag: str) -> bool:
    """Whether a tag says the same at another store."""
    of_store = (PENDING_TAG, SERVER_RUN_TAG, MLFLOW_RUN_NOTE, MLFLOW_PARENT_RUN_ID)
    return tag not in of_store and not tag.startswith(UNCHANGED_TAG)
