"""The command line called in this process, which saves seconds of imports."""

from typer.testing import CliRunner, Result

from spandex.cli.commands import app


def spandex(*arguments: object) -> Result:
    """Run a command; its result has exit_code, stdout and stderr. What would be a traceback is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refusal(*arguments: object, status: int = 1, lines: int = 1) -> str:
    """The one line of a command that fails and prints nothing else; the last of so many, where it tells of files."""
    result = spandex(*arguments)
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    *before, line = result.stderr.splitlines()
    assert len(before) == lines - 1 and line.startswith("spandex")
    return line
