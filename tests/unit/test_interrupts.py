"""Signals to a command that works in threads or processes: one line, and no temporary file."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spandex.data.audio import READ_VALUES
from spandex.steps import denoise as steps

START_S = 120  # for imports on a busy machine
COMMAND = """
import sys, time
from pathlib import Path
from spandex.cli.application import app, command
from spandex.data.workers import parallel
from spandex.files import atomic_path
from spandex.data.threads import map_in_order

def job(number):
    with atomic_path(f"{number}.wav") as temporary:
        temporary.write_bytes(b"half")
        while not Path("go on").exists():
            time.sleep(0.05)

@command("Test")
def threads():
    list(map_in_order(job, range(8), 2))

@command("Test")
def processes():
    list(parallel(job, range(8), 2))

if __name__ == "__main__":
    app(sys.argv[1:])
"""


def temporaries() -> list[str]:
    return [path.name for path in Path().glob(".*.tmp")]


def wait_until(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


@contextlib.contextmanager
def running(kind: str) -> Iterator[subprocess.Popen]:
    """A command, in a group of its own, while two of its jobs write."""
    Path("command.py").write_text(COMMAND)
    process = subprocess.Popen(
        [sys.executable, "command.py", kind], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: len(temporaries()) == 2, process)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "stopped by SIGTERM"),
        (signal.SIGHUP, "stopped by SIGHUP"),
    ],
)
def test_one_signal_ends_a_command_when_its_running_jobs_are_done(kind, number, line):
    with running(kind) as process:
        process.send_signal(number)
        time.sleep(0.5)
        assert process.poll() is None
        Path("go on").touch()
        assert process.wait(START_S) == 130
        assert process.stderr.read() == f"spandex {kind}: {line}\n"
    assert temporaries() == []
    assert [Path(f"{number}.wav").exists() for number in (0, 1, 7)] == [True, True, False]


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_command_at_once(kind, number):
    said = "stopped by SIGTERM" if (kind, number) == ("processes", signal.SIGTERM) else "interrupted"
    with running(kind) as process:
        for _ in range(2):
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
            time.sleep(0.5)
        assert process.wait(START_S) == 130
        assert process.stderr.read() == f"spandex {kind}: {said}\n"
    assert temporaries() == []
    assert list(Path().glob("*.wav")) == []


def test_ignored_signal_stays_ignored():
    code = COMMAND.replace("if __name__", "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nif __name__")
    Path("ignoring.py").write_text(code.replace("time.sleep(0.05)", "signal.raise_signal(signal.SIGHUP)"))
    process = subprocess.Popen([sys.executable, "ignoring.py", "threads"])
    wait_until(lambda: len(temporaries()) == 2, process)
    Path("go on").touch()
    assert process.wait(START_S) == 0


def test_command_of_a_closed_terminal_ends():
    with running("threads") as process:
        process.stderr.close()  # writing to it fails from now on
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
        assert process.wait(START_S) == 130
    assert temporaries() == []


def test_one_signal_ends_denoising_within_a_file(monkeypatch):
    class Slow:
        concurrent = True

        def blocks(self, audio, name):
            for block in audio:
                begun.set()
                time.sleep(0.2)
                yield block

    begun, blocks = threading.Event(), 50
    soundfile.write("long.wav", np.zeros(blocks * READ_VALUES, np.int16), 16_000)
    monkeypatch.setattr(steps, "denoiser", lambda *_: Slow())
    main = threading.get_ident()
    interrupt = threading.Thread(target=lambda: begun.wait() and signal.pthread_kill(main, signal.SIGINT))
    interrupt.start()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        steps.denoise(Path("long.wav"), Path("out.wav"), Path("network.net"), workers=1)
    interrupt.join()
    assert time.monotonic() - before < blocks * 0.2 / 2
    # Python forgets a thread whose start was interrupted; it ends by itself, and the process waits for it
    while temporaries() and time.monotonic() - before < blocks * 0.2 / 2:
        time.sleep(0.05)
    assert [path.name for path in Path().iterdir()] == ["long.wav"]
