import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from commands import refusal, spandex
from spandex.deploy import denoiser
from spandex.errors import SpandexError
from spandex.steps.tracking import log_paper, track
from spandex.tracking import Build, default_uri, local_uri, notice
from spandex.tracking.build import TrackingError
from spandex.tracking.client import reach
from spandex.tracking.fallback import epoch_logger
from spandex.tracking.store import create_store, log_metrics
from tracked_project import MODELS, RUN, log, tiny_params, write_network, write_scores


@pytest.fixture
def project(template, tmp_path, monkeypatch) -> Path:
    """A copy of it, which is the current folder; artifacts of the copied store still lie in the template."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def build_run(client: MlflowClient) -> Run:
    return client.get_run(Build.load(RUN).run_id)


def children(client: MlflowClient) -> dict[str, Run]:
    """Runs below the current build's, by network."""
    build = Build.load(RUN)
    wanted = f"tags.`mlflow.parentRunId` = '{build.run_id}'"
    return {run.data.tags["spandex.model"]: run for run in client.search_runs([build.experiment_id], wanted)}


def kept(client: MlflowClient, run: Run, file: str) -> Any:
    """What a file of a run holds."""
    return yaml.safe_load(Path(client.download_artifacts(run.info.run_id, file)).read_text())


def curve(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def current_version(client: MlflowClient, model: str) -> int:
    return int(client.get_model_version_by_alias(f"spandex-synthetic-{model}", "current").version)


@pytest.fixture
def client(project) -> MlflowClient:
    return MlflowClient(local_uri(project))


def test_build_is_a_run_with_params_tags_data_and_the_results_of_all_models(client):
    track(tiny_params(), RUN)
    assert build_run(client).info.status == "RUNNING"
    log()
    run = build_run(client)
    assert (run.info.run_name, run.info.status) == ("synthetic", "FINISHED")
    assert run.data.params["train.lr"] == "0.001"
    assert kept(client, run, "params.yaml") == tiny_params().model_dump(mode="json")
    assert run.data.tags["params_digest"] == tiny_params().digest()
    assert (run.data.tags["profile"], run.data.tags["revision"], run.data.tags["dirty"]) == (
        "synthetic",
        "unknown",
        "unknown",
    )
    assert {data.dataset.digest for data in run.inputs.dataset_inputs} == {"of-train", "of-validation", "of-test"}
    assert {name: run.data.metrics[f"{name}/si_snr_db"] for name in ("noisy", *MODELS)} == {
        "noisy": 9.0,
        "baseline": 12.0,
        "dense": 13.0,
        "prune50": 14.0,
    }
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["params.yaml", "table.csv"]


def test_models_are_child_runs_with_params_of_the_same_names(client):
    track(tiny_params(), RUN)
    log()
    runs = children(client)
    assert {name: run.info.run_name for name, run in runs.items()} == {name: f"synthetic {name}" for name in MODELS}
    assert {frozenset(run.data.params) for run in runs.values()} == {frozenset(runs["dense"].data.params)}
    assert [runs[name].data.params["target"] for name in MODELS] == ["0", "0", "0.5"]
    run = runs["prune50"]
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    assert (run.data.params["method"], run.data.params["from"]) == ("magnitude", "baseline")
    assert kept(client, run, "params.yaml")["methods"]["magnitude"]["target"] == 0.5
    assert run.data.metrics["si_snr_db"] == 14.0
    assert not {"mos_ovrl", "mos_sig_all_hops", "intervals.si_snr_db"} & run.data.metrics.keys()
    assert kept(client, run, "scores.json")["mos_sig_all_hops"] == 3.0
    assert len(run.data.params) < 15 and len(run.data.metrics) < 15
    assert curve(client, run, "validation_si_snr_db") == [(30, 4.25), (60, 5.25)]
    contexts = {data.dataset.name: [tag.value for tag in data.tags] for data in run.inputs.dataset_inputs}
    assert contexts == {
        "synthetic-train": ["training"],
        "synthetic-validation": ["validation"],
        "synthetic-test": ["evaluation"],
    }
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"network.net", "network.pt", "params.yaml", "scores.json"}


