"""A whole build at toy size, through make, Snakemake, DVC, Lava and MLflow."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient

from image_mirror import image_mirror
from spandex import params
from spandex.data import NoisySpeech
from spandex.files.text import read_csv, read_json
from spandex.metrics import si_snr
from spandex.networks import denoise, load_network
from spandex.networks.hdf5 import network_layers
from spandex.pipeline.sync import sync
from spandex.sparsify.methods import check
from toy_project import REPOSITORY, TOY, copied, environment, git, make, make_command, new_project, output, plan

MODELS = ["baseline", "dense", "prune50", "prune75"]
TABLE = "reports/synthetic/table.csv"


def our_rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table.csv that this build made."""
    return [row for row in read_csv(table) if row["source"] == "this run"]


def products(project: Path) -> dict[str, bytes]:
    """What equal parameters must make equal, by path."""
    patterns = ["data/**/*.wav", "data/**/*.flac", "models/**/network.*", TABLE]
    files = sorted(file for pattern in patterns for file in project.glob(pattern))
    return {file.relative_to(project).as_posix(): file.read_bytes() for file in files}


def modified(project: Path) -> dict[Path, int]:
    folders = [project / name / "synthetic" for name in ("data", "models")]
    return {file: file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def project(toy_build, tmp_path_factory) -> Path:
    """A copy of the finished build, in a folder whose name shells, addresses and pages have to quote."""
    return copied(toy_build, tmp_path_factory.mktemp("build"), toy_build.name)


def test_make_prints_the_table_and_where_the_report_is(toy_build, project):
    said = (toy_build.parent / "said.txt").read_text()
    about, *headline, where, following = said.rpartition("\n\n")[2].splitlines()
    assert about == "Profile synthetic: 4 networks on 2 test clips of synthetic audio."
    assert "M-Ops/s" in " ".join(headline) and "SI-SNR" in " ".join(headline)
    assert where.startswith("The report is in reports/synthetic; open index.html there")
    assert following.startswith("Next: make ")
    for model in ["noisy", *MODELS, "50% Sparse SDNN"]:
        assert f"\n{model} " in said
    assert max(map(len, said.splitlines())) <= 100
    rows = our_rows(project / "reports/synthetic/table.csv")
    assert [row["model"] for row in rows] == ["noisy", *MODELS]
    assert [float(row["sparsity_percent"]) for row in rows[1:]] == pytest.approx([0, 0, 50, 75], abs=0.1)
    assert all(row["mos_ovrl"] for row in rows)
    for row in rows[1:]:
        assert abs(float(row["fixed_minus_float_db"])) < 0.5
        difference = float(row["si_snr_db"]) - float(row["float_si_snr_db"])
        assert float(row["fixed_minus_float_db"]) == pytest.approx(difference, abs=2e-4)
        assert float(row["float_power_proxy_mops_per_s"]) > 0 < float(row["deployed_power_proxy_mops_per_s"])


def test_report_folder_is_complete(project):
    folder = project / "reports/synthetic"
    names = [
        "table.csv",
        "table.md",
        "table.tex",
        "summary.md",
        "headline.md",
        "intervals.md",
        "metricsboard_track_1_test.yml",
    ]
    names += [
        f"figures/{name}.{suffix}" for name in ("cost", "figure1", "learning_curves") for suffix in ("png", "pdf")
    ]
    assert [name for name in names if not (folder / name).is_file()] == []
    assert [
        entry["model"] for entry in yaml.safe_load((folder / "metricsboard_track_1_test.yml").read_text())
    ] == MODELS


def test_models_are_child_runs_of_one_build_in_mlflow(project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("spandex").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert [(run.info.run_name, run.info.status) for run in parents] == [("synthetic", "FINISHED")]
    assert sorted(children) == sorted(f"synthetic {name}" for name in MODELS)
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parents[0].info.run_id}
    history = client.get_metric_history(children["synthetic prune75"].info.run_id, "validation_si_snr_db")
    assert len(history) == 1 + TOY["sparsify"]["epochs"]
    assert children["synthetic prune75"].data.metrics["sparsity"] == pytest.approx(0.75, abs=0.001)
    names = {artifact.path for artifact in client.list_artifacts(children["synthetic prune75"].info.run_id)}
    assert {"network.pt", "network.net"} <= names


def test_second_make_has_nothing_to_do(project):
    before = modified(project)
    again = make(project)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    assert modified(project) == before


def test_dvc_and_git_have_nothing_to_do_after_make(project):
    assert git(project, "status", "--porcelain") == ""
    assert "Data and pipelines are up to date" in output(project, "dvc", "status")
    assert "Running stage" not in output(project, "dvc", "repro")


def test_impossible_value_is_one_line_and_loses_nothing(project):
    before = modified(project)
    done = make(project, "SET=train.lrr=1")
    assert done.returncode != 0
    assert "spandex rebuild: params.yaml: train.lrr: unknown key" in done.stderr
    assert "Traceback" not in done.stderr
    assert modified(project) == before


@pytest.mark.slow
def test_damaged_store_costs_the_runs_and_not_the_table(project, tmp_path):
    project = copied(project, tmp_path)
    (project / "mlflow.db").write_text("no database")
    done = make(project, "SET=report.team=Others")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nprune50 " in done.stdout
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("MLflow at ")]
    assert said.endswith(
        "file is not a database: the runs are not logged; spandex sync-runs logs them once that is mended"
    )
    assert (project / "mlflow.db").read_text() == "no database"


