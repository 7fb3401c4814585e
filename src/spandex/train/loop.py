"""Training: batches in, the best network out, continued from where it stopped."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from spandex.errors import SpandexError, Stopped
from spandex.metrics import si_snr
from spandex.models import denoise, istft, stft
from spandex.sparsify import Pruner, sparsity
from spandex.train.checkpoint import Checkpoints
from spandex.train.logs import CsvLog, Row
from spandex.train.losses import audible, denoising_loss
from spandex.train.reproducible import reproducible
from spandex.train.settings import TrainSettings
from spandex.train.stopping import StopSignals

COLUMNS = {
    "log": ("iteration", "epoch", "loss", "si_snr_db", "sparsity", "lr"),
    "epochs": ("iteration", "epoch", "train_loss", "train_si_snr_db", "validation_si_snr_db", "sparsity", "lr"),
    "times": ("iteration", "epoch", "train_s", "validation_s"),
}


class Batches(Protocol):
    """Training batches whose order depends only on the epoch, such as ``spandex.data.SegmentBatches``."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[str]]]:
        """Noisy and clean audio (batch, samples), float32, and the clips' names, from ``start_batch`` on."""
        ...


class NoisyClip(Protocol):
    """A clip with its clean speech, both float32 (samples,), such as ``spandex.data.Clip``."""

    noisy: np.ndarray
    clean: np.ndarray


class TrainingError(SpandexError):
    """Training cannot go on: the loss or its gradient is not finite."""


@dataclass(frozen=True)
class FitResult:
    """What a training run came to; the network itself holds the best weights.

    Attributes:
        epoch: the best epoch, counted from 1.
        validation_si_snr_db: its mean SI-SNR on the validation clips, in dB.
        sparsity: exact zero fraction of its dense weights.
        iterations: optimiser steps of the whole run.
        epochs: the rows of epochs.csv.
    """

    epoch: int
    validation_si_snr_db: float
    sparsity: float
    iterations: int
    epochs: list[Row]


@dataclass
class _Mean:
    """Running means of the loss (over batches) and of SI-SNR (over the segments that have one)."""

    loss: float = 0.0
    batches: int = 0
    si_snr_db: float = 0.0
    segments: int = 0

    def add(self, loss: float, scores: torch.Tensor) -> None:
        self.loss += loss
        self.batches += 1
        self.si_snr_db += float(scores.sum())
        self.segments += len(scores)

    def row(self, prefix: str = "") -> Row:
        return {
            f"{prefix}loss": self.loss / self.batches,
            f"{prefix}si_snr_db": self.si_snr_db / self.segments if self.segments else math.nan,
        }


@dataclass
class _Position:
    """How far training has come; together with network, optimiser and pruner all that a checkpoint needs.

    ``epoch`` and ``batch`` count what is complete. ``best`` holds epoch, validation_si_snr_db, sparsity and network.
    """

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    seconds: float = 0.0
    since_row: _Mean = field(default_factory=_Mean)
    since_epoch: _Mean = field(default_factory=_Mean)
    best: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"since_row": vars(self.since_row), "since_epoch": vars(self.since_epoch)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "_Position":
        means = {name: _Mean(**state[name]) for name in ("since_row", "since_epoch")}
        return cls(**(state | means))


