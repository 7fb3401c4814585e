"""MLflow's client, quiet, and with little patience for a server that does not answer."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient
from requests import RequestException

from spandex.errors import SpandexError, one_line
from spandex.tracking.build import is_server
from spandex.tracking.environment import REQUEST_S

PATIENCE_S = 10.0  # in all, for a server that does not answer
PAUSE_S = 1.0  # between tries

T = TypeVar("T")

for _name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent", "mlflow.utils.environment"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class TrackingError(SpandexError):
    """The tracking store cannot be reached or refuses what is logged."""


def reach(uri: str, operation: Callable[[MlflowClient], T]) -> T:
    """``operation`` with a client of a store; again while it does not answer, for ``PATIENCE_S`` in all.

    A server does not answer while it is away, an sqlite file while others keep it locked.

    Args:
        operation: may run several times, so it leaves alone what is there already.

    Raises:
        TrackingError: the store cannot be reached or refuses something.
    """
    waited = 0.0
    while True:
        began = time.monotonic()
        try:
            return operation(MlflowClient(uri))
        except (MlflowException, RequestException) as error:
            text = one_line(error)
            answered = isinstance(error, RestException) or not (is_server(uri) or "database is locked" in text)
        if answered:
            raise TrackingError(f"MLflow at {uri}: {text}")
        try_s = min(time.monotonic() - began, REQUEST_S) + PAUSE_S
        waited += try_s
        if waited + try_s > PATIENCE_S:
            cause = text.rpartition(": ")[2].rstrip("\"')")
            raise TrackingError(f"MLflow at {uri} does not answer: {cause}")
        time.sleep(PAUSE_S)
