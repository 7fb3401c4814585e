"""One process at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from spandex.errors import SpandexError


@contextlib.contextmanager
def locked(path: Path, refusal: type[SpandexError] = SpandexError) -> Iterator[None]:
    """Hold the lock of a file that lies beside ``path`` and stays there; it goes with the process that holds it.

    Args:
        path: waited for while another process holds its lock.
        refusal: raised if there can be no such file.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.with_name(f"{path.name}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise refusal(f"{path}: cannot be locked ({error.strerror})") from None
        yield
