"""Experiments through DVC: its own command, guarded."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from spandex.errors import SpandexError, one_line
from spandex.params import Params
from spandex.pipeline.build import lock, own_path
from spandex.pipeline.sync import sync

DVC = (sys.executable, "-m", "dvc")
WRITING = ("apply", "run")  # the parts of dvc exp that overwrite the workspace's outs


def uncommitted() -> list[str]:
    """Outs in the workspace that are not what dvc.lock says, and that DVC would therefore overwrite.

    Raises:
        SpandexError: DVC cannot tell.
    """
    done = subprocess.run([*DVC, "data", "status", "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SpandexError(f"dvc data status failed: {one_line(done.stderr)}")
    changes = json.loads(done.stdout).get("uncommitted", {})
    return sorted(path for kind in ("added", "modified", "renamed") for path in changes.get(kind, []))


def unseen_by_dvc(params: Params) -> list[str]:
    """Why products are stale for what dvc.yaml does not name: the user's own files."""
    own = ("factory ", "file.", "audio.", f"{params.model.pretrained_file} ")
    return [f"{paths[0]}: {why}" for paths, why in sync(params, dry_run=True).removed if why.startswith(own)]


def writes(arguments: Sequence[str]) -> bool:
    """Whether ``dvc exp`` with these arguments overwrites results."""
    return _part(arguments) in WRITING


def exp(arguments: Sequence[str], params: Params) -> NoReturn:
    """Become ``dvc exp`` with these arguments, unless it would discard results or take stale ones for good.

    Raises:
        SpandexError: it would, or a build runs in this folder.
    """
    if writes(arguments):
        os.close(lock())
        if stale := unseen_by_dvc(params):
            raise SpandexError(f"{stale[0]}, which DVC does not see; make builds it again")
        if lost := uncommitted():
            raise SpandexError(
                f"{', '.join(lost)}: not as dvc.lock has it, and dvc exp {_part(arguments)} would discard that; "
                "make brings it up to date with params.yaml, dvc commit keeps it as it is, "
                "dvc checkout --force discards it"
            )
    os.environ["PATH"] = own_path()
    os.execv(sys.executable, [*DVC, "exp", *arguments])


def _part(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")
