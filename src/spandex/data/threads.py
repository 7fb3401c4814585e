"""Many jobs on the threads of one process."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
WAKE_S = 1.0


def map_in_order(
    job: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Result]:
    """Apply ``job``, which should spend its time outside Python's lock, on threads; results in order of the items.

    At most two items a worker are taken ahead of what has been yielded, so that memory is bounded. When no
    more results are wanted, ``stop`` is set, which a long job may look at; those that run are waited for.
    """
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) > 2 * workers:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            if stop is not None:
                stop.set()
            for future in waiting:
                future.cancel()


def _result(future: Future[Result]) -> Result:
    """What a job returns. A signal that comes just as Python begins to wait is seen only when the wait ends, so no wait
    is long."""
    while not wait([future], WAKE_S).done:
        pass
    return future.result()