def test_epochs_logged_while_training_are_not_logged_twice(client):
    track(tiny_params(), RUN)
    for _ in range(2):  # an epoch repeated after a crash
        epoch_logger(RUN, "dense")({"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25})
    live = children(client)["dense"]
    assert curve(client, live, "validation_si_snr_db") == [(30, 4.25)]
    for _ in range(2):
        log()
    run = children(client)["dense"]
    assert run.info.run_id == live.info.run_id
    assert curve(client, run, "validation_si_snr_db") == [(30, 4.25), (60, 5.25)]
    assert curve(client, run, "train_loss") == [(30, 95.5), (60, 94.5)]
    assert curve(client, run, "si_snr_db") == [(0, 13.0)]


def test_number_that_returns_to_what_it_was_is_shown(client):
    run = client.create_run(client.create_experiment("numbers"))
    for value in (1.5, 2.5, 1.5):
        log_metrics(client, run.info.run_id, {"si_snr_db": value})
        time.sleep(0.002)  # MLflow orders points of a step by milliseconds
        assert client.get_run(run.info.run_id).data.metrics == {"si_snr_db": value}


@pytest.mark.parametrize("lookahead", [0, 1])
def test_registered_network_denoises_as_deployed_from_code_without_pickle(project, monkeypatch, lookahead):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    settings = f"networks.prune50.lookahead={lookahead}"
    track(tiny_params(settings), RUN)
    log(settings)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri())
    model = mlflow.pyfunc.load_model("models:/spandex-synthetic-prune50@current")
    (spec,) = model.metadata.signature.inputs.inputs
    assert (spec.type, spec.shape) == (np.float32, (-1, -1))
    stock = denoiser(project / "models/synthetic/exported/prune50/network.net", lookahead=lookahead)
    noise = np.random.default_rng(1)
    for clips, samples in ((1, 100), (2, 16000), (3, 16001)):
        audio = 0.1 * noise.standard_normal((clips, samples)).astype(np.float32)
        denoised = model.predict(audio)
        assert denoised.dtype == np.float32
        assert np.array_equal(denoised, [stock.denoise(clip) for clip in audio])


def test_the_same_network_keeps_its_registered_version(client, project):
    track(tiny_params(), RUN)
    log()
    first = children(client)["dense"].data.tags["registered_model"]
    write_scores(project, "dense", 13.5)
    write_network(project, "prune50", seed=7)
    track(tiny_params("train.lr=0.002"), RUN)
    log("train.lr=0.002")
    assert children(client)["dense"].data.tags["registered_model"] == first == "models:/spandex-synthetic-dense/1"
    assert children(client)["prune50"].data.tags["registered_model"] == "models:/spandex-synthetic-prune50/2"
    assert current_version(client, "prune50") == 2
    write_network(project, "prune50", seed=2)  # as it was before
    track(tiny_params("train.lr=0.003"), RUN)
    log("train.lr=0.003")
    assert current_version(client, "prune50") == 1


def test_another_build_links_what_did_not_change(client, project):
    track(tiny_params(), RUN)
    log()
    before, earlier = children(client), build_run(client)
    write_network(project, "prune50", seed=7)
    write_scores(project, "dense", 13.5)  # the same network, judged otherwise
    track(tiny_params("report.team=Others"), RUN)
    for _ in range(2):
        log("report.team=Others")
    run = build_run(client)
    assert run.info.run_id != earlier.info.run_id
    assert set(children(client)) == {"dense", "prune50"}
    baseline = before["baseline"].info.run_id
    assert run.data.tags["unchanged.baseline"] == baseline
    assert f"runs/{baseline}" in run.data.tags["mlflow.note.content"]
    assert [run.data.metrics[f"{name}/si_snr_db"] for name in MODELS] == [12.0, 13.5, 14.0]
    shown = json.loads(client.get_experiment(run.info.experiment_id).tags["mlflow.sharedViewState.synthetic"])
    assert all(run.info.run_id in shown["searchFilter"] for run in (before["baseline"], *children(client).values()))
    assert before["dense"].info.run_id not in shown["searchFilter"]
    for old in before.values():
        assert client.get_run(old.info.run_id).to_dictionary() == old.to_dictionary()


def test_a_build_goes_on_with_its_run_until_parameters_or_code_change(client, monkeypatch):
    track(tiny_params(), RUN)
    first = build_run(client)
    epoch_logger(RUN, "dense")({"iteration": 30, "epoch": 1})
    track(tiny_params(), RUN)
    assert build_run(client).info.run_id == first.info.run_id
    track(tiny_params("train.lr=0.002"), RUN)
    second = build_run(client)
    assert second.info.run_id != first.info.run_id
    closed = client.get_run(first.info.run_id)
    assert closed.info.status == "KILLED"  # it was stopped and will not go on
    monkeypatch.setattr("spandex.pipeline.provenance.code_digest", lambda root=".": "changed")
    track(tiny_params("train.lr=0.002"), RUN)
    assert build_run(client).info.run_id not in (first.info.run_id, second.info.run_id)
    client.delete_run(build_run(client).info.run_id)
    track(tiny_params("train.lr=0.002"), RUN)
    assert build_run(client).info.lifecycle_stage == "active"


def test_file_of_an_older_version_is_replaced(client):
    RUN.parent.mkdir(parents=True)
    RUN.write_text(json.dumps({"tracking_uri": "sqlite:///gone.db", "experiment_id": "1", "run_id": "x"}))
    with pytest.raises(SpandexError, match="describes no build"):
        Build.load(RUN)
    track(tiny_params(), RUN)
    assert build_run(client).info.status == "RUNNING"


def test_dvc_experiment_is_a_tag(client, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wordy-name")
    track(tiny_params(), RUN)
    assert build_run(client).data.tags["dvc_experiment"] == "wordy-name"


@pytest.mark.slow
def test_training_logs_from_another_process_quietly(client, project):
    track(tiny_params(), RUN)
    code = (
        "from pathlib import Path; from spandex.tracking.fallback import epoch_logger;"
        f"epoch_logger(Path({str(RUN)!r}), 'prune50')({{'iteration': 7, 'epoch': 1, 'lr': 0.5}})"
    )
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # without git
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=project)
    assert (done.stdout, done.stderr) == ("", "")
    assert curve(client, children(client)["prune50"], "lr") == [(7, 0.5)]


@pytest.mark.slow
def test_fresh_store_is_created_once_and_quietly(tmp_path):
    uri = f"sqlite:///{tmp_path}/new.db"
    code = f"from spandex.tracking.store import create_store; print(create_store({uri!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == f"{create_store(uri)}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.db", "new.db.lock"]


def test_environment_names_the_store(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    copy = tmp_path / ".dvc/tmp/exps/standalone/tmp0"
    copy.mkdir(parents=True)
    assert default_uri(copy) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_uri(tmp_path) == "http://127.0.0.1:5000"


def test_problems_are_one_line_that_names_them(client, project, monkeypatch):
    track(tiny_params(), RUN)
    (project / "models/synthetic/sparsified/dense/epochs.csv").unlink()
    with pytest.raises(SpandexError, match=r"dense/epochs\.csv: no such file"):
        log()
    assert "sync-runs: nothing to log, and MLFLOW_TRACKING_URI names no tracking server" in refusal("sync-runs")
    monkeypatch.setattr("spandex.tracking.client.PATIENCE_S", 0)
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9"):
        create_store("http://127.0.0.1:9")
    (project / "mlflow.db").unlink()
    assert "mlflow.db: no such file; a build makes it" in refusal("ui")


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "a.net"), MlflowException("Run not found")])
def test_error_that_is_no_silence_of_a_server_is_told_at_once(error):
    tries = []

    def operation(client):
        tries.append(client)
        raise error

    with pytest.raises(TrackingError) as told:
        reach("http://127.0.0.1:9", operation)
    assert str(told.value) == f"MLflow at http://127.0.0.1:9: {error}"
    assert len(tries) == 1


