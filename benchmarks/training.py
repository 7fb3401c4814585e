"""Seconds of audio trained on per second: stock lava-dl against SPANDEX, measured in turns in one run.

A step is that of the challenge's baseline (spectra, network, loss, backward, gradient clip, RAdam). Stock is lava-dl's
own blocks with ``torch.stft`` and ``torch.istft`` on angles, as in the challenge's code; SPANDEX is the same network
accelerated, with its own spectra. The best of the repeats counts: other load on the machine only adds time.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from spandex.files import write_json
from spandex.kernels import accelerate, restore
from spandex.models import SDNN, istft, stft
from spandex.train.losses import denoising_loss

RATE = 16000  # samples per second
WINDOW = torch.ones(512)

Spectrum = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Synthesis = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def challenge_stft(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spectrum = torch.stft(audio, 512, window=WINDOW, return_complex=True)
    return spectrum.abs(), spectrum.angle()


def challenge_istft(magnitude: torch.Tensor, angle: torch.Tensor, length: int) -> torch.Tensor:
    spectrum = torch.complex(magnitude * torch.cos(angle), magnitude * torch.sin(angle))
    return torch.istft(spectrum, 512, window=WINDOW, length=length)


def clips(batch: int, seconds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy and clean audio (batch, samples): tones that come and go at 3 Hz, and white noise."""
    t = torch.arange(seconds * RATE) / RATE
    tones = sum(torch.sin(2 * torch.pi * pitch * t) for pitch in (200, 430, 870, 1900))
    clean = (0.05 * tones * torch.sin(2 * torch.pi * 1.5 * t).clamp(min=0)).repeat(batch, 1)
    return clean + 0.02 * torch.randn(clean.shape), clean


def train_step(
    network: SDNN,
    optimizer: torch.optim.Optimizer,
    noisy: torch.Tensor,
    clean: torch.Tensor,
    analyse: Spectrum,
    synthesise: Synthesis,
) -> None:
    magnitude, phase = analyse(noisy)
    denoised = network(magnitude)
    audio = synthesise(denoised, phase, noisy.shape[-1])
    loss, _ = denoising_loss(denoised, analyse(clean)[0], audio, clean, lam=0.001)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
    optimizer.step()


def measure(shapes: str = "4x30,8x6", repeats: int = 3, threads: int | None = None) -> dict[str, Any]:
    """Seconds of audio per second and their ratio for every shape, ``batch x seconds`` of a clip."""
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    network = SDNN()
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-5, weight_decay=1e-5)
    sides = {"stock": (restore, challenge_stft, challenge_istft), "spandex": (accelerate, stft, istft)}
    figures: dict[str, Any] = {"threads": torch.get_num_threads()}
    for shape in shapes.split(","):
        batch, seconds = map(int, shape.split("x"))
        noisy, clean = clips(batch, seconds)
        best = dict.fromkeys(sides, 0.0)
        for repeat in range(repeats + 1):
            for side, (prepare, *spectra) in sides.items():
                prepare(network)
                start = time.perf_counter()
                train_step(network, optimizer, noisy, clean, *spectra)
                if repeat:  # the first of each warms up
                    best[side] = max(best[side], batch * seconds / (time.perf_counter() - start))
        figures[shape] = best | {"ratio": best["spandex"] / best["stock"]}
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="spandex bench training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="4x30,8x6", help="batch x seconds of a clip, separated by commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures there")
    arguments = parser.parse_args(argv)
    figures = measure(arguments.shapes, arguments.repeats, arguments.threads)
    for shape in arguments.shapes.split(","):
        batch, seconds = shape.split("x")
        rates = figures[shape]
        print(
            f"training, {batch} clips of {seconds} s, {figures['threads']} threads: "
            f"stock lava-dl {rates['stock']:.0f}, spandex {rates['spandex']:.0f} s of audio per s, "
            f"ratio {rates['ratio']:.2f}"
        )
    if arguments.json is not None:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
