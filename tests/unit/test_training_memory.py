"""Memory of a training run, in a process of its own."""

import platform
import subprocess
import sys

import numpy as np
import pytest

from spandex.data import write_wav

SAMPLES = 30 * 16000
PROGRAM = """
import resource, sys
from spandex.data import NoisySpeech, SegmentBatches
from spandex.kernels import accelerate
from spandex.networks import SDNN
from spandex.steps.memory import keep_freed_memory
from spandex.train import TrainSettings, fit
keep_freed_memory()
clips = NoisySpeech(sys.argv[1])
settings = TrainSettings(epochs=1, batch_size=16, segment_s=30.0, threads=2, validation_limit=4)
batches = SegmentBatches(clips, 16, 30.0, seed=0, epoch_batches=3)
fit(accelerate(SDNN()), batches, clips, settings, sys.argv[2], log=lambda line: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

FAULTS = """
import resource
import torch
from spandex.steps.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print([faults() for _ in range(20)][-1])
keep_freed_memory()
print([faults() for _ in range(20)][-1])
"""


@pytest.mark.slow
def test_training_on_16_clips_of_30_s_stays_below_6_gib(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(16):
        noisy, clean = rng.uniform(-0.3, 0.3, (2, SAMPLES))
        write_wav(tmp_path / "clips/noisy" / f"noisy_fileid_{index}.wav", noisy)
        write_wav(tmp_path / "clips/clean" / f"clean_fileid_{index}.wav", clean)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "clips"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    gib = int(done.stdout.split()[-1]) / 2**20  # Linux counts KiB
    print(f"{gib:.2f} GiB")
    assert gib < 6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_memory_of_a_freed_tensor_is_not_cleared_again():
    command = [sys.executable, "-c", FAULTS]
    before, after = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert before > 10
    assert after < before / 10
