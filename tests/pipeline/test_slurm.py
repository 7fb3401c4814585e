"""The profile for Slurm: what it plans for the largest corpus, and a few jobs through a real cluster of one node."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import slurm_cluster
from spandex.networks import SDNN

REPOSITORY = Path(__file__).parents[2]
TOY = {
    "data": {
        "source": "synthetic",
        "corpus_minutes": {"train": 0.5, "validation": 0.5, "test": 0.5},
        "clips": {"train": 1, "validation": 1, "test": 3},
    },
}
MODELS = ["baseline", "dense"]


def new_project(folder: Path) -> Path:
    """What Snakemake needs of the repository, for three clips of 4 s; two networks are trained already."""
    folder.mkdir()
    shutil.copy(REPOSITORY / "Snakefile", folder)
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow")
    shutil.copytree(REPOSITORY / "reports/reference", folder / "reports/reference")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["profiles"]["synthetic"] |= TOY
    params["data"]["clip_s"] = 4.0
    params["evaluate"]["mos"] = False
    params["model"]["hidden"] = 16
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for model in MODELS:
        path = folder / "models/synthetic" / ("" if model == "baseline" else "sparsified") / model / "network.pt"
        path.parent.mkdir(parents=True)
        torch.save(SDNN(hidden=16).state_dict(), path)
    return folder


def snakemake(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/slurm", "--nolock", *arguments]
    unwanted = ("SPANDEX_SET", "SLURM_CONF")
    clean = {name: value for name, value in os.environ.items() if name not in unwanted} | environment
    clean["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=850)


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Jobs by rule of a dry run."""
    done = snakemake(folder, "--dry-run", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


@pytest.mark.parametrize("count", [16, pytest.param(100, marks=pytest.mark.slow)])
def test_dns4_is_spread_over_as_many_jobs_as_asked_for(tmp_path, count):
    project = new_project(tmp_path / "project")
    shutil.copy(REPOSITORY / "params.yaml", project)
    shutil.rmtree(project / "models")
    settings = [] if count == 16 else ["--set-scatter", f"shard={count}"]
    networks = {"take_network": 2, "export_network": 5, "lava_inference": 7, "evaluate_network": 7}
    shards = {"synthesize_shard": 2 * count, "evaluate_noisy_shard": count, "evaluate_network_shard": 7 * count}
    single = dict.fromkeys(["corpus", "evaluate_noisy", "latency", "train_baseline", "report", "all"], 1)
    expected = {**single, "synthesize": 3, "fine_tune": 4, **networks, **shards}
    assert planned(project, *settings, "--config", "profile=dns4") == expected | {"total": sum(expected.values())}


@pytest.mark.slow
def test_one_shard_plans_the_jobs_of_one_machine(tmp_path):
    plan = planned(new_project(tmp_path / "project"), "--set-scatter", "shard=1", "--forceall")
    assert [rule for rule in plan if rule.endswith("_shard")] == []
    assert plan["synthesize"] == 3


def test_profile_names_rules_that_there_are(tmp_path):
    profile = yaml.safe_load((REPOSITORY / "workflow/profiles/slurm/config.yaml").read_text())
    named = {*profile["groups"], *profile["set-threads"], *profile["set-resources"]}
    listed = snakemake(new_project(tmp_path / "project"), "--list-rules")
    assert named <= set(listed.stdout.split()), listed.stderr


@pytest.mark.slow
def test_jobs_run_through_slurm(tmp_path):
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    project = new_project(tmp_path / "project")
    profile = project / "workflow/profiles/slurm/config.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings["set-resources"]["evaluate_noisy"]["mem_mb"] = "50 * 80 ** (attempt - 1)"  # the first attempt is killed
    settings["set-scatter"] = {"shard": 2}
    settings["slurm-init-seconds-before-status-checks"] = 2
    profile.write_text(yaml.safe_dump(settings))
    exported = [f"models/synthetic/exported/{model}/network.net" for model in MODELS]
    noisy = "reports/synthetic/evaluate/noisy.json"
    rules = ["--allowed-rules", "corpus", "synthesize", "evaluate_noisy", "export_network"]
    rules += ["synthesize_shard", "evaluate_noisy_shard"]
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(slurm_cluster.Cluster(tmp_path / "slurm"))
        except RuntimeError as error:
            pytest.skip(f"Slurm does not start here: {error}")
        done = snakemake(project, "--no-hooks", noisy, *exported, *rules, **cluster.environment)
        jobs = cluster.jobs()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((project / noisy).read_text())["noisy"]["per_clip"]) == 3
    assert all((project / path).stat().st_size for path in exported)
    assert list(project.rglob(".shards/**/*")) == []

    by_rule: dict[str, list[dict[str, str]]] = {}
    for job in jobs:
        by_rule.setdefault(job["Comment"].split("_wildcards_")[0], []).append(job)
    counts = {rule: len(found) for rule, found in by_rule.items()}
    assert counts == {
        "rule_corpus": 1,
        "rule_synthesize_shard": 2,
        "rule_synthesize": 1,
        "rule_evaluate_noisy_shard": 2,
        "rule_evaluate_noisy": 2,  # the second with more memory
        "rule_export_export_network": 1,  # both networks
    }
    assert {job["NumCPUs"] for job in by_rule["rule_synthesize_shard"]} == {"16"}
    assert {job["MinMemoryNode"] for job in by_rule["rule_synthesize_shard"]} == {f"{2000 + 700 * 16}M"}
    killed, tried_again = by_rule["rule_evaluate_noisy"]
    assert (killed["JobState"], tried_again["JobState"]) == ("FAILED", "COMPLETED")
    assert (killed["MinMemoryNode"], tried_again["MinMemoryNode"]) == ("50M", "4000M")
    assert (killed["TimeLimit"], tried_again["TimeLimit"]) == ("04:00:00", "08:00:00")
    assert {job["JobState"] for job in jobs if job is not killed} == {"COMPLETED"}
