from collections.abc import Iterator

import pytest

from faulty_server import FaultyServer


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server on loopback without files or faults."""
    with FaultyServer() as running:
        yield running
