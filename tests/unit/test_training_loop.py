import csv
import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spandex.errors import SpandexError, Stopped
from spandex.metrics import si_snr
from spandex.models import SDNN, denoise, save_state
from spandex.sparsify import GradualMagnitude, sparsity
from spandex.train import TrainingError, TrainSettings, fit

SAMPLES = 4000
SETTINGS = TrainSettings(epochs=3, batch_size=4, segment_s=0.25, log_every=4, threads=1, checkpoint_minutes=0.0)


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

    def __init__(self, batches: int = 10, size: int = 4, on_batch=lambda number: None):
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


VALIDATION = [clip(10_000), clip(10_001), clip(10_002, 6000)]


def network() -> SDNN:
    torch.manual_seed(3)
    return SDNN(hidden=16, max_delay=8)


def train(directory, batches=None, settings=SETTINGS, target=0.5, **options):
    """The network, its pruner's result and the state dict's digest of one small run."""
    model = network()
    pruner = GradualMagnitude(model, target, steps=19, frequency=5) if target else None
    options.setdefault("log", lambda line: None)
    result = fit(model, batches or Tones(), VALIDATION, settings, directory, pruner=pruner, **options)
    save_state(model, directory / "network.pt")
    return model, result


def rows(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def products(directory: Path) -> dict[str, str]:
    names = ("network.pt", "log.csv", "epochs.csv")
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    model, result = train(directory)
    return directory, model, result


def test_training_raises_si_snr(tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=4, lr=3e-3)
    _, result = train(tmp_path, Tones(batches=25), settings, target=None)
    noisy = np.mean([si_snr(c.noisy, c.clean) for c in VALIDATION])
    scores = [row["train_si_snr_db"] for row in result.epochs]
    assert scores == sorted(scores)
    assert result.validation_si_snr_db > noisy + 1.0


def test_logs_say_how_training_went(uninterrupted):
    directory, _, result = uninterrupted
    assert (directory / "log.csv").read_text().splitlines()[0] == "iteration,epoch,loss,si_snr_db,sparsity,lr"
    log = rows(directory / "log.csv")
    assert [row["iteration"] for row in log] == list(range(4, 31, 4))
    assert [row["epoch"] for row in log] == [1, 1, 2, 2, 2, 3, 3]
    epochs = rows(directory / "epochs.csv")
    assert list(epochs[0]) == [
        "iteration", "epoch", "train_loss", "train_si_snr_db", "validation_si_snr_db", "sparsity", "lr",
    ]  # fmt: skip
    assert [(row["epoch"], row["iteration"]) for row in epochs] == [(1, 10), (2, 20), (3, 30)]
    assert [row["validation_si_snr_db"] for row in epochs] == pytest.approx(
        [row["validation_si_snr_db"] for row in result.epochs], rel=1e-5
    )
    assert len(rows(directory / "times.csv")) == 3


def test_sparsity_reaches_its_target_and_is_logged(uninterrupted):
    directory, model, result = uninterrupted
    weights = sum(w.numel() for name, w in model.state_dict().items() if name.endswith("synapse.weight"))
    assert sparsity(model).total == result.sparsity == round(0.5 * weights) / weights
    assert [row["sparsity"] for row in rows(directory / "epochs.csv")[1:]] == pytest.approx([0.5, 0.5], abs=1e-4)
    logged = [row["sparsity"] for row in rows(directory / "log.csv")]
    assert logged == sorted(logged) and logged[0] < 0.5


def test_the_best_weights_are_kept_and_only_at_the_final_sparsity(uninterrupted, tmp_path):
    _, model, result = uninterrupted
    scores = [row["validation_si_snr_db"] for row in result.epochs]
    assert result.epoch == 2 + int(np.argmax(scores[1:]))
    measured = np.mean(
        [
            si_snr(denoise(model, torch.from_numpy(c.noisy)[None])[0], torch.from_numpy(c.clean)).item()
            for c in VALIDATION
        ]
    )
    assert measured == pytest.approx(result.validation_si_snr_db, abs=1e-4)

    class Misleading(Tones):
        """From the second epoch on, asks for the noise."""

        def epoch(self, epoch, start_batch=0):
            for noisy, clean, names in super().epoch(epoch, start_batch):
                yield noisy, noisy - clean if epoch > 0 else clean, names

    settings = dataclasses.replace(SETTINGS, lr=1e-2)
    assert train(tmp_path / "dense", Misleading(), settings, target=None)[1].epoch == 1
    assert train(tmp_path / "pruned", Misleading(), settings)[1].epoch > 1


def test_the_learning_rate_drops_with_and_without_pruning(tmp_path):
    settings = dataclasses.replace(SETTINGS, lr_factor=0.7, lr_drop_epoch=2)
    for target in (0.5, None):
        directory = tmp_path / str(target)
        train(directory, settings=settings, target=target)
        assert [row["lr"] for row in rows(directory / "epochs.csv")] == pytest.approx([1e-3, 1e-3, 7e-4])


def test_two_runs_give_the_same_bytes(uninterrupted, tmp_path):
    train(tmp_path)
    assert products(tmp_path) == products(uninterrupted[0])


def test_the_dense_control_leaves_the_weights_dense(tmp_path):
    model, result = train(tmp_path, target=None)
    assert result.sparsity == sparsity(model).total == 0


def test_on_epoch_receives_the_rows_of_epochs_csv(tmp_path):
    received = []
    _, result = train(tmp_path, on_epoch=received.append)
    assert received == result.epochs
    assert [list(row) for row in received] == 3 * [(tmp_path / "epochs.csv").read_text().splitlines()[0].split(",")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_batch_and_the_run_continues(uninterrupted, tmp_path, number):
    before = signal.getsignal(number)

    def stop(batch):
        if batch == 13:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match=f"{number.name}: stopped after iteration 14"):
        train(tmp_path, Tones(on_batch=stop), settings=dataclasses.replace(SETTINGS, checkpoint_minutes=60))
    assert signal.getsignal(number) == before
    for name in ("log.csv", "epochs.csv", "times.csv"):  # as a workflow does with the outputs of a job that failed
        (tmp_path / name).unlink()
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append)
    assert seen == list(range(14, 30))
    assert lines[0] == "continuing after iteration 14"
    assert products(tmp_path) == products(uninterrupted[0])


