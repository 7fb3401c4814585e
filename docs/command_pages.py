"""Writes the page reference/cli.md from the command line itself, when mkdocs builds the site."""

from typing import Any

from mkdocs.structure.files import File, Files
from typer.main import get_command

from spandex.cli.commands import app

QUESTION = "*Which commands and options are there?*"
HEAD = f"# All commands and options\n\n{QUESTION}\n\nAs `spandex COMMAND --help` tells them.\n"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/cli.md", content=command_pages()))
    return files


def command_pages() -> str:
    """A section for the options before a command, and one for each command, in the order of ``--help``."""
    group = get_command(app)
    parts = [HEAD, "## spandex\n", _table(group)]
    for name, command in group.commands.items():
        if not command.hidden:
            parts += [f"## {name}\n", _text(command.help or ""), _table(command)]
    return "\n".join(parts)


def _text(text: str) -> str:
    """What a command does; examples, which follow a backspace, as a block of code."""
    words, _, examples = text.partition("\b")
    title, *lines = examples.strip().splitlines() or [""]
    block = "\n".join(line.removeprefix("  ") for line in lines)
    return f"{words.strip()}\n" + (f"\n```sh\n{block}\n```\n" if title else "")


def _table(command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    rows = [f"| {_name(parameter)} | {_default(parameter)} | {_help(parameter)} |" for parameter in shown]
    return "\n".join(["| option | default | meaning |", "| --- | --- | --- |", *rows, ""]) if rows else ""


def _name(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in names)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    default = getattr(parameter.default, "value", parameter.default)
    return "" if default in (None, False, "", ()) else f"`{default}`"


def _help(parameter: Any) -> str:
    return (parameter.help or "").replace("|", "\\|")
