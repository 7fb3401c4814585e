"""Training and pruning of networks of one's own, on clips of one's own."""

import hashlib
import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import torch

from spandex.data import NoisySpeech
from spandex.errors import SpandexError
from spandex.files import refuse_overwriting
from spandex.files.text import parse_yaml
from spandex.networks import SDNN, MaskNetwork, export_hdf5, from_factory, load_network, load_state, save_state
from spandex.networks.references import source_digest
from spandex.sparsify import (
    NeuronPruner,
    PowerBudget,
    Pruner,
    SaliencyPruner,
    Sparsifier,
    pruner_within,
    shrink,
    sparsity,
)
from spandex.steps.fitting import fit_accelerated, own_batches
from spandex.train import Distillation, NoisyClip, TrainSettings, choose_device

NETWORK_FILES = ("network.pt", "network.net")
PRUNED = 0.2  # share of weights at zero above which a network was pruned; the published baseline has 0.07
FRAME = (512, 128)  # samples of a frame and of a step, where the network does not tell


@dataclass(frozen=True)
class TrainOptions:
    """Clips, and how to train on them.

    Attributes:
        made_by: what made the network; checkpoints of another are not continued.
        distill: weight of the distance to the starting network in the loss; 0: it does not count.
    """

    data: Path
    validation: Path
    settings: TrainSettings
    epoch_batches: int | None
    device: str
    made_by: str
    distill: float = 0.0


@dataclass(frozen=True)
class PruneOptions:
    """How far to prune and how; see ``spandex.sparsify``.

    Attributes:
        target: final share of weights at zero, or of hidden neurons removed; None: there is a budget.
        power_mops: what the deployed network may cost on the validation clips, in M-Ops/s.
        neurons: prune whole neurons.
        exponent: of saliency, by which weights are pruned, and neurons with them; None: by magnitude.
    """

    target: float | None
    power_mops: float | None
    schedule: str
    scope: str
    frequency: int
    rounds: int
    neurons: bool
    exponent: float | None = None

    @property
    def shrinks(self) -> bool:
        """Whether the pruned network is written without its idle neurons."""
        return self.neurons or self.power_mops is not None

    def pruner(self, network: torch.nn.Module, iterations: int, clips: Sequence[NoisyClip] = ()) -> Sparsifier:
        """What prunes ``network`` within so many iterations, to a budget on clips."""
        if self.power_mops is None:
            return self._to(self.target, network, iterations)
        from spandex.deploy.power import DeployedPower  # a second, which other pruning need not wait

        how = {key: getattr(self, key) for key in ("schedule", "frequency", "rounds", "scope")}
        make = partial(self._to, network=network, iterations=iterations)
        return PowerBudget(network, make, self.power_mops, iterations - 1, DeployedPower(clips), **how)

    def _to(self, target: float | None, network: torch.nn.Module, iterations: int) -> Sparsifier:
        method: Callable[..., Sparsifier] = NeuronPruner if self.neurons else Pruner
        if self.exponent is not None:
            method = partial(SaliencyPruner, exponent=self.exponent, neurons=self.neurons)
        settings = {"frequency": self.frequency, "rounds": self.rounds}
        return pruner_within(iterations, network, self.schedule, target, self.scope, method, **settings)


def starting_network(
    net: Path | None, factory: str | None, arguments: str, seed: int, output: Path
) -> tuple[MaskNetwork, str]:
    """The network of a file, or of a factory, or the SDNN; weights that no file gives are drawn with the seed.

    Args:
        net: the file.
        factory, arguments: see ``from_factory``; the arguments as YAML.
        seed: of what is drawn.
        output: folder that the network made from it will be written to.

    Returns:
        The network, and what made it, which its weights need not tell.

    Raises:
        SpandexError: the file or the factory cannot be used, or the file would be overwritten.
    """
    refuse_overwriting([output / name for name in NETWORK_FILES], [net] if net else [])
    torch.manual_seed(seed)
    try:
        values = parse_yaml(arguments)
    except SpandexError:
        values = None
    if not isinstance(values, dict):
        raise SpandexError(f"--arguments {arguments!r}: not of the form {{name: value, ...}}")
    if factory is None:
        if values:
            raise SpandexError(f"--arguments {arguments!r}: there is no --factory to take them")
        return (SDNN(*FRAME) if net is None else load_network(net)), ""
    if net is not None and net.is_file() and h5py.is_hdf5(net):
        raise SpandexError(f"{net}: a factory's network starts from a state dict, not from HDF5")
    network = from_factory(factory, values, *FRAME)
    if net is not None:
        load_state(network, net)
    return network, f"{factory} {values} {source_digest(factory)}"