@pytest.mark.slow
def test_ablation_compares_schedules_and_trains_only_what_is_new(project, tmp_path):
    project = copied(project, tmp_path)
    before = modified(project)
    done = make(project, target="ablation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nprune90 " in done.stdout and "\none-shot50 " in done.stdout
    assert "The sparsest network whose SI-SNR is not below that of dense" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    folder = project / "reports/synthetic/comparisons"
    rows = our_rows(folder / "schedules/table.csv")
    assert [row["model"] for row in rows] == ["noisy", "dense", "prune50", "one-shot50"]
    knee = our_rows(folder / "knee/table.csv")[1:]
    assert [row["model"] for row in knee] == ["dense", "prune50", "prune75", "prune90"]
    assert [float(row["sparsity_percent"]) for row in knee] == pytest.approx([0, 50, 75, 90], abs=0.1)
    powers = [float(row["deployed_power_proxy_mops_per_s"]) for row in knee]
    assert powers == sorted(powers, reverse=True)
    for figure in ("schedules/figures/curves", "knee/figures/knee"):
        assert all((folder / f"{figure}.{suffix}").stat().st_size > 1000 for suffix in ("png", "pdf"))
    table = {row["model"]: row for row in our_rows(project / TABLE)}
    assert all(row == table[row["model"]] for row in (*rows, *knee) if row["model"] in table)
    assert 'id="knee"' in (project / "reports/synthetic/index.html").read_text()
    after = modified(project)
    assert all(after[path] == before[path] for path in before)
    new = {path.relative_to(project).parts[3] for path in after.keys() - before.keys()}
    assert new == {"one-shot50", "prune90"}
    runs = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_runs(["1"])
    assert {"synthetic one-shot50", "synthetic prune90"} <= {
        run.info.run_name for run in runs if run.info.status == "FINISHED"
    }
    assert "Data and pipelines are up to date" in output(project, "dvc", "status")
    assert "Nothing to be done" in (again := make(project)).stdout + again.stderr
    moved = "grids.prune=null networks.prune90.from=baseline networks.prune90.magnitude.target=0.9"
    assert trained(project, moved) == set()
    output(project, "spandex", "--set", moved, "sync")
    planned = set(re.findall(r"^([a-z_]+) +\d+$", plan(project, moved), re.MULTILINE))
    assert planned == {"lava_inference", "report", "all", "total"}


FRONTIER = (
    "reports.frontier.networks=[baseline,dense,prune50] reports.frontier.figures=[frontier] "
    "reports.frontier.seeds=2 reports.frontier.mos=true"
)


@pytest.mark.slow
def test_frontier_scores_all_seeds_in_full_and_says_whether_they_are_those_kept(project, tmp_path):
    project = copied(project, tmp_path)
    before = modified(project)

    def frontier() -> str:
        output(project, "spandex", "--set", FRONTIER, "rebuild", "frontier")
        return " ".join(output(project, "spandex", "--set", FRONTIER, "summary", "frontier").split())

    said = frontier()
    assert "seeds 1, 2; 95 % intervals are over clips and seeds" in said and "those kept" not in said
    after = modified(project)
    assert all(after[path] == before[path] for path in before)
    new = {path.parent.name for path in after.keys() - before.keys() if path.name == "network.pt"}
    assert new == {"dense-2", "prune50-2"}
    folder = project / "reports/synthetic/comparisons/frontier"
    for name in ("dense-2", "prune50-2"):
        scores = read_json(project / f"reports/synthetic/evaluate/{name}.json")["networks"][name]
        assert {"mos_ovrl_all_hops", "fixed_minus_float_db"} <= scores.keys()
    assert [row["model"] for row in read_csv(folder / "frontier.csv")] == ["baseline", "dense", "prune50"]
    kept = project / "docs/results/frontier"
    kept.mkdir(parents=True)
    for record in folder.glob("seed-*.json"):
        shutil.copy(record, kept)
    said = frontier()
    for seed in (1, 2):
        assert f"Seed {seed}: the numbers of all 3 networks are those kept, to the digit." in said
    content = read_json(kept / "seed-2.json")
    content["networks"]["prune50"]["scores"]["si_snr_db"] += 1
    (kept / "seed-2.json").write_text(json.dumps(content))
    said = frontier()
    assert "Seed 1: the numbers of all 3 networks" in said and "Seed 2: 1 of 3 networks differ" in said
    assert modified(project) == after
    without = FRONTIER.replace("mos=true", "mos=false")
    stale = output(project, "spandex", "--set", without, "sync", "--dry-run")
    assert re.search(r"evaluate/dense-2\.json.*scored\.dense-2 was true, is false", stale)


def trained(project: Path, settings: str) -> set[str]:
    """The networks of the table that a build with these settings would train."""
    with contextlib.chdir(project):
        asked = params.load("params.yaml", {"set": settings}, check)
        stale = {path for removed in sync(asked, dry_run=True).removed for path in removed.paths}
        weights = {name: Path("models/synthetic", asked.network(name).weights) for name in asked.fine_tuned}
        return {name for name, path in weights.items() if path in stale or not path.is_file()}


CHAIN = "networks.child.from=prune50"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", set()),
        (CHAIN, {"child"}),
        ("networks.prune75.magnitude.scope=layer", {"prune75"}),
        ("networks.prune75.events.weight=0.1", {"prune75"}),
        (f"{CHAIN} networks.prune50.magnitude=null", {"prune50", "child"}),
        (f"{CHAIN} networks.prune50.magnitude.target=0.6", {"prune50", "child"}),
        ("networks.prune75.from=dense", {"prune75"}),
        ("networks.prune75.distill.weight=50", {"prune75"}),
        (f"{CHAIN} networks.child.distill.weight=5 networks.prune50.epochs=7", {"prune50", "child"}),
        ("networks.prune75.lr_drop_epoch=3", {"prune75"}),
        ("networks.prune75.epochs=6 networks.prune75.lr_factor=0.7", set()),
        ("sparsify.lr_factor=0.5 networks.prune75.lr_factor=0.7", {"dense", "prune50"}),
        (f"{CHAIN} networks.prune50.lookahead=1", {"prune50", "child"}),
        ("sparsify.magnitude.frequency=1", {"prune50", "prune75"}),
        ("networks.prune75.dynamic_mixing=true", {"prune75"}),
        ("sparsify.events.weight=0.3 sparsify.magnitude.rounds=7", set()),
        ("networks.prune75.label=sparsest reports.knee.networks=[dense] networks.dense.shrink=true", set()),
        ("networks.prune50=null", set()),
    ],
)
def test_change_of_an_entry_trains_that_network_and_what_starts_from_it(project, settings, expected):
    assert trained(project, settings) == expected


