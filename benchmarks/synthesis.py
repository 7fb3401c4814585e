"""Seconds of noisy speech made per second on one core, written to disk, from the embedded corpus."""

import tempfile
import time
from pathlib import Path

from spandex.data import SynthesisSettings, build_embedded, synthesize

CLIPS = 40


def main() -> None:
    minutes = {"train": 10.0, "validation": 0.5, "test": 0.5}
    settings = SynthesisSettings()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        manifest = build_embedded(Path(folder, "corpus"), minutes, minutes, seed=1)
        seconds = time.perf_counter() - start
        print(f"corpus: {2 * 60 * sum(minutes.values()) / seconds:.0f} times real time on one core")
        start = time.perf_counter()
        synthesize(manifest, "train", Path(folder, "train"), CLIPS, settings, seed=1)
        seconds = time.perf_counter() - start
        print(f"synthesis: {CLIPS * settings.clip_s / seconds:.0f} times real time on one core")


if __name__ == "__main__":
    main()
