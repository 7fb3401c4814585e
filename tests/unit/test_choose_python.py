"""Which Python make sets up with, out of pretended ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BRINGS_ONE = 'uv python install 3.13 && make PYTHON="$(uv python find --managed-python 3.13)"'
PRETENDED = """#!/bin/sh
exec '{python}' -c '
import ensurepip, sys, sysconfig
sys.version_info = {version}
sys._base_executable = "/base/{name}"
sysconfig.get_paths = lambda: {{"include": {include}}}
{more}
exec(sys.argv[1])' "$2"
"""


@pytest.fixture
def path(tmp_path) -> Path:
    """A PATH with what every system has, and no Python."""
    for tool in ("cat", "head"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    return tmp_path


def pretend(path: Path, name: str, version: tuple[int, int], more: str = "", include: Path = Path("/none")) -> None:
    text = PRETENDED.format(
        python=sys.executable, name=name, version=version, more=more, include=json.dumps(str(include))
    )
    write(path / name, text)


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def choose(path: Path, named: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": str(path), "PYTHON": named}
    return subprocess.run(
        [REPOSITORY / "tools/choose-python"], env=environment, capture_output=True, text=True, cwd=path
    )


def chosen(path: Path, named: str = "") -> str:
    done = choose(path, named)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


def test_what_a_good_python_says_beside_its_answer_is_no_matter(path):
    pretend(path, "python3", (3, 12), more='print("cannot change locale", file=sys.stderr)')
    assert chosen(path) == "/base/python3"


@pytest.mark.parametrize(("more", "kind"), [('sys.abiflags = "t"', "t"), ('sys.implementation.name = "pypy"', "pypy")])
def test_builds_that_packages_have_no_wheels_for_are_refused(path, more, kind):
    pretend(path, "python3", (3, 13), more=more)
    pretend(path, "python3.11", (3, 11))
    assert chosen(path) == "/base/python3.11"
    assert f"Python 3.13 of another kind than the packages are built for: {kind}" in choose(path, "python3").stderr


def test_newest_counts_and_names_the_program_that_environments_are_of(path):
    pretend(path, "python3", (3, 11))
    pretend(path, "python3.13", (3, 13))
    pretend(path, "python3.12", (3, 12))
    assert chosen(path) == "/base/python3.13"


def test_python3_counts_where_none_is_newer(path):
    pretend(path, "python3", (3, 13))
    pretend(path, "python3.13", (3, 13))
    assert chosen(path) == "/base/python3"


def test_shim_that_does_not_run_and_one_without_ensurepip_are_passed_over(path):
    write(path / "python3.13", "#!/bin/sh\necho 'shim: 3.13 is not installed' >&2\necho hint >&2\nexit 127\n")
    pretend(path, "python3.12", (3, 12), more='sys.modules["ensurepip"] = None')
    pretend(path, "python3.11", (3, 11))
    assert chosen(path) == "/base/python3.11"
    (path / "python3.11").unlink()
    said = choose(path).stderr
    assert "\n  python3.13: shim: 3.13 is not installed\n" in said
    assert "\n  python3.12: Python 3.12 without ensurepip" in said


def test_newest_of_all_needs_a_compiler_and_its_headers(path):
    include = path / "include"
    pretend(path, "python3.14", (3, 14), include=include)
    assert (
        "python3.14: Python 3.14 without a C compiler (cc), which the package immutables needs" in choose(path).stderr
    )
    write(path / "cc", "#!/bin/sh\n")
    assert f"python3.14: Python 3.14 without {include}/Python.h, which" in choose(path).stderr
    include.mkdir()
    (include / "Python.h").touch()
    pretend(path, "python3.13", (3, 13))
    assert chosen(path) == "/base/python3.14"


def test_named_python_wins_or_is_refused_with_the_reason(path):
    pretend(path, "python3.13", (3, 13))
    pretend(path, "an older one", (3, 12))
    pretend(path, "oldest", (3, 10))
    assert chosen(path, str(path / "an older one")) == "/base/an older one"
    for named, reason in {
        "oldest": "oldest: Python 3.10, and 3.11 to 3.14 are supported",
        "absent": "absent: not found",
    }.items():
        done = choose(path, named)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr and "python3.13" not in done.stderr


def test_without_any_the_message_brings_one_and_the_tutorial_says_the_same(path):
    done = choose(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("make: no Python that this can be installed with; found: none\n")
    assert f"\n  {BRINGS_ONE}\n" in done.stderr
    assert f"\n{BRINGS_ONE}\n" in (REPOSITORY / "docs/tutorial/index.md").read_text()
