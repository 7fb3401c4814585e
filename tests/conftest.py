import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import spandex  # noqa: F401  installs the hook that lets lava import
from spandex.params import mirror_in_use

# a shell that starts us in the background has it ignored, and the processes that tests interrupt would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def named_mirror() -> Iterator[str | None]:
    """The mirror that these tests are run with; what they start is told of none, nor of other settings."""
    found = mirror_in_use(REPOSITORY / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPANDEX_MIRROR", raising=False)
        patch.delenv("SPANDEX_SET", raising=False)
        yield found


@pytest.fixture(scope="session")
def mirror(named_mirror) -> Path:
    """The local mirror of public speech, noise and published networks."""
    path = Path(named_mirror or REPOSITORY.parent / "shared" / "mirror")
    if not (path / "corpus.csv").is_file():
        pytest.skip(f"no local mirror of public data at {path}; name one with MIRROR")
    return path
