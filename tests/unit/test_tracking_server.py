"""Builds that log to a real tracking server, which goes away."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from commands import spandex
from spandex.deploy import denoiser
from spandex.steps.tracking import track
from spandex.tracking import Build, local_uri
from spandex.tracking.client import PATIENCE_S
from spandex.tracking.environment import REQUEST_S
from spandex.tracking.fallback import epoch_logger
from tracked_project import MODELS, RUN, log, tiny_params, write_network
from tracking_server import TrackingServer, free_port, wait_for_answer

pytestmark = pytest.mark.slow
SLACK_S = 5.0  # beside the waiting, on a busy machine
impatient = mock.patch("spandex.tracking.client.PATIENCE_S", 1.0)  # where the waiting is not what is tested


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[TrackingServer]:
    with TrackingServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def checkout(template, tmp_path, monkeypatch) -> Path:
    """A finished build of networks of its own, in the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    for number, model in enumerate(MODELS):
        write_network(folder, model, time.time_ns() % 2**31 + number)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def project(checkout, server, monkeypatch) -> Path:
    """The same, whose runs go to the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return checkout


def family(uri: str, run_id: str) -> tuple[Run, dict[str, Run]]:
    """A build's run and those below it, by network."""
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    wanted = f"tags.`mlflow.parentRunId` = '{run_id}'"
    found = client.search_runs([run.info.experiment_id], wanted)
    models = {child.data.tags["spandex.model"]: child for child in found}
    assert len(models) == len(found)
    return run, models


def check_whole(uri: str, run_id: str) -> None:
    """A build that is logged with all that belongs to it, once."""
    client = MlflowClient(uri)
    run, models = family(uri, run_id)
    assert set(models) == set(MODELS)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.metrics["prune50/si_snr_db"] == 14.0
    assert [file.path for file in client.list_artifacts(run_id)] == ["params.yaml", "table.csv"]
    views = client.get_experiment(run.info.experiment_id).tags
    assert all(model.info.run_id in views["mlflow.sharedViewState.synthetic"] for model in models.values())
    for name, model in models.items():
        assert model.info.status == "FINISHED"
        assert model.data.tags["registered_model"].startswith(f"models:/spandex-synthetic-{name}/")
        history = client.get_metric_history(model.info.run_id, "validation_si_snr_db")
        assert sorted((point.step, point.value) for point in history) == [(30, 4.25), (60, 5.25)]
        assert len(model.inputs.dataset_inputs) == 3
        files = {file.path for file in client.list_artifacts(model.info.run_id)}
        assert files == {"network.net", "network.pt", "params.yaml", "scores.json"}


