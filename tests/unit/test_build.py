import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml

from spandex import params
from spandex.companions.papers import PAPERS
from spandex.errors import SpandexError
from spandex.pipeline import build
from spandex.pipeline.build import STAGES, TARGETS, clear_checkpoints, files_of, finished, lock, record
from spandex.pipeline.jobs import JOBS, at_work, refuse_beside_jobs
from spandex.pipeline.overview import next_to_try, overview
from spandex.pipeline.phases import products
from spandex.pipeline.recipes import Record, Request

FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = params.load(FILE)


def make(*phases: str) -> None:
    for phase in phases:
        for product in products(PARAMS)[phase]:
            product.parent.mkdir(parents=True, exist_ok=True)
            product.write_text("x")
            Record(Request(["seed"], [], [], [str(product)]), PARAMS).end()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


def test_stages_are_those_of_dvc_in_order():
    assert tuple(yaml.safe_load((FILE.parent / "dvc.yaml").read_text())["stages"]) == STAGES


def test_targets_are_those_of_the_snakefile():
    text = (FILE.parent / "Snakefile").read_text()
    rules = re.findall(r"^rule (\w+):", text, re.MULTILINE)
    assert "for paper in PAPERS:" in text
    assert {*TARGETS} == {*rules, *PAPERS, "report"}  # whose rule makes files


def test_reports_are_targets_by_a_file_of_theirs():
    table = "reports/synthetic/comparisons/knee/table.csv"
    assert files_of(["all", "knee", "vgg"], PARAMS) == ["all", table, "vgg"]
    with pytest.raises(SpandexError, match="no target kne in profile synthetic; knee is one"):
        files_of(["kne"], PARAMS)


def test_report_with_the_name_of_another_target_is_refused():
    named = params.load(FILE, {"set": "reports.masks.networks=[prune50]"})
    with pytest.raises(SpandexError, match=r"reports\.masks: masks is a target of its own"):
        files_of(["all"], named)


@pytest.mark.parametrize("target", ["denoiser", "companions"])
def test_report_over_a_network_that_is_gone_is_told_where_it_is_asked_for(target):
    without = params.load(FILE, {"set": "networks.prune50=null"})
    with pytest.raises(SpandexError, match=r"reports\.denoiser\.networks: there is no network prune50"):
        files_of([target], without)
    assert files_of(["all", "activity"], without) == ["all", "activity"]


def test_stage_is_finished_when_all_before_it_are_and_all_products_have_sidecars():
    make("data", "baseline", "export")
    assert finished(PARAMS) == ["data", "baseline"]
    products(PARAMS)["data"][0].unlink()
    assert finished(PARAMS) == []
    make(*STAGES)
    assert finished(PARAMS) == [*STAGES]


def test_stage_made_with_other_parameters_is_not_finished():
    make(*STAGES)
    assert finished(params.load(FILE, {"seed": 2})) == []


def test_checkpoints_stay_until_their_network_is_finished():
    make("baseline", "sparsify")
    models = Path("models/synthetic")
    runs = [
        models / ".checkpoints/baseline",
        models / "sparsified/.checkpoints/dense",
        models / "sparsified/.checkpoints/x",
    ]
    for run in runs:
        run.mkdir(parents=True)
    clear_checkpoints(PARAMS)
    assert [run.is_dir() for run in runs] == [False, False, True]
    assert not (models / ".checkpoints").exists()


def test_build_with_other_values_leaves_dvc_lock_alone():
    assert "left alone: this build has values" in record(params.load(FILE, {"seed": 2}), PARAMS)


@pytest.mark.parametrize("source, recorded", [("synthetic", True), ("mini", False)])
def test_mirror_counts_as_another_value_only_where_results_depend_on_it(source, recorded):
    in_file = params.load(FILE, {"profile": source})
    said = record(params.load(FILE, {"profile": source, "mirror": "/somewhere"}), in_file)
    assert ("no DVC repository here" in said) == recorded
    assert ("has values from the command line" in said) != recorded


def test_unpacked_archive_records_nothing(folder):
    make("data")
    shutil.rmtree(folder / ".git")
    assert record(PARAMS, PARAMS) == "nothing is recorded: no git repository here"


def test_build_that_finished_nothing_leaves_dvc_lock_alone(folder):
    (folder / ".dvc").mkdir()
    assert "left alone: no stage is finished" in record(PARAMS, PARAMS)


