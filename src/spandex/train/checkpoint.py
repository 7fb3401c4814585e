"""Checkpoints that are whole or refused.

A checkpoint file is eight bytes that name the format, the SHA-256 of what follows, and a state as ``torch.save``
writes it, of tensors and plain types only. The one before is kept beside it.
"""

import hashlib
import io
import os
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


def write_checkpoint(path: str | os.PathLike, state: dict[str, Any], previous: str | os.PathLike | None = None) -> None:
    """Write a state of tensors and plain types; ``path`` holds the old or the new one, never a part.

    Args:
        path: the file.
        state: what it holds.
        previous: where to move the file that was at ``path``, once the new one is whole; replaced if not given.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    payload = stream.getvalue()
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None:
            Path(path).replace(previous)


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a state onto the CPU, without running anything in the file.

    Raises:
        CheckpointError: it is torn, unreadable, or not a checkpoint.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: unreadable ({error.strerror})") from None
    start = len(MAGIC) + DIGEST_BYTES
    if not content.startswith(MAGIC):
        raise CheckpointError(f"{path}: not a checkpoint")
    payload = content[start:]
    if hashlib.sha256(payload).digest() != content[len(MAGIC) : start]:
        raise CheckpointError(f"{path}: torn checkpoint")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign pickle makes the restricted unpickler stumble over
        raise CheckpointError(f"{path}: not a checkpoint ({(str(error).splitlines() or [''])[0]})") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint")
    return state


def state_digest(network: torch.nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers."""
    tensors = network.state_dict().values()
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()


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
        self._current_is_ours = False  # a torn or foreign one must not take the place of a good one before it

    def save(self, state: dict[str, Any]) -> None:
        """Make ``state`` the newest checkpoint; the newest so far, if it was of use, becomes the one before."""
        previous = self.previous if self._current_is_ours else None
        write_checkpoint(self.current, {"identity": self.identity, "state": state}, previous)
        self._current_is_ours = True

    def load(self) -> dict[str, Any] | None:
        """The newest usable state, or None."""
        for stale in self.current.parent.glob(f".{self.current.name}.*.tmp"):  # left by a killed run
            stale.unlink()
        paths = [path for path in (self.current, self.previous) if path.exists()]
        for path in paths:
            try:
                content = read_checkpoint(path)
            except CheckpointError as error:
                self.log(f"warning: {error}; not used")
                continue
            if content.get("identity") == self.identity:
                self._current_is_ours = path == self.current
                return content["state"]
            self.log(f"{path}: belongs to other settings or data; not used")
        if paths:
            self.log("warning: no checkpoint to continue from; training starts from the beginning")
        return None
