"""What a profile costs on a cluster: bytes, processor hours and time by number of nodes.

The parameters say how much is to be done; what each piece takes is measured here first, in processor time, which other
load on the machine changes less than time that passes. Clips are of 30 s, from the synthetic corpus. Download and
unpacking are left out, since they depend on the line and the disk.
"""

import math
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spandex import data, metrics
from spandex.data.listing import list_files
from spandex.deploy.codec import encode
from spandex.evaluation import load_subject, pair_clips
from spandex.evaluation.scores import deployed_scores, float_scores, input_scores
from spandex.files import write_json
from spandex.kernels import accelerate
from spandex.metrics.dnsmos import one_thread_an_operation
from spandex.networks import SDNN, denoise, istft, magnitudes, stft
from spandex.networks.files import export_hdf5
from spandex.params import Params, load
from spandex.steps.bench import benchmark_parser
from spandex.train.losses import denoising_loss

CLIP_S = 30.0
HEADER_BYTES = 44
FILES_A_CLIP = 3  # noisy, clean, noise
CHECKPOINT_COPIES = 2 * 4  # two files; weights, two moments and the best weights in each


def measure(clips: int = 4, repeats: int = 3) -> dict[str, float]:
    """Processor seconds of each piece of work, the least of the repeats.

    Returns:
        ``synthesis``, ``digest`` (of its files), ``read``, ``inputs`` (scores of noisy and clean audio) and ``network``
        (of a network, in fixed point and in float), each a clip of 30 s; ``training`` and ``validation``, each a
        second of audio.
    """
    best: dict[str, float] = {}

    def timed(name: str, share: float, run: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = run()
        best[name] = min(best.get(name, math.inf), (time.process_time() - start) / share)
        return result

    minutes = {"train": 4.0, "validation": 0.5, "test": 0.5}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = data.build_synthetic(folder / "corpus", minutes, minutes, seed=1)
        make = partial(data.synthesize, manifest, "train", clips=clips, settings=data.SynthesisSettings(), seed=1)
        network = accelerate(SDNN())
        export_hdf5(network, folder / "network.net")
        subject = load_subject(folder / "network.net", with_float=True)
        dnsmos, turn = metrics.Dnsmos(threads=1), threading.Lock()
        for repeat in range(repeats):
            timed("synthesis", clips, partial(make, directory=folder / str(repeat)))
            noisy = folder / str(repeat) / "noisy"
            timed("digest", clips, partial(list_files, noisy.parent, workers=1))
            for pair in pair_clips(noisy, noisy.parent / "clean")[0]:
                clip = timed("read", 1, pair.read)
                with one_thread_an_operation():

                    def score_inputs(clip=clip):
                        encoded = encode(clip.noisy, subject.n_fft, subject.hop)
                        return encoded, input_scores(clip, encoded, subject.n_fft, subject.hop, dnsmos)

                    encoded, scores = timed("inputs", 1, score_inputs)

                    def score_network(clip=clip, encoded=encoded, scores=scores):
                        deployed = deployed_scores(clip, encoded, subject, scores["noisy"], dnsmos)
                        float_scores(clip, subject, deployed, dnsmos, turn)

                    timed("network", 1, score_network)
            batch = torch.stack([torch.from_numpy(data.NoisySpeech(noisy.parent)[i].noisy) for i in range(clips)])
            timed("training", clips * CLIP_S, partial(train_step, network.train(), batch))
            with torch.no_grad():
                timed("validation", clips * CLIP_S, partial(denoise, network.eval(), batch))
    return best


def train_step(network: SDNN, audio: torch.Tensor) -> None:
    """Forward, loss and backward on audio (batch, samples)."""
    magnitude, phase = stft(audio)
    denoised = network(magnitude)
    loss, _ = denoising_loss(denoised, magnitudes(audio), istft(denoised, phase, audio.shape[-1]), audio, lam=0.001)
    loss.backward()


def costs(params: Params, seconds: dict[str, float], nodes: Sequence[int], workers: int) -> dict[str, Any]:
    """Bytes, processor hours, and hours that pass by number of nodes.

    Synthesis and evaluation share all cores, but for the digest of a split's files and the reading of scored clips,
    which are one node's; networks train at the same time, each on ``params.threads`` cores, once their start and their
    teacher are done.
    """
    clips = params.data.clips
    mixed = clips.train + clips.validation + (0 if params.data.source == "dns4" else clips.test)
    entries = {model: params.network(model) for model in ["baseline", *params.fine_tuned]}
    epochs = {model: entry.fine_tuning.get("epochs", params.train.epochs) for model, entry in entries.items()}
    audio = {model: count * params.data.clip_s * (clips.train + clips.validation) for model, count in epochs.items()}

    def trained(model: str) -> float:
        """Processor seconds; a teacher listens in evaluation mode."""
        listening = seconds["validation"] if "distill" in entries[model].fine_tuning else 0.0
        a_clip = (seconds["training"] + listening) * clips.train + seconds["validation"] * clips.validation
        return epochs[model] * params.data.clip_s * a_clip

    def finished(model: str) -> float:
        """Processor seconds of a network's training and of those that it waits for, one after the other."""
        before = {entries[model].start, entries[model].teacher} & entries.keys()
        return trained(model) + max(map(finished, before), default=0.0)

    scoring = clips.test * (seconds["inputs"] + len(params.models) * seconds["network"])
    gathering = clips.test * seconds["read"] * (1 + len(params.models))
    digest = seconds["digest"] * (mixed + (clips.test if params.data.source == "dns4" else 0))
    file_bytes = HEADER_BYTES + 2 * params.data.clip_s * params.data.sample_rate_hz
    weights = 4 * sum(weight.numel() for weight in SDNN().parameters())
    return {
        "clip_gb": (mixed + clips.test * (params.data.source == "dns4")) * FILES_A_CLIP * file_bytes / 1e9,
        "checkpoint_gb": CHECKPOINT_COPIES * weights * len(epochs) / 1e9,
        "processor_h": {
            "synthesis": (mixed * seconds["synthesis"] + digest) / 3600,
            "training": sum(map(trained, entries)) / 3600,
            "evaluation": (scoring + gathering) / 3600,
        },
        "training_audio_h": sum(audio.values()) / 3600,
        "hours": {
            count: {
                "synthesis": (mixed * seconds["synthesis"] / (count * workers) + digest / workers) / 3600,
                "training": max(map(finished, entries)) / params.threads / 3600,
                "evaluation": (scoring / (count * workers) + gathering / workers) / 3600,
            }
            for count in nodes
        },
    }


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    phases = ["synthesis", "training", "evaluation"]
    lines = [
        f"| | {' | '.join(phases)} | together |",
        f"|---|{'---|' * (len(phases) + 1)}",
    ]
    rows = {"processor hours": found["processor_h"]}
    rows |= {f"hours on {count} node{'s' * (count > 1)}": hours for count, hours in found["hours"].items()}
    for name, hours in rows.items():
        cells = [f"{hours[phase]:.2f}" for phase in phases] + [f"{sum(hours.values()):.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("cost", __doc__)
    parser.add_argument("--profile", default="dns4")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--workers", type=int, default=16, help="at once on a node, one a core")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(2)
    params = load("params.yaml", {"profile": arguments.profile})
    seconds = measure()
    found = costs(params, seconds, arguments.nodes, arguments.workers)
    for name, value in seconds.items():
        unit = "a second of audio" if name in ("training", "validation") else "a clip of 30 s"
        print(f"{name}: {1e3 * value:.1f} ms of processor time {unit}")
    print(f"clips {found['clip_gb']:.0f} GB, checkpoints {found['checkpoint_gb']:.2f} GB")
    print(f"training and validation pass over {found['training_audio_h']:.0f} h of audio")
    print(table(found))
    if arguments.json is not None:
        write_json(arguments.json, {"processor_s": seconds, **found})


if __name__ == "__main__":
    main()
