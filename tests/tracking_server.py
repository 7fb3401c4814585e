"""A real MLflow tracking server on loopback, with an sqlite backend and a proxy of artifacts, that can go away."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes more
    "MLFLOW_TRACKING_URI": "",
}
START_S = 300  # for the imports of its processes on a busy machine


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_answer(uri: str, process: subprocess.Popen) -> None:
    """Wait until the server that a process starts is healthy."""
    end = time.monotonic() + START_S
    while not _healthy(uri):
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.2)


def _healthy(uri: str) -> bool:
    try:
        with urlopen(f"{uri}/health", timeout=5):
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False


class TrackingServer:
    """Runs within a ``with`` block.

    Attributes:
        uri: its address, the same at each start.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start, or start again, and wait for the first answer."""
        options = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1", "--serve-artifacts"]
        stores = ["--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        stores += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options, *stores],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, **SETTINGS},
                start_new_session=True,
            )
        wait_for_answer(self.uri, self._process)

    def kill(self) -> None:
        """End it with all of its processes, at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Stop it, so that it takes connections and answers none."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def _signal(self, number: int) -> None:
        os.killpg(self._process.pid, number)
