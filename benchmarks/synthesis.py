"""Seconds of noisy speech made per second on one core, written to disk, from the synthetic corpus."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from spandex.data import SynthesisSettings, build_synthetic, synthesize
from spandex.files import write_json
from spandex.steps.bench import benchmark_parser


def measure(clips: int = 40) -> dict[str, float]:
    """Times real time of building the corpus, and of mixing ``clips`` clips of 30 s."""
    minutes = {"train": 10.0, "validation": 0.5, "test": 0.5}
    settings = SynthesisSettings()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        manifest = build_synthetic(Path(folder, "corpus"), minutes, minutes, seed=1)
        corpus_s = time.perf_counter() - start
        start = time.perf_counter()
        synthesize(manifest, "train", Path(folder, "train"), clips, settings, seed=1)
        synthesis_s = time.perf_counter() - start
    return {
        "clips": clips,
        "corpus_times_real_time": 2 * 60 * sum(minutes.values()) / corpus_s,
        "synthesis_times_real_time": clips * settings.clip_s / synthesis_s,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("synthesis", __doc__)
    parser.add_argument("--clips", type=int, default=40)
    arguments = parser.parse_args(argv)
    figures = measure(arguments.clips)
    print(f"corpus: {figures['corpus_times_real_time']:.0f} times real time on one core")
    print(f"synthesis: {figures['synthesis_times_real_time']:.0f} times real time on one core")
    if arguments.json is not None:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
