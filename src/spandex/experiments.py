"""Experiments through DVC: its own command, guarded, and the comparison of a revision with its rebuild."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from spandex.errors import SpandexError, one_line

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


def exp(arguments: Sequence[str]) -> NoReturn:
    """Become ``dvc exp`` with these arguments, unless it would discard results that nobody has committed.

    Raises:
        SpandexError: it would.
    """
    if arguments and arguments[0] in WRITING and (lost := uncommitted()):
        raise SpandexError(
            f"{', '.join(lost)}: not as dvc.lock has it, and dvc exp {arguments[0]} would discard that; "
            "make brings it up to date with params.yaml, dvc commit keeps it as it is, dvc checkout discards it"
        )
    os.execv(sys.executable, [*DVC, "exp", *arguments])