@pytest.mark.slow
def test_entry_is_fine_tuned_as_it_says(project, tmp_path):
    project, mine = copied(project, tmp_path), Path("models/synthetic/sparsified/mine")
    own = "epochs=3 pruning_epochs=1 lr_drop_epoch=0 lr_factor=0.1 lr_schedule=cosine distill.weight=50"
    settings = " ".join(f"networks.mine.{setting}" for setting in ("from=prune50", *own.split()))
    output(project, "spandex", "--set", settings, "rebuild", "sparsify")
    rates = [float(row["lr"]) for row in read_csv(project / mine / "epochs.csv")]
    assert rates[1:] == pytest.approx([7.75e-4, 3.25e-4, 1e-4])
    recipe = json.loads((project / mine / "network.pt.recipe.json").read_text())
    assert recipe["params"]["training.mine"]["fine_tuning"]["distill"] == {"weight": 50}
    assert "models/synthetic/sparsified/prune50/network.pt" in recipe["inputs"]
    assert trained(project, settings) == set()
    assert trained(project, settings.replace("weight=50", "weight=51")) == {"mine"}


def test_change_of_a_methods_file_trains_the_networks_of_that_method(project, tmp_path):
    project = copied(project, tmp_path)
    for name, expected in (("events", set()), ("magnitude", {"prune50", "prune75"})):
        with (project / f"src/spandex/sparsify/methods/{name}.py").open("a") as file:
            file.write("\n# another version\n")
        said = output(project, "spandex", "sync", "--dry-run")
        assert set(re.findall(r"would remove models/synthetic/sparsified/(\w+)/", said)) == expected


