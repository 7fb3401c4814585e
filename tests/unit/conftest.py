import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# the tests are no package (lava-dl installs one named `tests`), so their helpers are found by folder
sys.path.insert(0, str(Path(__file__).parent.parent))

from faulty_server import FaultyServer


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server on loopback without files or faults."""
    with FaultyServer() as running:
        yield running