def fit(
    network: torch.nn.Module,
    train_batches: Batches,
    validation_clips: Sequence[NoisyClip],
    settings: TrainSettings,
    directory: str | os.PathLike,
    *,
    pruner: Pruner | None = None,
    checkpoints: str | os.PathLike | None = None,
    identity: str = "",
    device: str | torch.device = "cpu",
    log: Callable[[str], None] = print,
    on_epoch: Callable[[Row], None] | None = None,
) -> FitResult:
    """Train ``network`` in place and leave the best weights in it.

    Best is the epoch with the highest mean validation SI-SNR, as in the challenge; with a pruner, of the epochs that
    end at the final sparsity, since an earlier one would win by pruning less. Without a pruner the same settings give
    the dense control.

    Written as it goes: ``log.csv`` (every ``settings.log_every`` iterations: iteration, epoch, loss, si_snr_db,
    sparsity, lr; loss and SI-SNR are means since the row before), ``epochs.csv`` (iteration, epoch, train_loss,
    train_si_snr_db, validation_si_snr_db, sparsity, lr) and ``times.csv`` (seconds, which differ from run to run).
    Epochs and iterations count from 1 there.

    On SIGINT or SIGTERM the current batch is finished and a checkpoint written. Called again with the same arguments,
    training continues from the newest checkpoint and ends in the same bytes as if it had never stopped. The
    checkpoints stay when training is over, so that calling again returns the same result at once; remove their
    folder when the network is safe.

    Args:
        network: magnitude (batch, bins, steps) -> denoised magnitude, with attributes ``n_fft`` and ``hop`` in
            samples, such as ``spandex.models.SDNN``; on ``device`` already if there is a pruner.
        train_batches: training batches at 16 kHz.
        validation_clips: whole clips to validate on after each epoch.
        settings: what decides the run.
        directory: where the logs go.
        pruner: sparsifies the network while it trains; None: nothing is pruned.
        checkpoints: folder for this run's checkpoints alone; ``directory``/checkpoints if not given.
        identity: digest of the data and the starting weights. Checkpoints of another identity, of other settings or
            of another pruning are not continued.
        device: where to train.
        log: told of each epoch and of unused checkpoints, one line each.
        on_epoch: given each new row of epochs.csv; epochs before a continued checkpoint are in ``FitResult.epochs``.

    Raises:
        Stopped: on a signal.
        TrainingError: the loss or its gradient is not finite; names the clips of the batch.
        SpandexError: no training batch, no validation clip with speech, or pruning would not end within the epochs.
    """
    device = torch.device(device)
    if not len(train_batches):
        raise SpandexError(
            f"no training batch: there are fewer clips than a batch of {settings.batch_size} segments needs"
        )
    if not len(validation_clips):
        raise SpandexError("no validation clip: the best epoch is chosen by them")
    iterations = settings.epochs * len(train_batches)
    if pruner is not None and pruner.schedule.steps >= iterations:
        raise SpandexError(f"pruning takes {pruner.schedule.steps + 1} iterations, training only {iterations}")
    with reproducible(settings.seed, settings.threads, device), StopSignals() as signals:
        network.to(device)
        # A network of plain lava-dl blocks takes its shapes and draws its delays at the first input.
        denoise(network, torch.zeros(1, network.n_fft, device=device))
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        run = _Run(
            network=network,
            clips=validation_clips,
            settings=settings,
            pruner=pruner,
            device=device,
            directory=Path(directory),
            checkpoints=Checkpoints(
                checkpoints or Path(directory) / "checkpoints",
                settings.digest(identity, repr(pruner), repr(shapes)),
                log,
            ),
            signals=signals,
            log=log,
            on_epoch=on_epoch,
        )
        run.resume()
        while run.position.epoch < settings.epochs:
            run.train_epoch(train_batches)
            run.end_epoch()
        return run.finish()