def test_taken_port_is_named(project):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        message = refusal("ui", "--port", port)
    assert message == f"spandex ui: port {port}: Address already in use; --port chooses another"


@contextlib.contextmanager
def holding(content: bytes) -> Iterator[None]:
    """Other content in place of the store's."""
    store = Path("mlflow.db")
    whole = store.read_bytes()
    store.write_bytes(content)
    try:
        yield
    finally:
        store.write_bytes(whole)


@contextlib.contextmanager
def cut_off() -> Iterator[None]:
    with holding(Path("mlflow.db").read_bytes()[:100_000]):
        yield


@contextlib.contextmanager
def replaced_by(make: Callable[[Path], object]) -> Iterator[None]:
    """Something else in place of the store's file."""
    store = Path("mlflow.db").rename("aside.db")
    make(Path("mlflow.db"))
    try:
        yield
    finally:
        with contextlib.suppress(IsADirectoryError):
            Path("mlflow.db").unlink()
        if Path("mlflow.db").is_dir():
            Path("mlflow.db").rmdir()
        store.rename("mlflow.db")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    with contextlib.closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextlib.contextmanager
def read_only() -> Iterator[None]:
    """A store that even root cannot write."""
    store = Path("mlflow.db")
    store.chmod(0o444)
    immutable = os.geteuid() == 0 and not subprocess.run(["chattr", "+i", store], capture_output=True).returncode
    try:
        if os.geteuid() == 0 and not immutable:
            pytest.skip("root may write any file here")
        yield
    finally:
        if immutable:
            subprocess.run(["chattr", "-i", store], check=True)
        store.chmod(0o644)


