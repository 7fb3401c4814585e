"""The command line: one subcommand a step of the workflow, which calls nothing else."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from spandex import params as parameters
from spandex.errors import SpandexError
from spandex.params import Params

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Output = Annotated[Path, typer.Option(help="File to write.")]
ClipList = Annotated[Path, typer.Option(help="A split's clips.json; its clips lie beside it.")]
RunFile = Annotated[Path, typer.Option(help="JSON file that holds the MLflow run of the build.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


class _State:
    """What the options before the subcommand said."""

    path: Path
    overrides: str

    def params(self) -> Params:
        return parameters.load(self.path, {"set": self.overrides})


state = _State()


@app.callback()
def main(
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    set_: Annotated[
        str, typer.Option("--set", envvar="SPANDEX_SET", help='Overrides: "profile=mini train.lr=0.002".')
    ] = "",
) -> None:
    state.path = params
    state.overrides = set_
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a subcommand whose errors a user can cause are one line and exit status 1."""

    @app.command(name=function.__name__.replace("_", "-"))
    @wraps(function)
    def run(*args, **kwargs) -> None:
        try:
            function(*args, **kwargs)
        except SpandexError as error:
            print(f"spandex {function.__name__.replace('_', '-')}: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return run
