import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from spandex.errors import SpandexError
from spandex.tracking import (
    Build,
    TrackingError,
    create_store,
    default_uri,
    epoch_logger,
    finish_build,
    log_model,
    model_run,
    start_build,
)

PARAMS = {"profile": "embedded", "train": {"lr": 0.001, "epochs": 3}, "sparsify": {"targets": [0.5, 0.75]}}
EPOCHS = """iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db,sparsity,lr
30,1,95.5,4.5,4.25,0.25,0.001
60,2,94.5,5.5,5.25,0.5,0.0007
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A fresh store, made once: creating the schema takes seconds."""
    folder = tmp_path_factory.mktemp("template")
    create_store(f"sqlite:///{folder}/mlflow.db")
    return folder


@pytest.fixture(scope="module")
def uri(template) -> str:
    return f"sqlite:///{template}/mlflow.db"


@pytest.fixture
def build(uri) -> Build:
    return start_build(uri, "embedded", PARAMS, {"params_digest": "0123abcd"})


@pytest.fixture
def epochs(tmp_path) -> Path:
    path = tmp_path / "epochs.csv"
    path.write_text(EPOCHS)
    return path


def test_build_is_a_parent_run_with_params_and_tags(uri, build):
    run = MlflowClient(uri).get_run(build.run_id)
    assert run.data.params == {
        "profile": "embedded",
        "train.lr": "0.001",
        "train.epochs": "3",
        "sparsify.targets": "[0.5, 0.75]",
    }
    assert run.data.tags["params_digest"] == "0123abcd"
    assert run.info.run_name == "embedded"
    assert run.info.status == "RUNNING"
    finish_build(build, tags={"machine": "2 cores"})
    run = MlflowClient(uri).get_run(build.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["machine"] == "2 cores"


def test_model_is_a_child_run_with_curves_metrics_and_networks(uri, build, epochs, tmp_path):
    network = tmp_path / "network.net"
    network.write_bytes(b"weights")
    metrics = {
        "model": "prune50",
        "si_snr_db": 12.5,
        "mos_ovrl": None,
        "synops_per_step": {"1": 10.5},
        "per_clip": [{}],
    }
    run_id = log_model(
        build, "prune50", metrics, epochs, [network], {"target": 0.5}, {"network_sha256": "ff", "torch": "2.15"}
    )
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.data.tags["mlflow.parentRunId"] == build.run_id
    assert run.data.tags["network_sha256"] == "ff"
    assert run.data.params == {"target": "0.5"}
    assert run.data.metrics["si_snr_db"] == 12.5
    assert run.data.metrics["synops_per_step.1"] == 10.5
    assert "mos_ovrl" not in run.data.metrics
    curve = [(point.step, point.value) for point in client.get_metric_history(run_id, "validation_si_snr_db")]
    assert curve == [(30, 4.25), (60, 5.25)]
    downloaded = client.download_artifacts(run_id, "network.net", str(tmp_path / ""))
    assert Path(downloaded).read_bytes() == b"weights"
    assert run.info.artifact_uri.startswith((Path(uri.removeprefix("sqlite:///")).parent / "mlruns").as_uri())


def test_epochs_logged_while_training_are_not_logged_twice(uri, build, epochs):
    run_id = model_run(build, "dense")
    log = epoch_logger(build, run_id)
    log({"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25})
    log({"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25})  # an epoch repeated after a crash
    history = MlflowClient(uri).get_metric_history
    assert [(point.step, point.value) for point in history(run_id, "validation_si_snr_db")] == [(30, 4.25)]
    for _ in range(2):
        assert log_model(build, "dense", {"si_snr_db": 1.0}, epochs, params={"target": 0}) == run_id
    assert [point.step for point in history(run_id, "validation_si_snr_db")] == [30, 60]
    assert [point.step for point in history(run_id, "train_loss")] == [30, 60]
    assert len(history(run_id, "si_snr_db")) == 1


def test_another_build_gets_runs_of_its_own(uri, build):
    other = start_build(uri, "embedded", PARAMS, {})
    assert model_run(other, "dense") != model_run(build, "dense")
    assert model_run(build, "dense") == model_run(build, "dense")


def test_build_is_continued_in_another_process_quietly(build, tmp_path):
    build.save(tmp_path / "build.json")
    assert Build.load(tmp_path / "build.json") == build
    here = model_run(build, "prune75")
    code = (
        "from spandex.tracking import Build, epoch_logger, model_run;"
        f"build = Build.load({str(tmp_path / 'build.json')!r});"
        "run = model_run(build, 'prune75');"
        "epoch_logger(build, run)({'iteration': 7, 'epoch': 1, 'lr': 0.5});"
        "print(run)"
    )
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # without git
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout == f"{here}\n"
    assert done.stderr == ""
    assert MlflowClient(build.tracking_uri).get_run(here).data.metrics["lr"] == 0.5


@pytest.mark.slow
def test_fresh_store_is_created_once_and_quietly(tmp_path):
    uri = f"sqlite:///{tmp_path}/new.db"
    code = f"from spandex.tracking import create_store; print(create_store({uri!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == f"{create_store(uri)}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db"]


def test_environment_names_the_store(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_uri(tmp_path) == "http://127.0.0.1:5000"


def test_problems_are_one_line_that_names_them(build, tmp_path, monkeypatch):
    with pytest.raises(SpandexError, match=r"absent\.net: no such file"):
        log_model(build, "baseline", artifacts=[tmp_path / "absent.net"])
    (tmp_path / "foreign.json").write_text("{}")
    with pytest.raises(SpandexError, match=r"foreign\.json: describes no build"):
        Build.load(tmp_path / "foreign.json")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9"):
        create_store("http://127.0.0.1:9")
