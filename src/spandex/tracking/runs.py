"""The runs of a build: its own, and one below it for every network that it made.

A network that an earlier build made just so, by the digests of its file and of its scores, keeps its run: the new
build names it in a tag, in its description, and among its metrics.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from spandex.params import flatten
from spandex.tracking import store
from spandex.tracking.build import Build
from spandex.tracking.charts import keep_view
from spandex.tracking.client import reach
from spandex.tracking.networks import DIGEST_TAG, register
from spandex.tracking.store import InputData, Row

MODEL_TAG = "spandex.model"
SCORES_TAG = "scores_digest"
REGISTERED_TAG = "registered_model"  # name and version
UNCHANGED_TAG = "unchanged."  # followed by a model's name; the run that has its results
PENDING_TAG = "spandex.pending"  # the server that a local run is to be copied to
SERVER_RUN_TAG = "spandex.server_run"  # and the id of the run there, if it has one
PARAMS = (  # by which runs are found and grouped; all parameters are in the file params.yaml of a run
    "profile",
    "network",
    "from",
    "method",
    "target",
    "schedule",
    "seed",
    "data.clips.train",
    "model.hidden",
    "train.lr",
    "train.epochs",
    "sparsify.lr_factor",
    "sparsify.epochs",
    "sparsify.distill.weight",
)
METRICS = (  # by which networks are compared; all of them are in the file scores.json of a run
    "si_snr_db",
    "si_snri_db",
    "fixed_minus_float_db",
    "mos_ovrl",
    "float_power_proxy_ops_per_s",
    "deployed_power_proxy_ops_per_s",
    "deployed_pdp_proxy_ops",
    "latency_network_ms",
    "parameters",
    "size_kb",
    "sparsity",
    "deployed_sparsity",
)
HEADLINES = ("si_snr_db", "mos_ovrl", "deployed_power_proxy_ops_per_s")  # what the build's own run shows of every model


@dataclass(frozen=True)
class ModelRecord:
    """What is logged of a finished network.

    Attributes:
        name: such as ``prune75``.
        network: its HDF5 file, registered as ``registered_name``.
        params, metrics: all of them, nested; those of ``PARAMS`` and ``METRICS`` are shown, the file of each has all.
        rows: of its epochs.csv.
        tags: digests among them, under ``DIGEST_TAG`` and ``SCORES_TAG``, by which it is known again.
        inputs: what it was trained and judged on.
        artifacts: files to keep.
    """

    name: str
    network: Path
    registered_name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rows: Sequence[Row]
    tags: Mapping[str, str]
    inputs: Sequence[InputData] = ()
    artifacts: Sequence[Path] = ()


def start_build(
    uri: str,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    server: str | None = None,
    server_run: str | None = None,
) -> Build:
    """Open the parent run of a build.

    Args:
        uri: of a store, created if need be.
        name: of the run, and how those of its networks begin.
        params: all parameters of the build, nested.
        tags: revision, digests, versions and the like.
        server, server_run: the server that should have had the run, and the run that it has of this build.

    Raises:
        TrackingError: the store cannot be reached.
    """
    experiment_id = store.create_store(uri)
    pending = {key: value for key, value in {PENDING_TAG: server, SERVER_RUN_TAG: server_run}.items() if value}

    def start(client: MlflowClient) -> str:
        run_id = client.create_run(experiment_id, run_name=name, tags={**tags, **pending}).info.run_id
        _log_params(client, run_id, params)
        return run_id

    return Build(name, dict(params), dict(tags), uri, experiment_id, reach(uri, start), server)


def alive(build: Build) -> bool:
    """Whether the build's run is there.

    Raises:
        TrackingError: the store cannot be reached.
    """
    if not build.run_id:
        return False
    wanted = f"attributes.run_id = '{build.run_id}'"
    return bool(reach(build.tracking_uri, lambda client: client.search_runs([build.experiment_id], wanted)))


def abandon(build: Build) -> None:
    """Close the runs of a build that was stopped and will not go on."""

    def close(client: MlflowClient) -> None:
        wanted = f"attributes.run_id = '{build.run_id}'"
        runs = client.search_runs([build.experiment_id], wanted) + children(client, build)
        for run in runs:
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")

    if build.run_id:
        reach(build.tracking_uri, close)


def children(client: MlflowClient, build: Build, model: str | None = None) -> list[Run]:
    """The runs below a build's, of one model or of all."""
    wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{build.run_id}'"
    if model is not None:
        wanted += f" and tags.`{MODEL_TAG}` = '{model}'"
    return list(client.search_runs([build.experiment_id], wanted))


