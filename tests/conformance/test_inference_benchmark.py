import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spandex.networks import SDNN, export_hdf5

REPOSITORY = Path(__file__).parents[2]
SHORT = ["--clips", "2", "--stock-steps", "5", "--lava-steps", "50", "--repeats", "1"]


def benchmark(program: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "benchmarks")}
    command = [sys.executable, "-c", program, *SHORT, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_benchmark_measures_every_side_in_one_run(mirror, tmp_path):
    out = tmp_path / "inference.json"
    run = benchmark("import inference; inference.main()", "--mirror", str(mirror), "--json", str(out))
    assert run.returncode == 0, run.stderr
    figures = json.loads(out.read_text())
    rates = figures["steps_per_s"]
    assert {"stock_sparse", "stock_dense", "lava_sparse", "lava_dense", "executor", "executor_all"} <= set(rates)
    assert figures["ratio_executor"] == rates["executor"] / rates["stock_sparse"] > 100
    assert figures["ratio_general"] == rates["executor_general"] / rates["stock_general"] > 10
    assert figures["ratio_lava_sparse"] == rates["lava_sparse"] / rates["stock_sparse"] > 1
    assert figures["ratio_lava_dense"] == rates["lava_dense"] / rates["stock_dense"] > 1
    assert figures["clips_per_10_min"] > 0
    assert sum(figures["limit"]["share"].values()) == pytest.approx(1)
    assert "mirror's test speech and noise" in run.stdout


@pytest.mark.slow
def test_benchmark_fails_when_lava_sends_something_else(mirror):
    program = """
import dataclasses, inference

class Off(inference.Executor):
    def run(self, inputs):
        run = super().run(inputs)
        run.outputs[3, 4] += 1
        return run

inference.Executor = Off
inference.main()
"""
    speech = sorted((mirror / "speech/test").glob("*"))[0]
    run = benchmark(program, "--mirror", str(mirror), "--audio", str(speech))
    assert run.returncode == 1
    assert "stock_sparse: 1 of 3855 outputs are not those of the executor" in run.stderr


def test_documented_example_runs(tmp_path, monkeypatch):
    export_hdf5(SDNN(n_fft=16, hop=4, hidden=12), tmp_path / "network.net")
    np.save(tmp_path / "X.npy", np.random.default_rng(0).integers(-999, 999, (9, 20)))
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/explanation/inference.md").read_text(), flags=re.DOTALL
    )
    names = {}
    exec(code, names)
    assert names["run"].outputs.shape == (9, 20)
    assert names["run"].activity[1].events > 0