METHOD = '''
"""Weights below a size are zero from the first iteration on."""

from spandex.params.section import Positive, Section


class Settings(Section):
    size: Positive


def make(network, settings, iterations, seed):
    from spandex.sparsify import MaskedWeights, OneShot
    from spandex.sparsify.weights import synapse_weights

    class Small(MaskedWeights):
        def choose(self, sparsity):
            return {name: value.abs() >= settings.size for name, value in self.values().items()}

    return Small(synapse_weights(network), OneShot(0.5, steps=0), {"the network": 0.0})
'''


@pytest.mark.slow
def test_method_is_one_file_more(project, tmp_path):
    project = copied(project, tmp_path)
    (project / "src/spandex/sparsify/methods/small.py").write_text(METHOD)
    setting = "networks.mine.from=baseline networks.mine.small.size"
    refused = make(project, f"SET={setting}=-1")
    assert "spandex rebuild: params.yaml: networks.mine.small.size: Input should be greater than 0" in refused.stderr
    output(project, "spandex", "--set", f"{setting}=0.02", "rebuild", "sparsify")
    log = (project / "models/synthetic/sparsified/mine/log.csv").read_text()
    assert float(log.splitlines()[-1].split(",")[4]) > 0.05
    code = json.loads((project / "models/synthetic/sparsified/mine/network.pt.recipe.json").read_text())["code"]
    assert [name for name in code if "/methods/" in name][1:] == ["sparsify/methods/small.py"]


