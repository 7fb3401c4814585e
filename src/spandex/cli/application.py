"""The application that all subcommands belong to."""

import contextlib
import errno
import functools
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from spandex import params as parameters
from spandex.checkout import resolved_mirror, run_code_of
from spandex.cli.interrupts import STOPPED, stoppable
from spandex.cli.named import located
from spandex.errors import SpandexError, Stopped, one_line
from spandex.files.usage import Usage
from spandex.params import Params
from spandex.pipeline.jobs import at_work
from spandex.pipeline.recipes import Record, Request
from spandex.sparsify.methods import check

PARAMS = Path("params.yaml")
RENAMED = {  # options as they were called or typed: what stands in their place, the first that a command knows
    "--net": ("--network", "NETWORK without an option"),
    "--float-net": ("--float-network",),
    "--start": ("--network",),
    "--cores": ("--workers",),
    "--json": ("--json PATH, with - for standard output",),
    "--neurons": ("--neurons FRACTION",),
}


class Panel(StrEnum):
    """Who uses a command, in the order of ``--help``."""

    OWN = "For networks of your own"
    BUILDS = "Builds of this checkout"
    RUNS = "Runs that builds logged"
    STEPS = "Steps of a build, which the workflow calls"


class Command(TyperCommand):
    """A command whose errors tell whose they are."""

    def parse_args(self, context: typer.Context, args: list[str]) -> list[str]:
        """As the base class does it, which leaves the context out where an option lacks its value, and lets numbers
        pass that are not finite."""
        try:
            rest = super().parse_args(context, args)
            for parameter in self.params:
                value = context.params.get(parameter.name)
                if isinstance(value, float) and not math.isfinite(value):
                    raise typer.BadParameter(f"{value} is not finite", param=parameter)
            return rest
        except typer.TyperException as error:
            error.ctx = getattr(error, "ctx", None) or context
            raise

    def invoke(self, context: typer.Context) -> Any:
        """Run the command on the files of the networks that are typed."""
        with _reported(self.name):
            mirror = functools.partial(mirror_of, context)
            context.params = {name: located(value, mirror) for name, value in context.params.items()}
            return super().invoke(context)


class Commands(TyperGroup):
    """The commands; they leave sidecars, and say in one line what is wrong with a command line, too."""

    def invoke(self, context: typer.Context) -> Any:
        """Run the command, and leave a sidecar beside what it has made, if the workflow asks for one."""
        result = super().invoke(context)
        if "record" in context.meta:
            context.meta["record"].end()
        if context.meta.get("is_job"):
            sys.stdout.flush()  # so that this is the last line of a log
            print(Usage.so_far(), file=sys.stderr)
        return result

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command line, that of the process if None; as ``--help`` if it is empty."""
        if args is None:
            run_code_of()
        args = (sys.argv[1:] if args is None else list(args)) or ["--help"]
        try:
            status = super().main(args, standalone_mode=False, **options)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            command = error.ctx.command_path if getattr(error, "ctx", None) else "spandex"
            message = _message(error)
            print(f"{command}: {message}; see {command} --help", file=sys.stderr)
            status = error.exit_code
        except SpandexError as error:  # before or after a command, which says its own
            if not standalone_mode:
                raise
            print(f"spandex: {error}", file=sys.stderr)
            status = 1
        if standalone_mode:
            sys.exit(status)
        return status


def _message(error: typer.TyperException) -> str:
    """One line, with the new form of an option that is typed as it was before."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    option = getattr(error, "option_name", None) or next(iter(getattr(parameter, "opts", ())), "")
    known = [name for one in context.command.params for name in (*one.opts, one.metavar)] if context else []
    now = next((name for name in RENAMED.get(option, ()) if name.split()[0] in known), None)
    if now:
        error.possibilities = None  # what click would suggest
    message = one_line(error.format_message()).removesuffix(".")
    if "--json" in known and message.startswith("Missing argument") and (taken := context.params.get("output")):
        message += f"; {taken} is taken for what --json writes, a PATH or - for standard output"
    return f"{message}; it is {now}" if now else message


