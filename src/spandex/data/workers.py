"""Many independent jobs on several processes."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

Result = TypeVar("Result")

_job: Callable[[Any], Any] | None = None


def parallel(job: Callable[[Any], Result], items: Iterable[Any], workers: int) -> Iterator[Result]:
    """Yield ``job(item)`` for every item, in the order in which they finish.

    Each worker is a fresh process (spawn: nothing is inherited from threads of the caller) holding one copy of
    ``job``, so that a job may keep a cache. With one worker everything runs in the calling process. On an
    exception, SIGINT included, waiting jobs are dropped and the running ones finish.
    """
    items = list(items)
    if min(workers, len(items)) <= 1:
        yield from map(job, items)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=get_context("spawn"), initializer=_start, initargs=(job,)
    )
    try:
        for future in as_completed([pool.submit(_run, item) for item in items]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start(job: Callable[[Any], Any]) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for it for ever."""
    parent_process().join()
    os._exit(1)


def _run(item: Any) -> Any:
    return _job(item)