@pytest.mark.slow
def test_networks_and_audio_of_others_are_rows_and_a_clone_needs_their_copies_alone(project, tmp_path):
    project = copied(project, tmp_path)
    others = tmp_path / "the others' (1)"
    others.mkdir()
    shutil.copy(project / "models/synthetic/exported/prune50/network.net", others / "mine.net")
    shutil.copy(project / "models/synthetic/sparsified/prune75/network.pt", others / "state.pt")
    shutil.copytree(project / "data/synthetic/test/clean", others / "denoised")
    entries = {
        "mine.file": others / "mine.net",
        "state.file": others / "state.pt",
        "child.from": "mine",
        "ahead.file": others / "mine.net",
        "other.audio": others / "denoised",
        "other.label": "somebody's clips",
    }
    settings = " ".join(f'networks.{key}="{value}"' for key, value in entries.items())
    settings += " networks.ahead.lookahead=1 networks.child.lookahead=1"
    done = make(project, f"SET={settings}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nsomebody's clips " in done.stdout
    rows = {row["model"]: row for row in our_rows(project / TABLE)}
    alike = [key for key in rows["prune50"] if not key.startswith(("model", "float_", "fixed_minus_float", "sparsity"))]
    for name, twin in (("mine", "prune50"), ("state", "prune75")):
        assert [rows[name][key] for key in alike] == [rows[twin][key] for key in alike]
    assert rows["ahead"]["size_kb"] == rows["mine"]["size_kb"]
    assert rows["ahead"]["si_snr_db"] != rows["mine"]["si_snr_db"]
    summary = (project / "reports/synthetic/summary.md").read_text()
    late = set(re.findall(r"^(\w+): latency of 40\.\d+ ms, past the challenge's 40 ms$", summary, re.MULTILINE))
    assert late == {"ahead", "child"}
    start, *_ = read_csv(project / "models/synthetic/sparsified/child/epochs.csv")  # of the start
    network, clip = load_network(others / "mine.net"), NoisySpeech(project / "data/synthetic/validation")[0]
    network.lookahead = 1
    noisy, clean = (torch.from_numpy(audio)[None] for audio in (clip.noisy, clip.clean))
    expected = si_snr(denoise(network, noisy), clean).item()
    assert float(start["validation_si_snr_db"]) == pytest.approx(expected, abs=1e-3)
    assert rows["state"]["sparsity_percent"] == rows["prune75"]["sparsity_percent"]
    assert not rows["mine"]["sparsity_percent"] and not rows["mine"]["float_power_proxy_mops_per_s"]
    assert float(rows["child"]["sparsity_percent"]) >= float(rows["prune50"]["deployed_sparsity_percent"])
    assert float(rows["other"]["si_snr_db"]) > 50 and rows["other"]["mos_ovrl"]
    assert not any(rows["other"][key] for key in ("params_thousand", "size_kb", "deployed_power_proxy_mops_per_s"))
    page = (project / "reports/synthetic/index.html").read_text()
    assert all(name in page for name in ("mine", "child", "somebody&#39;s clips", "past the challenge&#39;s 40 ms"))
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = {run.info.run_name: run for run in client.search_runs(["1"], "", order_by=["start_time ASC"])}
    assert {f"synthetic {name}" for name in ("mine", "state", "child")} <= runs.keys()
    assert "synthetic other" not in runs and runs["synthetic"].data.metrics["other/si_snr_db"] > 50
    shutil.rmtree(others)
    assert "Nothing to be done" in (again := make(project, f"SET={settings}")).stdout + again.stderr
    refused = make(project, 'SET=networks.gone.file="mine.net"')
    assert "spandex rebuild: networks.gone.file: mine.net: no such file" in refused.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_companions_run_on_request_and_join_the_report(project, tmp_path):
    project = copied(project, tmp_path)  # the others compare its report
    reports = project / "reports/synthetic"
    assert not (reports / "companions").exists()
    before = modified(project)
    arguments = [f"MIRROR={image_mirror(tmp_path)}", "SEEDS=1"]
    done = make(project, *arguments, target="companions")
    assert done.returncode == 0, done.stdout + done.stderr
    papers = [f"companions/{paper}" for paper in ("activity", "masks", "lyapunov", "vgg")]
    for place in ("comparisons/denoiser", *papers):
        found = read_json(reports / place / "verdicts.json")
        assert found["findings"] and found["tables"] and found["figures"]
        assert found["title"] in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.split("# Companion papers")[1].splitlines())) <= 100
    rows = {row["model"]: row for row in our_rows(reports / "table.csv")}
    for model, percent in {"events50": 50, "masks50": 50, "noise50": 50}.items():
        assert float(rows[model]["sparsity_percent"]) == pytest.approx(percent, abs=0.1)
        assert rows[model]["si_snr_db"] and rows[model]["deployed_power_proxy_mops_per_s"]
    assert "Companion papers" in (reports / "index.html").read_text()
    after = modified(project)
    assert all(after[path] == before[path] for path in before)
    assert "Nothing to be done" in (again := make(project, *arguments, target="companions")).stdout + again.stderr
    runs = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_runs(["1"])
    assert {"synthetic events50", "synthetic masks50"} <= {
        run.info.run_name for run in runs if run.info.status == "FINISHED"
    }


