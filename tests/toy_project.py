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
ABLATION = {"schedules": ["cubic", "one-shot"], "targets": [0.5], "knee": [0.9]}


def new_project(folder: Path, **sections: dict) -> Path:
    """A copy of the repository, committed to git, whose embedded profile is a toy.

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
    params["profiles"]["embedded"] |= TOY
    params["profiles"]["embedded"]["data"]["source"] = "embedded"
    params["data"]["clip_s"] = 4.0
    params["model"]["hidden"] = 32
    params["ablation"] = ABLATION
    params["sparsify"]["frequency"] = 2
    params["companions"]["small"] = companion_sizes.TOY
    for section, values in sections.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    link_environment(folder)
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "A researcher")
    git(folder, "config", "user.email", "researcher@example.org")
    commit(folder, "Start")
    return folder


def link_environment(folder: Path) -> None:
    """Give a project the environment of these tests as its own."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name not in (".ready", ".gitignore"):
            (folder / ".venv" / part.name).symlink_to(part)


def copied(project: Path, folder: Path) -> Path:
    """A copy of a project with all that it has built."""
    return Path(shutil.copytree(project, folder / "project", symlinks=True))


def environment(project: Path) -> dict[str, str]:
    """That of a user who has activated the environment of the project: a build is some forty processes, which find
    its package at once, and compiled."""
    unwanted = ("SPANDEX_SET", "SPANDEX_MIRROR", "MLFLOW_TRACKING_URI", "MAKEFLAGS", "MAKELEVEL")
    unwanted += ("PYTHONDONTWRITEBYTECODE",)
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(project / "src")}


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
    return ["make", "--old-file=setup", "CORES=2", target, *assignments]


def make(project: Path, *assignments: str, target: str = "rebuild") -> subprocess.CompletedProcess:
    return run(project, *make_command(*assignments, target=target))


def plan(project: Path, settings: str = "") -> str:
    """What Snakemake would run."""
    config = ["--config", f"set={settings}"] if settings else []
    return output(project, "snakemake", "--profile", "workflow/profiles/default", "--nolock", "-n", *config)
