"""Run connected Lava processes and leave nothing behind, whatever ends the run.

Lava gives every process an operating system process of its own and waits for all of them without a limit: when
one fails the others, and the caller, wait for ever; when the caller is killed they outlive it.
"""

import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lava.magma.compiler.channels.interfaces import AbstractCspPort, AbstractCspRecvPort
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess, ProcessServer
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import RunConfig
from lava.magma.runtime.message_infrastructure.multiprocessing import SystemProcess
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime

from spandex.errors import SpandexError

POLL_INTERVAL = 0.02  # s between looks at the workers during a run
PR_SET_PDEATHSIG = 1  # prctl(2): the signal a process gets when its parent dies

_starting_workers = False


class Execution:
    """A started network of Lava processes; made by ``execution``."""

    def __init__(self, runtime: Runtime):
        self._runtime = runtime

    def steps(self, count: int) -> None:
        """Run ``count`` time steps and wait for their end.

        Raises:
            SpandexError: a process failed or was killed.
        """
        self._runtime.start(RunSteps(num_steps=count, blocking=False))
        while not all(_is_done(port) for port in self._runtime.service_to_runtime):
            for worker in self._runtime._messaging_infrastructure.actors:
                if worker.exception or not worker.is_alive():
                    raise SpandexError(f"a Lava process failed: {_cause(worker)}")
            time.sleep(POLL_INTERVAL)
        self._runtime.wait()


@contextmanager
def execution(process: AbstractProcess, run_config: RunConfig) -> Iterator[Execution]:
    """Compile and start ``process`` with all it is connected to; stop it at the end, kill it on any error."""
    try:
        with _workers_bound_to_caller():
            process.create_runtime(run_config)
        process.runtime._open_ports += _ports_of_caller(process.runtime)
        yield Execution(process.runtime)
        process.stop()
    except BaseException:
        if process.runtime is not None:
            _kill(process.runtime)
        raise


@contextmanager
def processes_forgotten() -> Iterator[None]:
    """Let go of the processes made in this context; Lava's register keeps every process ever made, with its data."""
    server = ProcessServer()
    known = list(server.processes)
    try:
        yield
    finally:
        server.processes = known


def _ports_of_caller(runtime: Runtime) -> list[AbstractCspPort]:
    """The caller's ends of channels, which Lava opens with a thread each but does not close."""
    return [
        port.external_pipe_csp_send_port if isinstance(port, InPort) else port.external_pipe_csp_recv_port
        for process in runtime._executable.proc_builders
        for port in (*process.in_ports, *process.out_ports)
        if port.external_pipe_flag
    ]


def _is_done(port: AbstractCspRecvPort) -> bool:
    return port.probe() and enum_equal(port.peek(), MGMT_RESPONSE.DONE)


def _cause(worker: SystemProcess) -> str:
    if worker.exception:
        error, _ = worker.exception
        return f"{type(error).__name__}: {error}"
    return f"it ended with exit code {worker.exitcode}"


def _kill(runtime: Runtime) -> None:
    infrastructure = runtime._messaging_infrastructure
    if infrastructure is None:
        return
    for worker in infrastructure.actors:
        if not worker._is_done:
            worker.kill()
    runtime._is_started = runtime._is_running = False  # no answer to wait for any more
    runtime.join()
    runtime.stop()


@contextmanager
def _workers_bound_to_caller() -> Iterator[None]:
    """Workers forked in this context ignore an interrupt, which is the caller's to handle, and die with the caller."""
    global _starting_workers
    _install_fork_hook()
    _starting_workers = True
    try:
        yield
    finally:
        _starting_workers = False


@functools.cache  # once: a hook cannot be removed
def _install_fork_hook() -> None:
    os.register_at_fork(after_in_child=_bind_worker)


def _bind_worker() -> None:
    if not _starting_workers:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # without the caller's way to end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
