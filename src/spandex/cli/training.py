"""Commands that train and prune networks of one's own, on folders of one's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spandex.cli.application import Panel, command, refuse
from spandex.cli.named import TYPED
from spandex.params.section import MOST_SEED, MOST_THREADS, Device

training = command(Panel.OWN)


OF_TRAINING = (
    "schedule",
    "frequency",
    "rounds",
    "pruning_epochs",
    "lr_factor",
    "epochs",
    "epoch_batches",
    "batch_size",
    "segment_s",
    "lr",
    "distill",
    "threads",
    "device",
)
Schedule = Literal["cubic", "linear", "one-shot", "iterative"]
Scope = Literal["global", "layer"]
Method = Literal["magnitude", "saliency"]
Data = Annotated[Path, typer.Option(help="Folder with noisy/ and clean/, paired by fileid_N or by name, 16 kHz.")]
Validation = Annotated[Path, typer.Option(help="The same, to choose the best epoch by.")]
Output = Annotated[Path, typer.Option(help="Folder for network.pt, network.net and the training logs.")]
Factory = Annotated[
    str | None, typer.Option(help="package.module:callable that makes the network; the SDNN if not given.")
]
Arguments = Annotated[str, typer.Option(help="Arguments of the factory as YAML, such as '{hidden: 64}'.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs.")]
EpochBatches = Annotated[int | None, typer.Option(min=1, help="Batches an epoch; a pass over all clips if not given.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Segments a batch.")]
SegmentS = Annotated[float, typer.Option(min=0.1, max=600, help="Length of a segment in seconds.")]
Distill = Annotated[
    float, typer.Option(min=0, metavar="WEIGHT", help="In the loss, of the distance to what --network makes of a clip.")
]
Rate = Annotated[float, typer.Option(min=0, help="Learning rate of RAdam.")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of all that is drawn.")]
Threads = Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Of training; a part of its result.")]
Where = Annotated[Device, typer.Option(help="Where to train; auto takes a GPU where there is one.")]


@training
def train(
    data: Data,
    validation: Validation,
    output: Output,
    network: Annotated[
        Path | None,
        typer.Option(help="State dict, or HDF5 without --factory, to start from; else random weights.", **TYPED),
    ] = None,
    factory: Factory = None,
    arguments: Arguments = "{}",
    epochs: Epochs = 5,
    epoch_batches: EpochBatches = None,
    batch_size: BatchSize = 8,
    segment_s: SegmentS = 6.0,
    lr: Rate = 0.001,
    distill: Distill = 0.0,
    seed: Seed = 1,
    threads: Threads = 2,
    device: Where = "auto",
) -> None:
    """Train a network. Goes on where it was stopped.

    \b
    Examples:
      spandex train --data train --validation validation --output trained
      spandex train --data train --validation validation --output mine --factory my_networks:small
    """
    from spandex.steps import own
    from spandex.train import TrainSettings

    if distill and network is None:
        raise typer.BadParameter("--distill WEIGHT needs --network, which is the teacher")
    start, made_by = own.starting_network(network, factory, arguments, seed, output)
    settings = TrainSettings(epochs, batch_size, segment_s, lr, seed=seed, threads=threads)
    options = own.TrainOptions(data, validation, settings, epoch_batches, device, made_by, distill)
    own.train(start, options, output)


@training
def prune(
    context: typer.Context,
    network: Annotated[
        Path, typer.Option(help="State dict, or HDF5 without --factory, of the network to prune.", **TYPED)
    ],
    output: Output,
    target: Annotated[float | None, typer.Option(help="Final sparsity, such as 0.75.")] = None,
    power_mops: Annotated[
        float | None,
        typer.Option(help="In place of a target: M-Ops/s that the deployed network may cost on the validation clips."),
    ] = None,
    neurons: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION", help="In place of a target: whole hidden neurons to prune; the layers shrink."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Training clips, as for train; without them nothing is trained.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation clips, as for train.")] = None,
    method: Annotated[
        Method, typer.Option(help="Weights that go first: the smallest, or those of least loss for an operation.")
    ] = "magnitude",
    exponent: Annotated[float, typer.Option(min=0.5, max=1, help="Of what a weight costs, saliency.")] = 0.5,
    with_neurons: Annotated[
        bool, typer.Option("--with-neurons", help="Hidden neurons go, too, saliency; the layers shrink.")
    ] = False,
    schedule: Annotated[Schedule, typer.Option(help="How sparsity grows while training.")] = "cubic",
    scope: Annotated[Scope, typer.Option(help="Rank weights over the network or within each layer.")] = "global",
    frequency: Annotated[
        int | None,
        typer.Option(min=1, help="Iterations between steps, cubic and linear; 30 if not given, 10 by saliency."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Of pruning and retraining, iterative.")] = 5,
    pruning_epochs: Annotated[int, typer.Option(min=1, help="Of the epochs, those in which sparsity grows.")] = 2,
    lr_factor: Annotated[float, typer.Option(min=0, help="On the learning rate once pruning is over.")] = 0.7,
    factory: Factory = None,
    arguments: Arguments = "{}",
    epochs: Epochs = 5,
    epoch_batches: EpochBatches = None,
    batch_size: BatchSize = 8,
    segment_s: SegmentS = 6.0,
    lr: Rate = 0.001,
    distill: Distill = 0.0,
    seed: Seed = 1,
    threads: Threads = 2,
    device: Where = "auto",
) -> None:
    """Prune a network, while it is fine-tuned if there are clips. Goes on where it was stopped.

    \b
    Examples:
      spandex prune --network network.net --target 0.75 --output pruned
      spandex prune --network network.pt --target 0.75 --output pruned --data train --validation validation
      spandex prune --network network.pt --target 0.85 --output quiet --method saliency --data train --validation mine
      spandex prune --network network.pt --power-mops 4 --output four --method saliency --data train --validation mine
      spandex prune --network network.pt --neurons 0.5 --output smaller --data train --validation validation
    """
    from spandex.steps import own
    from spandex.train import TrainSettings

    if (data is None) != (validation is None):
        raise typer.BadParameter("--data and --validation go together")
    if data is None:
        refuse(context, OF_TRAINING, "of training, which needs --data and --validation")
    if sum(aim is not None for aim in (target, power_mops, neurons)) != 1:
        raise typer.BadParameter("--target TARGET, --power-mops M-OPS or --neurons FRACTION is needed, one of them")
    if power_mops is not None and data is None:
        raise typer.BadParameter(f"--power-mops {power_mops:g} needs --data and --validation: events are counted there")
    by_saliency = method == "saliency"
    if by_saliency and (neurons is not None or data is None):
        raise typer.BadParameter("--method saliency needs --data and --validation, and a target or a power")
    if not by_saliency:
        refuse(context, ("exponent", "with_neurons"), "a setting of --method saliency")
    if schedule != "iterative":
        refuse(context, ("rounds",), "of --schedule iterative")
    if schedule not in ("cubic", "linear"):
        refuse(context, ("frequency",), "of --schedule cubic and linear")
    start, made_by = own.starting_network(network, factory, arguments, seed, output)
    frequency = frequency or (10 if by_saliency else 30)
    whole = with_neurons if by_saliency else neurons is not None
    share = neurons if target is None else target
    how = schedule, scope, frequency, rounds, whole, exponent if by_saliency else None
    pruning = own.PruneOptions(share, power_mops, *how)
    if data is None or validation is None:
        own.prune_at_once(start, pruning, output)
        return
    settings = TrainSettings(epochs, batch_size, segment_s, lr, seed=seed, threads=threads)
    options = own.TrainOptions(data, validation, settings, epoch_batches, device, made_by, distill)
    own.prune(start, pruning, pruning_epochs, lr_factor, options, output)
