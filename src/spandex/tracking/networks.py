"""Networks as registered models of MLflow."""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec

from spandex.checkout import main_checkout
from spandex.files import sha256

CODE = Path(__file__).with_name("model.py")
REQUIREMENTS = ("spandex", "mlflow", "numpy", "torch", "numba", "h5py", "lava-nc", "lava-dl")  # to load and run one
ALIAS = "current"
DIGEST_TAG = "network_sha256"
LOOKAHEAD_TAG = "lookahead"  # with which it denoises; a network without has no such tag
AUDIO = Schema([TensorSpec(np.dtype(np.float32), (-1, -1))])  # clips, samples


def register(client: MlflowClient, run_id: str, name: str, network: Path, tags: Mapping[str, str]) -> str:
    """Log a run's network as a model, register it under ``name`` and give it the alias ``current``.

    A network that is registered already, by its digest, keeps its version. A folder that DVC made for an experiment
    leaves the alias where it is.

    Args:
        network: HDF5, as exported.
        tags: of a new version.

    Returns:
        The address to load it by, ``models:/NAME/VERSION``.
    """
    digest = sha256(network)
    if LOOKAHEAD_TAG in tags:
        digest += f" lookahead {tags[LOOKAHEAD_TAG]}"
    found = client.search_model_versions(f"name = '{name}' and tag.`{DIGEST_TAG}` = '{digest}'")
    if found:
        number = found[0].version
        if found[0].model_id and found[0].run_id != run_id:
            client.log_inputs(run_id, models=[LoggedModelInput(found[0].model_id)])
    else:
        tags = {**tags, DIGEST_TAG: digest}
        logged = _log_model(client, run_id, name, network, tags)
        number = _create_version(client, run_id, name, logged, tags)
    if main_checkout() == Path.cwd():  # experiments and reproductions elsewhere are not what is in use
        client.set_registered_model_alias(name, ALIAS, number)
    return f"models:/{name}/{number}"


def _log_model(client: MlflowClient, run_id: str, name: str, network: Path, tags: Mapping[str, str]) -> LoggedModel:
    """Log a model from code; as ``mlflow.pyfunc.log_model``, but in the store and experiment of the run."""
    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, name, run_id, dict(tags), run.data.params)
    about = Model(
        artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id, model_uuid=logged.model_id
    )
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            f"{folder}/model",
            mlflow_model=about,
            python_model=str(CODE),
            artifacts={"network": str(network)},
            model_config={"lookahead": int(tags[LOOKAHEAD_TAG])} if LOOKAHEAD_TAG in tags else None,
            signature=ModelSignature(AUDIO, AUDIO),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )
        client.log_model_artifacts(logged.model_id, f"{folder}/model")
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return logged


def _create_version(client: MlflowClient, run_id: str, name: str, logged: LoggedModel, tags: Mapping[str, str]) -> str:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = logged.artifact_location  # models:/ID would be looked up in MLflow's default store
    created = client.create_model_version(
        name, source, run_id, dict(tags), model_id=logged.model_id, await_creation_for=0
    )
    return created.version
