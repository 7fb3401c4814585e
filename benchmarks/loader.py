"""Seconds of audio loaded per second, against what training consumes, measured in turns in one run.

Batches come from WAV files that the system holds in memory, from clips mixed as they are asked for, and from the same
clips once they are mixed and kept. Training is a step on the accelerated network with one batch. The best of the
repeats counts: other load on the machine only adds time. Loading takes its time from the cores that train, so its share
is the CPU time of loading a batch over that of training on it.
"""

import contextlib
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spandex.data import MixedSpeech, NoisySpeech, SegmentBatches, SynthesisSettings, build_synthetic, synthesize
from spandex.files import write_json
from spandex.kernels import accelerate
from spandex.networks import SDNN, istft, magnitudes, stft
from spandex.steps.bench import benchmark_parser
from spandex.train.losses import denoising_loss

SEED = 1
SETTINGS = SynthesisSettings()
TITLES = {"wav": "from WAV files", "mixing": "mixed as asked for", "kept": "mixed before"}


def train_step(network: SDNN, optimizer: torch.optim.Optimizer, noisy: np.ndarray, clean: np.ndarray) -> None:
    noisy, clean = torch.from_numpy(noisy), torch.from_numpy(clean)
    magnitude, phase = stft(noisy)
    denoised = network(magnitude)
    loss, _ = denoising_loss(denoised, magnitudes(clean), istft(denoised, phase, noisy.shape[-1]), clean, lam=0.001)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
    optimizer.step()


class Timed:
    """The best rate of repeats in seconds of audio a second, and the least CPU seconds for a second of audio."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.cpu_s = float("inf")

    @contextlib.contextmanager
    def __call__(self, seconds: float) -> Iterator[None]:
        """Time what goes through so many seconds of audio."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        self.rate = max(self.rate, seconds / (time.perf_counter() - start))
        self.cpu_s = min(self.cpu_s, (time.process_time() - cpu_start) / seconds)


def measure_shape(
    folder: Path, manifest: Path, clips: int, batch_size: int, segment_s: float, repeats: int, workers: int
) -> dict[str, float]:
    """Rates in seconds of audio a second, their ratios to training's rate, and shares of training's CPU time."""
    network = accelerate(SDNN())
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-5, weight_decay=1e-5)
    wav = SegmentBatches(NoisySpeech(folder), batch_size, segment_s, SEED, workers=workers)
    batch_s = batch_size * segment_s
    epoch_s = len(wav) * batch_s
    noisy, clean, _ = next(wav.epoch(0))
    training, loading = Timed(), {name: Timed() for name in TITLES}
    train_step(network, optimizer, noisy, clean)  # warms up
    for repeat in range(repeats):
        mixed = MixedSpeech(manifest, "train", clips, SETTINGS, SEED + repeat)
        batches = SegmentBatches(mixed, batch_size, segment_s, SEED, workers=workers)
        with training(batch_s):
            train_step(network, optimizer, noisy, clean)
        for name, epoch in (("wav", wav.epoch(0)), ("mixing", batches.epoch(0)), ("kept", batches.epoch(1))):
            with loading[name](epoch_s):
                deque(epoch, maxlen=0)
    return {
        "training_audio_s_per_s": training.rate,
        **{f"{name}_audio_s_per_s": timed.rate for name, timed in loading.items()},
        **{f"{name}_ratio": timed.rate / training.rate for name, timed in loading.items()},
        **{f"{name}_share": timed.cpu_s / training.cpu_s for name, timed in loading.items()},
    }


def measure(
    shapes: str = "8x5.9,4x30", clips: int = 24, repeats: int = 3, workers: int = 1, corpus_minutes: float = 10.0
) -> dict[str, Any]:
    """``measure_shape`` for every ``batch x seconds`` of a segment, on ``clips`` clips of 30 s."""
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "workers": workers}
    minutes = {"train": corpus_minutes, "validation": 0.1, "test": 0.1}
    with tempfile.TemporaryDirectory() as folder:
        manifest = build_synthetic(Path(folder, "corpus"), minutes, minutes, SEED)
        train = Path(folder, "train")
        synthesize(manifest, "train", train, clips, SETTINGS, SEED)
        for shape in shapes.split(","):
            batch, seconds = shape.split("x")
            figures[shape] = measure_shape(train, manifest, clips, int(batch), float(seconds), repeats, workers)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("loader", __doc__)
    parser.add_argument("--shapes", default="8x5.9,4x30", help="batch x seconds of a segment, separated by commas")
    parser.add_argument("--clips", type=int, default=24, help="of 30 s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="threads that load")
    arguments = parser.parse_args(argv)
    figures = measure(arguments.shapes, arguments.clips, arguments.repeats, arguments.workers)
    for shape in arguments.shapes.split(","):
        batch, seconds = shape.split("x")
        rates = figures[shape]
        print(f"{batch} segments of {seconds} s: training {rates['training_audio_s_per_s']:.0f} s of audio per s")
        for name, title in TITLES.items():
            print(
                f"  {title}: {rates[f'{name}_audio_s_per_s']:.0f} s of audio per s, "
                f"{rates[f'{name}_ratio']:.1f} times training, {100 * rates[f'{name}_share']:.1f} % of its CPU time"
            )
    if arguments.json is not None:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