def model_run(client: MlflowClient, build: Build, model: str) -> str:
    """Id of the run of ``model`` below a build's, opened at its first mention."""
    found = children(client, build, model)
    if found:
        return found[0].info.run_id
    tags = {MLFLOW_PARENT_RUN_ID: build.run_id, MODEL_TAG: model}
    return client.create_run(build.experiment_id, run_name=f"{build.name} {model}", tags=tags).info.run_id


def unchanged(client: MlflowClient, build: Build, tags: Mapping[str, str]) -> Run | None:
    """The latest finished run of a network with these digests of network and scores, in whatever build."""
    wanted = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in (MODEL_TAG, DIGEST_TAG, SCORES_TAG))
    wanted += " and attributes.status = 'FINISHED'"
    found = client.search_runs([build.experiment_id], wanted, order_by=["attributes.start_time DESC"], max_results=1)
    return found[0] if found else None


def log_model(client: MlflowClient, build: Build, record: ModelRecord) -> str:
    """Log the results of a model, register its network, and close its run.

    If this build did not train it, and an earlier one's run has the same network with the same scores, that run
    is linked instead.

    Returns:
        The id of the run that has its results.

    Raises:
        SpandexError: a file is missing.
    """
    tags = {**record.tags, MODEL_TAG: record.name}
    show(client, build, record.name, record.metrics)
    same = None if children(client, build, record.name) else unchanged(client, build, tags)
    if same is not None:
        link(client, build, record.name, same.info.run_id)
        register(client, same.info.run_id, record.registered_name, record.network, record.tags)
        return same.info.run_id
    run_id = model_run(client, build, record.name)
    _log_params(client, run_id, record.params)
    store.log_inputs(client, run_id, record.inputs)
    store.log_rows(client, run_id, record.rows)
    store.log_metrics(client, run_id, _chosen(METRICS, record.metrics))
    client.log_dict(run_id, dict(record.metrics), "scores.json")
    store.log_files(client, run_id, record.artifacts)
    address = register(client, run_id, record.registered_name, record.network, record.tags)
    store.log_tags(client, run_id, {**tags, REGISTERED_TAG: address})
    client.set_terminated(run_id, "FINISHED")
    return run_id


def show(client: MlflowClient, build: Build, model: str, metrics: Mapping[str, Any]) -> None:
    """Show a model's headline metrics on the build's own run, as ``MODEL/METRIC``."""
    store.log_metrics(client, build.run_id, _chosen(HEADLINES, metrics), f"{model}/")


def link(client: MlflowClient, build: Build, model: str, run_id: str) -> None:
    """Name the run of an unchanged model in the build's tags and description."""
    store.log_tags(client, build.run_id, {UNCHANGED_TAG + model: run_id})
    tags = client.get_run(build.run_id).data.tags
    lines = [
        f"- [{key.removeprefix(UNCHANGED_TAG)}](#/experiments/{build.experiment_id}/runs/{value})"
        for key, value in sorted(tags.items())
        if key.startswith(UNCHANGED_TAG)
    ]
    note = "Unchanged since earlier builds, whose runs have the results:\n\n" + "\n".join(lines)
    store.log_tags(client, build.run_id, {MLFLOW_RUN_NOTE: note})


def show_charts(client: MlflowClient, build: Build) -> None:
    """Let MLflow's page open with charts of the networks of a build, those that did not change among them."""
    run = client.get_run(build.run_id)
    unchanged = [value for key, value in run.data.tags.items() if key.startswith(UNCHANGED_TAG)]
    ids = [child.info.run_id for child in children(client, build)] + unchanged
    keep_view(client, build.experiment_id, run.data.params["profile"], ids)


def log_results(
    client: MlflowClient,
    build: Build,
    records: Iterable[ModelRecord],
    metrics: Mapping[str, Mapping[str, Any]],
    inputs: Iterable[InputData],
    artifacts: Iterable[str | Path],
    folder: str | None,
) -> None:
    """Log networks and the report of a build, and close its run.

    Args:
        records: of the networks, see ``log_model``.
        metrics: of what is no network, such as the noisy input, by name.
        inputs: the build's clips.
        artifacts: tables and figures to keep.
        folder: where to keep them, in the run; at its top if None.

    Raises:
        SpandexError: a file is missing.
    """
    for record in records:
        log_model(client, build, record)
    for name, numbers in metrics.items():
        show(client, build, name, numbers)
    store.log_inputs(client, build.run_id, inputs)
    store.log_files(client, build.run_id, artifacts, folder)
    show_charts(client, build)
    client.set_terminated(build.run_id, "FINISHED")


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    store.log_params(client, run_id, _chosen(PARAMS, flatten(params)))
    client.log_dict(run_id, dict(params), "params.yaml")


def _chosen(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