def train(network: MaskNetwork, options: TrainOptions, output: Path) -> None:
    """Train, and write network.pt, network.net and the logs into ``output``; warns where zeros will not stay."""
    if (zeros := sparsity(network).total) > PRUNED:
        warnings.warn(
            f"{zeros:.1%} of the weights are zero, and training gives them values again; spandex prune with "
            f"--target {math.ceil(100 * zeros) / 100} fine-tunes the network and keeps as many at zero",
            stacklevel=2,
        )
    _fit(network, options, output)


def prune(
    network: MaskNetwork,
    pruning: PruneOptions,
    pruning_epochs: int,
    lr_factor: float,
    options: TrainOptions,
    output: Path,
) -> None:
    """Prune while fine-tuning, and write the same files.

    Raises:
        SpandexError: pruning would not end within the epochs, or a file cannot be used.
    """
    if pruning_epochs > options.settings.epochs:
        raise SpandexError(f"{pruning_epochs} pruning epochs are more than {options.settings.epochs} epochs")
    settings = replace(options.settings, lr_factor=lr_factor, lr_drop_epoch=pruning_epochs)
    _fit(network, replace(options, settings=settings), output, pruning, pruning_epochs)


def prune_at_once(network: MaskNetwork, pruning: PruneOptions, output: Path) -> None:
    """Prune without training, and write network.pt and network.net into ``output``."""
    pruner = replace(pruning, schedule="one-shot").pruner(network, 1)
    pruner.step()
    pruner.remove()
    _write(shrink(network) if pruning.shrinks else network, output)


def _fit(
    network: MaskNetwork,
    options: TrainOptions,
    output: Path,
    pruning: PruneOptions | None = None,
    pruning_epochs: int = 0,
) -> None:
    network.to(choose_device(options.device))
    clips, validation, settings = NoisySpeech(options.data), NoisySpeech(options.validation), options.settings
    batches = own_batches(clips, settings.batch_size, settings.segment_s, settings.seed, options.epoch_batches)
    distillation = Distillation(network, options.distill) if options.distill else None
    pruner = pruning.pruner(network, pruning_epochs * len(batches), validation) if pruning else None
    checkpoints = output / ".checkpoints"
    known_by = f"{_names_and_sizes(clips)} {_names_and_sizes(validation)} {options.made_by}"
    methods = {"pruner": pruner, "distillation": distillation}
    result = fit_accelerated(network, batches, validation, settings, output, checkpoints, known_by, **methods)
    if result is None:
        return
    _write(shrink(network) if pruning is not None and pruning.shrinks else network, output)
    shutil.rmtree(checkpoints)


def _names_and_sizes(clips: NoisySpeech) -> str:
    """What a folder of clips is known by; its contents would take minutes to read."""
    lines = [f"{file.name} {file.stat().st_size}\n" for file in (*clips.noisy_files, *clips.clean_files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write(network: MaskNetwork, output: Path) -> None:
    state, exported = (output / name for name in NETWORK_FILES)
    export_hdf5(network.cpu(), exported)
    save_state(network, state)
    widths = " - ".join(str(block.synapse.out_channels) for block in network.blocks[1:])
    print(f"{exported}: layers of {widths} neurons, {sparsity(network).total:.1%} of the weights at zero")
