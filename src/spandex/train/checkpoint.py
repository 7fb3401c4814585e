"""Checkpoints that are whole or refused.

A checkpoint file is eight bytes that name the format, the SHA-256 of what follows, and a state as ``torch.save``
writes it, of tensors and plain types only. The one before is kept beside it.
"""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.files import atomic_path

MAGIC = b"SPANDEX1"
DIGEST_BYTES = 32


class CheckpointError(SpandexError):
    """A file that is no checkpoint, or not a whole one."""


def write_checkpoint(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain types; ``path`` holds the old or the new one, never a part."""
    stream = io.BytesIO()
    torch.save(state, stream)
    payload = stream.getvalue()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a state onto the CPU, without running anything in the file.

    Raises:
        CheckpointError: it is torn, or not a checkpoint.
    """
    content = Path(path).read_bytes()
    start = len(MAGIC) + DIGEST_BYTES
    if not content.startswith(MAGIC):
        raise CheckpointError(f"{path}: not a checkpoint")
    payload = content[start:]
    if hashlib.sha256(payload).digest() != content[len(MAGIC) : start]:
        raise CheckpointError(f"{path}: torn checkpoint")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a checkpoint ({str(error).splitlines()[0]})") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint")
    return state


class Checkpoints:
    """The newest two checkpoints of one run, in a folder of their own.

    Args:
        directory: where ``checkpoint.ckpt`` and ``previous.ckpt`` are; made when first needed.
        identity: what the run is; a checkpoint of another identity is not continued.
        log: told why a checkpoint is not used.
    """

    def __init__(self, directory: str | os.PathLike, identity: str, log: Callable[[str], None]):
        self.current = Path(directory) / "checkpoint.ckpt"
        self.previous = Path(directory) / "previous.ckpt"
        self.identity = identity
        self.log = log

    def save(self, state: dict[str, Any]) -> None:
        """Make ``state`` the newest checkpoint; the newest so far becomes the one before."""
        if self.current.exists():
            self.current.replace(self.previous)
        write_checkpoint(self.current, {"identity": self.identity, "state": state})

    def load(self) -> dict[str, Any] | None:
        """The newest usable state, or None."""
        for stale in self.current.parent.glob(f".{self.current.name}.*.tmp"):  # left by a killed run
            stale.unlink()
        for path in (self.current, self.previous):
            if not path.exists():
                continue
            try:
                content = read_checkpoint(path)
            except CheckpointError as error:
                self.log(f"warning: {error}; not used")
                continue
            if content.get("identity") == self.identity:
                return content["state"]
            self.log(f"{path}: belongs to other settings or data; not used")
        return None
