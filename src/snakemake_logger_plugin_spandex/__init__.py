"""Progress of a build for Snakemake's ``--logger spandex``.

A line on what is to be done, then one for every finished step, with the time since the start and the time that is
left; on a terminal, one below them that follows the running step.
"""

import logging
import shutil
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from spandex.pipeline.estimate import remaining, seconds_by_rule

__all__ = ["LogHandler"]

TIMES = "times"  # the folder that all benchmark files of a build lie below
SHOWN_LINES = 30  # of a failed step's log
TOLD = ("Nothing to be done", "Trying to restart")  # of what Snakemake tells in passing
STOPPING = {  # what it says on a signal, and what that means
    "Terminating processes": "stopping: running steps keep what they can go on from",
    "Will exit after": "stopping when the running steps are done",
}
LEFT_OUT = ("At least one job did not complete", "Exiting because a job execution failed")  # said in the last line


@dataclass
class Step:
    """A job that runs."""

    rule: str
    name: str
    logs: list[str]
    start: float


class LogHandler(LogHandlerBase):
    """Shows progress; a dry run looks as it does without."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        self._stream = sys.stdout if settings.stdout else sys.stderr
        self._plain = ColorizingTextHandler(
            settings.nocolor,
            self._stream,
            DefaultFormatter(settings.quiet, settings.show_failed_logs),
            DefaultFilter(
                settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
            ),
        )
        self._live = self._stream.isatty() and not settings.dryrun
        self._to_do: dict[str, int] = {}
        self._running: dict[int, Step] = {}
        self._done: dict[str, list[float]] = defaultdict(list)
        self._before: dict[str, float] | None = None
        self._failed: set[int] = set()
        self._stopping = False
        self._start: float | None = None
        self._over = threading.Event()
        if self._live:
            threading.Thread(target=self._tick, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take what Snakemake says of one of its jobs, or pass on what is worth knowing."""
        try:
            event = getattr(record, "event", None)
            follow = {
                LogEvent.RUN_INFO: self._plan,
                LogEvent.JOB_INFO: self._begin,
                LogEvent.JOB_FINISHED: self._finish,
                LogEvent.JOB_ERROR: self._fail,
            }.get(event)
            if self.common_settings.dryrun:
                self._plain.handle(record)
            elif follow is not None:
                follow(record.__dict__)
            elif said := next((said for start, said in STOPPING.items() if record.getMessage().startswith(start)), ""):
                self._stop(said)
            elif self._stopping:
                pass  # how the steps ended that were stopped
            elif record.levelno >= logging.WARNING or event is None:
                text = record.getMessage()
                told = record.levelno >= logging.WARNING or text.startswith(TOLD)
                if told and not any(part in text for part in LEFT_OUT) and event != LogEvent.GROUP_ERROR:
                    self._print(text)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Say in one line what the build did, once."""
        if not self._over.is_set():
            self._over.set()
            if self._start is not None:
                elapsed = clock(time.monotonic() - self._start)
                done = f"{self._count} of {sum(self._to_do.values())} steps in {elapsed}"
                failed = f"; {len(self._failed)} failed" if self._failed else ""
                self._print(f"stopped after {done}; make goes on from there" if self._stopping else f"{done}{failed}")
        super().close()

    @property
    def _count(self) -> int:
        return sum(map(len, self._done.values()))

    def _plan(self, about: dict[str, Any]) -> None:
        self._to_do = {rule: count for rule, count in about["stats"].items() if rule != "total"}

    def _foretold(self, before: dict[str, float]) -> str:
        """How much work the build is, as far as earlier builds tell."""
        total = sum(self._to_do.values())
        known = {rule: count for rule, count in self._to_do.items() if rule in before}
        if not known:
            return f"{total} steps; how long they take is known once some have run here"
        work = clock(sum(before[rule] * count for rule, count in known.items()))
        return f"{total} steps; about {work} of work for {sum(known.values())} of them, by what such steps took here"

    def _begin(self, about: dict[str, Any]) -> None:
        now = time.monotonic()
        self._start = self._start or now
        if about["benchmark"] and self._before is None:  # before the job writes there
            path = Path(about["benchmark"])
            self._before = seconds_by_rule(next((above for above in path.parents if above.name == TIMES), path.parent))
            self._print(self._foretold(self._before))
        name = " ".join([about["rule_name"], *map(str, about["wildcards"].values())])
        self._running[about["jobid"]] = Step(about["rule_name"], name, list(about["log"]), now)
        self._failed.discard(about["jobid"])
        self._draw()

    def _finish(self, about: dict[str, Any]) -> None:
        step = self._running.pop(about["job_id"], None)
        if step is None:
            return
        now = time.monotonic()
        self._done[step.rule].append(now - step.start)
        if step.logs:
            total = sum(self._to_do.values())
            place = f"{self._count:{len(str(total))}} of {total}"
            left = self._left(now)
            self._print(f"{place}  {clock(now - self._start)}  {step.name} ({clock(now - step.start)}){left}")

    def _stop(self, said: str) -> None:
        if not self._stopping:
            self._print(said)
        self._stopping = True

    def _fail(self, about: dict[str, Any]) -> None:
        step = self._running.pop(about["jobid"], None)
        if self._stopping:
            return
        self._failed.add(about["jobid"])
        name = step.name if step else about["rule_name"]
        lines = [f"failed: {name}"]
        lines += [f"  {key}: {value}" for key, value in about["aux"].items()]
        for log in about["log"]:
            lines += tail(Path(log))
        self._print("\n".join(lines))

    def _left(self, now: float) -> str:
        running = [(step.rule, now - step.start) for step in self._running.values()]
        rest = remaining(self._to_do, self._done, running, self._before or {}, now - self._start)
        if rest is None or not (rest.is_whole or round(rest.seconds)):
            return ""
        return f", {'about' if rest.is_whole else 'at least'} {clock(rest.seconds)} left"

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            with self.lock:
                self._draw()

    def _print(self, text: str) -> None:
        clear = "\r\033[K" if self._live else ""
        self._stream.write(f"{clear}{text}\n")
        self._draw()
        self._stream.flush()

    def _draw(self) -> None:
        """The line of the step that runs longest, with the end of its log."""
        steps = sorted((step for step in self._running.values() if step.logs), key=lambda step: step.start)
        if not self._live or not steps or self._over.is_set():
            return
        now = time.monotonic()
        step, *others = steps
        more = f" and {len(others)} more" if others else ""
        said = last_line(Path(step.logs[0]))
        line = f"{step.name}{more}, {clock(now - step.start)}{self._left(now)}" + (f": {said}" if said else "")
        self._stream.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
        self._stream.flush()


def clock(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` below one hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def tail(path: Path) -> list[str]:
    """The end of a failed step's log, indented below its name."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [f"  {path}: not there"]
    about = "" if len(lines) <= SHOWN_LINES else f", last {SHOWN_LINES} of {len(lines)} lines"
    return [f"  {path}{about}:", *(f"    {line}" for line in lines[-SHOWN_LINES:])]


def last_line(path: Path) -> str:
    """The last line that a step has written to its log so far."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    whole = [line.rsplit("\r")[-1].strip() for line in lines if line.strip()]
    return whole[-1] if whole else ""
