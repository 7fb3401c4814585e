"""Small training runs, in this process and in others.

As a program it serves :class:`RunServer`, or, given a folder and options as JSON, is one run.
"""

import csv
import dataclasses
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spandex.kernels import accelerate
from spandex.networks import SDNN, save_state
from spandex.sparsify import Cubic, GradualMagnitude, Pruner, SaliencyPruner, sparsity
from spandex.train import Distillation, FitResult, TrainSettings, fit, torchrun_place
from spandex.train.checkpoint import read_checkpoint

SAMPLES = 4000
SETTINGS = TrainSettings(epochs=3, batch_size=4, segment_s=0.25, log_every=4, threads=1, checkpoint_minutes=0.0)
PRODUCTS = ("network.pt", "log.csv", "epochs.csv")


@dataclasses.dataclass
class Clip:
    noisy: np.ndarray
    clean: np.ndarray


def clip(seed: int, samples: int = SAMPLES) -> Clip:
    """A gliding harmonic tone in white noise, float32."""
    rng = np.random.default_rng(seed)
    phase = np.cumsum(np.linspace(*rng.uniform(100, 400, 2), samples)) * 2 * np.pi / 16000
    clean = sum(np.sin(k * phase) / k for k in range(1, 6)) * 0.1
    return Clip((clean + 0.05 * rng.standard_normal(samples)).astype("f4"), clean.astype("f4"))


class Tones:
    """Batches of tones that depend only on their number."""

    def __init__(self, batches: int = 10, size: int = 4, on_batch: Callable[[int], None] = lambda number: None):
        self.batches = batches
        self.size = size
        self.on_batch = on_batch

    def __len__(self):
        return self.batches

    def epoch(self, epoch, start_batch=0):
        for batch in range(start_batch, self.batches):
            number = epoch * self.batches + batch
            self.on_batch(number)
            seeds = range(number * self.size, (number + 1) * self.size)
            clips = [clip(seed) for seed in seeds]
            yield np.stack([c.noisy for c in clips]), np.stack([c.clean for c in clips]), [f"tone_{s}" for s in seeds]


class Pauses(Tones):
    """Every second row without speech, from the first on, and a whole batch: few means of means are the mean."""

    def epoch(self, epoch, start_batch=0):
        for batch, (noisy, clean, names) in enumerate(super().epoch(epoch, start_batch), start_batch):
            clean[:: 1 if batch == 3 else 2] = 0
            yield noisy, clean, names


class Broken(Tones):
    """The clip tone_30 is not a number at one place."""

    def epoch(self, epoch, start_batch=0):
        for noisy, clean, names in super().epoch(epoch, start_batch):
            if "tone_30" in names:
                noisy[names.index("tone_30"), 100] = np.nan
            yield noisy, clean, names