def test_a_stop_during_validation_does_not_train_the_epoch_again(uninterrupted, tmp_path):
    class Interrupting(list):
        def __getitem__(self, index):
            if index == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
    with pytest.raises(Stopped, match="after iteration 10"):
        fit(model, Tones(), Interrupting(VALIDATION), SETTINGS, tmp_path, pruner=pruner, log=lambda line: None)
    seen = []
    train(tmp_path, Tones(on_batch=seen.append))
    assert seen == list(range(10, 30))
    assert products(tmp_path) == products(uninterrupted[0])


def test_a_finished_run_returns_its_result_again(uninterrupted):
    directory, _, result = uninterrupted
    before = products(directory)
    seen = []
    _, again = train(directory, Tones(on_batch=seen.append))
    assert seen == []
    assert again == result
    assert products(directory) == before


def test_a_torn_checkpoint_costs_only_the_way_back_to_the_one_before(uninterrupted, tmp_path):
    def fail(batch):
        if batch == 17:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        train(tmp_path, Tones(on_batch=fail))
    newest = tmp_path / "checkpoints" / "checkpoint.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append)
    assert lines[0] == f"warning: {newest}: torn checkpoint; not used"
    assert lines[1] == "continuing after iteration 16"
    assert seen[0] == 16
    assert products(tmp_path) == products(uninterrupted[0])


@pytest.mark.parametrize(
    "change",
    [{"identity": "other data"}, {"settings": dataclasses.replace(SETTINGS, lr=2e-3)}, {"target": 0.6}],
    ids=["data", "settings", "pruning"],
)
def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, change):
    def stop(batch):
        if batch == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tmp_path, Tones(on_batch=stop))
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append, **change)
    assert seen[0] == 0
    assert "belongs to other settings or data" in lines[0]


def test_the_time_between_checkpoints_may_change(tmp_path):
    def stop(batch):
        if batch == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tmp_path, Tones(on_batch=stop))
    seen = []
    train(tmp_path, Tones(on_batch=seen.append), dataclasses.replace(SETTINGS, checkpoint_minutes=5))
    assert seen[0] == 6


