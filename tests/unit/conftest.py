from collections.abc import Iterator
from pathlib import Path

import pytest

from faulty_server import FaultyServer


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server on loopback without files or faults."""
    with FaultyServer() as running:
        yield running


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A finished build with a fresh store, made once: creating the schema takes seconds."""
    from spandex.tracking.store import create_store  # so that only its tests wait for MLflow
    from tracked_project import write_build

    folder = tmp_path_factory.mktemp("template")
    write_build(folder)
    create_store(f"sqlite:///{folder}/mlflow.db")
    return folder
