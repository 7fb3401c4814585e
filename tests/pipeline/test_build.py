"""A whole build at toy size, through make, Snakemake, DVC, Lava and MLflow."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from image_mirror import image_mirror
from spandex.files.text import read_json
from spandex.networks.hdf5 import network_layers
from toy_project import REPOSITORY, TOY, copied, environment, make, make_command, new_project, output, plan

MODELS = ["baseline", "dense", "prune50", "prune75"]
TABLE = "reports/embedded/table.csv"


def our_rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table.csv that this build made."""
    with table.open() as file:
        return [row for row in csv.DictReader(file) if row["source"] == "this run"]


def products(project: Path) -> dict[str, bytes]:
    """What equal parameters must make equal, by path."""
    patterns = ["data/**/*.wav", "data/**/*.flac", "models/**/network.*", TABLE]
    files = sorted(file for pattern in patterns for file in project.glob(pattern))
    return {file.relative_to(project).as_posix(): file.read_bytes() for file in files if "ablation" not in file.parts}


def modified(project: Path) -> dict[Path, int]:
    folders = [project / name / "embedded" for name in ("data", "models")]
    return {file: file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """In a folder whose name shells, addresses and page have to quote."""
    return new_project(tmp_path_factory.mktemp("build") / 'my "best" folder (1) & é')


@pytest.fixture(scope="module")
def built(project) -> subprocess.CompletedProcess:
    done = make(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_make_prints_the_table_and_where_the_report_is(built, project):
    assert "All columns: reports/embedded/summary.md\nThe report is in reports/embedded" in built.stdout
    for model in ["noisy", *MODELS, "50% Sparse SDNN"]:
        assert f"\n{model} " in built.stdout
    assert max(map(len, built.stdout.splitlines())) <= 100
    rows = our_rows(project / "reports/embedded/table.csv")
    assert [row["model"] for row in rows] == ["noisy", *MODELS]
    assert [float(row["sparsity_percent"]) for row in rows[1:]] == pytest.approx([0, 0, 50, 75], abs=0.1)
    assert all(row["mos_ovrl"] for row in rows)
    for row in rows[1:]:
        assert abs(float(row["fixed_minus_float_db"])) < 0.5
        difference = float(row["si_snr_db"]) - float(row["float_si_snr_db"])
        assert float(row["fixed_minus_float_db"]) == pytest.approx(difference, abs=2e-4)
        assert float(row["float_power_proxy_mops_per_s"]) > 0 < float(row["deployed_power_proxy_mops_per_s"])


def test_report_folder_is_complete(built, project):
    folder = project / "reports/embedded"
    names = ["table.csv", "table.md", "table.tex", "summary.md", "intervals.md", "metricsboard_track_1_test.yml"]
    names += [f"figures/{name}.{suffix}" for name in ("figure1", "learning_curves") for suffix in ("png", "pdf")]
    assert [name for name in names if not (folder / name).is_file()] == []
    assert [
        entry["model"] for entry in yaml.safe_load((folder / "metricsboard_track_1_test.yml").read_text())
    ] == MODELS


def test_models_are_child_runs_of_one_build_in_mlflow(built, project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("spandex").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert sorted(children) == sorted(MODELS)
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parents[0].info.run_id}
    history = client.get_metric_history(children["prune75"].info.run_id, "validation_si_snr_db")
    assert len(history) == TOY["sparsify"]["epochs"]
    assert children["prune75"].data.metrics["sparsity"] == pytest.approx(0.75, abs=0.001)
    names = {artifact.path for artifact in client.list_artifacts(children["prune75"].info.run_id)}
    assert {"network.pt", "network.net"} <= names


def test_second_make_has_nothing_to_do(built, project):
    before = modified(project)
    again = make(project)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    assert modified(project) == before


def test_dvc_has_nothing_to_do_after_make(built, project):
    assert "Data and pipelines are up to date" in output(project, "dvc", "status")
    assert "Running stage" not in output(project, "dvc", "repro")


def test_impossible_value_is_one_line_and_loses_nothing(built, project):
    before = modified(project)
    done = make(project, "SET=train.lrr=1")
    assert done.returncode != 0
    assert "spandex rebuild: params.yaml: train.lrr: unknown key" in done.stderr
    assert "Traceback" not in done.stderr
    assert modified(project) == before


@pytest.mark.slow
def test_ablation_compares_schedules_and_trains_only_what_is_new(built, project):
    before = modified(project)
    done = make(project, target="ablation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\ncubic 50 % " in done.stdout and "\none-shot 50 % " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    folder = project / "reports/embedded/ablation"
    assert [row["model"] for row in our_rows(folder / "table.csv")] == ["noisy", "dense", "cubic 50 %", "one-shot 50 %"]
    knee = our_rows(folder / "knee.csv")
    assert [row["model"] for row in knee] == ["dense", "cubic 50 %", "cubic 75 %", "cubic 90 %"]
    assert [float(row["sparsity_percent"]) for row in knee] == pytest.approx([0, 50, 75, 90], abs=0.1)
    powers = [float(row["deployed_power_proxy_mops_per_s"]) for row in knee]
    assert powers == sorted(powers, reverse=True)
    for figure in ("schedules", "knee"):
        assert all((folder / f"figures/{figure}.{suffix}").stat().st_size > 1000 for suffix in ("png", "pdf"))
    after = modified(project)
    assert all(after[path] == before[path] for path in before)
    new = {path.relative_to(project).parts[3] for path in after.keys() - before.keys()}
    assert new == {"one-shot50", "prune90"}
    runs = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_runs(["1"])
    assert {"one-shot50", "prune90"} <= {run.info.run_name for run in runs if run.info.status == "FINISHED"}
    assert "Nothing to be done" in (again := make(project)).stdout + again.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_companions_run_on_request_and_join_the_report(built, project, tmp_path):
    project = copied(project, tmp_path)  # the others compare its report
    reports = project / "reports/embedded"
    assert not (reports / "companions").exists()
    before = modified(project)
    arguments = [f"MIRROR={image_mirror(tmp_path)}", "SEEDS=1"]
    done = make(project, *arguments, target="companions")
    assert done.returncode == 0, done.stdout + done.stderr
    for paper in ("activity", "masks", "lyapunov", "vgg", "denoiser"):
        found = read_json(reports / "companions" / paper / "verdicts.json")
        assert found["findings"] and found["tables"] and found["figures"]
        assert found["title"] in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.split("# Companion papers")[1].splitlines())) <= 100
    rows = {row["model"]: row for row in our_rows(reports / "table.csv")}
    for model, percent in {"events75": 75, "masks50": 50, "masks75": 75, "noise75": 75}.items():
        assert float(rows[model]["sparsity_percent"]) == pytest.approx(percent, abs=0.1)
        assert rows[model]["si_snr_db"] and rows[model]["deployed_power_proxy_mops_per_s"]
    assert "Companion papers" in (reports / "index.html").read_text()
    after = modified(project)
    assert all(after[path] == before[path] for path in before)
    assert "Nothing to be done" in (again := make(project, *arguments, target="companions")).stdout + again.stderr
    runs = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_runs(["1"])
    assert {"events50", "masks75"} <= {run.info.run_name for run in runs if run.info.status == "FINISHED"}


@pytest.mark.slow
def test_network_of_ones_own_goes_through_every_phase_in_an_unpacked_archive(tmp_path):
    project = new_project(tmp_path / "project", evaluate={"mos": False})
    shutil.rmtree(project / ".git")
    shutil.copy(REPOSITORY / "tests/own_network.py", project)
    settings = "model.factory=own_network:two_layers model.arguments.hidden=6 sparsify.targets=[0.5]"
    done = make(project, f"SET={settings}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is recorded: no git repository here" in done.stdout and "\nprune50 " in done.stdout
    rows = our_rows(project / "reports/embedded/table.csv")
    assert [row["model"] for row in rows] == ["noisy", "baseline", "dense", "prune50"]
    for row in rows[1:]:
        layers = network_layers(project / f"models/embedded/exported/{row['model']}/network.net")
        assert [layer.neurons for layer in layers] == [257, 6, 257]
        assert row["float_si_snr_db"] and row["float_power_proxy_mops_per_s"]
    assert float(rows[-1]["sparsity_percent"]) == pytest.approx(50, abs=0.1)
    with (project / "own_network.py").open("a") as file:
        file.write("\n# another version\n")
    output(project, "spandex", "--set", settings, "sync")
    planned = plan(project, settings)
    assert "train_baseline" in planned and "synthesize" not in planned


@pytest.mark.slow
def test_build_stopped_twice_continues_to_the_same_bytes(built, project, tmp_path):
    stopped = new_project(tmp_path / "stopped", sparsify={"targets": [0.5]})
    log = stopped / "reports/embedded/logs/fine_tune_prune50.log"
    stop_while_pruning(stopped, signal.SIGKILL)
    assert "continuing after iteration" not in log.read_text()
    before = modified(stopped)
    stop_while_pruning(stopped, signal.SIGINT)
    assert "continuing after iteration" in log.read_text()
    again = make(stopped)
    assert again.returncode == 0, again.stderr
    assert "continuing after iteration" in log.read_text()
    made, whole = products(stopped), products(project)
    rows, others = our_rows(stopped / TABLE), our_rows(project / TABLE)
    assert rows == [row for row in others if row["model"] != "prune75"]
    assert made.keys() - {TABLE} == {name for name in whole.keys() - {TABLE} if "prune75" not in name}
    assert all(made[name] == whole[name] for name in made.keys() - {TABLE})
    after = modified(stopped)
    finished = [path for path in before if {"data", "baseline"} & set(path.parts) and ".checkpoints" not in path.parts]
    assert finished and all(after[path] == before[path] for path in finished)


def stop_while_pruning(project: Path, number: signal.Signals) -> None:
    """Build until prune50 has a new checkpoint, and stop the build."""
    begin, deadline = time.time(), time.monotonic() + 600
    checkpoints = project / "models/embedded/sparsified/.checkpoints/prune50"
    process = subprocess.Popen(
        make_command(), cwd=project, env=environment(project), start_new_session=True, stdout=subprocess.DEVNULL
    )
    while not is_training(checkpoints, begin):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) != 0


def is_training(checkpoints: Path, begin: float) -> bool:
    """Whether a network has a whole checkpoint from after then, and is not done."""
    with contextlib.suppress(FileNotFoundError):  # a newer one takes its place just now
        new = any(file.stat().st_mtime > begin for file in checkpoints.glob("[!.]*"))
        return new and not (checkpoints.parents[1] / checkpoints.name / "network.pt").exists()
    return False


@pytest.mark.slow
def test_other_values_build_completely_and_leave_dvc_lock_alone(built, project):
    lock = (project / "dvc.lock").read_bytes()
    before = modified(project)
    done = make(project, "SET=sparsify.targets=[0.9]")
    assert done.returncode == 0, done.stderr
    assert "dvc.lock is left alone" in done.stdout
    assert "\nprune90 " in done.stdout and "\nprune50 " not in done.stdout
    assert (project / "dvc.lock").read_bytes() == lock
    folder = project / "models/embedded/sparsified"
    assert {path.name for path in folder.glob("[!.]*")} == {"dense", "prune90"}
    dense = folder / "dense/network.pt"
    assert dense.stat().st_mtime_ns == before[dense]
    after = modified(project)
    kept = [path for path in before if {"data", "baseline"} & set(path.relative_to(project).parts)]
    assert kept and all(after[path] == before[path] for path in kept if "exported" not in path.parts)


@pytest.mark.slow
def test_two_builds_in_one_folder_are_refused(tmp_path):
    project = new_project(tmp_path / "project")
    first = subprocess.Popen(
        make_command(), cwd=project, env=environment(project), start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (project / ".snakemake").is_dir():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    second = make(project)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.returncode != 0
    assert "another build runs in this folder" in second.stderr
