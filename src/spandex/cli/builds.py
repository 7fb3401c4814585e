"""Whole builds: run the steps, keep files and parameters in agreement, record and show the result."""

from pathlib import Path
from typing import Annotated

import typer

from spandex.cli.app import command, params_of
from spandex.params import Params

build = command("Builds")

Context = typer.Context


@build
def rebuild(
    context: Context,
    target: Annotated[str, typer.Argument(help="A phase, or all.")] = "all",
    cores: Annotated[int | None, typer.Option(min=1, help="All if not given.")] = None,
    executor: Annotated[
        str, typer.Option(help="What runs the jobs: a folder of workflow/profiles, default or slurm.")
    ] = "default",
) -> None:
    """Check the parameters, remove what is stale (see sync), and bring a target up to date."""
    from spandex import build
    from spandex.shards import reopen

    params = params_of(context)
    if params.model.factory is not None:
        from spandex.steps.common import new_network

        new_network(params)  # refused here rather than after the data
    build.lock()
    _sync(params)
    reopen(Path("data", params.profile), Path("reports", params.profile))
    build.run(target, cores, context.meta["overrides"]["set"], executor)


@build
def sync(
    context: Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Change nothing, say what would be removed.")
    ] = False,
) -> None:
    """Remove what is not as the parameters, the inputs and the code of today would make it, and say why.

    What is left gets times in the order of its making, so that snakemake -n plans nothing that is there.
    """
    from spandex.build import lock

    if not dry_run:
        lock()
    _sync(params_of(context), dry_run)


@build
def record(context: Context) -> None:
    """Commit finished stages to DVC if params.yaml alone says how they were made; clear a whole build's checkpoints."""
    from spandex import build

    params = params_of(context)
    if build.finished(params) == [*build.STAGES]:
        build.clear_checkpoints(params)
    print(build.record(params, context.obj()))


@build
def summary(
    context: Context, part: Annotated[str, typer.Argument(help="ablation, or nothing for the paper's table.")] = ""
) -> None:
    """Print the table of the last build and where its report is."""
    from spandex import build

    print(build.summary(params_of(context), part))


def _sync(params: Params, dry_run: bool = False) -> None:
    from spandex.sync import sync

    for (path, *more), reason in sync(params, dry_run):
        files = f"{path} and {len(more)} more" if more else path
        print(f"{'would remove' if dry_run else 'removed'} {files}: {reason}")