def test_failing_dvc_gives_its_reason(folder):
    (folder / ".dvc").mkdir()
    make("data")
    with pytest.raises(SpandexError, match=r"^dvc commit failed: .*'dvc\.yaml' does not exist$"):
        record(PARAMS, PARAMS)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(FILE.parent / name, folder)
    with pytest.raises(SpandexError) as refused:
        record(PARAMS, PARAMS)
    assert str(refused.value) == "dvc commit failed: failed to commit data - dependency 'src' does not exist"


def test_second_build_in_a_folder_is_refused():
    lock()
    with pytest.raises(SpandexError, match="another build runs in this folder"):
        lock()


JOB = """
import os, sys
from spandex.cli.application import Panel, app, command

@command(Panel.STEPS)
def work():
    print(os.getpid(), flush=True)
    sys.stdin.read()

app(["--recipe", "", "work"])
"""
KILLED = f"""
import subprocess, sys
from spandex.pipeline.build import lock
lock()
subprocess.run([sys.executable, "-c", {JOB!r}])
"""


def test_build_waits_for_the_jobs_of_one_that_was_killed():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", KILLED], text=True, **pipes) as killed:
        job = killed.stdout.readline().strip()
        with pytest.raises(SpandexError, match="another build runs in this folder"):
            lock()
        killed.kill()
        killed.wait()
        for _ in range(2):
            with pytest.raises(SpandexError, match="jobs of a build that was killed still run") as refused:
                lock()
        assert sys.platform != "linux" or f"(process {job})" in str(refused.value)
        killed.stdin.close()
        killed.stdout.read()  # until the job has ended
    lock()


def test_snakemake_finds_the_commands_of_this_environment(monkeypatch):
    profile = Path("workflow/profiles/default/config.yaml")
    profile.parent.mkdir(parents=True)
    profile.touch()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("SPANDEX_SET", "")
    with mock.patch("os.execv"):
        build.run(["all"], 1, "")
    assert os.environ["PATH"] == f"{Path(sys.executable).parent}:/usr/bin:/bin"


def test_jobs_work_side_by_side_and_keep_no_build_once_they_have_ended():
    with at_work(), at_work():
        pass
    os.close(lock())
    pid = None
    with at_work():
        pid = os.fork()
        if not pid:
            signal.pause()  # a helper that is left over
    os.close(lock())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_jobs_work_where_nothing_can_be_locked(monkeypatch):
    with monkeypatch.context() as without:
        without.setattr("fcntl.flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
        with at_work():
            refuse_beside_jobs()
    Path(JOBS).unlink()
    Path(JOBS).mkdir()
    with at_work():
        lock()


def test_next_to_try_is_another_target_then_real_audio_then_pruning_at_once():
    assert next_to_try(PARAMS, PARAMS) == 'make SET="networks.prune75.magnitude.target=0.875"'
    changed = params.load(FILE, {"set": "networks.prune75.magnitude.target=0.875"})
    assert next_to_try(changed, PARAMS) == "make PROFILE=mini"
    mini = params.load(FILE, {"profile": "mini"})
    prune = ".venv/bin/spandex prune --network models/{}/exported/baseline/network.net \\\n    --target"
    assert next_to_try(mini, mini).startswith(prune.format("mini"))
    table = Path("reports/mini/table.csv")
    table.parent.mkdir(parents=True)
    table.write_text("x")
    Record(Request(["seed"], [], [], [str(table)]), mini).end()
    assert next_to_try(changed, PARAMS).startswith(prune.format("synthetic"))


def test_overview_tells_what_an_entry_has_of_its_own():
    own = "networks.prune50.distill.weight=50 networks.prune50.epochs=12 networks.dense.lr_factor=0.7"
    origins = {line.network: line.origin for line in overview(params.load(FILE, {"set": own}))[0]}
    assert origins["dense"] == "from baseline"
    assert origins["prune50"].startswith("from baseline, epochs 12, distill.weight 50.0, magnitude ")
    assert origins["prune75"].startswith("from baseline, magnitude ")


def test_missing_networks_take_what_their_steps_took():
    assert overview(PARAMS)[1] is None
    times = Path("reports/synthetic/times")
    times.mkdir(parents=True)
    for rule, seconds in (("fine_tune", 60), ("export_network", 1), ("evaluate_network", 29), ("latency", 5)):
        (times / f"{rule}_dense.tsv").write_text(f"s\trule_name\n{seconds}\t{rule}\n")
    assert overview(PARAMS)[1] == 90 * sum(network.is_trained for network in PARAMS.every)
