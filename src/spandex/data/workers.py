"""Many independent jobs on several processes."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from spandex.errors import SpandexError
from spandex.files import remove_temporaries

Result = TypeVar("Result")

_job: Callable[[Any], Any] | None = None


def parallel(job: Callable[[Any], Result], items: Iterable[Any], workers: int) -> Iterator[Result]:
    """Yield ``job(item)`` for every item, in the order in which they finish.

    Each worker is a fresh process (spawn: nothing is inherited from threads of the caller) holding one copy of
    ``job``, so that a job may keep a cache. With one worker everything runs in the calling process. On an
    exception, SIGINT included, or when closed, waiting jobs are dropped and the running ones finish.

    Raises:
        SpandexError: a worker was killed.
    """
    items = list(items)
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(job, items)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(job,))
    try:
        with _sigint_blocked():  # inherited by the workers: the parent decides when to stop
            futures = [pool.submit(_run, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise SpandexError("a worker process was killed, perhaps for want of memory; try fewer workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(job: Callable[[Any], Any]) -> None:
    global _job
    _job = job
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: _leave())
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for it for ever."""
    parent_process().join()
    _leave()


def _leave() -> None:
    remove_temporaries()
    os._exit(1)


def _run(item: Any) -> Any:
    return _job(item)
