"""SPANDEX, rebuilt: one subcommand for each step of the workflow, which calls nothing else.

Options before the subcommand choose the parameters; each step imports what it needs when it runs.
"""

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from spandex import build
from spandex import params as parameters
from spandex.errors import SpandexError, Stopped
from spandex.params import Params

STOPPED = 130  # exit status of a run that was interrupted and can be continued

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Output = Annotated[Path, typer.Option(help="File to write.")]
Manifest = Annotated[Path, typer.Option(help="Corpus manifest (CSV).")]
Clips = Annotated[Path, typer.Option(help="A split's clips.json; its clips lie beside it.")]
Network = Annotated[Path, typer.Option(help="Exported network (HDF5).")]
FloatNetwork = Annotated[Path, typer.Option(help="The same network's state dict (network.pt).")]
Model = Annotated[str, typer.Option(help="Name of the network: baseline, dense, prune50, ...")]
Run = Annotated[Path, typer.Option(help="JSON file with the MLflow run of the build.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of processes.")]
Context = typer.Context


@app.callback()
def main(
    context: Context,
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    set_: Annotated[
        str, typer.Option("--set", envvar="SPANDEX_SET", help='Overrides, such as "profile=mini train.lr=0.002".')
    ] = "",
) -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("spandex").setLevel(logging.INFO)
    context.obj = functools.partial(parameters.load, params)
    context.meta["overrides"] = {"set": set_}


def _params(context: Context) -> Params:
    return context.obj(context.meta["overrides"])


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a subcommand; an error that the user can cause is one line and exit status 1."""
    name = function.__name__.replace("_", "-")

    @app.command(name)
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


@command
def corpus(context: Context, output: Output, workers: Workers = 1) -> None:
    """Speech and noise, synthesised or downloaded, listed in one manifest."""
    from spandex.steps import data

    data.corpus(_params(context), output, workers)


@command
def synthesize(
    context: Context,
    manifest: Manifest,
    split: Annotated[str, typer.Option(help="train, validation or test")],
    output: Output,
    workers: Workers = 1,
) -> None:
    """Noisy clips of one split, with their clean speech and noise."""
    from spandex.steps import data

    data.synthesize(_params(context), manifest, split, output, workers)


@command
def track(context: Context, output: Output) -> None:
    """Open the MLflow store and the run that this build's models log to."""
    from spandex.steps import report

    report.track(_params(context), output)


@command
def baseline(context: Context, train: Clips, validation: Clips, run: Run, output: Output) -> None:
    """The dense network: published weights, or trained from scratch."""
    from spandex.steps import train as steps

    steps.train_baseline(_params(context), train, validation, run, output)


@command
def sparsify(
    context: Context,
    model: Model,
    baseline: Annotated[Path, typer.Option(help="State dict to start from.")],
    train: Clips,
    validation: Clips,
    run: Run,
    output: Output,
) -> None:
    """A pruned network, or the dense control, fine-tuned from the baseline."""
    from spandex.steps import train as steps

    steps.fine_tune(_params(context), model, baseline, train, validation, run, output)


@command
def export(context: Context, float_network: FloatNetwork, output: Output) -> None:
    """The network as lava-dl HDF5, as netx deploys it."""
    from spandex.steps import deploy

    deploy.export(_params(context), float_network, output)


@command
def infer(context: Context, network: Network, float_network: FloatNetwork, clips: Clips, output: Output) -> None:
    """Real clips through the whole chain of Lava processes, in fixed point."""
    from spandex.steps import deploy

    deploy.lava_inference(_params(context), network, float_network, clips, output)


@command
def evaluate_noisy(context: Context, clips: Clips, output: Output) -> None:
    """The untouched input: the scores that every model has to beat."""
    from spandex.steps import evaluate

    evaluate.evaluate_noisy(_params(context), clips, output)


@command
def evaluate(
    context: Context,
    model: Model,
    network: Network,
    float_network: FloatNetwork,
    clips: Clips,
    noisy: Annotated[Path, typer.Option(help="What evaluate-noisy wrote.")],
    output: Output,
) -> None:
    """Quality, operations, latency and size of one network on all test clips."""
    from spandex.steps import evaluate

    evaluate.evaluate_network(_params(context), model, network, float_network, clips, noisy, output)


@command
def latency(context: Context, clips: Clips, output: Output) -> None:
    """Measured time of STFT and ISTFT."""
    from spandex.steps import evaluate

    evaluate.latency(_params(context), clips, output)


@command
def report(
    context: Context,
    models: Annotated[Path, typer.Option(help="Folder of the profile's networks and training logs.")],
    reports: Annotated[Path, typer.Option(help="Folder of the profile's results.")],
    run: Run,
) -> None:
    """The paper's table with ours beside it, figures, and the challenge's board entry."""
    from spandex.steps import report

    report.report(_params(context), models, reports, run)


@command
def run(
    context: Context,
    target: Annotated[str, typer.Argument(help="A phase, or all.")] = "all",
    cores: Annotated[int | None, typer.Option(min=1, help="All if not given.")] = None,
) -> None:
    """Check the parameters, remove networks that they no longer name, and bring a target up to date."""
    for path in build.tidy(_params(context)):
        print(f"removed {path}, which the parameters no longer name")
    build.run(target, cores, context.meta["overrides"]["set"])


@command
def record(context: Context) -> None:
    """Remove a finished build's checkpoints; commit it to DVC if params.yaml alone says how it was made."""
    params = _params(context)
    build.clear_checkpoints(params)
    print(build.record(params, context.obj()))


@command
def summary(context: Context) -> None:
    """Print the table of the last build and where its report is."""
    print(build.summary(_params(context)))