def test_a_loss_that_is_not_finite_stops_and_names_the_clips(tmp_path):
    class Broken(Tones):
        def epoch(self, epoch, start_batch=0):
            for noisy, clean, names in super().epoch(epoch, start_batch):
                if "tone_30" in names:
                    noisy[2, 100] = np.nan
                yield noisy, clean, names

    with pytest.raises(TrainingError, match=r"loss is nan at iteration 8, .*tone_28, tone_29, tone_30, tone_31: "):
        train(tmp_path, Broken())
    assert [row["iteration"] for row in rows(tmp_path / "log.csv")] == [4]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_lost(tmp_path):
    model = network()
    model.blocks[3].synapse.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = model.blocks[1].synapse.weight.clone()
    with pytest.raises(TrainingError, match=r"norm of its gradient is (nan|inf) at iteration 1, .*tone_0, "):
        fit(model, Tones(), VALIDATION, SETTINGS, tmp_path, log=lambda line: None)
    assert torch.equal(model.blocks[1].synapse.weight, before)


def test_segments_and_clips_without_speech_are_left_out_of_si_snr(tmp_path):
    class Pauses(Tones):
        def epoch(self, epoch, start_batch=0):
            for noisy, clean, names in super().epoch(epoch, start_batch):
                clean[0] = 0
                yield noisy, clean, names

    silent = Clip(VALIDATION[0].noisy, np.zeros_like(VALIDATION[0].clean))
    results = [
        fit(network(), Pauses(), clips, SETTINGS, tmp_path / str(len(clips)), log=lambda line: None)
        for clips in (VALIDATION, [*VALIDATION, silent])
    ]
    assert np.isfinite([row["train_si_snr_db"] for row in results[0].epochs]).all()
    assert results[0].epochs == results[1].epochs


def test_only_the_first_validation_clips_are_used(tmp_path):
    settings = dataclasses.replace(SETTINGS, validation_limit=2)
    limited = train(tmp_path / "limited", settings=settings)[1]
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
    shorter = fit(model, Tones(), VALIDATION[:2], SETTINGS, tmp_path / "short", pruner=pruner, log=lambda line: None)
    assert limited.epochs == shorter.epochs


@pytest.mark.parametrize(
    "batches, clips, steps, message",
    [
        (Tones(batches=0), VALIDATION, 19, "no training batch"),
        (Tones(), [], 19, "no validation clip"),
        (Tones(), VALIDATION, 30, "pruning takes 31 iterations, training only 30"),
    ],
)
def test_a_run_that_cannot_succeed_is_refused_at_once(tmp_path, batches, clips, steps, message):
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=steps)
    with pytest.raises(SpandexError, match=message):
        fit(model, batches, clips, SETTINGS, tmp_path, pruner=pruner)


def test_global_state_is_as_before(tmp_path):
    threads = torch.get_num_threads()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    model = network()
    torch.manual_seed(11)
    fit(model, Tones(batches=1), VALIDATION, dataclasses.replace(SETTINGS, epochs=1), tmp_path, log=lambda line: None)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


class RunServer:
    """A process that has imported everything and forks a fresh run for each folder it is told."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error):
        self.process.communicate(timeout=60)

    def start(self, directory: Path) -> int:
        """Start a run; its process id."""
        self.process.stdin.write(f"{directory}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def batches(self) -> Iterator[int]:
        """The batches that the run starts on, as it does; afterwards its exit status is in ``status``."""
        while not (line := self.process.stdout.readline()).startswith("exit"):
            yield int(line)
        self.status = int(line.split()[1])

    @staticmethod
    def serve():
        import torch._dynamo  # noqa: F401  every optimiser's first step imports it: seconds, paid here once

        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                train(Path(line.rstrip()), Tones(batches=60, on_batch=lambda number: print(number, flush=True)))
                os._exit(0)
            print(pid, flush=True)
            _, status = os.waitpid(pid, 0)
            print("exit", os.waitstatus_to_exitcode(status), flush=True)


def test_a_run_killed_at_random_moments_continues_to_the_same_bytes(tmp_path):
    rng = random.Random(0)
    first = []
    with RunServer() as server:
        server.start(tmp_path / "whole")
        assert list(server.batches()) == list(range(180))
        for _ in range(20):
            pid = server.start(tmp_path / "killed")
            batches = server.batches()
            first.append(next(batches))
            for _ in range(rng.randrange(4)):
                next(batches)
            time.sleep(rng.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            list(batches)
            assert server.status == -signal.SIGKILL
        server.start(tmp_path / "killed")
        assert list(server.batches())[-1] == 179
        assert server.status == 0
    assert first == sorted(first) and first[-1] > 10  # each went on from where the one before had come to
    assert products(tmp_path / "killed") == products(tmp_path / "whole")


if __name__ == "__main__":
    RunServer.serve()
