"""Training: batches in, the best network out, continued from where it stopped."""

import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from spandex.errors import SpandexError, Stopped
from spandex.networks import MaskNetwork, denoise, istft, magnitudes, stft
from spandex.sparsify import Sparsifier, sparsity
from spandex.train.averaging import RunningMean
from spandex.train.checkpoint import Checkpoints
from spandex.train.distillation import Distillation
from spandex.train.logs import CsvLog, Row
from spandex.train.losses import audible, denoising_loss
from spandex.train.mask_range import MaskRange
from spandex.train.progress import Forecast, Mean, Position
from spandex.train.reproducible import reproducible, rng_state, set_rng_state
from spandex.train.settings import TrainSettings
from spandex.train.stopping import StopSignals
from spandex.train.validation import NoisyClip, mean_si_snr
from spandex.train.world import World, world

COLUMNS = {
    "log": ("iteration", "epoch", "loss", "si_snr_db", "sparsity", "lr"),
    "epochs": ("iteration", "epoch", "train_loss", "train_si_snr_db", "validation_si_snr_db", "sparsity", "lr"),
    "times": ("iteration", "epoch", "train_s", "validation_s"),
}


class Batches(Protocol):
    """Training batches whose order depends only on the epoch, such as ``spandex.data.SegmentBatches``.

    With several processes, batches whose attributes ``rank`` and ``world_size`` are those of the process hold its
    rows alone, rows ``rank::world_size`` of the batch of all; of other batches ``fit`` takes these rows.
    """

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[str]]]:
        """Noisy and clean audio (batch, samples), float32, and the clips' names, from ``start_batch`` on."""


class TrainingError(SpandexError):
    """Training cannot go on: the loss, its gradient or the validation score is not finite."""


@dataclass(frozen=True)
class FitResult:
    """What a training run came to; the network itself holds the best weights.

    Attributes:
        epoch: the best epoch, counted from 1.
        validation_si_snr_db: its mean SI-SNR on the validation clips, in dB.
        sparsity: share of its dense weights that are zero, see ``spandex.metrics.weights``.
        iterations: batches of the whole run.
        skipped: how many of them were passed over, because the loss or its gradient was not finite.
        epochs: the rows of epochs.csv, but for that of the start.
    """

    epoch: int
    validation_si_snr_db: float
    sparsity: float
    iterations: int
    skipped: int
    epochs: list[Row]


