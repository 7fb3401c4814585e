"""What runs again after a change, judged by the steps whose times were measured anew."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from commands import spandex
from spandex.files import sha256, write_json
from toy_project import (
    REPOSITORY,
    commit,
    copied,
    git,
    link_environment,
    make,
    output,
    params_of,
    plan,
    run,
    write_params,
)

pytestmark = pytest.mark.slow

BASELINE = "models/synthetic/baseline/network.pt"
DENSE = "models/synthetic/sparsified/dense/network.pt"
SPARSER = "+networks.sparser={from: baseline, magnitude: {target: 0.9}}"
MINE = "+networks.mine={file: mine.net}"
THEIR_STEPS = {"fine_tune_sparser", "export_sparser"} | {
    f"{step}_{name}" for step in ("infer", "evaluate") for name in ("sparser", "mine")
}
METRICS = "reports/synthetic/metrics.json"
NOTHING = "Nothing to be done"


@pytest.fixture
def project(toy_build, tmp_path) -> Path:
    """A copy of the built project, MLflow store included."""
    return copied(toy_build, tmp_path)


def measured(project: Path) -> dict[str, str]:
    """The last measurement of each step of the pipeline; no two are the same."""
    return {path.stem: path.read_text() for path in (project / "reports/synthetic/times").glob("*.tsv")}


def ran(project: Path, *command: str) -> set[str]:
    """The steps that a command runs."""
    before = measured(project)
    output(project, *command)
    return {step for step, times in measured(project).items() if before.get(step) != times}


def exp_run(project: Path, *changes: str) -> set[str]:
    return ran(project, "spandex", "exp", "run", *(part for change in changes for part in ("-S", change)))


@pytest.fixture(scope="module")
def wider(toy_build, tmp_path_factory) -> tuple[Path, set[str]]:
    """A copy with an experiment of two rows more, one of them a network of one's own, and the steps that it ran."""
    project = copied(toy_build, tmp_path_factory.mktemp("wider"))
    shutil.copy(project / "models/synthetic/exported/prune75/network.net", project / "mine.net")
    return project, exp_run(project, SPARSER, MINE)


def test_new_rows_are_trained_deployed_and_judged_alone(toy_build, wider):
    project, steps = wider
    assert steps == THEIR_STEPS | {"report"}
    assert sha256(project / DENSE) == sha256(toy_build / DENSE)
    assert "Data and pipelines are up to date" in output(project, "dvc", "status")
    assert NOTHING in plan(project)
    changes = json.loads(output(project, "dvc", "params", "diff", "--json"))
    assert changes["params.yaml"]["networks.sparser.magnitude.target"] == {"old": None, "new": 0.9}
    metrics = json.loads(output(project, "dvc", "metrics", "diff", "--json"))["reports/synthetic/metrics.json"]
    assert {name.split(".")[0] for name in metrics} == {"sparser", "mine"}


def test_dropped_row_removes_its_network_and_renews_the_report_alone(wider, tmp_path):
    project = copied(wider[0], tmp_path)
    assert exp_run(project, "~networks.prune50") == {"report"}
    kept = {path.name for path in (project / "models/synthetic/sparsified").glob("[!.]*")}
    assert kept == {"dense", "prune75", "sparser"}


def test_changed_report_is_the_only_thing_made_again(project):
    assert exp_run(project, "report.team=somebody else") == {"report"}


def test_changed_code_redoes_what_had_loaded_it(project):
    with (project / "src/spandex/report/table.py").open("a") as module:
        module.write("\n# another version\n")
    assert ran(project, "dvc", "repro") == {"report"}
    assert "Data and pipelines are up to date" in output(project, "dvc", "status")


def test_plots_are_drawn_without_a_network(project, browser):
    (project / ".venv/plots.html").unlink(missing_ok=True)  # a link to that of the tests' environment
    output(project, "python", str(REPOSITORY / "tools/plots-page.py"), ".venv/plots.html")
    output(project, "dvc", "plots", "show")
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    shown = (project / "dvc_plots/index.html").as_uri()
    page.goto(shown)
    plot = page.locator("canvas")
    coloured = """plot => plot.getContext('2d').getImageData(0, 0, plot.width, plot.height).data.some(
        (red, place, all) => place % 4 === 0 && red !== all[place + 1])"""  # as curves are, and axes are not
    assert plot.count() == 1 and plot.evaluate(coloured)
    assert requests == [shown]
    page.close()


def test_changed_learning_rate_redoes_training_and_after_but_no_data(project):
    steps = exp_run(project, "train.lr=0.003")
    assert {"train_baseline", "fine_tune_dense", "fine_tune_prune50", "evaluate_prune50", "report"} <= steps
    assert not {step for step in steps if step.startswith(("corpus", "synthesize", "evaluate_noisy", "latency"))}
    shown = output(project, "dvc", "exp", "show", "--csv")
    (row,) = [row for row in csv.DictReader(io.StringIO(shown)) if row["Experiment"]]
    assert float(row["train.lr"]) == 0.003