UNUSABLE: dict[str, tuple[Callable[[], AbstractContextManager], str]] = {
    "garbage": (lambda: holding(b"no database, " * 100), "file is not a database"),
    "pointer": (lambda: holding(b"version https://git-lfs.github.com/spec/v1\n"), "file is not a database"),
    "cut": (cut_off, "database disk image is malformed"),
    "folder": (lambda: replaced_by(Path.mkdir), "unable to open database file"),
    "dangling": (lambda: replaced_by(lambda path: path.symlink_to("gone/mlflow.db")), "unable to open database file"),
    "locked": (locked, "database is locked"),
    "read-only": (read_only, "attempt to write a readonly database"),
}


@pytest.mark.parametrize(
    ("damage", "opened"),
    [*((damage, False) for damage in UNUSABLE), *((damage, True) for damage in ("garbage", "locked", "read-only"))],
)
def test_build_goes_on_without_its_store_and_is_logged_later(client, monkeypatch, caplog, damage, opened):
    unusable, reason = UNUSABLE[damage]
    monkeypatch.setattr("spandex.tracking.client.PATIENCE_S", 0.2)
    row = {"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25}
    if opened:
        track(tiny_params(), RUN)
        log_epoch = epoch_logger(RUN, "dense")
    with unusable():
        if not opened:
            track(tiny_params(), RUN)
            track(tiny_params(), RUN)
            log_epoch = epoch_logger(RUN, "dense")
        log_epoch(row)
        log_epoch(row)
        log()
        log_paper(tiny_params(), "masks", RUN, [Path("reports/synthetic/table.csv")])
        assert refusal("sync-runs") == f"spandex sync-runs: MLflow at {local_uri()}: {reason}"
        if Path("mlflow.db").is_file():
            assert refusal("ui") == f"spandex ui: MLflow at {local_uri()}: {reason}"
    said = [record.message for record in caplog.records if record.name.startswith("spandex")]
    assert len(said) == (3 if opened else 4)  # a row of a run, or the start of each build; each of two reports
    assert all(line.startswith(f"MLflow at {local_uri()}: {reason}") and "\n" not in line for line in said)
    assert said[-1] == notice(RUN)
    assert said[-1].endswith("the runs are not logged; spandex sync-runs logs them once that is mended")

    assert spandex("sync-runs").stdout == "2 report(s) logged\n"
    run, models = build_run(client), children(client)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.tags["params_digest"] == tiny_params().digest()
    assert run.data.metrics["prune50/si_snr_db"] == 14.0
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"params.yaml", "table.csv", "companions"}
    assert set(models) == set(MODELS)
    assert curve(client, models["dense"], "validation_si_snr_db") == [(30, 4.25), (60, 5.25)]
    assert notice(RUN) is None


def test_report_that_cannot_be_logged_keeps_no_other_from_it(client):
    track(tiny_params(), RUN)
    gone = Path("reports/synthetic/gone.csv")
    gone.write_text("x")
    with holding(b"no database"):
        log()
        log_paper(tiny_params(), "masks", RUN, [gone])
        log_paper(tiny_params(), "noise", RUN, [Path("reports/synthetic/table.csv")])
    gone.unlink()
    told = spandex("sync-runs")
    assert told.exit_code == 1 and told.stdout == "2 report(s) logged\n"
    assert f"{gone}: no such file" in told.stderr
    assert list(Build.load(RUN).unlogged) == ["companions/masks"]


def test_report_that_cannot_even_be_kept_is_told_of_by_its_own_error(client, caplog):
    track(tiny_params(), RUN)
    with holding(b"no database"):
        log()
        lock = RUN.with_name(f"{RUN.name}.lock")
        lock.unlink()
        lock.mkdir()
        log_paper(tiny_params(), "masks", RUN, [Path("reports/synthetic/table.csv")])
    said = [record.message for record in caplog.records if record.name.startswith("spandex")]
    assert said == [notice(RUN), f"{RUN}: cannot be locked (Is a directory)"]
    assert list(Build.load(RUN).unlogged) == [""]


def test_fresh_store_in_place_of_a_broken_one_gets_the_runs(client, template):
    track(tiny_params(), RUN)
    first = Build.load(RUN).run_id
    with holding(b"no database"):
        log()
    Path("mlflow.db").write_bytes((template / "mlflow.db").read_bytes())
    track(tiny_params(), RUN)
    assert "file is not a database" in notice(RUN)
    assert spandex("sync-runs").stdout == "1 report(s) logged\n"
    assert build_run(client).info.run_id != first
    assert build_run(client).info.status == "FINISHED"
    assert set(children(client)) == set(MODELS)