@pytest.mark.slow
def test_network_of_ones_own_goes_through_every_phase_in_an_unpacked_archive(tmp_path):
    project = new_project(tmp_path / "project", evaluate={"mos": False})
    shutil.rmtree(project / ".git")
    shutil.copy(REPOSITORY / "tests/own_network.py", project)
    settings = "model.factory=own_network:two_layers model.arguments.hidden=6 networks.prune75=null"
    done = make(project, f"SET={settings}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is recorded: no git repository here" in done.stdout and "\nprune50 " in done.stdout
    rows = our_rows(project / "reports/synthetic/table.csv")
    assert [row["model"] for row in rows] == ["noisy", "baseline", "dense", "prune50"]
    for row in rows[1:]:
        layers = network_layers(project / f"models/synthetic/exported/{row['model']}/network.net")
        assert [layer.neurons for layer in layers] == [257, 6, 257]
        assert row["float_si_snr_db"] and row["float_power_proxy_mops_per_s"]
    assert float(rows[-1]["sparsity_percent"]) == pytest.approx(50, abs=0.1)
    with (project / "own_network.py").open("a") as file:
        file.write("\n# another version\n")
    output(project, "spandex", "--set", settings, "sync")
    planned = plan(project, settings)
    assert "train_baseline" in planned and "synthesize" not in planned


@pytest.mark.slow
def test_build_stopped_twice_continues_to_the_same_bytes(project, tmp_path):
    stopped = copied(project, tmp_path)
    for made in ("models/synthetic/sparsified", "models/synthetic/exported", "reports/synthetic/evaluate"):
        shutil.rmtree(stopped / made)
    log = stopped / "reports/synthetic/logs/fine_tune_prune50.log"
    log.unlink()
    stop_while_pruning(stopped, signal.SIGKILL)
    assert "continuing after iteration" not in log.read_text()
    before = modified(stopped)
    stop_while_pruning(stopped, signal.SIGINT)
    assert "continuing after iteration" in log.read_text()
    again = make(stopped)
    assert again.returncode == 0, again.stderr
    assert "continuing after iteration" in log.read_text()
    assert products(stopped) == products(project)
    after = modified(stopped)
    finished = [path for path in before if {"data", "baseline"} & set(path.parts) and ".checkpoints" not in path.parts]
    assert finished and all(after[path] == before[path] for path in finished)


def stop_while_pruning(project: Path, number: signal.Signals) -> None:
    """Build until prune50 has a new checkpoint, and stop the build."""
    begin, deadline = time.time(), time.monotonic() + 600
    checkpoints = project / "models/synthetic/sparsified/.checkpoints/prune50"
    process = started(project)
    while not is_training(checkpoints, begin):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) != 0


def started(project: Path) -> subprocess.Popen:
    """A build as users start it, in a session of its own."""
    variables = environment(project, own_server=True)
    return subprocess.Popen(
        make_command(), cwd=project, env=variables, start_new_session=True, stdout=subprocess.DEVNULL
    )


def is_training(checkpoints: Path, begin: float) -> bool:
    """Whether a network has a whole checkpoint from after then, and is not done."""
    with contextlib.suppress(FileNotFoundError):  # a newer one takes its place just now
        new = any(file.stat().st_mtime > begin for file in checkpoints.glob("[!.]*"))
        return new and not (checkpoints.parents[1] / checkpoints.name / "network.pt").exists()
    return False


@pytest.mark.slow
def test_other_values_build_completely_and_leave_dvc_lock_alone(project, tmp_path):
    project = copied(project, tmp_path)
    lock = (project / "dvc.lock").read_bytes()
    before = modified(project)
    done = make(project, "SET=networks.prune50=null networks.sparser.from=dense networks.sparser.magnitude.target=0.9")
    assert done.returncode == 0, done.stderr
    assert "dvc.lock is left alone" in done.stdout
    assert "\nsparser " in done.stdout and "\nprune50 " not in done.stdout
    assert (project / "dvc.lock").read_bytes() == lock
    folder = project / "models/synthetic/sparsified"
    assert {path.name for path in folder.glob("[!.]*")} == {"dense", "prune50", "prune75", "sparser"}
    after = modified(project)
    assert all(after[path] == before[path] for path in before)  # what the command line alone leaves out stays


@pytest.mark.slow
def test_two_builds_in_one_folder_are_refused(tmp_path):
    project = new_project(tmp_path / "project")
    first = started(project)
    deadline = time.monotonic() + 60
    while not (project / ".snakemake").is_dir():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    second = make(project)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.returncode != 0
    assert "another build runs in this folder" in second.stderr
