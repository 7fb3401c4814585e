"""The application that all subcommands belong to."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from spandex import params as parameters
from spandex.errors import SpandexError, Stopped
from spandex.params import Params

STOPPED = 130  # exit status of a run that was interrupted and can be continued

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main(
    context: typer.Context,
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    set_: Annotated[
        str, typer.Option("--set", envvar="SPANDEX_SET", help='Overrides, such as "profile=mini train.lr=0.002".')
    ] = "",
) -> None:
    """SPANDEX, rebuilt: sparse sigma-delta networks for speech denoising, from data to the paper's table.

    The options here choose the parameters of the pipeline's steps; the commands for a network need none.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("spandex").setLevel(logging.INFO)
    warnings.showwarning = _warn
    context.obj = functools.partial(parameters.load, params)
    context.meta["overrides"] = {"set": set_}


def params_of(context: typer.Context) -> Params:
    """The parameters that the command line asks for."""
    return context.obj(context.meta["overrides"])


def command(panel: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a subcommand; an error that the user can cause is one line and exit status 1."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__.rstrip("_").replace("_", "-")

        @app.command(name, rich_help_panel=panel)
        @functools.wraps(function)
        def run(*args, **kwargs) -> None:
            try:
                function(*args, **kwargs)
            except SpandexError as error:
                print(f"spandex {name}: {error}", file=sys.stderr)
                raise SystemExit(1) from None
            except (KeyboardInterrupt, Stopped) as stop:
                print(f"spandex {name}: {stop or 'interrupted'}", file=sys.stderr)
                raise SystemExit(STOPPED) from None

        return run

    return register


def _warn(message: Warning | str, *where: object, **more: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
