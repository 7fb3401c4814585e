"""Runs that are killed, stopped and started again, alone and under torchrun."""

import itertools
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import training
from training import RunServer, products, same_training

KILLS = 20

pytestmark = pytest.mark.slow


def test_a_run_killed_at_random_moments_continues_to_the_same_bytes(tmp_path):
    """A checkpoint follows every batch and every validation, so that many of the moments are in a write."""
    seed = int(os.environ.get("SPANDEX_KILL_SEED", secrets.randbelow(2**32)))
    print(f"SPANDEX_KILL_SEED={seed}")
    rng = random.Random(seed)
    options = {"restless": True, "epochs": 40, "batches": 8}  # more than the kills let pass on a fast machine
    begun, in_write = [0], 0
    with RunServer() as server:
        assert server.finish(tmp_path / "whole", **options) == list(range(320))
        started = time.monotonic()
        for kill in range(KILLS):
            (pid,) = server.start(tmp_path / "killed", **options)
            batches = server.batches()
            if kill % 4 == 3:  # while it starts or reads a checkpoint
                time.sleep(rng.uniform(0, 0.25))
            else:
                for _ in range(rng.randint(1, 5)):
                    begun.append(next(batches))
                time.sleep(rng.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
            begun += batches
            assert server.status == [-signal.SIGKILL]
            in_write += any((tmp_path / "killed" / "checkpoints").glob(".*.tmp"))
        assert server.finish(tmp_path / "killed", **options)[-1] == 319
        assert server.status == [0]
    print(f"{KILLS} kills in {time.monotonic() - started:.0f} s, {in_write} of them within a write")
    # Each went on from a checkpoint: at most the batch whose checkpoint was not whole came twice.
    assert max(before - after for before, after in itertools.pairwise(begun)) <= 1
    assert begun[-1] > KILLS
    assert products(tmp_path / "killed") == products(tmp_path / "whole")


class Torchrun:
    """A run of two processes that torchrun starts."""

    def __init__(self, directory: Path, restarts: int = 0, **options):
        launch = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
        arguments = json.dumps({"directory": str(directory)} | options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *launch, training.__file__, arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, batch: int) -> None:
        for line in self.process.stdout:
            if line.strip() == str(batch):
                return
        raise AssertionError(self.process.stderr.read())

    def finish(self) -> tuple[int, str]:
        """Exit status, and what it printed."""
        printed, errors = self.process.communicate(timeout=150)
        return self.process.returncode, printed + errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    status, printed = Torchrun(directory, data="Pauses", again=True).finish()
    assert status == 0, printed
    return directory


def test_torchrun_trains_as_one_process(whole, tmp_path):
    with RunServer() as server:
        server.finish(tmp_path, data="Pauses")
    same_training(tmp_path, whole)
    assert (whole / "network_0.pt").read_bytes() == (whole / "network_1.pt").read_bytes()


def test_a_process_can_train_twice(whole):
    assert products(whole / "again") == products(whole)


def test_a_signal_to_torchrun_stops_all_processes_and_the_run_continues(whole, tmp_path):
    # checkpoints at the stop alone
    options = {"data": "Pauses", "checkpoint_minutes": 60}
    for batch, number in ((5, signal.SIGINT), (15, signal.SIGTERM)):
        running = Torchrun(tmp_path, **options)
        running.wait_for(batch)
        running.process.send_signal(number)
        status, _ = running.finish()
        assert status != 0
        stops = {(tmp_path / f"error_{rank}.txt").read_text() for rank in range(2)}
        assert len(stops) == 1
        stopped = re.fullmatch(
            rf"Stopped: {number.name}: stopped after iteration (\d+); run again to go on", stops.pop()
        )
        assert batch < int(stopped[1]) <= batch + 5
    status, printed = Torchrun(tmp_path, **options).finish()
    assert status == 0, printed
    lines = (tmp_path / "lines_0.txt").read_text().splitlines()
    assert len([line for line in lines if line.startswith("continuing after iteration")]) == 2
    assert products(tmp_path) == products(whole)


def test_torchrun_restarts_after_the_death_of_a_process_and_ends_in_the_same_bytes(whole, tmp_path):
    running = Torchrun(tmp_path, restarts=1, data="Pauses", stop=(1, 17, signal.SIGKILL))
    status, printed = running.finish()
    assert status == 0, printed
    assert "continuing after iteration 1" in (tmp_path / "lines_0.txt").read_text()
    assert products(tmp_path) == products(whole)
