"""Seconds of audio trained on per second: stock lava-dl against SPANDEX, measured in turns in one run.

A step is that of the challenge's baseline (spectra, network, loss, backward, gradient clip, RAdam). Stock is lava-dl's
own blocks with ``torch.stft`` and ``torch.istft`` on angles, as in the challenge's code; SPANDEX is the same network
accelerated, with its own spectra, in float32 and with bfloat16 factors in the gradients. The matrix products are those
a step cannot do without, by ``torch.mm`` and nothing around them, for either precision of the gradients. Dense layers
of CUBA neurons, as many and as wide, are trained on spikes with lava-dl's own blocks and with accelerated ones. The
best of the repeats counts: other load on the machine only adds time.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from lava.lib.dl.slayer.block import cuba

from spandex.files import write_json
from spandex.kernels import accelerate, restore
from spandex.networks import SDNN, istft, magnitudes, stft
from spandex.steps.bench import benchmark_parser
from spandex.train.losses import denoising_loss

RATE = 16000  # samples per second
CUBA = {
    "threshold": 1.25,
    "current_decay": 0.25,
    "voltage_decay": 0.03,
    "requires_grad": True,
}  # of lava-dl's tutorials
SPIKE_RATE = 0.1  # of a CUBA network's input, per step

Spectrum = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Magnitude = Callable[[torch.Tensor], torch.Tensor]
Synthesis = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def challenge_stft(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spectrum = torch.stft(audio, 512, window=torch.ones(512, device=audio.device), return_complex=True)
    return spectrum.abs(), spectrum.angle()


def challenge_magnitudes(audio: torch.Tensor) -> torch.Tensor:
    return challenge_stft(audio)[0]  # it takes the angles of the clean speech too


def challenge_istft(magnitude: torch.Tensor, angle: torch.Tensor, length: int) -> torch.Tensor:
    spectrum = torch.complex(magnitude * torch.cos(angle), magnitude * torch.sin(angle))
    return torch.istft(spectrum, 512, window=torch.ones(512, device=angle.device), length=length)


STOCK = challenge_stft, challenge_magnitudes, challenge_istft
OURS = stft, magnitudes, istft


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
    target: Magnitude,
    synthesise: Synthesis,
) -> torch.Tensor:
    """The loss, detached; the network has taken a step."""
    magnitude, phase = analyse(noisy)
    denoised = network(magnitude)
    audio = synthesise(denoised, phase, noisy.shape[-1])
    loss, _ = denoising_loss(denoised, target(clean), audio, clean, lam=0.001)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
    optimizer.step()
    return loss.detach()


def cuba_network(sdnn: SDNN) -> torch.nn.Sequential:
    """CUBA layers in the place of the synapses of an SDNN, with delays where it has them."""
    *hidden, last = [block.synapse for block in sdnn.blocks[1:]]
    blocks = [cuba.Dense(CUBA, layer.in_channels, layer.out_channels, weight_scale=2, delay=True) for layer in hidden]
    return torch.nn.Sequential(*blocks, cuba.Dense(CUBA, last.in_channels, last.out_channels, weight_scale=2))


def cuba_step(network: torch.nn.Sequential, optimizer: torch.optim.Optimizer, spikes: torch.Tensor) -> None:
    loss = (network(spikes) - spikes).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def matrix_products(
    network: SDNN, rows: int, device: torch.device, gradient_dtype: torch.dtype = torch.float32
) -> Callable[[], None]:
    """The products of a step: currents and gradients for weights and, but for the first synapse, for its input."""
    weights = [block.synapse.weight.detach().flatten(1) for block in network.blocks[1:]]
    signals = [torch.randn(rows, weight.shape[1], device=device) for weight in weights]
    grads = [torch.randn(rows, weight.shape[0], device=device, dtype=gradient_dtype) for weight in weights]
    rounded = [(x.to(gradient_dtype), weight.to(gradient_dtype)) for x, weight in zip(signals, weights, strict=True)]

    def run() -> None:
        for layer, (weight, x, grad, factors) in enumerate(zip(weights, signals, grads, rounded, strict=True)):
            torch.mm(x, weight.T)
            torch.mm(grad.T, factors[0])
            if layer:
                torch.mm(grad, factors[1])

    return run


def sdnn_sides(network: SDNN, batch: int, seconds: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    """By side, what makes the network its own and returns its step on ``batch`` clips of ``seconds``."""
    place = next(network.parameters()).device
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-5, weight_decay=1e-5)
    audio = [clip.to(place) for clip in clips(batch, seconds)]
    products = partial(matrix_products, network, batch * (1 + seconds * RATE // network.hop), place)
    return {
        "stock": lambda: partial(train_step, restore(network), optimizer, *audio, *STOCK),
        "spandex": lambda: partial(train_step, accelerate(network), optimizer, *audio, *OURS),
        "bfloat16_gradients": lambda: partial(
            train_step, accelerate(network, torch.bfloat16), optimizer, *audio, *OURS
        ),
        "matmul": products,
        "bfloat16_matmul": partial(products, torch.bfloat16),
    }


def measure(
    batch: int = 4,
    seconds: int = 30,
    repeats: int = 5,
    threads: int | None = None,
    device: str = "cpu",
    shapes: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Seconds of audio per second of every side, and their ratios.

    Args:
        batch: clips of a step.
        seconds: length of a clip.
        repeats: how often each side is timed, after one turn to warm up.
        threads: torch's, by default as many as it chooses.
        device: where to train.
        shapes: further batches and clip lengths in s, for which SPANDEX alone is timed, in seconds that pass
            and in processor time, which other load on the machine changes less.
    """
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    place = torch.device(device)
    network = SDNN().to(place)
    spiking = cuba_network(network)
    inputs, frames = spiking[0].synapse.in_channels, 1 + seconds * RATE // network.hop
    spiking(torch.zeros(1, inputs, 1))  # draws delays, which are then parameters
    spikes = (torch.rand(batch, inputs, frames, device=place) < SPIKE_RATE).float()
    optimizer = torch.optim.RAdam(spiking.to(place).parameters(), lr=1e-5)
    sides = sdnn_sides(network, batch, seconds) | {
        "cuba_stock": lambda: partial(cuba_step, restore(spiking), optimizer, spikes),
        "cuba": lambda: partial(cuba_step, accelerate(spiking), optimizer, spikes),
    }
    best = dict.fromkeys(sides, math.inf)
    memory = {}  # of a GPU, bytes
    for repeat in range(repeats + 1):
        for side, prepare in sides.items():
            run = prepare()
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats(place)
            took = timed(run, place)
            if place.type == "cuda":
                memory[side] = torch.cuda.max_memory_allocated(place)
            if repeat:
                best[side] = min(best[side], took)
    steps = {}
    for count, length in shapes:
        run = sdnn_sides(network, count, length)["spandex"]()
        timed(run, place)
        took = [(timed(run, place), timed(run, place, time.process_time)) for _ in range(repeats)]
        steps[f"{count}x{length}"] = dict(zip(("s", "cpu_s"), map(min, zip(*took, strict=True)), strict=True))
    rates = {side: batch * seconds / took for side, took in best.items()}
    return {
        "batch": batch,
        "clip_s": seconds,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "stock_audio_s_per_s": rates["stock"],
        "audio_s_per_s": rates["spandex"],
        "ratio": rates["spandex"] / rates["stock"],
        "matmul_audio_s_per_s": rates["matmul"],
        "ratio_to_matmul": rates["matmul"] / rates["spandex"],
        "bfloat16_gradients_audio_s_per_s": rates["bfloat16_gradients"],
        "bfloat16_gradients_ratio": rates["bfloat16_gradients"] / rates["stock"],
        "bfloat16_gradients_ratio_to_matmul": rates["bfloat16_matmul"] / rates["bfloat16_gradients"],
        "cuba_stock_audio_s_per_s": rates["cuba_stock"],
        "cuba_audio_s_per_s": rates["cuba"],
        "cuba_ratio": rates["cuba"] / rates["cuba_stock"],
        "peak_memory_bytes": memory,
        "steps": steps,
    }


