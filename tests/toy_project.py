"""A repository whose builds take a minute, and the commands that run there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import companion_sizes

REPOSITORY = Path(__file__).parents[1]
BINARIES = Path(sys.executable).parent
PARTS = ["Makefile", "Snakefile", "dvc.yaml", ".dvcignore", ".gitignore", "requirements.lock"]
TREES = [".dvc", "workflow", "src", "reports/reference"]
TOY = {
    "data": {
        "corpus_minutes": {"train": 1, "validation": 0.5, "test": 0.5},
        "clips": {"train": 4, "validation": 1, "test": 2},
    },
    "train": {"epochs": 2, "epoch_batches": 6, "batch_size": 2, "segment_s": 1.0},
    "sparsify": {"epochs": 6, "pruning_epochs": 2},
    "deploy": {"clips": 1, "clip_s": 1.0},
}
servers: dict[str, str] = {}  # variables that name a process of all tests' builds; see conftest
GRIDS = {
    "events": {"from": "baseline", "events": {}, "over": {"magnitude": {"target": [None, 0.5]}}},
    "masks": {"from": "baseline", "shrink": True, "over": {"masks": {"target": [0.5]}}},
    "noise": {"from": "baseline", "over": {"noise": {"target": [0.5]}}},
    "prune": {"from": "baseline", "over": {"magnitude": {"target": [0.9]}}},
    "one-shot": {"from": "baseline", "magnitude": {"schedule": "one-shot"}, "over": {"magnitude": {"target": [0.5]}}},
}
REPORTS = {
    "schedules": {"networks": ["dense", "prune50", "one-shot"], "figures": ["curves"]},
    "denoiser": {
        "networks": ["dense", "prune50", "events", "masks", "noise"],
        "figures": ["plane"],
        "seeds": 1,
        "claims": True,
    },
    "knee": {"networks": ["dense", "prune50", "prune75", "prune"], "figures": ["knee"]},
}


def new_project(folder: Path, **sections: dict) -> Path:
    """A copy of the repository, committed to git, whose synthetic profile is a toy.

    Args:
        sections: values of params.yaml to set beside.
    """
    folder.mkdir()
    for name in PARTS:
        shutil.copy(REPOSITORY / name, folder / name)
    for name in TREES:
        ignored = shutil.ignore_patterns("*.egg-info", "tmp", "cache")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["profiles"]["synthetic"] |= TOY
    params["profiles"]["synthetic"]["data"]["source"] = "synthetic"
    params["data"]["clip_s"] = 4.0
    params["model"]["hidden"] = 32
    params["grids"] |= {"linear": None, "iterative": None, **GRIDS}
    params["reports"] |= REPORTS
    del params["networks"]["saliency85"]
    params["sparsify"]["magnitude"]["frequency"] = 2
    params["companions"]["small"] = companion_sizes.TOY
    for section, values in sections.items():
        params[section] |= values
    write_params(folder, params)
    link_environment(folder)
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "A researcher")
    git(folder, "config", "user.email", "researcher@example.org")
    commit(folder, "Start")
    return folder


def params_of(folder: Path) -> dict:
    """What a project's params.yaml holds."""
    return yaml.safe_load((folder / "params.yaml").read_text())


def write_params(folder: Path, params: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def link_environment(folder: Path) -> None:
    """Give a project the environment of these tests as its own."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name not in (".ready", ".gitignore"):
            (folder / ".venv" / part.name).symlink_to(part)


def copied(project: Path, folder: Path, name: str = "project") -> Path:
    """A copy of a project with all that it has built."""
    return Path(shutil.copytree(project, folder / name, symlinks=True))


def environment(project: Path, own_server: bool = False) -> dict[str, str]:
    """That of a user who has activated the environment of the project: a build is some forty processes, which find
    its package at once, and compiled.

    Args:
        own_server: leave it to the build to keep a process with the libraries loaded; else it uses that of the tests.
    """
    unwanted = ("SPANDEX_SET", "SPANDEX_MIRROR", "MLFLOW_TRACKING_URI", "MAKEFLAGS", "MAKELEVEL")
    unwanted += ("PYTHONDONTWRITEBYTECODE",)
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return (
        kept
        | {"PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(project / "src")}
        | ({} if own_server else servers)
    )


def run(project: Path, *command: str) -> subprocess.CompletedProcess:
    """Run a command in a project."""
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True)


def output(project: Path, *command: str) -> str:
    """Standard output and error of a command that has to succeed."""
    done = run(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(project: Path, *arguments: str) -> str:
    return output(project, "git", *arguments)


def commit(project: Path, message: str) -> str:
    """Commit all that git does not ignore; return the revision."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(project, "rev-parse", "HEAD").strip()


def make_command(*assignments: str, target: str = "rebuild") -> list[str]:
    return ["make", "--old-file=setup", "WORKERS=2", target, *assignments]


def make(project: Path, *assignments: str, target: str = "rebuild") -> subprocess.CompletedProcess:
    return run(project, *make_command(*assignments, target=target))


def plan(project: Path, settings: str = "") -> str:
    """What Snakemake would run."""
    config = ["--config", f"set={settings}"] if settings else []
    return output(project, "snakemake", "--profile", "workflow/profiles/default", "--nolock", "-n", *config)