@dataclass
class _Run:
    network: torch.nn.Module
    clips: Sequence[NoisyClip]
    settings: TrainSettings
    pruner: Pruner | None
    device: torch.device
    directory: Path
    checkpoints: Checkpoints
    signals: StopSignals
    log: Callable[[str], None]
    on_epoch: Callable[[Row], None] | None

    def __post_init__(self) -> None:
        self.position = _Position()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.RAdam(
            self.parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.logs = {name: CsvLog(self.directory / f"{name}.csv", columns) for name, columns in COLUMNS.items()}
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        state = self.checkpoints.load()
        for name, table in self.logs.items():
            table.restart(state["logs"][name] if state else ())
        if state is None:
            return
        self.position = _Position.from_state_dict(state["position"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.pruner is not None:
            self.pruner.load_state_dict(state["pruner"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        self.log(f"continuing after iteration {self.position.iteration}")

    def save(self) -> None:
        """Write a checkpoint of everything that the rest of the run depends on."""
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        self.checkpoints.save(
            {
                "position": self.position.state_dict(),
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "pruner": None if self.pruner is None else self.pruner.state_dict(),
                "rng": rng,
                "logs": {name: table.rows for name, table in self.logs.items()},
            }
        )
        self.saved_at = time.monotonic()

    def stop_if_asked(self) -> None:
        if self.signals.received:
            self.save()
            raise Stopped(
                f"{self.signals.received}: stopped after iteration {self.position.iteration}; run again to go on"
            )

    def train_epoch(self, batches: Batches) -> None:
        """Train on the batches of the present epoch that are still to come."""
        position, settings = self.position, self.settings
        if position.batch == len(batches):  # stopped during validation
            return
        lr = settings.learning_rate(position.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.network.train()
        clock = time.monotonic()
        title = f"epoch {position.epoch + 1}/{settings.epochs}"
        with tqdm(
            total=len(batches), initial=position.batch, desc=title, unit="batch", leave=False, disable=None
        ) as bar:
            for noisy, clean, names in batches.epoch(position.epoch, position.batch):
                loss, scores = self.train_batch(noisy, clean, names)
                position.batch += 1
                position.iteration += 1
                for mean in (position.since_row, position.since_epoch):
                    mean.add(loss, scores)
                if position.iteration % settings.log_every == 0:
                    row = position.since_row.row()
                    bar.set_postfix_str(f"{row['si_snr_db']:.2f} dB")
                    self.logs["log"].append(self.row_head() | row | self.row_tail())
                    position.since_row = _Mean()
                bar.update()
                now = time.monotonic()
                position.seconds += now - clock
                clock = now
                if now - self.saved_at >= 60 * settings.checkpoint_minutes:
                    self.save()
                self.stop_if_asked()

    def train_batch(self, noisy: np.ndarray, clean: np.ndarray, names: Sequence[str]) -> tuple[float, torch.Tensor]:
        """One optimiser step; the loss, and the SI-SNR in dB of each segment that has one."""
        n_fft, hop = self.network.n_fft, self.network.hop
        noisy, clean = (torch.from_numpy(audio).to(self.device) for audio in (noisy, clean))
        magnitude, phase = stft(noisy, n_fft, hop)
        denoised = self.network(magnitude)
        audio = istft(denoised, phase, noisy.shape[-1], n_fft, hop)
        loss, scores = denoising_loss(denoised, stft(clean, n_fft, hop)[0], audio, clean, self.settings.lam)
        value = loss.item()
        self.check_finite("loss", value, names)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.check_finite("norm of its gradient", norm.item(), names)
        self.optimizer.step()
        if self.pruner is not None:
            self.pruner.step()
        return value, scores

    def check_finite(self, what: str, value: float, names: Sequence[str]) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} is {value} at iteration {self.position.iteration + 1}, with the clips {', '.join(names)}: "
                f"check these files, or lower the learning rate of {self.optimizer.param_groups[0]['lr']:g}"
            )

    def validate(self) -> float:
        """Mean SI-SNR in dB of the denoised validation clips that have one."""
        self.network.eval()
        scores = []
        count = min(len(self.clips), self.settings.validation_limit or len(self.clips))
        for group in equal_lengths((self.clips[i] for i in range(count)), self.settings.validation_batch_size):
            noisy, clean = (
                torch.from_numpy(np.stack([getattr(clip, kind) for clip in group])).to(self.device)
                for kind in ("noisy", "clean")
            )
            has_speech = audible(clean)
            scores.append(si_snr(denoise(self.network, noisy), clean)[has_speech].double().cpu())
            self.stop_if_asked()
        if not sum(map(len, scores)):
            raise SpandexError(f"no speech in any of {count} validation clips")
        return float(torch.cat(scores).mean())

    def end_epoch(self) -> None:
        """Validate, keep the weights if they are the best, and write down how the epoch went."""
        position = self.position
        clock = time.monotonic()
        score = self.validate()
        validation_s = time.monotonic() - clock
        row = self.row_head() | position.since_epoch.row("train_") | {"validation_si_snr_db": score} | self.row_tail()
        eligible = self.pruner is None or self.pruner.done
        if eligible and (position.best is None or score > position.best["validation_si_snr_db"]):
            position.best = {
                "epoch": position.epoch + 1,
                "validation_si_snr_db": score,
                "sparsity": row["sparsity"],
                "network": {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()},
            }
        self.logs["epochs"].append(row)
        self.logs["times"].append(self.row_head() | {"train_s": position.seconds, "validation_s": validation_s})
        self.log(
            f"epoch {row['epoch']}/{self.settings.epochs}: loss {row['train_loss']:.2f}, SI-SNR training "
            f"{row['train_si_snr_db']:.2f} dB, validation {score:.2f} dB, sparsity {100 * row['sparsity']:.1f} %, "
            f"{position.seconds + validation_s:.0f} s"
        )
        position.epoch += 1
        position.batch = 0
        position.seconds = 0.0
        position.since_epoch = _Mean()
        self.save()
        if self.on_epoch is not None:
            self.on_epoch(row)
        if position.epoch < self.settings.epochs:
            self.stop_if_asked()

    def finish(self) -> FitResult:
        """Put the best weights into the network."""
        best = self.position.best
        self.network.load_state_dict(best["network"])
        return FitResult(
            epoch=best["epoch"],
            validation_si_snr_db=best["validation_si_snr_db"],
            sparsity=best["sparsity"],
            iterations=self.position.iteration,
            epochs=self.logs["epochs"].rows,
        )

    def row_head(self) -> Row:
        return {"iteration": self.position.iteration, "epoch": self.position.epoch + 1}

    def row_tail(self) -> Row:
        return {"sparsity": sparsity(self.network).total, "lr": float(self.optimizer.param_groups[0]["lr"])}


def equal_lengths(clips: Iterable[NoisyClip], size: int) -> Iterator[list[NoisyClip]]:
    """Neighbouring clips of equal length, at most ``size`` at a time."""
    group: list[NoisyClip] = []
    for clip in clips:
        if group and (len(group) == size or clip.noisy.shape != group[0].noisy.shape):
            yield group
            group = []
        group.append(clip)
    if group:
        yield group
