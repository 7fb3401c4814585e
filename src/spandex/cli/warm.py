"""A process that has loaded the libraries, and from which the jobs of a build are forked.

To import torch, Lava, MLflow and SciPy takes longer than many a job does. A build starts one server; every command that
the build runs hands itself over: its arguments, folder, environment and standard streams. The server forks a handler,
which forks the job, passes signals on to it, and tells the command how it ended. A command that is killed takes its job
with it, and the server ends with the build. The package itself is not kept, so that sidecars see what a job loads.
"""

import gc
import importlib
import json
import multiprocessing
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

ADDRESS = "SPANDEX_WARM"  # variable: where the server has its libraries, and its socket
HERE = str(Path(sysconfig.get_path("purelib")).resolve())
LIBRARIES = (
    "spandex.tracking.environment",  # how MLflow is to behave
    "h5py",
    "lava.lib.dl.netx.hdf5",
    "lava.lib.dl.slayer",
    "lava.magma.compiler.compiler",
    "matplotlib.pyplot",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "numba",
    "numpy",
    "pandas",
    "pydantic",
    "scipy.fft",
    "scipy.stats",
    "soundfile",
    "soxr",
    "torch",
    "typer",
)
LENGTH_BYTES = 8  # of the number before a request that tells its length
STATUS = "i"  # of a job, negative for a signal
FORK = multiprocessing.get_context("fork")
_ours: list[subprocess.Popen] = []  # kept, since nobody waits for it


def start() -> None:
    """Start a server for the commands that this process, or what it becomes, is going to start; unless there is one.

    Where the system refuses, or has libraries that no fork outlives, as macOS, every command runs by itself.
    """
    if ADDRESS in os.environ or sys.platform != "linux":
        return
    folder = Path(tempfile.mkdtemp(prefix="spandex-"))
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(folder / "socket"))
        except OSError:  # TMPDIR may have a name that is too long for a socket
            shutil.rmtree(folder)
            return
        listener.listen()
        end, alive = os.pipe()
        os.set_inheritable(alive, True)  # kept open by what this process becomes, and closed with it
        code = "from spandex.cli.warm import serve; serve()"
        command = [sys.executable, "-c", code, str(folder), str(listener.fileno()), str(end)]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        passed = (listener.fileno(), end)
        _ours.append(subprocess.Popen(command, pass_fds=passed, start_new_session=True, **streams))
        os.close(end)
    os.environ[ADDRESS] = os.pathsep.join([HERE, str(folder / "socket")])


def handed_over(address: str) -> int | None:
    """Let a server run the command line of this process; None if there is none, or one of another environment.

    Returns:
        The exit status.
    """
    libraries, _, path = address.rpartition(os.pathsep)
    if libraries != HERE:
        return None
    connection = socket.socket(socket.AF_UNIX)
    request = json.dumps({"arguments": sys.argv, "folder": str(Path.cwd()), "environment": dict(os.environ)}).encode()
    try:
        connection.connect(path)
        socket.send_fds(connection, [len(request).to_bytes(LENGTH_BYTES)], [0, 1, 2])
        connection.sendall(request)
    except OSError:
        return None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: connection.sendall(bytes([number])))
    answer = connection.recv(struct.calcsize(STATUS))
    status = struct.unpack(STATUS, answer)[0] if answer else -signal.SIGKILL
    return status if status >= 0 else 128 - status  # of a signal, as a shell has it


def serve() -> None:
    """Fork a job for every command that connects, until the build has ended.

    The first job finds nothing loaded: the libraries are loaded while it runs.
    """
    folder, listener, end = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
    loaded = False
    while end not in select.select([listener, end], [], [])[0]:
        connection = listener.accept()[0]
        FORK.Process(target=_handle, args=(connection, listener, end)).start()
        connection.close()
        FORK.active_children()  # which forgets those that have ended
        if not loaded:
            _load()
            loaded = True
    shutil.rmtree(folder)
    os._exit(0)  # without waiting for jobs whose commands still run


def _load() -> None:
    for name in LIBRARIES:
        getattr(importlib.import_module(name), "__all__", None)  # which executes one that is deferred
    gc.freeze()  # no job looks through, and thereby copies, what it shares with the others


def _handle(connection: socket.socket, *of_the_server: socket.socket | int) -> None:
    """Run a job, and tell its command how it ended."""
    for file in of_the_server:
        os.close(file if isinstance(file, int) else file.detach())
    os.setpgid(0, 0)
    length, streams, *_ = socket.recv_fds(connection, LENGTH_BYTES, 3)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int.from_bytes(length)))
    job = FORK.Process(target=_become, args=(connection, streams), kwargs=request)
    job.start()
    for stream in streams:
        os.close(stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_pass_on, args=(connection, job.pid), daemon=True).start()
    job.join()
    connection.sendall(struct.pack(STATUS, job.exitcode))
    os._exit(0)


def _pass_on(connection: socket.socket, job: int) -> None:
    """Signals to a job, and what a terminal sends to all that it has started; these end with who asked for it."""
    while number := connection.recv(1):
        if number[0] == signal.SIGINT:
            os.killpg(0, signal.SIGINT)
        else:
            os.kill(job, number[0])
    os.killpg(0, signal.SIGKILL)


def _become(
    connection: socket.socket, streams: Sequence[int], arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """Take what the command was given, and run it, with the package as the command would find it."""
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    for name in [name for name in sys.modules if f"{name}.".startswith("spandex.")]:
        del sys.modules[name]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = own + [path for path in sys.path if path not in ("", *inherited)]
    sys.argv[:] = arguments
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if "torch" in sys.modules and (threads := environment.get("OMP_NUM_THREADS")):
        sys.modules["torch"].set_num_threads(int(threads))
    from spandex.cli import app

    app()
