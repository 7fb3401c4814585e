"""Training in processes of its own: killed ones, and several together.

The processes are forked; those of tests/conformance/test_long_runs.py are started by torchrun.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training import RunServer, checkpoint, products, rows, same_training


@pytest.fixture(scope="module")
def server() -> Iterator[RunServer]:
    with RunServer() as running:
        yield running


def finish(server: RunServer, directory: Path, processes: int = 1, **options) -> None:
    """A run to its end, in which all processes get the same network."""
    server.finish(directory, processes, **options)
    assert server.status == [0] * processes, [file.read_text() for file in directory.glob("error_*.txt")]
    assert len({(directory / f"network_{rank}.pt").read_bytes() for rank in range(processes)}) == 1


@pytest.fixture(scope="module")
def pair(server: RunServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of two processes."""
    directory = tmp_path_factory.mktemp("pair")
    finish(server, directory, 2, restless=True)
    return directory


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": "Pauses"},
        {"data": "Pauses", "size": 5, "lam": 100.0},
        {"size": 5, "mask_limit": 0.05},
        {"data": "Broken", "skip_nonfinite": 1},
        {"data": "OwnRows"},
        {"fused": True},
        {"saliency": True, "size": 5, "data": "Broken", "skip_nonfinite": 1},
        {"size": 5, "distill": 1000.0},
    ],
    ids=[
        "whole",
        "pauses",
        "unequal rows",
        "masks beyond the limit",
        "skipped batch",
        "own rows",
        "fused kernels",
        "saliency",
        "teacher",
    ],
)
def test_two_processes_train_as_one_with_the_same_batches(server, tmp_path, options):
    options = {"epochs": 2, "batches": 11} | options
    finish(server, tmp_path / "one", **options)
    finish(server, tmp_path / "two", 2, **options)
    same_training(tmp_path / "one", tmp_path / "two")


def test_a_skipped_batch_is_named_as_a_whole(server, tmp_path):
    finish(server, tmp_path, 2, data="Broken", skip_nonfinite=1)
    assert (tmp_path / "lines_0.txt").read_text().splitlines()[0] == (
        "warning: the loss is nan at iteration 8, with the clips tone_28, tone_29, tone_30, tone_31: "
        "batch skipped (1 of at most 1)"
    )
    server.finish(tmp_path / "stops", 2, data="Broken")
    assert server.status == [3, 3]
    for rank in range(2):
        assert "TrainingError: the loss is nan at iteration 8" in (tmp_path / "stops" / f"error_{rank}.txt").read_text()


def test_only_the_first_process_writes(pair):
    lines = [(pair / f"lines_{rank}.txt").read_text().splitlines() for rank in range(2)]
    assert len(lines[0]) == 4 and lines[1] == []  # three epochs, and the time that is left
    assert [row["iteration"] for row in rows(pair / "log.csv")] == list(range(4, 31, 4))


def test_two_processes_give_the_same_bytes_again(server, pair, tmp_path):
    finish(server, tmp_path, 2, restless=True)
    assert products(tmp_path) == products(pair)


def test_processes_draw_random_numbers_of_their_own(pair):
    states = [generators["torch"] for generators in checkpoint(pair)["rng"]]
    assert len(states) == 2 and not torch.equal(*states)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_all_after_the_same_batch(server, pair, tmp_path, rank):
    server.finish(tmp_path, 2, restless=True, stop=(rank, 13, signal.SIGTERM), checkpoint_minutes=60)
    assert server.status == [3, 3]
    for other in range(2):
        text = (tmp_path / f"error_{other}.txt").read_text()
        assert text == "Stopped: SIGTERM: stopped after iteration 14; run again to go on"
    assert server.finish(tmp_path, 2, restless=True) == list(range(14, 30))
    assert products(tmp_path) == products(pair)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_death_of_one_process_ends_all_and_the_run_continues(server, pair, tmp_path, rank):
    server.finish(tmp_path, 2, restless=True, stop=(rank, 17, signal.SIGKILL))
    assert server.status[rank] == -signal.SIGKILL
    assert server.status[1 - rank] != 0
    assert server.finish(tmp_path, 2, restless=True)[0] in (16, 17)
    assert server.status == [0, 0]
    assert products(tmp_path) == products(pair)


def test_a_checkpoint_of_another_number_of_processes_is_not_continued(server, tmp_path):
    server.finish(tmp_path, 2, stop=(0, 5, signal.SIGTERM))
    assert server.finish(tmp_path)[0] == 0
    assert "belongs to other settings or data" in (tmp_path / "lines_0.txt").read_text()


def test_more_processes_than_rows_are_refused(server, tmp_path):
    server.finish(tmp_path, 2, size=1)
    assert server.status == [3, 3]
    assert "2 processes cannot share a batch of 1 segments" in (tmp_path / "error_0.txt").read_text()


def test_a_killed_run_continues_to_the_same_bytes(server, tmp_path):
    """Three kills; tests/conformance/test_long_runs.py makes twenty."""
    rng = random.Random(0)
    first = []
    assert server.finish(tmp_path / "whole", restless=True) == list(range(30))
    for _ in range(3):
        (pid,) = server.start(tmp_path / "killed", restless=True)
        batches = server.batches()
        first.append(next(batches))
        for _ in range(rng.randrange(8)):
            next(batches)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        list(batches)
        assert server.status == [-signal.SIGKILL]
    assert server.finish(tmp_path / "killed", restless=True)[-1] == 29
    assert server.status == [0]
    assert first == sorted(first) and first[-1] > 3  # each went on from where the one before had come to
    assert products(tmp_path / "killed") == products(tmp_path / "whole")
