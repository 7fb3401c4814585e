"""Seconds a clip of DNSMOS: the package speechmos against SPANDEX, measured in turns in one run.

The clips are noisy speech of 30 s from the synthetic corpus. Of their 21 hops speechmos scores 7; SPANDEX is timed on
the same 7 and on all 21. speechmos also computes another score, P.808, in the same call: what its P.835
network alone takes is measured too. The best of the repeats counts: other load on the machine only adds time.
"""

import sys
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from spandex.data import NoisySpeech, SynthesisSettings, build_synthetic, synthesize
from spandex.files import write_json
from spandex.metrics import Dnsmos
from spandex.metrics.dnsmos import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, challenge_hops
from spandex.steps.bench import benchmark_parser

TOLERANCE_MOS = 1e-4


def noisy_clips(count: int) -> list[np.ndarray]:
    """Noisy speech, float32 (480000,) at 16 kHz."""
    minutes = {"train": 2.0, "validation": 0.5, "test": 0.5}
    with tempfile.TemporaryDirectory() as folder:
        manifest = build_synthetic(Path(folder, "corpus"), minutes, minutes, seed=1)
        synthesize(manifest, "train", Path(folder, "train"), count, SynthesisSettings(), seed=1)
        clips = NoisySpeech(Path(folder, "train"))
        return [clips[i].noisy for i in range(count)]


def stock(threads: int) -> types.ModuleType:
    """speechmos.dnsmos, its networks loaded with that many threads.

    It needs librosa for P.808 alone. Where that is not installed, a mel spectrogram of zeros that costs no time
    stands in: the other scores do not change, and speechmos looks faster than it is.
    """
    try:
        import librosa
    except ImportError:
        librosa = types.ModuleType("librosa")
        librosa.feature = types.SimpleNamespace(melspectrogram=lambda **_: np.zeros((120, 900), np.float32))
        librosa.power_to_db = lambda spectrum, ref: spectrum
        sys.modules["librosa"] = librosa
    from speechmos import dnsmos

    dnsmos.run(np.zeros(SEGMENT_SAMPLES, np.float32), SAMPLE_RATE_HZ)  # loads the networks
    models = Path(dnsmos.__file__).parent / "dnsmos_models"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    dnsmos.dnsmos.onnx_sess = onnxruntime.InferenceSession(models / "sig_bak_ovr.onnx", options)
    dnsmos.dnsmos.p808_onnx_sess = onnxruntime.InferenceSession(models / "model_v8.onnx", options)
    return dnsmos


def measure(clips: int = 3, repeats: int = 3, threads: int = 2) -> dict[str, float]:
    """Seconds a clip and their ratios (above 1: SPANDEX is faster), and the largest difference of any MOS."""
    speechmos, spandex = stock(threads), Dnsmos(threads)
    spandex.score(np.zeros(SEGMENT_SAMPLES, np.float32))  # compiles its loops

    def p835(audio: np.ndarray) -> None:
        for hop in challenge_hops(21):
            segment = audio[hop * SAMPLE_RATE_HZ :][:SEGMENT_SAMPLES]
            speechmos.dnsmos.onnx_sess.run(None, {"input_1": segment[None]})

    sides = {
        "speechmos_s": lambda audio: speechmos.run(audio, SAMPLE_RATE_HZ),
        "speechmos_p835_s": p835,
        "challenge_hops_s": lambda audio: spandex.score(audio, "challenge"),
        "all_hops_s": lambda audio: spandex.score(audio, "all"),
    }
    best = {side: np.full(clips, np.inf) for side in sides}
    difference = 0.0
    for i, audio in enumerate(noisy_clips(clips)):
        for _ in range(repeats):
            results = {}
            for side, score in sides.items():
                start = time.perf_counter()
                results[side] = score(audio)
                best[side][i] = min(best[side][i], time.perf_counter() - start)
        theirs = [results["speechmos_s"][f"{name}_mos"] for name in ("ovrl", "sig", "bak")]
        difference = max(difference, np.abs(np.subtract(theirs, results["challenge_hops_s"])).max())
    seconds = {side: float(times.mean()) for side, times in best.items()}
    return {
        "clips": clips,
        "threads": threads,
        **seconds,
        "ratio_challenge_hops": seconds["speechmos_s"] / seconds["challenge_hops_s"],
        "ratio_challenge_hops_p835": seconds["speechmos_p835_s"] / seconds["challenge_hops_s"],
        "ratio_all_hops": seconds["speechmos_s"] / seconds["all_hops_s"],
        "largest_difference": float(difference),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("dnsmos", __doc__)
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    figures = measure(arguments.clips, arguments.repeats, arguments.threads)
    print(
        f"DNSMOS, {figures['clips']} clips of 30 s, {figures['threads']} threads: speechmos "
        f"{figures['speechmos_s']:.2f} s a clip (P.835 alone {figures['speechmos_p835_s']:.2f}), spandex "
        f"{figures['challenge_hops_s']:.2f} on the same 7 hops, {figures['all_hops_s']:.2f} on all 21\n"
        f"ratio {figures['ratio_challenge_hops']:.2f} on the same hops (P.835 alone "
        f"{figures['ratio_challenge_hops_p835']:.2f}), {figures['ratio_all_hops']:.2f} with 21 hops against 7; "
        f"largest difference {figures['largest_difference']:.1e} MOS"
    )
    if arguments.json is not None:
        write_json(arguments.json, figures)
    if not figures["largest_difference"] <= TOLERANCE_MOS:
        sys.exit(f"the scores differ by {figures['largest_difference']:.1e} MOS, more than {TOLERANCE_MOS:.0e}")


if __name__ == "__main__":
    main()
