"""A whole build whose tracking server is killed while it runs."""

import subprocess
import time

import pytest
from mlflow.tracking import MlflowClient

from toy_project import BINARIES, environment, make_command, new_project
from tracking_server import TrackingServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
RUNS = ("synthetic", "synthetic baseline", "synthetic dense", "synthetic prune50")
BUILD_S = 1500


def runs(uri: str) -> dict[str, str]:
    """Status of all runs, by name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("spandex")
    found = [] if experiment is None else client.search_runs([experiment.experiment_id])
    status = {run.info.run_name: run.info.status for run in found}
    assert len(status) == len(found)
    return status


def test_build_outlives_its_tracking_server(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # a server on a busy machine is slow, not away
    project = new_project(tmp_path / "project", networks={"prune75": None}, evaluate={"mos": False})
    with TrackingServer(tmp_path) as server:
        variables = environment(project, own_server=True) | {"MLFLOW_TRACKING_URI": server.uri}
        build = subprocess.Popen(
            make_command(), cwd=project, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + BUILD_S
        while "synthetic baseline" not in runs(server.uri):
            assert build.poll() is None, build.communicate()
            assert time.monotonic() < end
            time.sleep(0.5)
        server.kill()
        stdout, stderr = build.communicate(timeout=BUILD_S)
        assert build.returncode == 0, stdout + stderr
        logs = (project / "reports/synthetic/logs").glob("*.log")
        assert sum("the build logs to sqlite:///" in log.read_text() for log in logs) == 1  # no step after it waits
        assert f"MLflow at {server.uri} could not be reached: the runs are in sqlite:///" in stdout
        here = f"sqlite:///{project}/mlflow.db"
        whole = dict.fromkeys(RUNS, "FINISHED")
        assert runs(here) == whole

        server.start()
        command = [BINARIES / "spandex", "sync-runs"]
        done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"1 build(s) copied to {server.uri}\n")
        assert runs(server.uri) == whole