def waiting(uri: str) -> list[Run]:
    """Builds of a local store that wait for a server."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("spandex")
    return list(client.search_runs([experiment.experiment_id], "tags.`spandex.pending` LIKE '%'"))


def test_build_and_its_models_are_kept_at_the_server(project, server, monkeypatch):
    track(tiny_params(), RUN)
    epoch_logger(RUN, "dense")({"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25})
    log()
    build = Build.load(RUN)
    assert (build.tracking_uri, build.server, build.notice) == (server.uri, None, None)
    check_whole(server.uri, build.run_id)
    assert waiting(local_uri()) == []
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    address = family(server.uri, build.run_id)[1]["prune50"].data.tags["registered_model"]
    audio = np.random.default_rng(1).standard_normal((2, 9000)).astype(np.float32)
    denoised = mlflow.pyfunc.load_model(address).predict(audio)
    stock = denoiser(project / "models/synthetic/exported/prune50/network.net")
    assert np.array_equal(denoised, [stock.denoise(clip) for clip in audio])


def test_server_that_dies_costs_ten_seconds_once_and_is_caught_up_later(project, server, caplog):
    track(tiny_params(), RUN)
    there = Build.load(RUN).run_id
    row = {"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25}
    epoch_logger(RUN, "dense")(row)
    server.kill()
    began = time.monotonic()
    epoch_logger(RUN, "dense")({"iteration": 60, "epoch": 2, "validation_si_snr_db": 5.25})
    assert PATIENCE_S / 2 < time.monotonic() - began < PATIENCE_S + SLACK_S
    (said,) = [record.message for record in caplog.records if record.name.startswith("spandex")]
    assert server.uri in said
    assert f"the build logs to {local_uri()} instead" in said
    assert "\n" not in said

    began = time.monotonic()
    epoch_logger(RUN, "prune50")(row)
    assert time.monotonic() - began < PATIENCE_S / 2  # nobody waits again
    log()
    build = Build.load(RUN)
    assert server.uri in build.notice
    assert "sync-runs" in build.notice
    check_whole(local_uri(), build.run_id)

    server.start()
    done = spandex("sync-runs")
    assert done.stdout == f"1 build(s) copied to {server.uri}\n"
    build = Build.load(RUN)
    assert (build.tracking_uri, build.run_id, build.notice) == (server.uri, there, None)
    check_whole(server.uri, there)
    assert spandex("sync-runs").stdout == f"0 build(s) copied to {server.uri}\n"
    track(tiny_params(), RUN)
    assert Build.load(RUN).run_id == there


def test_build_without_its_server_is_copied_by_the_next_one(project, server):
    server.kill()
    began = time.monotonic()
    track(tiny_params(), RUN)
    assert time.monotonic() - began < PATIENCE_S + SLACK_S
    here = Build.load(RUN).run_id
    assert Build.load(RUN).tracking_uri == local_uri()
    with impatient:
        track(tiny_params(), RUN)
    assert Build.load(RUN).run_id == here  # it is still the same build
    log()
    server.start()
    track(tiny_params("report.team=Others"), RUN)
    log("report.team=Others")
    assert waiting(local_uri()) == []
    later = Build.load(RUN)
    run, models = family(server.uri, later.run_id)
    assert models == {}  # nothing has changed but the name of the team
    linked = MlflowClient(server.uri).get_run(run.data.tags["unchanged.dense"])
    check_whole(server.uri, linked.data.tags["mlflow.parentRunId"])


def test_build_interrupted_without_its_server_goes_on_there(project, server):
    server.kill()
    with impatient:
        track(tiny_params(), RUN)
    epoch_logger(RUN, "dense")({"iteration": 30, "epoch": 1, "validation_si_snr_db": 4.25})
    server.start()
    track(tiny_params(), RUN)
    build = Build.load(RUN)
    assert build.tracking_uri == server.uri
    log()
    check_whole(server.uri, build.run_id)
    assert waiting(local_uri()) == []


def test_server_that_hangs_costs_ten_seconds(project, server):
    track(tiny_params(), RUN)
    server.freeze()
    try:
        began = time.monotonic()
        epoch_logger(RUN, "dense")({"iteration": 30, "epoch": 1})
        assert time.monotonic() - began < PATIENCE_S + SLACK_S
    finally:
        server.thaw()
    assert Build.load(RUN).tracking_uri == local_uri()


def test_build_of_which_something_is_lost_is_named_at_once_and_keeps_no_other_waiting(project, server):
    server.kill()
    with impatient:
        track(tiny_params(), RUN)
        log()
    lost = family(local_uri(), Build.load(RUN).run_id)[1]["dense"]
    for number, model in enumerate(MODELS):
        write_network(project, model, number)
    with impatient:
        track(tiny_params("train.lr=0.002"), RUN)
        log("train.lr=0.002")
    server.start()
    artifacts = Path(lost.info.artifact_uri.removeprefix("file://"))
    aside = artifacts.rename(artifacts.with_name("aside"))
    began = time.monotonic()
    done = spandex("sync-runs")
    assert time.monotonic() - began < PATIENCE_S / 2 + SLACK_S
    assert (done.exit_code, done.stdout) == (1, f"1 build(s) copied to {server.uri}\n")
    said = f"{artifacts}/network.net: no such file; the build synthetic is not copied to {server.uri}"
    assert done.stderr == f"spandex sync-runs: {said}\n"
    aside.rename(artifacts)
    assert spandex("sync-runs").stdout == f"1 build(s) copied to {server.uri}\n"
    assert waiting(local_uri()) == []


def silent() -> socket.socket:
    """Takes connections and answers none."""
    return socket.create_server(("127.0.0.1", 0))


def refusing() -> socket.socket:
    """Holds a port and takes no connection."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    return server