def fit(
    network: torch.nn.Module,
    train_batches: Batches,
    validation_clips: Sequence[NoisyClip],
    settings: TrainSettings,
    directory: str | os.PathLike,
    *,
    pruner: Sparsifier | None = None,
    distillation: Distillation | None = None,
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
    Epochs and iterations count from 1 there; epoch 0 of epochs.csv is the network that training starts from.

    On SIGINT or SIGTERM the current batch is finished and a checkpoint written. Called again with the same arguments,
    training continues from the newest checkpoint and ends in the same bytes as if it had never stopped. The
    checkpoints stay when training is over, so that calling again returns the same result at once; remove their
    folder when the network is safe.

    Under torchrun, call this with the same arguments in every process: each trains on its share of the rows of every
    batch, and the gradients and logs are those of whole batches. Process 0 writes all files and messages.

    A skipped batch changes neither weights, optimiser nor buffers, and counts in no mean of the logs. It counts as an
    iteration for the learning rate and for the pruner, which works on the weights as they are and is shown no gradient:
    pruning ends when it was to end.

    Args:
        network: magnitude (batch, bins, steps) -> denoised magnitude, with attributes ``n_fft`` and ``hop`` in
            samples, such as ``spandex.networks.SDNN``; on ``device`` already if there is a pruner.
        train_batches: training batches at 16 kHz.
        validation_clips: whole clips to validate on after each epoch.
        settings: what decides the run; ``batch_size`` is that of all processes together.
        directory: where the logs go.
        pruner: sparsifies the network while it trains; None: nothing is pruned.
        distillation: pulls the network to a teacher, on ``device``; None: there is none.
        checkpoints: folder for this run's checkpoints alone; ``directory``/checkpoints if not given.
        identity: digest of the data and the starting weights. Checkpoints of another identity, of other settings, of
            another pruning, teacher, kind of device or number of processes are not continued.
        device: where to train; see ``choose_device``.
        log: told of each epoch and of unused checkpoints, one line each.
        on_epoch: given each new row of epochs.csv; epochs before a continued checkpoint are in ``FitResult.epochs``.

    Raises:
        Stopped: on a signal.
        TrainingError: the loss or its gradient is not finite once more than the settings let pass; names the clips
            of the batch.
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
    if pruner is not None and pruner.steps >= iterations:
        raise SpandexError(f"pruning takes {pruner.steps + 1} iterations, training only {iterations}")
    with (
        world(device) as processes,
        reproducible(settings.seed + processes.rank, settings.threads, device),
        StopSignals() as signals,
        _mask_range(network, settings.mask_limit) as mask_range,
    ):
        if processes.size > settings.batch_size:
            raise SpandexError(f"{processes.size} processes cannot share a batch of {settings.batch_size} segments")
        if not processes.main:
            log, on_epoch = _nothing, None
        network.to(device)
        # A network of plain lava-dl blocks takes its shapes and draws its delays at the first input, which is no batch.
        denoise(network.eval(), torch.zeros(1, network.n_fft, device=device))
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        place = f"{processes.size} x {device.type}"
        rhythm = len(train_batches), network.n_fft, network.hop
        run = _Run(
            network=network,
            clips=validation_clips,
            settings=settings,
            pruner=pruner,
            distillation=distillation,
            world=processes,
            directory=Path(directory),
            checkpoints=Checkpoints(
                checkpoints or Path(directory) / "checkpoints",
                settings.digest(identity, repr(pruner), repr(distillation), repr(shapes), place, repr(rhythm)),
                log,
            ),
            signals=signals,
            log=log,
            on_epoch=on_epoch,
            mask_range=mask_range,
        )
        run.resume()
        run.score_start()
        while run.position.epoch < settings.epochs:
            run.train_epoch(train_batches)
            run.end_epoch()
        return run.finish()


def _mask_range(network: torch.nn.Module, limit: float | None) -> AbstractContextManager[MaskRange | None]:
    """Only blocks say what they send before it becomes a mask."""
    if limit is None or not isinstance(network, MaskNetwork):
        return nullcontext()
    return MaskRange(network.blocks[-1], limit)


@dataclass
class _Run:
    network: torch.nn.Module
    clips: Sequence[NoisyClip]
    settings: TrainSettings
    pruner: Sparsifier | None
    distillation: Distillation | None
    world: World
    directory: Path
    checkpoints: Checkpoints
    signals: StopSignals
    log: Callable[[str], None]
    on_epoch: Callable[[Row], None] | None
    mask_range: MaskRange | None

    def __post_init__(self) -> None:
        self.position = Position()
        self.model = self.world.wrap(self.network)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.RAdam(
            self.parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.average = None if self.settings.average is None else RunningMean(self.parameters, self.settings.average)
        self.logs = {
            name: CsvLog(self.directory / f"{name}.csv", columns, write=self.world.main)
            for name, columns in COLUMNS.items()
        }
        self.saved_at = time.monotonic()
        self.forecast = Forecast()

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one, in every process."""
        state = self.world.broadcast(self.checkpoints.load() if self.world.main else None)
        for name, table in self.logs.items():
            table.restart(state["logs"][name] if state else ())
        if state is None:
            if self.pruner is not None and self.world.size > 1:
                self.pruner.load_state_dict(self.world.broadcast(self.pruner.state_dict()))
            return
        self.position = Position.from_state_dict(state["position"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.pruner is not None:
            self.pruner.load_state_dict(state["pruner"])
        set_rng_state(state["rng"][self.world.rank], self.world.device)
        self.forecast.validation_s = next((row["validation_s"] for row in reversed(self.logs["times"].rows)), 0.0)
        self.log(f"continuing after iteration {self.position.iteration}")

    def score_start(self) -> None:
        """Write down how good the network is before training; it is never the best."""
        if self.position.iteration or self.logs["epochs"].rows:
            return
        rng, clock = rng_state(self.world.device), time.monotonic()
        score = self.validate()
        self.forecast.validation_s = time.monotonic() - clock
        set_rng_state(rng, self.world.device)
        start = {"iteration": 0, "epoch": 0, "validation_si_snr_db": score}
        self.logs["epochs"].append(start | self.row_tail())

    def save(self) -> None:
        """Write a checkpoint of everything that the rest of the run depends on."""
        rng = self.world.gather(rng_state(self.world.device))
        if self.world.main:
            state = {
                "position": self.position.state_dict(),
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "pruner": None if self.pruner is None else self.pruner.state_dict(),
                "rng": rng,
                "logs": {name: table.rows for name, table in self.logs.items()},
            }
            self.checkpoints.save(state)
        self.saved_at = time.monotonic()

    def save_or_stop(self) -> None:
        """Between batches: a checkpoint if it is time for one, and the end if a signal came to any process."""
        due = self.world.main and time.monotonic() - self.saved_at >= 60 * self.settings.checkpoint_minutes
        due, received = self.world.max(due, self.signals.received)
        if due or received:
            self.save()
        if received:
            name, iteration = signal.Signals(received).name, self.position.iteration
            raise Stopped(f"{name}: stopped after iteration {iteration}; run again to go on")

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
        hidden = None if self.world.main else True  # None: unless on a terminal
        with tqdm(
            total=len(batches), initial=position.batch, desc=title, unit="batch", leave=False, disable=hidden
        ) as bar:
            for noisy, clean, names in self.own_rows(batches, position.epoch, position.batch):
                left = settings.epochs - position.epoch
                if told := self.forecast.begin_batch(left * len(batches) - position.batch, left):
                    self.log(told)
                result = self.train_batch(noisy, clean, names)
                position.batch += 1
                position.iteration += 1
                if result is not None:
                    position.since_row.add(*result)
                    position.since_epoch.add(*result)
                if position.iteration % settings.log_every == 0:
                    row = position.since_row.row()
                    bar.set_postfix_str(f"{row['si_snr_db']:.2f} dB")
                    self.logs["log"].append(self.row_head() | row | self.row_tail())
                    position.since_row = Mean()
                bar.update()
                now = time.monotonic()
                position.seconds += now - clock
                clock = now
                self.save_or_stop()

    def own_rows(
        self, batches: Batches, epoch: int, start: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[str]]]:
        """The rows of each batch that this process trains on."""
        rank, size = self.world.rank, self.world.size
        if (getattr(batches, "rank", 0), getattr(batches, "world_size", 1)) == (rank, size):
            return batches.epoch(epoch, start)
        return (tuple(part[rank::size] for part in batch) for batch in batches.epoch(epoch, start))

    def train_batch(
        self, noisy: np.ndarray, clean: np.ndarray, names: Sequence[str]
    ) -> tuple[float, float, int] | None:
        """One optimiser step.

        Returns:
            Of the batches of all processes: the loss, the sum of SI-SNR in dB over the segments that have one, and
            their number; None if the batch was skipped.
        """
        n_fft, hop = self.network.n_fft, self.network.hop
        noisy, clean = (torch.from_numpy(audio).to(self.world.device) for audio in (noisy, clean))
        kept = self.buffers(copies=True) if self.settings.skip_nonfinite else {}
        magnitude, phase = stft(noisy, n_fft, hop)
        denoised = self.model(magnitude)
        audio = istft(denoised, phase, noisy.shape[-1], n_fft, hop)
        clean_magnitude = magnitudes(clean, n_fft, hop)
        weights = self.loss_weights(clean)
        loss, scores = denoising_loss(denoised, clean_magnitude, audio, clean, self.settings.lam, weights)
        penalty = None if self.pruner is None else self.pruner.penalty()
        if penalty is not None:
            loss = loss + penalty
        if self.distillation is not None:
            loss = loss + self.distillation.loss(magnitude, denoised, self.world)
        if self.mask_range is not None:
            loss = loss + weights[0] * self.mask_range.penalty()
        value, si_snr_db, segments = self.world.sum(loss.item() / self.world.size, float(scores.sum()), len(scores))
        problem = self.step(loss) if math.isfinite(value) else f"loss is {value}"
        if problem:
            self.optimizer.zero_grad()
            self.network.load_state_dict(kept, strict=False)
            self.skip(problem, names)
        elif self.world.size > 1:
            self.world.copy_from_main(self.buffers().values())
        if self.pruner is not None:
            self.world.add_up(self.pruner.counts())
            self.pruner.step()
        return None if problem else (value, si_snr_db, int(segments))

    def step(self, loss: torch.Tensor) -> str | None:
        """Backward pass and optimiser step; what is not finite, if the step was not taken for that."""
        self.optimizer.zero_grad()
        self.world.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip).item()
        if not math.isfinite(norm):
            return f"norm of its gradient is {norm}"
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return None

    def loss_weights(self, clean: torch.Tensor) -> tuple[float, float]:
        """Weights of the two terms of the loss, so that its mean over the processes is the loss of the whole batch. The
        first is that of all means over rows.

        The mean over processes of their means would not be: SI-SNR is a mean over the segments with speech, of which
        one process may have more than another.
        """
        if self.world.size == 1:
            return 1.0, 1.0
        rows, heard = len(clean), int(audible(clean).sum())
        all_rows, all_heard = self.world.sum(rows, heard)
        return self.world.size * rows / all_rows, self.world.size * heard / max(all_heard, 1)

    def buffers(self, copies: bool = False) -> dict[str, torch.Tensor]:
        """What the network remembers beside its parameters, such as running means; not the states of its neurons,
        which every batch overwrites."""
        parameters = dict(self.network.named_parameters())
        state = self.network.state_dict()
        return {name: state[name].clone() if copies else state[name] for name in state.keys() - parameters.keys()}

    def skip(self, problem: str, names: Sequence[str]) -> None:
        """Pass over a batch that is not finite, unless that has happened too often."""
        position, limit = self.position, self.settings.skip_nonfinite
        by_process = self.world.gather(list(names))
        in_order = [name for row in itertools.zip_longest(*by_process) for name in row if name is not None]
        problem = f"the {problem} at iteration {position.iteration + 1}, with the clips {', '.join(in_order)}"
        if position.skipped == limit:
            before = f" ({limit} batches were skipped before)" if limit else ""
            raise TrainingError(
                f"{problem}{before}: check these files, or lower the learning rate of "
                f"{self.optimizer.param_groups[0]['lr']:g}"
            )
        position.skipped += 1
        self.log(f"warning: {problem}: batch skipped ({position.skipped} of at most {limit})")

    def validate(self) -> float:
        """Mean SI-SNR in dB of the denoised validation clips that have one."""
        count = min(len(self.clips), self.settings.validation_limit or len(self.clips))
        size = self.settings.validation_batch_size
        return mean_si_snr(self.network, self.clips, count, size, self.world, self.save_or_stop)

    def end_epoch(self) -> None:
        """Validate, keep the weights if they are the best, and write down how the epoch went."""
        position = self.position
        if not position.since_epoch.segments and not position.skipped:
            raise TrainingError(f"epoch {position.epoch + 1}: no training segment holds speech")
        clock = time.monotonic()
        with nullcontext() if self.average is None else self.average.in_place():
            row = self.judge()
        score, validation_s = row["validation_si_snr_db"], time.monotonic() - clock
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
        position.since_epoch = Mean()
        self.save()
        if self.on_epoch is not None:
            self.on_epoch(row)
        if position.epoch < self.settings.epochs:
            self.save_or_stop()

    def judge(self) -> Row:
        """Validate the network as it is, and keep its weights if they are the best: the row of epochs.csv."""
        position = self.position
        if self.pruner is not None:
            self.pruner.end_epoch()
        score = self.validate()
        row = self.row_head() | position.since_epoch.row("train_") | {"validation_si_snr_db": score} | self.row_tail()
        eligible = math.isfinite(score) and (self.pruner is None or self.pruner.done)
        if eligible and (position.best is None or score > position.best["validation_si_snr_db"]):
            position.best = {
                "epoch": position.epoch + 1,
                "validation_si_snr_db": score,
                "sparsity": row["sparsity"],
                "network": {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()},
            }
        return row

    def finish(self) -> FitResult:
        """Put the best weights into the network."""
        best = self.position.best
        if best is None:
            missed = self.pruner.missed if self.pruner is not None else ""
            raise TrainingError(missed or "no epoch ended with a finite validation SI-SNR: lower the learning rate")
        self.network.load_state_dict(best["network"])
        return FitResult(
            epoch=best["epoch"],
            validation_si_snr_db=best["validation_si_snr_db"],
            sparsity=best["sparsity"],
            iterations=self.position.iteration,
            skipped=self.position.skipped,
            epochs=[row for row in self.logs["epochs"].rows if row["epoch"]],
        )

    def row_head(self) -> Row:
        return {"iteration": self.position.iteration, "epoch": self.position.epoch + 1}

    def row_tail(self) -> Row:
        return {"sparsity": sparsity(self.network).total, "lr": float(self.optimizer.param_groups[0]["lr"])}


def _nothing(line: str) -> None:
    """The log of a process that does not write."""
