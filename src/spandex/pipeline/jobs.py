"""The jobs of a build, which outlive it where it is killed."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from spandex.errors import SpandexError

JOBS = ".spandex.jobs.lock"  # which all jobs hold together


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Keep the next build from this folder until the end; after a kill, until all that was forked has ended, too."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # not every file system of a cluster has locks
            file = stack.enter_context(Path(JOBS).open("a+"))
            fcntl.flock(file, fcntl.LOCK_SH)
            stack.callback(fcntl.flock, file, fcntl.LOCK_UN)  # or else it lasts until all that was forked has ended
        yield


def refuse_beside_jobs() -> None:
    """Check that no job is at work in this folder.

    Raises:
        SpandexError: one is, be it on another machine; with the processes on this one.
    """
    with contextlib.suppress(OSError), Path(JOBS).open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            ours = ", ".join(_holders(os.fstat(file.fileno()).st_ino))
            which = f" (process {ours})" if ours else ""
            raise SpandexError(f"jobs of a build that was killed still run{which}; wait for them or end them") from None


def _holders(inode: int) -> list[str]:
    """Processes of this machine that hold the lock of a file, where the system tells."""
    with contextlib.suppress(OSError):
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return sorted({lock[4] for lock in locks if lock[1] == "FLOCK" and lock[5].split(":")[2] == str(inode)})
    return []
