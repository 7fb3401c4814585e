"""The baseline, and what is fine-tuned from it."""

from pathlib import Path

import torch

from spandex.checkout import resolved_mirror
from spandex.data import MixedSpeech, NoisySpeech, SegmentBatches, SynthesisSettings
from spandex.errors import SpandexError, prefixed
from spandex.files import sha256
from spandex.networks import MaskNetwork, load_state, save_state
from spandex.networks.named import named_network
from spandex.networks.references import source_digest
from spandex.params import Params
from spandex.params.networks import ROOT
from spandex.pipeline.provenance import code_digest
from spandex.sparsify import Sparsifier
from spandex.sparsify.methods import sparsifier
from spandex.steps.common import new_network, stored_network
from spandex.steps.fitting import fit_accelerated, own_batches
from spandex.tracking.fallback import epoch_logger
from spandex.train import Distillation, TrainSettings, choose_device, torchrun_place
from spandex.train.logs import CsvLog
from spandex.train.loop import COLUMNS

FRESH_CLIPS = 64  # mixed clips that are shuffled at a time; two times as many of 30 s take 0.25 GB


def train_baseline(params: Params, train: Path, validation: Path, run: Path, output: Path) -> None:
    """Take published weights or draw random ones, and train them for ``train.epochs``."""
    network = new_network(params).to(choose_device(params.train.device))
    start = "random weights"
    if params.model.pretrained is not None:
        start = params.model.pretrained_file or named_network(params.model.pretrained, resolved_mirror(params.mirror))
        load_state(network, start)
    print(f"baseline: {params.train.epochs} epochs from {start}")
    if params.train.epochs:
        settings = TrainSettings(**_shared_settings(params), epochs=params.train.epochs)
        batches = _batches(params, ROOT, train)
        _fit(params, ROOT, network, settings, None, None, batches, train, validation, run, output)
    else:
        CsvLog(output.with_name("epochs.csv"), COLUMNS["epochs"]).restart()
        save_state(network, output)


def fine_tune(
    params: Params, name: str, start: Path, teacher: Path | None, train: Path, validation: Path, run: Path, output: Path
) -> None:
    """Fine-tune a network from another by its methods, or by none: the dense control.

    Exact zeros of any start but the root stay zero. Without a teacher of its own a network that has one is distilled
    from its start.

    Raises:
        SpandexError: there is no such network, or a method cannot work on it.
    """
    entry = params.network(name)
    if not entry.is_trained:
        raise SpandexError(f"{name}: is not fine-tuned from another network")
    device = choose_device(params.train.device)
    network = stored_network(params, entry.start, start).to(device)
    network.lookahead = entry.lookahead
    tuning, seed = dict(entry.fine_tuning), params.training(name)["seed"]
    pruning_epochs, distill = tuning.pop("pruning_epochs"), tuning.pop("distill", None)
    settings = TrainSettings(**_shared_settings(params) | {"seed": seed, "lr_drop_epoch": pruning_epochs} | tuning)
    batches = _batches(params, name, train)
    iterations = pruning_epochs * len(batches)
    distillation = None
    if distill:
        frozen = network if teacher is None else stored_network(params, entry.teacher or name, teacher).to(device)
        distillation = Distillation(frozen, distill["weight"])
    power = None
    if entry.power_mops is not None:
        from spandex.deploy.power import DeployedPower  # no part of the code that trains other networks

        power = DeployedPower(NoisySpeech(validation.parent))
    with prefixed(f"networks.{name}: "):
        pruner = sparsifier(network, entry.methods, iterations, seed, entry.start != ROOT, power)
    _fit(params, name, network, settings, pruner, distillation, batches, train, validation, run, output)


def _shared_settings(params: Params) -> dict[str, float]:
    shared = params.train.model_dump(exclude={"epochs", "epoch_batches", "gradient_dtype", "device"})
    return shared | {"seed": params.seed, "threads": params.threads}


def _batches(params: Params, name: str, train: Path) -> SegmentBatches:
    """Of the clips that a list names, or of those that are mixed anew from the corpus of a manifest."""
    seed = params.training(name)["seed"]
    settings = params.train.batch_size, params.train.segment_s, seed, params.train.epoch_batches
    if not params.network(name).dynamic_mixing:
        return own_batches(NoisySpeech(train.parent), *settings)
    synthesis = SynthesisSettings(**params.data.synthesis)
    clips = MixedSpeech(
        train,
        "train",
        params.data.clips.train,
        synthesis,
        seed,
        kept=2 * FRESH_CLIPS,
        augmentation=params.network(name).augmentation,
    )
    return own_batches(clips, *settings, fresh=FRESH_CLIPS)


def _fit(
    params: Params,
    name: str,
    network: MaskNetwork,
    settings: TrainSettings,
    pruner: Sparsifier | None,
    distillation: Distillation | None,
    batches: SegmentBatches,
    train: Path,
    validation: Path,
    run: Path,
    output: Path,
) -> None:
    """Train and write the network; its checkpoints stay until the whole build is over."""
    clips, checkpoints = NoisySpeech(validation.parent), output.parents[1] / ".checkpoints" / name
    made_by = f"{params.digest('model')} {source_digest(params.model.factory)} {code_digest()}"
    known_by = f"{sha256(train)} {sha256(validation)} {made_by} {params.training(name)}"
    logger = epoch_logger(run, name) if torchrun_place()[0] == 0 else None
    dtype = getattr(torch, params.train.gradient_dtype)
    result = fit_accelerated(
        network, batches, clips, settings, output.parent, checkpoints, known_by, pruner, logger, dtype, distillation
    )
    if result is not None:
        save_state(network, output)