def timed(run: Callable[[], None], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that ``run`` takes, to the end of what it started on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def shape(text: str) -> tuple[int, int]:
    batch, seconds = text.split("x")
    return int(batch), int(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("training", __doc__)
    parser.add_argument("--batch", type=int, default=4, help="clips of a step")
    parser.add_argument("--seconds", type=int, default=30, help="length of a clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--shapes", type=shape, nargs="*", default=(), metavar="BxS", help="also time SPANDEX on B clips of S s"
    )
    arguments = parser.parse_args(argv)
    figures = measure(**{name: value for name, value in vars(arguments).items() if name != "json"})
    print(
        f"training, {figures['batch']} clips of {figures['clip_s']} s, {figures['device']}, "
        f"{figures['threads']} threads, in s of audio per s: stock lava-dl {figures['stock_audio_s_per_s']:.0f}, "
        f"spandex {figures['audio_s_per_s']:.0f} (ratio {figures['ratio']:.2f}), "
        f"matrix products alone {figures['matmul_audio_s_per_s']:.0f} "
        f"({figures['ratio_to_matmul']:.2f} times their time), "
        f"with bfloat16 gradients {figures['bfloat16_gradients_audio_s_per_s']:.0f} "
        f"(ratio {figures['bfloat16_gradients_ratio']:.2f}); CUBA layers of its shape: "
        f"stock lava-dl {figures['cuba_stock_audio_s_per_s']:.0f}, spandex {figures['cuba_audio_s_per_s']:.0f} "
        f"(ratio {figures['cuba_ratio']:.2f})"
    )
    for name, took in figures["steps"].items():
        batch, seconds = shape(name)
        print(
            f"{batch} clips of {seconds} s: {1000 * took['s']:.0f} ms a step, {1000 * took['cpu_s']:.0f} ms of the "
            f"processor, {1000 * took['cpu_s'] / batch / seconds:.2f} ms of it per s of audio"
        )
    if arguments.json is not None:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