class OwnRows(Tones):
    """Batches that hold the rows of this process alone."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.rank, self.world_size = torchrun_place()

    def epoch(self, epoch, start_batch=0):
        for batch in super().epoch(epoch, start_batch):
            yield tuple(part[self.rank :: self.world_size] for part in batch)


BATCHES = {kind.__name__: kind for kind in (Tones, Pauses, Broken, OwnRows)}
VALIDATION = [clip(10_000), clip(10_001), clip(10_002, 6000)]


class Interrupting(list):
    """Validation clips; SIGTERM comes with so many reads beyond those that score the start."""

    def __init__(self, clips: list[Clip], reads: int):
        super().__init__(clips)
        self.left = len(clips) + reads

    def __getitem__(self, index):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitem__(index)


class Restless(torch.nn.Module):
    """Depends on the random numbers of torch, NumPy and Python, and on a running mean."""

    def __init__(self, **options):
        super().__init__()
        self.sdnn = SDNN(**options)
        self.n_fft, self.hop = self.sdnn.n_fft, self.sdnn.hop
        self.register_buffer("level", torch.zeros(()))

    def forward(self, noisy_magnitude):
        if self.training:
            self.level = 0.9 * self.level + 0.1 * noisy_magnitude.detach().mean()
            noisy_magnitude = noisy_magnitude * (1 + 0.1 * random.random() + 0.1 * np.random.rand())
            noisy_magnitude = torch.nn.functional.dropout(noisy_magnitude, 0.1)
        return self.sdnn(noisy_magnitude) * (1 + 0.01 * self.level)


def network(kind: type[torch.nn.Module] = SDNN) -> torch.nn.Module:
    """A small network, the same every time."""
    torch.manual_seed(3)
    return kind(hidden=16, max_delay=8)


def by_weights(network: torch.nn.Module) -> float:
    """A power in which every weight that is not zero costs the same: 1 + 9 times their share, in M-Ops/s."""
    return 1 + 9 * (1 - sparsity(network).total)


def train(
    directory: Path,
    batches: Tones | None = None,
    settings: TrainSettings = SETTINGS,
    target: float | None = 0.5,
    kind: type[torch.nn.Module] = SDNN,
    **options,
) -> tuple[torch.nn.Module, FitResult]:
    """A run with pruning to ``target`` by iteration 20; its network is written to network.pt."""
    model = network(kind)
    pruner = GradualMagnitude(model, target, steps=19, frequency=5) if target else None
    options.setdefault("log", lambda line: None)
    result = fit(model, batches or Tones(), VALIDATION, settings, directory, pruner=pruner, **options)
    if torchrun_place()[0] == 0:
        save_state(model, directory / "network.pt")
    return model, result


def rows(path: Path) -> list[dict[str, float]]:
    """A CSV file of numbers, NaN where a cell is empty."""
    with path.open() as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


def products(directory: Path) -> dict[str, str]:
    """Digests of what a run makes."""
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in PRODUCTS}


def checkpoint(directory: Path) -> dict:
    """The newest state of a run."""
    return read_checkpoint(directory / "checkpoints" / "checkpoint.ckpt")["state"]


def same_training(one: Path, other: Path) -> None:
    """Assert that two runs saw the same losses and gradients, but for rounding."""
    for name in ("log.csv", "epochs.csv"):
        expected = rows(one / name)
        for row, reference in zip(rows(other / name), expected, strict=True):
            assert row == pytest.approx(reference, rel=2e-5, abs=1e-4, nan_ok=True)
    first, second = checkpoint(one), checkpoint(other)
    for layer, mask in first["pruner"]["masks"].items():
        assert (mask == second["pruner"]["masks"][layer]).float().mean() > 0.9999
    torch.testing.assert_close(second["pruner"].get("rates"), first["pruner"].get("rates"), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(second["network"], first["network"], rtol=1e-3, atol=1e-4)
    for number, state in first["optimizer"]["state"].items():
        difference = second["optimizer"]["state"][number]["exp_avg"] - state["exp_avg"]
        assert difference.norm() <= 1e-3 * state["exp_avg"].norm()


def run(
    directory: str,
    epochs: int = 3,
    batches: int = 10,
    size: int = 4,
    data: str = "Tones",
    restless: bool = False,
    fused: bool = False,
    again: bool = False,
    saliency: bool = False,
    distill: float = 0.0,
    stop: tuple[int, int, int] | None = None,
    **settings,
) -> None:
    """A run in a process of its own: prints the batches it starts on, if it is process 0, and writes, for each
    process, what it was told to log (lines_RANK.txt) and its network (network_RANK.pt).

    Args:
        directory: of the run.
        epochs: how many.
        batches: how many an epoch.
        size: clips a batch.
        data: class of the batches.
        restless: a network that depends on random numbers.
        fused: with the fused kernels.
        again: once more afterwards, in the folder ``again``.
        saliency: pruned by it, neurons too, and not by magnitude.
        distill: weight of the distance to a network of other weights; 0: there is no teacher.
        stop: rank, batch and signal that ends it, once.
        settings: others of ``TrainSettings``.
    """
    import torch._dynamo  # noqa: F401  every optimiser's first step imports it: seconds, paid once by a server

    rank, folder = torchrun_place()[0], Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    once = folder / "stopped"

    def on_batch(number: int) -> None:
        if rank == 0:
            print(number, flush=True)
        if stop and stop[:2] == [rank, number] and not once.exists():
            once.touch()
            os.kill(os.getpid(), stop[2])

    model = network(Restless if restless else SDNN)
    if fused:
        accelerate(model)
    distillation = Distillation(SDNN(hidden=16, max_delay=8), distill) if distill else None
    schedule = Cubic(0.5, steps=19, frequency=5)
    pruner = SaliencyPruner(model, schedule, neurons=True) if saliency else Pruner(model, schedule)
    with (folder / f"lines_{rank}.txt").open("a", buffering=1) as lines:
        try:
            fit(
                model,
                BATCHES[data](batches, size, on_batch),
                VALIDATION,
                dataclasses.replace(SETTINGS, epochs=epochs, batch_size=size, **settings),
                folder,
                pruner=pruner,
                distillation=distillation,
                log=lambda line: lines.write(f"{line}\n"),
            )
        except BaseException as error:
            (folder / f"error_{rank}.txt").write_text(f"{type(error).__name__}: {error}")
            raise SystemExit(3) from None
    save_state(model, folder / f"network_{rank}.pt")
    if rank == 0:
        save_state(model, folder / "network.pt")
    if again:
        options = {"restless": restless, "fused": fused, "stop": stop, **settings}
        run(f"{directory}/again", epochs, batches, size, data, **options)


class RunServer:
    """A process that has imported everything and forks fresh runs as it is told."""

    def __enter__(self) -> "RunServer":
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate(timeout=60)

    def start(self, directory: Path, processes: int = 1, **options) -> list[int]:
        """Start :func:`run` in one process or, together, several; their process ids."""
        command = {"processes": processes, "options": {"directory": str(directory)} | options}
        self.process.stdin.write(f"{json.dumps(command)}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def batches(self) -> Iterator[int]:
        """The batches that the run starts on, as it does; afterwards its exit statuses are in ``status``."""
        while not (line := self.process.stdout.readline()).startswith("exit"):
            yield int(line)
        self.status = json.loads(line.removeprefix("exit"))

    def finish(self, directory: Path, processes: int = 1, **options) -> list[int]:
        """Run to the end; the batches it started on."""
        self.start(directory, processes, **options)
        return list(self.batches())

    @staticmethod
    def serve() -> None:
        import lightning_fabric  # noqa: F401  as in run
        import torch._dynamo  # noqa: F401

        for line in sys.stdin:
            command = json.loads(line)
            processes = command["processes"]
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            pids = []
            for rank in range(processes):
                pid = os.fork()
                if pid == 0:
                    if processes > 1:
                        os.environ |= torchrun_environment(rank, processes, port)
                    status = 1
                    try:
                        run(**command["options"])
                        status = 0
                    except SystemExit as stopped:
                        status = stopped.code
                    finally:
                        os._exit(status)
                pids.append(pid)
            print(json.dumps(pids), flush=True)
            status = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            print("exit", json.dumps(status), flush=True)


def torchrun_environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun tells one of its processes on one machine."""
    return {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(**json.loads(sys.argv[1]))
    else:
        RunServer.serve()
