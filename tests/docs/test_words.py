"""A thing has one name: what options, variables and profiles were called before stands on no page and in no help."""

import re

import pytest
from typer.main import get_command

from documents import PAGES, REPOSITORY, name
from spandex.cli.commands import app

OLD = [
    r"--net\b",
    r"--float-net\b",
    r"--start\b",
    r"\bNET\b",
    r"^(?!.*snakemake).*--cores\b",
    r"\bCORES\b",
    r"--json --",
    r"--neurons --",
    r"(?i)\bembedded\b",
]
FILES = [*PAGES, REPOSITORY / "params.yaml", *sorted((REPOSITORY / "benchmarks").glob("*.py"))]


def found(text: str) -> list[str]:
    return [match[0] for pattern in OLD for match in re.finditer(pattern, text, re.MULTILINE)]


def help_text(command) -> str:
    parts = [command.help or ""]
    for parameter in command.params:
        parts += [*parameter.opts, *parameter.secondary_opts, parameter.metavar or "", parameter.help or ""]
    return "\n".join(parts)


def test_reader_finds_old_words():
    for text in ("evaluate --net a.net", "rebuild --cores 2", "make CORES=2", "info a.net --json --sparsity-map auto"):
        assert found(text)
    assert not found("evaluate a.net --float-network a.pt --json -\nsnakemake --cores 2")


@pytest.mark.parametrize("command", get_command(app).commands)
def test_no_help_text_has_an_old_word(command):
    assert found(help_text(get_command(app).commands[command])) == []


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_page_has_an_old_word(file):
    assert found(file.read_text(encoding="utf-8")) == []