app = typer.Typer(name="spandex", cls=Commands, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main(
    context: typer.Context,
    params: Annotated[Path, typer.Option(help="Parameter file.")] = PARAMS,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="<str>",
            help='Overrides, such as "profile=mini train.lr=0.002"; may be repeated. Else those of SPANDEX_SET.',
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(hidden=True, help="What the command's products depend on, as the workflow's rules say it."),
    ] = None,
) -> None:
    """SPANDEX, rebuilt: sparse sigma-delta networks for speech denoising, from data to the paper's table.

    The options here choose the parameters of the pipeline's steps; the commands for a network need none.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Names of files may be no text; and whoever reads along in a log sees how far its job is.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("spandex").setLevel(logging.INFO)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries say of each other
        warnings.filterwarnings("always", module=r"spandex\b")
    warnings.showwarning = _show_once()
    _say_what_counts()
    context.obj = functools.partial(parameters.load, params, check=check)
    context.meta["has_file"] = params.is_file() or params != PARAMS
    context.meta["file"] = params
    context.meta["overrides"] = parameters.with_environment(
        {"set": " ".join(set_) if set_ else os.environ.get("SPANDEX_SET", "")}
    )
    context.meta["is_job"] = recipe is not None
    if context.meta["is_job"]:
        context.with_resource(at_work())
    if recipe:
        context.meta["record"] = Record(Request.parse(recipe), params_of(context))


def _say_what_counts() -> None:
    """Of the environment, once for a command and all that it starts; make and the workflow set these themselves."""
    if parameters.SAID in os.environ or "MAKELEVEL" in os.environ:
        return
    counting = [f"{name}={value}" for name in parameters.VARIABLES if (value := os.environ.get(name))]
    if counting:
        print(f"from the environment: {' '.join(counting)}", file=sys.stderr)
    os.environ[parameters.SAID] = "1"


def params_of(context: typer.Context) -> Params:
    """The parameters that the command line asks for, read once."""
    if "params" not in context.meta:
        context.meta["params"] = context.obj(context.meta["overrides"])
    return context.meta["params"]


def mirror_of(context: typer.Context) -> str | None:
    """Where downloads are looked for first: as the parameters say; where there is no file of them, the environment."""
    overrides = context.meta["overrides"]
    if context.meta["has_file"] or overrides["set"]:
        return resolved_mirror(params_of(context).mirror)
    return overrides.get("mirror")


def refuse_another_file(context: typer.Context) -> None:
    """Refuse parameters of another file than the one that the workflow and DVC read."""
    if (file := context.meta["file"]) != PARAMS:
        raise SpandexError(f"--params {file}: builds read {PARAMS} alone; --set changes single values")


def refuse(context: typer.Context, names: Collection[str], reason: str) -> None:
    """Refuse the first of these parameters that is typed."""
    for parameter in context.command.params:
        if parameter.name in names and context.get_parameter_source(parameter.name).name == "COMMANDLINE":
            raise typer.BadParameter(f"{'/'.join([*parameter.opts, *parameter.secondary_opts])} is {reason}")


def command(panel: Panel, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a subcommand, ``settings`` as typer takes them."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__.replace("_", "-")
        return app.command(name, cls=Command, rich_help_panel=panel, **settings)(function)

    return register


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """An error that the user can cause, or an interruption, is one line and an exit status."""
    with stoppable(name):
        try:
            yield
        except (SpandexError, OSError, MemoryError) as error:
            if getattr(error, "errno", None) == errno.EPIPE:  # whoever read standard output has left; typer knows
                raise
            print(f"spandex {name}: {_reason(error)}", file=sys.stderr)
            raise SystemExit(1) from None
        except (KeyboardInterrupt, Stopped) as stop:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(f"spandex {name}: {str(stop) or 'interrupted'}", file=sys.stderr, flush=True)
            raise SystemExit(STOPPED) from None


def _reason(error: SpandexError | OSError | MemoryError) -> str:
    """One line; with the file that the system refused, the target where it would not copy or rename."""
    if isinstance(error, MemoryError):
        return f"out of memory: {one_line(error)}".removesuffix(": ")
    file = getattr(error, "filename2", None) or getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error)
    return f"{file}: {reason}" if file else reason


def _show_once() -> Callable[..., None]:
    """Prints every warning once, whatever resets Python's own memory of them."""
    shown: set[str] = set()

    def show(message: Warning | str, *where: object, **more: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            print(f"warning: {message}", file=sys.stderr)

    return show
