import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ARGUMENTS = ["--clips", "1", "--repeats", "1"]


def benchmark(program: str, *arguments: str) -> subprocess.CompletedProcess:
    # a process of its own: speechmos may need a module in place of librosa
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-c", program, *ARGUMENTS, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_benchmark_finds_the_scores_of_speechmos_on_speech(tmp_path):
    run = benchmark("import dnsmos; dnsmos.main()", "--json", str(tmp_path / "dnsmos.json"))
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "dnsmos.json").read_text())
    assert figures["largest_difference"] <= 1e-5
    assert figures["ratio_challenge_hops"] == figures["speechmos_s"] / figures["challenge_hops_s"] > 1
    assert f"ratio {figures['ratio_challenge_hops']:.2f} on the same hops" in run.stdout


@pytest.mark.slow
def test_benchmark_fails_when_a_score_differs():
    shifted = """
import dnsmos

class Shifted(dnsmos.Dnsmos):
    def hop_scores(self, audio, hops="all"):
        return super().hop_scores(audio, hops) + 2e-4

dnsmos.Dnsmos = Shifted
dnsmos.main()
"""
    run = benchmark(shifted)
    assert run.returncode == 1
    assert "the scores differ by 2.0e-04 MOS, more than 1e-04" in run.stderr