def test_temporary_run_changes_networks_there_and_logs_here(project):
    networks, revision = listed(project / "models/synthetic"), git(project, "rev-parse", "HEAD")
    runs = {run.info.run_id for run in MlflowClient(f"sqlite:///{project}/mlflow.db").search_runs(["1"])}
    output(
        project, "spandex", "exp", "run", "--temp", "--name", "sparser", "-S", "networks.prune75.magnitude.target=0.9"
    )
    assert listed(project / "models/synthetic") == networks
    assert git(project, "rev-parse", "HEAD") == revision
    new = [
        run
        for run in MlflowClient(f"sqlite:///{project}/mlflow.db").search_runs(["1"])
        if run.info.run_id not in runs and run.info.run_name == "synthetic prune75"
    ]
    assert [run.data.params["target"] for run in new] == ["0.9"]
    output(project, "spandex", "exp", "apply", "sparser")
    output(project, "dvc", "checkout")
    output(project, "spandex", "sync")
    applied = listed(project / "models/synthetic")
    other = {path.parent.name for path in networks if applied[path] != networks[path]}
    assert (applied.keys(), other) == (networks.keys(), {"prune75"})
    assert NOTHING in plan(project)


def listed(folder: Path) -> dict[Path, str]:
    """Digests of all networks in a folder."""
    return {path: sha256(path) for path in folder.rglob("network.*") if path.is_file()}


def test_checkout_of_another_revision_plans_nothing_that_is_there(wider, tmp_path):
    project = copied(wider[0], tmp_path)
    commit(project, "Another row")
    for revision in ("HEAD~1", "-"):
        git(project, "checkout", "--quiet", revision)
        output(project, "dvc", "checkout")
        output(project, "spandex", "sync")
        assert NOTHING in plan(project)
    assert (project / "models/synthetic/sparsified/sparser/network.pt").is_file()


def test_second_clone_pulls_everything_and_make_checks_it_only(project, tmp_path):
    output(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(project, "Name a remote")
    output(project, "dvc", "push")
    clone = tmp_path / "clone"
    git(project, "clone", "--quiet", str(project), str(clone))
    link_environment(clone)
    output(clone, "dvc", "pull")
    done = make(clone)
    assert done.returncode == 0, done.stderr
    assert NOTHING in done.stdout + done.stderr
    assert measured(clone) == {}
    assert sha256(clone / BASELINE) == sha256(project / BASELINE)
    assert git(clone, "status", "--porcelain") == ""


def test_failing_build_records_the_stages_that_it_finished(project):
    params = params_of(project)
    params["networks"]["prune75"]["magnitude"]["target"] = 0.8
    params["deploy"]["run_config"] = "loihi2"
    write_params(project, params)
    done = make(project)
    assert done.returncode != 0
    assert "dvc.lock is up to date as far as export" in done.stdout
    status = json.loads(output(project, "dvc", "status", "--json"))
    assert not status.keys() & {"data", "baseline", "sparsify", "export"}
    assert "infer" in status


def test_uncommitted_results_are_not_thrown_away(project):
    done = make(project, "SET=report.team=other")
    assert "dvc.lock is left alone" in done.stdout
    refused = run(project, "spandex", "exp", "run", "-S", "train.lr=0.003")
    assert refused.returncode == 1
    assert "reports/synthetic/metricsboard_track_1_test.yml" in refused.stderr and "would discard" in refused.stderr


def test_revision_is_reproduced_number_by_number(project):
    said = output(project, "spandex", "reproduce", "HEAD")
    assert "numbers are as recorded" in said
    assert list((project / ".dvc/tmp/exps").glob("reproduce-*")) == []


def test_revision_whose_numbers_differ_is_told_by_the_exit_status(project, monkeypatch):
    def rebuild(root: Path, clone: Path, *_) -> None:
        """What a build leaves, with one number that is another."""
        numbers = json.loads((project / METRICS).read_text())
        numbers["dense"]["si_snr_db"] += 1
        write_json(clone / METRICS, numbers)

    monkeypatch.chdir(project)
    monkeypatch.setattr("spandex.pipeline.reproduce._build", rebuild)
    done = spandex("reproduce", "HEAD")
    differing = [line for line in done.stdout.splitlines() if line.endswith("DIFFERS")]
    assert done.exit_code == 1 and len(differing) == 1 and differing[0].split()[:2] == ["dense", "si_snr_db"]
    assert "differ from what was recorded" in done.stderr
