"""What Linux alone would not show: Makefile and scripts read for what only GNU tools, new make or new bash know."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS_OF_SHELL = sorted(file for file in REPOSITORY.glob("tools/*") if file.is_file() and not file.suffix)
SCRIPTS = [*TOOLS_OF_SHELL, REPOSITORY / ".ci/run", *REPOSITORY.glob("workflow/envs/*.sh")]
RULES = sorted((REPOSITORY / "workflow/rules").glob("*.smk"))
MAKEFILE = REPOSITORY / "Makefile"
INSTALLED = ["--old-file=setup", "WORKERS=3"]

TOOLS = {  # in macOS they are missing, or mean something else
    r"\b(nproc|realpath|tac|seq|timeout|sha256sum|md5sum|shuf|numfmt|stdbuf|setsid|flock)\b": "nproc --all",
    r"\breadlink\s+-\w*[fem]": "readlink -f x",
    r"\bsed\b.*\s-\w*[ir]": "sed -i s/a/b/ x",
    r"\bgrep\b.*\s-\w*P": "grep -oP x",
    r"\bstat\s+(-\w*c|--)": "stat -c %s x",
    r"\bdate\b.*(\s-d|%N|--)": "date -d now",
    r"\bxargs\b.*\s-\w*[rd]": "find | xargs -r rm",
    r"\bsort\b.*\s-\w*[Vhz]": "sort -V",
    r"\b(head|tail)\s+(-n\s*|-c\s*)-": "head -n -1",
    r"\bfind\b.*-(printf|regextype)": "find . -printf %p",
    r"\b(cp|mv|ln|ls|rm|mkdir|touch|cat|sort|head|tail|mktemp|chmod)\b[^|;&\n]*\s--\w": "ls --sort=time",
    r"\becho\s+-": "echo -e x",
}
BASH = {  # later than bash 3.2
    r"\b(mapfile|readarray|coproc)\b": "mapfile -t x",
    r"\b(declare|local|typeset)\s+-\w*[Ang]": "declare -A x",
    r"\$\{\w+(\^|,)": "${x,,}",
    r"\|&|&>>": "a |& b",
    r"\bwait\s+-n": "wait -n",
    r"\$\{\w+@": "${x@Q}",
}
MAKE = {  # later than GNU make 3.81
    r"^\.ONESHELL|^\.RECIPEPREFIX|^undefine\b|^private\b|^load\b|^-load\b": ".ONESHELL:",
    r"^\s*(export\s+)?\w+\s*(!=|::=|:::=)": "A != b",
    r"\$\((file|guile|let|intcmp)\s": "$(file >x)",
    r"^define\s+\w+\s*[:?+]?=": "define x =",
    r"&:": "a b &: c",
}


def found(patterns: dict[str, str], text: str) -> list[str]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [match[0] for pattern in patterns for match in re.finditer(pattern, code, re.MULTILINE)]


@pytest.mark.parametrize("patterns", [TOOLS, BASH, MAKE])
def test_reader_finds_what_it_looks_for(patterns):
    for pattern, example in patterns.items():
        assert re.search(pattern, example, re.MULTILINE), pattern


@pytest.mark.parametrize("file", [MAKEFILE, *SCRIPTS, *RULES], ids=lambda file: file.name)
def test_nothing_is_of_gnu_tools_or_later_bash_alone(file):
    assert found(TOOLS | BASH, file.read_text()) == []


def test_makefile_is_for_make_3_81():
    assert found(MAKE, MAKEFILE.read_text()) == []


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_scripts_parse_in_the_shell_that_they_name(file):
    shell = "sh" if file.read_text().startswith("#!/bin/sh\n") else "bash"
    assert os.access(file, os.X_OK) or file.suffix == ".sh"
    subprocess.run([shell, "-n", file], check=True)


def test_recipes_name_their_commands_by_path():
    """Make of macOS looks for a command without shell syntax on the PATH that make was started with."""
    recipes = re.findall(r"^\t@?(.*)$", MAKEFILE.read_text().replace("\\\n", ""), re.MULTILINE)
    commands = {command for recipe in recipes for command in re.split(r"\s*(?:&&|\|\||[;|])\s*", recipe)}
    shell = r"(touch|echo|python=|\$\(call finish|PATH=|\"\$\$python\") ?"
    by_path = r"(\w+=\S+ )?(\$\((BIN|UV|PYTEST)\)|tools/|\.uv/)"
    assert len(commands) > 20
    assert [command for command in commands if not re.match(f"{shell}|{by_path}", command)] == []


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout whose spandex says what it is called with, in a folder with a name that shells take apart."""
    folder = tmp_path / 'my "best" folder (1) & é'
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(MAKEFILE, folder)
    shutil.copytree(REPOSITORY / "tools", folder / "tools")
    program = folder / ".venv/bin/spandex"
    program.write_text('#!/bin/sh\nprintf "%s|%s|%s\\n" "$*" "$SPANDEX_SET" "$SPANDEX_MIRROR"\ncommand -v spandex\n')
    program.chmod(0o755)
    return folder


