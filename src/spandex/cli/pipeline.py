"""The steps of the pipeline, which the workflow calls."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spandex.cli.application import Panel, command, params_of
from spandex.cli.named import TYPED
from spandex.params.networks import ROOT
from spandex.params.section import MOST_SEED, MOST_THREADS

step = command(Panel.STEPS)

Output = Annotated[Path, typer.Option(help="File to write.")]
Manifest = Annotated[Path, typer.Option(help="Corpus manifest (CSV).")]
Clips = Annotated[Path, typer.Option(help="A split's clips.json; its clips lie beside it.")]
Training = Annotated[Path, typer.Option(help="The training clips' clips.json; with dynamic mixing the manifest.")]
Network = Annotated[Path, typer.Option(help="Exported network (HDF5).", **TYPED)]
FloatNetwork = Annotated[Path, typer.Option(help="The same network's state dict (network.pt).", **TYPED)]
Model = Annotated[str, typer.Option(help="Name of the network: baseline, dense, prune50, ...")]
Run = Annotated[Path, typer.Option(help="JSON file with the MLflow run of the build.")]
Workers = Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Processes at once.")]
Context = typer.Context


@step
def corpus(context: Context, output: Output, workers: Workers = 1) -> None:
    """Speech and noise, synthesised or downloaded, listed in one manifest."""
    from spandex.steps import data

    data.corpus(params_of(context), output, workers)


@step
def synthesize(
    context: Context,
    manifest: Manifest,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Which clips.")],
    output: Output,
    workers: Workers = 1,
    shard: Annotated[
        str | None, typer.Option(help="Make only this share of the clips, such as 3-of-16, and write no file.")
    ] = None,
) -> None:
    """Noisy clips of one split, with their clean speech and noise."""
    from spandex.data.shards import Shard
    from spandex.steps import data

    data.synthesize(params_of(context), manifest, split, output, workers, shard and Shard.parse(shard))


@step
def track(context: Context, output: Output) -> None:
    """Open the MLflow store and the run that this build's models log to."""
    from spandex.steps import tracking

    tracking.track(params_of(context), output)


@step
def baseline(context: Context, train: Training, validation: Clips, run: Run, output: Output) -> None:
    """The dense network: published weights, or trained from scratch."""
    from spandex.steps import train as steps

    steps.train_baseline(params_of(context), train, validation, run, output)


@step
def sparsify(
    context: Context,
    model: Model,
    network: Annotated[Path, typer.Option(help="State dict of the network to start from.", **TYPED)],
    train: Training,
    validation: Clips,
    run: Run,
    output: Output,
    teacher: Annotated[
        Path | None, typer.Option(help="That of the network to distill from, if it is another.", **TYPED)
    ] = None,
) -> None:
    """A network fine-tuned from another, and made sparse by its methods."""
    from spandex.steps import train as steps

    steps.fine_tune(params_of(context), model, network, teacher, train, validation, run, output)


@step
def take(context: Context, model: Model, output: Output) -> None:
    """A network of others, of the catalogue or a file, which becomes a row of the table."""
    from spandex.steps import take

    take.take(params_of(context), model, output)


@step
def export(context: Context, float_network: FloatNetwork, output: Output, model: Model = ROOT) -> None:
    """The network as lava-dl HDF5, as netx deploys it."""
    from spandex.steps.export import export

    export(params_of(context), model, float_network, output)


@step
def infer(context: Context, network: Network, clips: Clips, output: Output, model: Model = ROOT) -> None:
    """Real clips through the whole chain of Lava processes, which must give the bits of the executor."""
    from spandex.steps.infer import lava_inference

    lava_inference(params_of(context), model, network, clips, output)


@step
def latency(context: Context, clips: Clips, output: Output) -> None:
    """Measured time of STFT and ISTFT."""
    from spandex.steps import evaluate

    evaluate.latency(params_of(context), clips, output)


@step
def report(context: Context, clips: Clips, run: Run) -> None:
    """The paper's table with ours beside it, figures, the page, and the challenge's board entry."""
    from spandex.steps import report

    report.report(params_of(context), clips, run)


@step
def compare(
    context: Context,
    report: Annotated[str, typer.Option(help="One of reports in params.yaml.")],
    run: Run,
) -> None:
    """Networks compared: a table, figures, and verdicts on what is claimed of their methods."""
    from spandex.steps import compare

    compare.compare(params_of(context), report, run)


@step
def companion(
    context: Context,
    paper: Annotated[str, typer.Option(help="activity, masks, lyapunov or vgg.")],
    experiment: Annotated[str, typer.Option(help="One of the paper's experiments.")],
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of all that is drawn.")],
    output: Output,
) -> None:
    """One experiment of a companion paper with one seed. Goes on where it was stopped."""
    from spandex.steps import experiments

    experiments.companion(params_of(context), paper, experiment, seed, output)


@step
def companion_report(
    context: Context,
    runs: Annotated[list[Path], typer.Argument(help="What companion wrote, one file an experiment and seed.")],
    paper: Annotated[str, typer.Option(help="activity, masks, lyapunov or vgg.")],
    run: Run,
    output: Annotated[Path, typer.Option(help="verdicts.json; tables and figures are written beside it.")],
) -> None:
    """Verdicts on the claims of a companion paper, its tables and figures."""
    from spandex.steps import companions

    companions.companion_report(params_of(context), paper, runs, run, output)
