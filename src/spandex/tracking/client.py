"""MLflow's client, quiet, and with little patience for a store that does not answer."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import requests
import urllib3
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient

from spandex.errors import SpandexError, one_line
from spandex.tracking.build import TrackingError, is_server, sqlite_file
from spandex.tracking.environment import REQUEST_S

PATIENCE_S = 10.0  # in all, for a server that does not answer or a file that others keep locked
PAUSE_S = 1.0  # between tries

T = TypeVar("T")

for _name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent", "mlflow.utils.environment"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def reach(uri: str, operation: Callable[[MlflowClient], T]) -> T:
    """``operation`` with a client of a store; again while a server does not answer, for ``PATIENCE_S`` in all.

    Args:
        operation: may run several times, after a part of it was done.

    Raises:
        TrackingError: the store cannot be reached or used, or refuses something.
        SpandexError: of ``operation``.
    """
    check_file(uri)
    waited = 0.0
    while True:
        began = time.monotonic()
        try:
            return operation(MlflowClient(uri))
        except SpandexError:
            raise
        except Exception as error:  # MLflow lets through those of SQLAlchemy, alembic, requests, urllib3 and the disk
            text = one_line(error).partition(" [SQL: ")[0].partition(" (Background on this error")[0]
            is_silent = is_server(uri) and _is_silence(error)
        if not is_silent:
            raise TrackingError(f"MLflow at {uri}: {text}")
        try_s = min(time.monotonic() - began, REQUEST_S) + PAUSE_S
        waited += try_s
        if waited + try_s > PATIENCE_S:
            cause = text.rpartition(": ")[2].rstrip("\"')")
            raise TrackingError(f"MLflow at {uri} does not answer: {cause}")
        time.sleep(PAUSE_S)


def _is_silence(error: Exception) -> bool:
    """Whether a server gave no answer, or none of MLflow's; MLflow rewords most errors of the connection."""
    if isinstance(error, MlflowException):
        return not isinstance(error, RestException) and str(error).startswith("API request to ")
    return isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError))


def check_file(uri: str) -> None:
    """Check that an sqlite file can be written, before MLflow, which tries a bad one for minutes; others wait unseen.

    Raises:
        TrackingError: it cannot be used, or others kept it locked for ``PATIENCE_S``.
    """
    file = sqlite_file(uri)
    if file is None:
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)) as connection:
            for statement in ("BEGIN IMMEDIATE", "CREATE TABLE spandex_check (x)", "ROLLBACK"):
                connection.execute(statement)
    except sqlite3.Error as error:
        raise TrackingError(f"MLflow at {uri}: {error}") from None
