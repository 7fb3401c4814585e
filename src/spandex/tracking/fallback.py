"""What a build does when its tracking store fails: it goes on, in the local store, or else without any."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from mlflow.tracking import MlflowClient

from spandex.files.locking import locked
from spandex.tracking.build import Build, Report, TrackingError, is_server, local_uri
from spandex.tracking.client import reach
from spandex.tracking.runs import alive, model_run, start_build
from spandex.tracking.store import Row, log_rows

T = TypeVar("T")
log = logging.getLogger(__name__)


def log_to_build(path: Path, operation: Callable[[MlflowClient, Build], T]) -> T:
    """Run ``operation`` with a client and the build of a JSON file; if its server fails, in the local store instead.

    From then on the build is a local one, so that no later step waits for the server.

    Args:
        operation: may run several times, so it leaves alone what is there already.

    Raises:
        TrackingError: the local store cannot be used.
        SpandexError: the file describes no build.
    """
    build = Build.load(path)
    try:
        return reach(build.tracking_uri, lambda client: operation(client, build))
    except TrackingError as error:
        if not is_server(build.tracking_uri):
            raise
        local = _go_local(path, error)
    return reach(local.tracking_uri, lambda client: operation(client, local))


def start_locally(
    server: str,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    why: Exception,
    server_run: str | None = None,
) -> Build:
    """Open the parent run of a build in the local store, because its server failed, and say so; see ``start_build``.

    Raises:
        TrackingError: the local store cannot be used either.
    """
    try:
        build = start_build(local_uri(), name, params, tags, server, server_run)
    except TrackingError as error:
        raise TrackingError(f"{why}; {error}") from None
    log.warning("%s", f"{why}; the build logs to {build.tracking_uri} instead")
    return build


def epoch_logger(path: Path, model: str) -> Callable[[Row], None]:
    """A callback that logs a row of a model's epochs.csv at its iteration, for use while training.

    A store that fails costs a warning and the rest of the rows, not the training: all are logged again with the
    finished network.

    Args:
        path: JSON file of the build.
        model: its name.
    """
    is_usable = bool(Build.load(path).run_id)

    def log_row(row: Row) -> None:
        nonlocal is_usable
        if not is_usable:
            return
        try:
            log_to_build(path, lambda client, build: log_rows(client, model_run(client, build, model), [row]))
        except TrackingError as error:
            log.warning("%s", error)
            is_usable = False

    return log_row


def log_report(path: Path, report: Report, operation: Callable[[MlflowClient, Build], None]) -> None:
    """Log a report with ``operation``, as ``log_to_build``; opens the build's run, if its local store has none.

    Raises:
        TrackingError: as there; the file then says what is to be logged, if it can be locked.
    """
    try:
        _open_again(path)
        log_to_build(path, operation)
    except TrackingError as error:
        with locked(path, TrackingError):
            build = Build.load(path)
            replace(build, unlogged=build.unlogged | {report.key: asdict(report)}, problem=str(error)).save(path)
        raise
    with locked(path, TrackingError):
        build = Build.load(path)
        left = {other: fields for other, fields in build.unlogged.items() if other != report.key}
        replace(build, unlogged=left).save(path)


def _open_again(path: Path) -> None:
    """Start the run of a local build anew where the store could not be used before, or has been replaced."""
    with locked(path, TrackingError):
        build = Build.load(path)
        if is_server(build.tracking_uri) or alive(build):
            return
        started = start_build(build.tracking_uri, build.name, build.params, build.tags, build.server)
        started.with_unlogged_of(build).save(path)


def _go_local(path: Path, why: Exception) -> Build:
    """Open the build of a file in the local store, unless another process has done so."""
    with locked(path, TrackingError):
        build = Build.load(path)
        if is_server(build.tracking_uri):
            build = start_locally(build.tracking_uri, build.name, build.params, build.tags, why, build.run_id)
            build.save(path)
    return build
