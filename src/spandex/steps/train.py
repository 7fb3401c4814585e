"""The baseline, and what is fine-tuned from it."""

from pathlib import Path

import torch

from spandex.checkout import main_checkout, resolved_mirror
from spandex.data import NoisySpeech, SegmentBatches, fetch
from spandex.data.catalog import source
from spandex.errors import SpandexError
from spandex.files import sha256
from spandex.models import MaskNetwork, load_state, save_state
from spandex.params import Params
from spandex.provenance import code_digest
from spandex.references import source_digest
from spandex.sparsify import Sparsifier
from spandex.steps.common import new_network
from spandex.steps.fitting import fit_accelerated, own_batches, pruner_within
from spandex.tracking.fallback import epoch_logger
from spandex.train import TrainSettings, choose_device, torchrun_place
from spandex.train.logs import CsvLog
from spandex.train.loop import COLUMNS

PUBLISHED = Path("data/published")  # of the main checkout
STATE_DICTS = ("ndns-baseline-pt",)  # of the catalogue's networks


def train_baseline(params: Params, train: Path, validation: Path, run: Path, output: Path) -> None:
    """Take published weights or draw random ones, and train them for ``train.epochs``."""
    network = new_network(params).to(choose_device(params.train.device))
    start = "random weights"
    if params.model.pretrained is not None:
        start = _pretrained(params)
        load_state(network, start)
    print(f"baseline: {params.train.epochs} epochs from {start}")
    if params.train.epochs:
        settings = TrainSettings(**_shared_settings(params), epochs=params.train.epochs)
        _fit(params, "baseline", network, settings, None, _batches(params, train), train, validation, run, output)
    else:
        CsvLog(output.with_name("epochs.csv"), COLUMNS["epochs"]).restart()
        save_state(network, output)


def fine_tune(
    params: Params, model: str, baseline: Path, train: Path, validation: Path, run: Path, output: Path
) -> None:
    """Fine-tune the baseline while pruning it to the model's target, or not at all: the dense control."""
    network = new_network(params).to(choose_device(params.train.device))
    load_state(network, baseline)
    sparsify = params.sparsify
    settings = TrainSettings(
        **_shared_settings(params),
        epochs=sparsify.epochs,
        lr_factor=sparsify.lr_factor,
        lr_drop_epoch=sparsify.pruning_epochs,
    )
    batches = _batches(params, train)
    pruning = params.pruning(model)
    pruner = pruner_within(sparsify.pruning_epochs * len(batches), network, **pruning) if pruning else None
    _fit(params, model, network, settings, pruner, batches, train, validation, run, output)


def _shared_settings(params: Params) -> dict[str, float]:
    shared = params.train.model_dump(exclude={"epochs", "epoch_batches", "gradient_dtype", "device"})
    return shared | {"seed": params.seed, "threads": params.threads}


def _pretrained(params: Params) -> Path:
    """``model.pretrained``: a published network by name, or a state dict by path."""
    name = params.model.pretrained
    if Path(name).suffix:
        return Path(name)
    if name not in STATE_DICTS:
        raise SpandexError(f"model.pretrained: {name!r} is neither a file nor one of {', '.join(STATE_DICTS)}")
    return fetch([source(name)], main_checkout() / PUBLISHED, mirror=resolved_mirror(params.mirror))[name]


def _batches(params: Params, train: Path) -> SegmentBatches:
    settings = params.train
    clips = NoisySpeech(train.parent)
    return own_batches(clips, settings.batch_size, settings.segment_s, params.seed, settings.epoch_batches)


def _fit(
    params: Params,
    name: str,
    network: MaskNetwork,
    settings: TrainSettings,
    pruner: Sparsifier | None,
    batches: SegmentBatches,
    train: Path,
    validation: Path,
    run: Path,
    output: Path,
) -> None:
    """Train and write the network; its checkpoints stay until the whole build is over."""
    result = fit_accelerated(
        network,
        batches,
        NoisySpeech(validation.parent),
        settings,
        output.parent,
        output.parents[1] / ".checkpoints" / name,
        f"{sha256(train)} {sha256(validation)} {params.digest('model')} {source_digest(params.model.factory)}"
        f" {code_digest()}",
        pruner,
        epoch_logger(run, name) if torchrun_place()[0] == 0 else None,
        getattr(torch, params.train.gradient_dtype),
    )
    if result is not None:
        save_state(network, output)
