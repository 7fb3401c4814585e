"""Every command that README and docs show exists, with its options, whether it can be run here or not."""

import functools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from snakemake.cli import get_argument_parser
from typer.main import get_command

from documents import PAGES, REPOSITORY, Block, blocks, is_run, name
from spandex.cli.commands import app
from spandex.params import load

ALL = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in ALL if block.language == "sh"]
BUILTINS = {".", "cd", "export"}
NOT_INSTALLED = {
    ".uv/bin/uv",
    "arecord",
    "aplay",
    "sbatch",
    "squeue",
    "scancel",
    "sacct",
    "uv",
}  # in blocks that are not run alone
SEPARATORS = {"|", "&&", "||", ";", "&"}
LANGUAGES = {"sh", "python", "yaml", "text", "ini"}


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without assignments before it and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in SEPARATORS:
                if words:
                    yield words
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):
                words.append(word)


def without_redirections(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip or set(word) <= set("<>&"):
            skip = not skip
        else:
            kept.append(word)
    return kept


def check_spandex(words: list[str]) -> None:
    group = get_command(app)
    place = next((place for place, word in enumerate(words) if word in group.commands), None)
    assert place is not None, f"spandex {' '.join(words)}: no such command"
    parent = group.make_context("spandex", words[: place + 1])
    group.commands[words[place]].make_context(words[place], words[place + 1 :], parent=parent)


def check_make(words: list[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assignments = dict(word.split("=", 1) for word in words if "=" in word)
    for target in words:
        assert target in assignments or "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in assignments:
        assert re.search(rf"^{variable}\s*:=", makefile, re.MULTILINE), variable
    overrides = {"set": assignments.get("SET", "")}
    if profile := assignments.get("PROFILE"):
        overrides["profile"] = profile
    load(REPOSITORY / "params.yaml", overrides)


def check_dvc(words: list[str]) -> None:
    get_main_parser().parse_args(words)


def check_snakemake(words: list[str]) -> None:
    snakemake_parser().parse_args(words)


@functools.cache
def snakemake_parser():
    return get_argument_parser()


CHECKS = {"spandex": check_spandex, "make": check_make, "dvc": check_dvc, "snakemake": check_snakemake}


def test_every_fence_is_understood():
    for page in PAGES:
        assert page.read_text().count("```") == 2 * len(blocks(page)), name(page)
    assert {block.language for block in ALL} <= LANGUAGES


def test_no_command_stands_outside_a_block():
    command = re.compile(r"^ {4,}(?:\$ )?(make|spandex|dvc|snakemake|mlflow|git|python) ")
    for page in PAGES:
        outside = page.read_text()
        for block in blocks(page):
            outside = outside.replace(block.text, "")
        assert [line for line in outside.splitlines() if command.match(line)] == [], name(page)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.where)
def test_commands_parse_and_have_their_options(block: Block, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    parsed = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert parsed.returncode == 0, parsed.stderr
    for words in map(without_redirections, simple_commands(block.text)):
        command, *rest = words
        try:
            CHECKS.get(command, lambda words: None)(rest)
        except SystemExit as stop:  # an argument parser gave up
            raise AssertionError(f"{block.where}: {' '.join(words)}") from stop
        known = command in BUILTINS or command in CHECKS or shutil.which(command, path=tools())
        assert known or (block.reason and command in NOT_INSTALLED), f"{block.where}: no command {command}"


def tools() -> str:
    return f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python"], ids=lambda block: block.where)
def test_programs_compile(block: Block):
    compile(block.text, block.where, "exec")


def test_few_commands_are_not_run_and_each_says_why():
    commands = [block for block in ALL if block.language in ("sh", "python") and block.title is None]
    left_out = [block for block in commands if not is_run(block)]
    assert len(left_out) <= len(commands) / 3, [block.where for block in left_out]
    assert all(len(block.reason.split()) >= 3 for block in left_out)
    assert "<!-- not run" not in re.sub(r"<!-- not run: [^\n]+ -->\n```", "", "".join(map(Path.read_text, PAGES)))


def test_files_of_the_reader_have_one_content():
    titles = [block.title for block in ALL if block.title]
    assert len(titles) == len(set(titles))
