import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import spandex  # noqa: F401  installs the hook that lets lava import
import toy_project
from spandex.cli import warm
from spandex.params import mirror_in_use
from toy_project import commit, make, new_project

# a shell that starts us in the background ignores one, nohup the other, and the processes that tests stop inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPOSITORY = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """One process for all workers, from which builds fork their jobs; other commands that tests run start anew."""
    warm.start()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        toy_project.servers[warm.ADDRESS] = os.environ.pop(warm.ADDRESS, "")


@pytest.fixture(scope="session", autouse=True)
def named_mirror() -> Iterator[str | None]:
    """The mirror that these tests are run with; what they start is told of none, nor of other settings.

    Builds whose beginning runs in this process start no server here.
    """
    found = mirror_in_use(REPOSITORY / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPANDEX_MIRROR", raising=False)
        patch.delenv("SPANDEX_SET", raising=False)
        patch.setattr(warm, "start", lambda: None)
        yield found


@pytest.fixture(scope="session")
def mirror(named_mirror) -> Path:
    """The local mirror of public speech, noise and published networks."""
    path = Path(named_mirror or REPOSITORY.parent / "shared" / "mirror")
    if not (path / "corpus.csv").is_file():
        pytest.skip(f"no local mirror of public data at {path}; name one by SPANDEX_MIRROR")
    return path


@pytest.fixture(scope="session")
def toy_build(tmp_path_factory) -> Path:
    """A toy that make has built and git has committed, one for all tests and their processes: copy it to change it.

    Its folder has a name that shells, addresses and pages have to quote; beside it lies what make said.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    project, said = folder / 'my "best" folder (1) & é', folder / "said.txt"
    with (folder / "toy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.is_file():
            new_project(project)
            done = make(project)
            assert done.returncode == 0, done.stdout + done.stderr
            commit(project, "Build")
            said.write_text(done.stdout)
    return project


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which finds no other machine than this."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the path")
    with sync_playwright() as playwright:
        offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", offline]
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()
