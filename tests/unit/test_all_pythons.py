"""``make test-pythons`` with pretended environments, whose tests and toy builds end as they are told."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
    *"-m pytest"*"-m $MARKED"*) exit {tests} ;;
    *toy_rows.py) echo {rows} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout whose uv finds no Python."""
    folder = tmp_path / 'my "best" folder (1) & é'
    shutil.copytree(REPOSITORY / "tools", folder / "tools")
    for file in ("requirements.lock", "pyproject.toml"):
        (folder / file).touch()
    write(folder / ".uv/bin/uv", "#!/bin/sh\necho 'No interpreter found' >&2\nexit 2\n")
    return folder


def write(program: Path, text: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(text)
    program.chmod(0o755)


def pretend(checkout: Path, version: str, tests: int = 0, rows: str = "same") -> None:
    write(checkout / f".pythons/{version}/bin/python", PYTHON.format(tests=tests, rows=rows))
    (checkout / f".pythons/{version}/.ready").touch()


def outcome(checkout: Path, *versions: str) -> tuple[int, list[str]]:
    """Exit status, and the summary."""
    environment = {"PATH": "/usr/bin:/bin", "MARKED": "not slow"}
    command = ["tools/test-pythons", *versions]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()[-len(versions) :]


def test_all_are_tested_and_their_toys_compared(checkout):
    for version in ("3.11", "3.12"):
        pretend(checkout, version)
    assert outcome(checkout, "3.11", "3.12") == (
        0,
        [
            f"Python {version}: tests pass, and the rows of a toy build are those of 3.11"
            for version in ("3.11", "3.12")
        ],
    )


def test_one_that_fails_stops_no_other_and_is_named(checkout):
    pretend(checkout, "3.11", tests=1)
    pretend(checkout, "3.12")
    pretend(checkout, "3.13", rows="other")
    assert outcome(checkout, "3.11", "3.12", "3.13") == (
        1,
        [
            "Python 3.11: tests fail",
            "Python 3.12: tests pass, and the rows of a toy build are those of 3.12",
            "Python 3.13: tests pass, but .pythons/3.13/rows.csv is not .pythons/3.12/rows.csv",
        ],
    )


def test_one_that_is_not_found_is_named_unless_it_is_left_out(checkout):
    pretend(checkout, "3.12")
    status, summary = outcome(checkout, "3.10", "3.12")
    assert (status, summary[0]) == (1, "Python 3.10: cannot be found or set up")
    assert outcome(checkout, "3.12")[0] == 0
