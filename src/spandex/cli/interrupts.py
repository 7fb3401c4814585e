"""What a command does on Ctrl-C, SIGTERM, and when its terminal is closed."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import active_children
from types import FrameType

from spandex.files import remove_temporaries

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 130  # exit status of a run that was interrupted and can be continued


@contextlib.contextmanager
def stoppable(name: str) -> Iterator[None]:
    """Within, the first signal raises KeyboardInterrupt, and another ends what the command then still waits for.

    Those are its worker processes, or else its threads and thereby the process itself. No temporary file is left, and
    one line is printed. A signal that is ignored, as by nohup, stays so, and one that is handled otherwise is left
    alone.

    Args:
        name: of the command, for that line.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, hurry)
        raise KeyboardInterrupt("" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")

    def hurry(number: int, frame: FrameType | None) -> None:
        workers = active_children()
        if not workers:
            leave(number, frame)
        for other in before:
            signal.signal(other, leave)
        for worker in workers:
            worker.terminate()

    def leave(number: int, frame: FrameType | None) -> None:
        remove_temporaries()
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, f"spandex {name}: interrupted\n".encode())
        os._exit(STOPPED)

    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) in usual}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
