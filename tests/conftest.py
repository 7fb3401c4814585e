import os
import signal
from pathlib import Path

import pytest

import spandex  # noqa: F401  installs the hook that lets lava import

# a shell that starts us in the background has it ignored, and the processes that tests interrupt would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The local mirror of public speech, noise and published networks."""
    path = Path(os.environ.get("SPANDEX_MIRROR", REPOSITORY.parent / "shared" / "mirror"))
    if not (path / "corpus.csv").is_file():
        pytest.skip(f"no local mirror of public data at {path}; name one with SPANDEX_MIRROR")
    return path
