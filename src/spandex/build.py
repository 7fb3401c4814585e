"""What a build does around the workflow: tidy before it, record in DVC after it."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from spandex.errors import SpandexError
from spandex.params import Params

PARTIAL = ".partial"  # ends the name of what an evaluation that was stopped goes on from


def tidy(params: Params, root: Path = Path()) -> list[Path]:
    """Remove networks and results of models that the parameters no longer name; return what was removed."""
    profile = params.profile
    kept = {
        root / "models" / profile / ".checkpoints": set(params.models),
        root / "models" / profile / "sparsified" / ".checkpoints": set(params.fine_tuned),
        root / "models" / profile / "sparsified": set(params.fine_tuned),
        root / "models" / profile / "exported": set(params.models),
        root / "models" / profile / "ablation" / ".checkpoints": set(params.variants),
        root / "models" / profile / "ablation": set(params.variants),
        root / "reports" / profile / "infer": {f"{model}.json" for model in params.models},
        root / "reports" / profile / "evaluate": {f"{model}.json" for model in ["noisy", *params.models]},
        root / "reports" / profile / "ablation" / "evaluate": {f"{model}.json" for model in params.variants},
    }
    stale = [
        path
        for folder, names in kept.items()
        for path in folder.glob("[!.]*")
        if path.name.removesuffix(PARTIAL) not in names
    ]
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return stale


def run(target: str, cores: int | None, overrides: str, lock: Path = Path(".spandex.lock")) -> NoReturn:
    """Become Snakemake, at a target of the Snakefile, unless another build runs in this folder.

    Our lock is held by the processes of the build and goes with the last of them. Snakemake's own stays behind when
    it is killed, so it is not used.

    Raises:
        SpandexError: another build holds the lock.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpandexError("another build runs in this folder") from None
    os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/default", "--nolock", target]
    command += ["--cores", str(cores)] if cores else []
    command += ["--config", f"set={overrides}"] if overrides else []
    os.execv(sys.executable, command)


def clear_checkpoints(params: Params, root: Path = Path()) -> None:
    """Remove the checkpoints of a finished build; before its end they may still be needed."""
    for folder in (root / "models" / params.profile).rglob(".checkpoints"):
        shutil.rmtree(folder)


def record(params: Params, in_file: Params) -> str:
    """Commit the build's products to DVC, if params.yaml alone says how they were made; return what was done.

    Args:
        params: the parameters of the build.
        in_file: those that params.yaml gives without the command line.

    Raises:
        SpandexError: DVC failed.
    """
    if params != in_file:
        return "dvc.lock is left alone: this build has values from the command line"
    if not Path(".dvc").is_dir():
        return "dvc.lock is left alone: no DVC repository here"
    command = [sys.executable, "-m", "dvc", "commit", "--force", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SpandexError(f"dvc commit failed: {done.stderr.strip()}")
    return "dvc.lock is up to date"


def summary(params: Params, part: str = "") -> str:
    """The table of the last build with its intervals, and where its report is.

    Args:
        part: folder of another report in the profile's, such as ``ablation``.

    Raises:
        SpandexError: there is no report yet.
    """
    folder = Path("reports", params.profile, part)
    path = folder / "summary.md"
    if not path.is_file():
        raise SpandexError(f"{path}: no such file; the build has not come to its report")
    intervals = (folder / "intervals.md").read_text(encoding="utf-8")
    table = path.read_text(encoding="utf-8")
    return f"{table}\n95 % intervals over the test clips:\n\n{intervals}\nThe report is in {folder}"
