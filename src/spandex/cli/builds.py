"""Whole builds: run the steps, keep files and parameters in agreement, record and show the result."""

from typing import Annotated

import typer

from spandex.cli import warm
from spandex.cli.application import Panel, command, params_of, refuse_another_file
from spandex.errors import SpandexError
from spandex.params import assignments
from spandex.params.section import MOST_THREADS

build = command(Panel.BUILDS)

Context = typer.Context
Workers = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Cores to work on at once; all if not given.")
]


@build
def rebuild(
    context: Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="all, a phase (data, baseline, ...), a report by its name, companions, or a paper of it."),
    ] = None,
    workers: Workers = None,
    executor: Annotated[
        str, typer.Option(help="What runs the jobs: a folder of workflow/profiles, default or slurm.")
    ] = "default",
) -> None:
    """Check the parameters, remove what is stale (see sync), and bring targets up to date; all if none is named."""
    from spandex.data.shards import reopen
    from spandex.pipeline import build
    from spandex.steps.check import check_build, check_clips

    refuse_another_file(context)
    params = params_of(context)
    files = build.files_of(targets or ["all"], params)
    check_build(params, here=executor == "default")
    build.lock()
    _sync(context)
    check_clips(params)
    reopen(params.folder("data"), params.folder("reports"))
    if executor == "default":
        warm.start()
    build.run(files, workers, assignments(context.meta["overrides"]), executor)


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
    from spandex.pipeline.build import lock

    if not dry_run:
        refuse_another_file(context)
        lock()
    _sync(context, dry_run)


@build
def record(context: Context) -> None:
    """Commit finished stages to DVC if params.yaml alone says how they were made; clear checkpoints of what is done."""
    from spandex.pipeline import build
    from spandex.steps.check import check_clips

    refuse_another_file(context)
    params = params_of(context)
    build.lock()
    build.clear_checkpoints(params)
    check_clips(params)  # what DVC takes for the truth
    print(build.record(params, context.obj()))


@build
def summary(
    context: Context,
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Reports by name, companions, or nothing for the paper's table."),
    ] = None,
) -> None:
    """Print the table of the last build, where its report is, and what to try next."""
    from spandex.pipeline import build
    from spandex.pipeline.overview import next_to_try

    params = params_of(context)
    for part in parts or [""]:
        print(build.summary(params, part))
    if not parts:
        print(f"Next: {next_to_try(params, context.obj({'profile': params.profile}))}")


@build
def networks(context: Context) -> None:
    """List the networks that the parameters declare: where each is shown, what it is made from, what is there."""
    from spandex.pipeline.overview import overview
    from spandex.report.tabular import Table, to_markdown
    from spandex.report.terminal import fitted

    lines, seconds = overview(params_of(context))
    headings = ["network", "shown in", "made from", "exists"]
    print(fitted(to_markdown(Table("networks", "", headings, list(map(list, lines))))))
    if seconds:
        print(f"Those that are not there would take about {seconds / 60:.0f} min here, by what others took.")
    elif seconds is None:
        print("How long they would take is known once one of them has been made.")


@command(
    Panel.BUILDS, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False
)
def exp(context: Context) -> None:
    """Experiments: dvc exp with the same arguments, refused where it would discard results that are not committed.

    \b
    Examples:
      spandex exp run -S train.lr=0.002
      spandex exp show
    """
    from spandex.pipeline.dvc import exp, writes

    if writes(context.args):
        refuse_another_file(context)
        if text := context.meta["overrides"]["set"]:
            raise SpandexError(f"{text}: DVC knows params.yaml alone; give --set-param to dvc exp run")
    if "run" in context.args:
        warm.start()
    exp(context.args, params_of(context))


@build
def reproduce(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A commit, branch or tag with a committed dvc.lock.")],
    workers: Workers = None,
) -> None:
    """Rebuild a revision in a temporary clone; compare every number with what it recorded. Status 1 if one differs."""
    from spandex.pipeline.reproduce import reproduce

    comparisons = reproduce(revision, workers)
    for line in comparisons:
        verdict = "holds" if line.holds else "DIFFERS"
        recorded, rebuilt = ("missing" if value is None else f"{value:.5g}" for value in (line.recorded, line.rebuilt))
        print(f"{line.model:12} {line.metric:24} {recorded:>10} {rebuilt:>10}  within {line.allowed:.3g}: {verdict}")
    differing = sum(not line.holds for line in comparisons)
    if differing:
        raise SpandexError(f"{revision}: {differing} of {len(comparisons)} numbers differ from what was recorded")
    print(f"{revision}: all {len(comparisons)} numbers are as recorded, within the tolerances")


def _sync(context: Context, dry_run: bool = False) -> None:
    from spandex.pipeline.sync import sync

    params = params_of(context)
    changes = sync(params, dry_run, in_file=context.obj({"profile": params.profile}))
    for (path, *more), reason in changes.removed:
        files = f"{path} and {len(more)} more" if more else path
        print(f"{'would remove' if dry_run else 'removed'} {files}: {reason}")
    if changes.left:
        print(f"left alone, since the pipeline did not make it: {', '.join(map(str, changes.left))}")
    if changes.left_over:
        print(f"left over under the former name of the profile synthetic: {', '.join(map(str, changes.left_over))}")
