"""What produced a file: parameters, inputs, code and library versions."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spandex.checkout import PACKAGE
from spandex.files import sha256
from spandex.params import Params

PACKAGES = ("torch", "lava-dl", "lava-nc", "numpy", "snakemake", "dvc", "mlflow")
NO_CODE = ("*.egg-info/*", "spandex/packaged/network.*")  # below src: a network that ships makes no result another
CODE = ("src", "workflow", "Snakefile", "requirements.lock")


def code_digest(root: str | os.PathLike = ".") -> str:
    """SHA-256 (first 16 digits) of the code and the lock file below ``root``, or of the package where that is no clone.

    Absent parts are skipped.
    """
    return _digest_below(Path(root).resolve())  # which folder "." is may change


@cache
def _digest_below(root: Path) -> str:
    digest = hashlib.sha256()
    parts = CODE
    if not Path(root, "src", "spandex").is_dir():
        root, parts = PACKAGE.parent, (PACKAGE.name,)
    for part in parts:
        path = Path(root, part)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and not any(map(file.match, NO_CODE)):
                digest.update(f"{file.relative_to(root).as_posix()} {sha256(file)}\n".encode())
    return digest.hexdigest()[:16]


def revision(root: str | os.PathLike = ".") -> str | None:
    """The commit that ``root`` has checked out; None where there is no repository, no commit or no git."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    return None if commit is None else commit.strip()


def is_repository() -> bool:
    """Whether git keeps this folder; not so for an unpacked archive, or without git."""
    return _git(".", "rev-parse", "--git-dir") is not None


def dirty(root: str | os.PathLike = ".") -> bool | None:
    """Whether code, lock file or params.yaml below ``root`` are not as committed; None as for ``revision``."""
    changes = _git(root, "status", "--porcelain", "--", *CODE, "params.yaml")
    return None if changes is None or revision(root) is None else bool(changes)


def _git(root: str | os.PathLike, *arguments: str) -> str | None:
    """Output of git, which takes no lock that another git might want; None if it fails or is missing."""
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def tree_digest(files: Iterable[str | os.PathLike]) -> str:
    """SHA-256 (first 16 digits) over the names and contents of ``files``, in order of name."""
    lines = sorted(f"{Path(file).name} {sha256(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def produced_by(inputs: Iterable[str | os.PathLike] = (), params: Params | None = None) -> dict[str, Any]:
    """The record that every JSON of a run carries under ``produced_by``.

    A step of the pipeline has a profile; the sidecar beside its product holds the parameters that it used.
    """
    return ({} if params is None else {"profile": params.profile}) | {
        "inputs_digest": tree_digest(inputs),
        "code_digest": code_digest(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