def answering(answer: bytes) -> socket.socket:
    """Reads every request and answers it so, then hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # the test has ended
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return server


BROKEN_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"
OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Type: text/html\r\n\r\n<p>no</p>"


@impatient
@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (refusing, "does not answer: [Errno 111] Connection refused"),
        (silent, "does not answer: "),
        (lambda: answering(b""), "does not answer: "),
        (lambda: answering(BROKEN_OFF), "does not answer: "),
        (lambda: answering(OTHER), "does not answer: "),
    ],
    ids=["refuses", "is silent", "hangs up", "breaks off", "is no MLflow"],
)
def test_build_tells_in_its_first_seconds_of_a_server_that_fails_and_goes_on(
    checkout, monkeypatch, caplog, serve: Callable[[], socket.socket], reason
):
    with serve() as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        began = time.monotonic()
        track(tiny_params(), RUN)
        assert time.monotonic() - began < REQUEST_S + SLACK_S
        (said,) = [record.message for record in caplog.records if record.name.startswith("spandex")]
        assert said.startswith(f"MLflow at {uri} {reason}")
        assert said.endswith(f"; the build logs to {local_uri()} instead")
        assert "\n" not in said
        log()
    check_whole(local_uri(), Build.load(RUN).run_id)
    assert uri in Build.load(RUN).notice
    assert len(waiting(local_uri())) == 1


@impatient
def test_server_and_local_store_may_both_fail(checkout, monkeypatch, caplog):
    with refusing() as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        store = Path("mlflow.db").rename("aside.db")
        Path("mlflow.db").write_text("no database")
        track(tiny_params(), RUN)
        log()
    copying, first, last = [record.message for record in caplog.records if record.name.startswith("spandex")]
    assert copying.startswith(f"MLflow at {local_uri()}: file is not a database; the runs that it holds")
    assert first.startswith(f"MLflow at {uri} does not answer: ")
    assert f"; MLflow at {local_uri()}: file is not a database; the build goes on" in first
    assert last == Build.load(RUN).notice
    store.replace("mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert spandex("sync-runs").stdout == "1 report(s) logged\n"
    check_whole(local_uri(), Build.load(RUN).run_id)
    assert len(waiting(local_uri())) == 1  # for the server


def test_damaged_local_store_keeps_no_build_from_its_server(project, server, caplog):
    Path("mlflow.db").write_text("no database")
    track(tiny_params(), RUN)
    build = Build.load(RUN)
    assert (build.tracking_uri, build.server, build.notice) == (server.uri, None, None) and build.run_id
    (message,) = [record.message for record in caplog.records if record.name.startswith("spandex")]
    assert message == (
        f"MLflow at {local_uri()}: file is not a database; the runs that it holds are not copied to {server.uri}"
    )
    log()
    check_whole(server.uri, build.run_id)


@contextlib.contextmanager
def ui() -> Iterator[tuple[int, str]]:
    """``spandex ui`` of the current folder: the port that it answers at, and the address that it prints."""
    port = free_port()
    command = [sys.executable, "-c", "from spandex.cli import app; app()", "ui", "--port", str(port)]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        wait_for_answer(f"http://127.0.0.1:{port}", process)
        yield port, process.stdout.readline().strip()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_ui_answers_on_this_machine_only(checkout):
    with ui() as (port, address):
        assert address == f"http://127.0.0.1:{port}/"
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        listening += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()]
        ours = [fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")]
        assert ours == [f"0100007F:{port:04X}"]  # 127.0.0.1


def test_ui_opens_with_charts_that_compare_the_networks_of_the_newest_build(checkout, browser):
    for settings in ("", "report.team=Others"):  # which changes no network
        track(tiny_params(settings), RUN)
        log(settings)
    with ui() as (_, address):
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.goto(address)
        page.get_by_text("Quality against cost").wait_for(timeout=60_000)
        points = page.locator(".js-plotly-plot").first.locator(".scatterlayer .point")
        points.first.wait_for(timeout=60_000)
        assert points.count() == len(MODELS)
        names = page.get_by_role("link", name=re.compile("^synthetic "))
        assert set(names.all_inner_texts()) == {f"synthetic {name}" for name in MODELS}
        page.close()
