import importlib.util
import json
from pathlib import Path

import pytest
import torch
from lava.lib.dl.slayer.block import cuba, sigma_delta

from spandex.kernels.blocks import FusedCubaDense, FusedDense

_spec = importlib.util.spec_from_file_location(
    "training_benchmark", Path(__file__).parents[2] / "benchmarks" / "training.py"
)
training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(training)


def test_training_benchmark_writes_its_ratios(tmp_path, capsys):
    out = tmp_path / "training.json"
    training.main(["--batch", "1", "--seconds", "1", "--repeats", "1", "--shapes", "2x1", "--json", str(out)])
    figures = json.loads(out.read_text())
    assert figures["ratio"] == figures["audio_s_per_s"] / figures["stock_audio_s_per_s"]
    assert figures["ratio_to_matmul"] == figures["matmul_audio_s_per_s"] / figures["audio_s_per_s"]
    assert figures["cuba_ratio"] == figures["cuba_audio_s_per_s"] / figures["cuba_stock_audio_s_per_s"]
    assert min(figures["steps"]["2x1"].values()) > 0
    assert f"ratio {figures['ratio']:.2f}" in capsys.readouterr().out


def test_stock_side_runs_lava_dl_and_ours_the_kernels(monkeypatch):
    ran = []

    def step(network, optimizer, noisy, clean, analyse, target, synthesise):
        dense = network.blocks[1]
        ran.append((type(dense), getattr(dense, "gradient_dtype", None), analyse))

    monkeypatch.setattr(training, "train_step", step)
    monkeypatch.setattr(training, "cuba_step", lambda network, optimizer, spikes: ran.append(type(network[0])))
    training.measure(batch=1, seconds=1, repeats=1)
    float32, bfloat16 = torch.float32, torch.bfloat16
    turn = [(sigma_delta.Dense, None, training.challenge_stft)]
    turn += [(FusedDense, dtype, training.stft) for dtype in (float32, bfloat16)]
    turn += [cuba.Dense, FusedCubaDense]
    assert ran == 2 * turn


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrix_products_are_those_of_a_step(monkeypatch, dtype):
    flops, dtypes = [], []

    def mm(a, b):
        flops.append(2 * a.numel() * b.shape[1])
        dtypes.append({a.dtype, b.dtype})

    monkeypatch.setattr(training.torch, "mm", mm)
    network = training.SDNN(hidden=32)
    training.matrix_products(network, rows=10, device=torch.device("cpu"), gradient_dtype=dtype)()
    forward, gradients = {torch.float32}, {dtype}
    assert dtypes == [forward, gradients, *2 * [forward, gradients, gradients]]
    first, middle, last = 257 * 32, 32 * 32, 32 * 257
    assert sum(flops) == 2 * 10 * (2 * first + 3 * middle + 3 * last)
    assert len(flops) == 8


def test_shapes_are_batch_by_seconds():
    assert training.shape("4x30") == (4, 30)
    with pytest.raises(ValueError, match="unpack"):
        training.shape("4")