def called(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A make of its own, also where a make runs these tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANDEX_", "MAKE", "PYTHON"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=kept | environment, capture_output=True, text=True)


def make(folder: Path, *arguments: str, **environment: str) -> list[str]:
    done = called(folder, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_makefile_hands_on_what_is_typed(checkout):
    typed = ["PROFILE=mini", 'MIRROR=/a "b" (c) & é', 'SET=train.lr=0.1 report.team="x y"']
    lines = make(checkout, *INSTALLED, "rebuild", *typed)
    told = '|profile=mini train.lr=0.1 report.team="x y"|/a "b" (c) & é'
    here = str(checkout / ".venv/bin/spandex")
    assert lines == [
        f"rebuild --workers 3 --executor default{told}",
        here,
        f"record{told}",
        here,
        f"summary{told}",
        here,
    ]


@pytest.mark.parametrize("target", ["rebuild", "ablation", "frontier", "companions"])
@pytest.mark.parametrize(
    ("failing", "commands"),
    [("rebuild", ["record"]), ("record", ["record", "summary"]), ("summary", ["record", "summary"])],
)
def test_what_is_finished_is_recorded_and_shown_whatever_fails(checkout, target, failing, commands):
    program = checkout / ".venv/bin/spandex"
    program.write_text(f"#!/bin/sh\necho $1\n[ $1 != {failing} ]\n")
    done = called(checkout, *INSTALLED, target)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line != "rebuild"] == commands


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["PROFILE=mini", "PROFILE=dns4"], "PROFILE is set twice"),
        (["SET=seed=1", "WORKERS=1", "SET=seed=2"], "SET is set twice"),
        (["SPANDEX_SET=seed=2"], "SPANDEX_SET: for make that is SET="),
        (["SPANDEX_MIRROR=/m"], "SPANDEX_MIRROR: for make that is MIRROR="),
        (["CORES=2"], "CORES: for make that is WORKERS="),
        (["PROFILE=embedded"], "PROFILE=embedded: that profile is PROFILE=synthetic"),
        (["frontier", "PROFILE=synthetic"], "PROFILE=synthetic: the frontier is of real audio"),
        (["PROFIL=mini"], "PROFIL: make knows PROFILE MIRROR SET"),
    ],
)
def test_makefile_refuses_what_it_would_ignore(checkout, typed, message):
    done = called(checkout, "--old-file=setup", "rebuild", *typed)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_exported_variables_do_not_count(checkout):
    exported = {"PROFILE": "mini", "SET": "seed=2", "MIRROR": "/m", "SEEDS": "9", "EXECUTOR": "slurm", "WORKERS": "77"}
    plain = make(checkout, "--old-file=setup", "rebuild")
    assert make(checkout, "--old-file=setup", "rebuild", **exported) == plain
    assert make(checkout, "--old-file=setup", "companions", PAPER="masks")[0].startswith("rebuild companions ")


@pytest.mark.parametrize("target", ["rebuild", "ablation", "frontier", "companions"])
def test_mirror_of_a_build_is_that_of_the_command_line_alone(checkout, target):
    for typed, taken in ([], ""), (["MIRROR=/m"], "/m"):
        lines = make(checkout, *INSTALLED, target, *typed, SPANDEX_MIRROR="/e")
        assert {line.split("|")[2] for line in lines if "|" in line} == {taken}


def test_benchmarks_and_tests_take_the_mirror_of_the_environment_too(checkout):
    shutil.copy(checkout / ".venv/bin/spandex", checkout / ".venv/bin/pytest")
    for typed, taken in ([], "/e"), (["MIRROR=/m"], "/m"):
        assert make(checkout, *INSTALLED, "-s", "bench", *typed, SPANDEX_MIRROR="/e")[0] == f"bench inference||{taken}"
        assert make(checkout, *INSTALLED, "-s", "test", *typed, SPANDEX_MIRROR="/e")[0].endswith(f"||{taken}")


def test_frontier_is_of_mini_if_no_profile_is_given_and_seeds_are_its_own(checkout):
    for typed, told in (
        ([], "profile=mini reports.frontier.seeds=1"),
        (["PROFILE=dns4", "SEEDS=3", "SET=seed=2"], "profile=dns4 reports.frontier.seeds=3 seed=2"),
    ):
        lines = make(checkout, *INSTALLED, "frontier", *typed)[::2]
        assert lines == [f"rebuild frontier --workers 3 --executor default|{told}|"] + [
            f"{command}|{told}|" for command in ("record", "summary frontier")
        ]
    assert make(checkout, *INSTALLED, "companions", "SEEDS=1")[0].endswith(
        "|companions.seeds=1 reports.denoiser.seeds=1|"
    )


def test_another_python_makes_the_environment_anew_and_the_same_does_not(checkout):
    sources = ("requirements-uv.lock", "requirements.lock", "pyproject.toml", "tools/environment")
    for file in (*sources, ".uv/bin/uv", ".venv/.ready"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).touch()
    for name, version in {".venv/bin/python": "3.12", "one's own": "3.12", "another": "3.13"}.items():
        (checkout / name).write_text(f"#!/bin/sh\necho {version}\n")
        (checkout / name).chmod(0o755)
    planned = ["-n", "setup"]
    assert not any("tools/environment" in line for line in make(checkout, *planned))
    assert not any("tools/environment" in line for line in make(checkout, *planned, "PYTHON=./one's own"))
    assert any("tools/environment" in line for line in make(checkout, *planned, "PYTHON=./another"))
