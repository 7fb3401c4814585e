"""Stopping on SIGINT and SIGTERM at a moment of our choice."""

import signal
import threading
from types import FrameType


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is only remembered; a second one acts as it did before.

    Signals belong to the main thread; elsewhere this does nothing.

    Attributes:
        received: number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
