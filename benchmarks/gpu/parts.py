"""What runs on a GPU: each part gives its figures by name, when it has them. See run.py."""

import copy
import importlib
import json
import math
import platform
import shutil
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import triton
from lava.lib.dl.slayer.block import cuba

import training
from kernel_calls import calls
from spandex.kernels import accelerate, cpu, frames, functions, restore
from spandex.kernels import triton as kernels
from spandex.networks import SDNN, istft, spectrum, stft

HERE = Path(__file__).resolve().parent
START = time.monotonic()
SHAPES = [(1, 1, 1), (2, 16, 32), (3, 53, 45), (2, 131, 257)]  # batch, steps, neurons
SMALL_SHAPES = [(1, 1, 1), (2, 9, 33)]
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # relative to the norm of a gradient
CUBA = {"threshold": 0.5, "current_decay": 0.2, "voltage_decay": 0.1, "requires_grad": True}
COMPILED = "its CUDA code"  # of stock's delays
# stock begins nothing more after so many seconds of a part, so that the part comes to its end
STOCK_ENDS_S = {"speed": 45, "tuning": 55}

Figures = Iterator[tuple[str, Any]]


def versions(interpreter: bool) -> Figures:
    if not interpreter and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; python run.py --interpreter does everything in small on the CPU")
    yield "device", "CPU, Triton's interpreter" if interpreter else torch.cuda.get_device_name()
    yield "Python", platform.python_version()
    yield "torch", torch.__version__
    yield "Triton", triton.__version__
    yield "NumPy", np.__version__
    yield "CUDA", torch.version.cuda
    if not interpreter:
        yield "capability", ".".join(map(str, torch.cuda.get_device_capability()))
    for tool in ("cc", "nvcc", "ninja"):  # Triton may need the first, lava-dl's CUDA code needs all
        yield tool, shutil.which(tool) or "missing"


def stock(interpreter: bool) -> Figures:
    """Whether lava-dl's CUDA code for delays can be compiled here and does what its Python does."""
    if interpreter:
        return
    shift, conv = _stock_modules()
    x, steps, ends = torch.rand(2, 5, 9), torch.arange(5.0), torch.tensor([-1.0, 1.0])
    try:
        with ThreadPoolExecutor() as pool:  # each compiles for half a minute
            found = pool.submit(lambda: shift.shift(x.cuda(), steps.cuda()).cpu())
            summed = pool.submit(lambda: conv.fwd(x.cuda(), ends.cuda()).cpu())
        assert torch.equal(found.result(), shift.shift(x, steps))
        torch.testing.assert_close(summed.result(), conv.fwd(x, ends))
    except Exception as error:  # whatever a compiler, or a torch that this code is too old for, may raise
        traceback.print_exc()
        yield "delays", f"its Python, since its CUDA code does not run here ({type(error).__name__})"
    else:
        yield "delays", COMPILED


def kernel_checks(interpreter: bool) -> Figures:
    """Every kernel against the CPU's loops, and accelerated networks against stock lava-dl's autograd on the CPU.

    With bfloat16 gradients, which stock lava-dl does not have, the CPU's loops and products are the reference.
    """
    place = _place(interpreter, kernels.BLOCK)
    pairs = defaultdict(list)
    for name, arguments in calls(SMALL_SHAPES if interpreter else SHAPES).values():
        found, expected = (
            getattr(module, name)(*(_on(argument, device) for argument in arguments))
            for module, device in ((kernels, place), (cpu, torch.device("cpu")))
        )
        pairs[name] += [(found, expected)] if torch.is_tensor(found) else zip(found, expected, strict=True)
    checks = {}
    for name, of_kernel in pairs.items():
        checks[name] = _compared([(x, y) for x, y in of_kernel if y is not None], 1e-5)
        yield name, checks[name]
    checks["spectra"] = _compared(list(_spectra(interpreter, place)), 1e-5)
    yield "spectra", checks["spectra"]
    torch.manual_seed(0)
    batch, steps = (1, 9) if interpreter else (3, 53)
    image = (torch.rand(batch, 2, 5, 7, steps) < 0.4).float()
    spiking = torch.nn.Sequential(
        cuba.Conv(CUBA, 2, 3, 3, weight_scale=4, delay=True), cuba.Flatten(), cuba.Dense(CUBA, 45, 33, weight_scale=4)
    )
    with torch.no_grad():
        spiking(image)  # fixes shapes, draws decays and delays
    sdnn = SDNN(n_fft=64, hop=16, hidden=45, max_delay=20)
    for kind, network, x in (("SDNN", sdnn, 2 * torch.rand(batch, 33, steps)), ("CUBA network", spiking, image)):
        here = copy.deepcopy(network).to(place)
        for dtype, tolerance in TOLERANCES.items():
            if dtype == torch.float32:
                expected = _outcome(restore(network), x)
            else:
                with mock.patch.object(functions, "kernels", lambda device: cpu):
                    expected = _outcome(accelerate(network, dtype), x)
            found = _outcome(accelerate(here, dtype), x.to(place))
            name = f"{kind}, {str(dtype).removeprefix('torch.')}"
            checks[name] = _compared(list(zip(found, expected, strict=True)), tolerance)
            yield name, checks[name]
    if differing := [name for name, check in checks.items() if not check["passed"]]:
        raise SystemExit(f"not what the reference gives: {'; '.join(differing)}")


def _spectra(interpreter: bool, place: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Spectrum, audio and gradient beside those of ``torch.stft`` and ``torch.istft`` on the CPU."""
    for n_fft, hop, samples in [(64, 16, 100), (48, 16, 77)] if interpreter else [(512, 128, 16000), (96, 32, 12345)]:
        audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(n_fft))
        how = {"n_fft": n_fft, "hop_length": hop, "window": torch.ones(n_fft)}
        expected = torch.stft(audio, return_complex=True, **how)
        magnitude, phase = stft(audio.to(place), n_fft, hop)
        yield torch.view_as_real(magnitude * phase), torch.view_as_real(expected)
        louder = 1 + torch.rand(expected.shape, generator=torch.Generator().manual_seed(1))
        length = expected.shape[2] * hop - hop
        factors = [louder.to(device, copy=True).requires_grad_() for device in (place, "cpu")]
        made = (
            istft(magnitude.detach() * factors[0], phase, length, n_fft, hop),
            torch.istft(expected * factors[1], length=length, **how),
        )
        yield tuple(x.detach() for x in made)
        for x in made:
            (x * torch.linspace(-1, 1, length, device=x.device)).sum().backward()
        yield tuple(factor.grad for factor in factors)


def speed(interpreter: bool) -> Figures:
    """Step time and peak of memory of every side; stock comes last, since it takes longest."""
    place = _place(interpreter)
    batches, seconds, repeats = ((1,), 1, 0) if interpreter else ((8, 32, 64), 30, 3)
    figures = {batch: {} for batch in batches}
    for sides in (("spandex", "bfloat16_gradients", "matmul", "bfloat16_matmul"), ("stock",)):
        for batch in batches:
            for side in sides:
                figures[batch][side] = _side(side, batch, seconds, repeats, place)
                yield f"{batch} x {seconds}", figures[batch]


def tuning(interpreter: bool) -> Figures:
    """Losses of fine-tuning the published baseline, on the same batches, and whether two runs give the same bits."""
    place = _place(interpreter)
    batch, seconds, iterations = (1, 0.25, 2) if interpreter else (8, 3, 200)
    with np.load(HERE / "clips.npz") as file:
        noisy, clean = (
            torch.from_numpy(file[part] / np.float32(2**15)).view(-1, round(seconds * training.RATE)).to(place)
            for part in ("noisy", "clean")
        )
    batches = torch.randint(len(noisy), (iterations, batch), generator=torch.Generator().manual_seed(1))
    losses, tuned, same = {}, {}, True
    for run in ("kernels", "kernels again", "stock lava-dl"):
        is_stock = run == "stock lava-dl"
        network = (restore if is_stock else accelerate)(_baseline(place))
        optimizer = torch.optim.RAdam(network.parameters(), lr=0.001, weight_decay=1e-5)
        losses[run] = []
        for rows in batches:
            if is_stock and _stock_has_no_time("tuning"):
                break
            spectra = training.STOCK if is_stock else training.OURS
            loss = training.train_step(network, optimizer, noisy[rows], clean[rows], *spectra)
            losses[run].append(float(loss))
            if len(losses[run]) % 20 == 0:
                yield "losses", losses
        yield "losses", losses
        tuned[run] = list(network.parameters())
        if run == "kernels again":
            same = all(map(torch.equal, tuned["kernels"], tuned[run])) and losses["kernels"] == losses[run]
            yield "reproducible", same
    if not same:
        raise SystemExit("two runs with the same batches and seed differ")


def compiled(interpreter: bool) -> Figures:
    """The step with torch.compile, whether it works and what it takes; it need not."""
    place = _place(interpreter)
    batch, seconds, backend = (1, 1, "aot_eager") if interpreter else (8, 30, "inductor")
    samples = 2000 if interpreter else seconds * training.RATE
    network = accelerate(_baseline(place))
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-5)
    audio = [clip[:, :samples].to(place) for clip in training.clips(batch, seconds)]
    try:
        for key, model in (("step_s", network), ("compiled_step_s", torch.compile(network, backend=backend))):
            run = partial(training.train_step, model, optimizer, *audio, *training.OURS)
            run()
            yield key, min(training.timed(run, place) for _ in range(1 if interpreter else 3))
    except Exception as error:  # whatever a compiler may raise
        traceback.print_exc()
        yield "does not work", f"{type(error).__name__}: {str(error).strip()[:100]}"


PARTS = {
    "versions": versions,
    "stock": stock,
    "kernels": kernel_checks,
    "speed": speed,
    "tuning": tuning,
    "compile": compiled,
}


def _place(interpreter: bool, block: int = 512) -> torch.device:
    """Where to compute; with the interpreter, Triton's kernels stand in for the CPU's, with blocks of that size."""
    if interpreter:
        kernels.CHUNK, kernels.BLOCK = 4, block  # an operation takes as long for few neurons as for many
        functions.kernels = lambda device: kernels
        spectrum.gpu_frames = lambda device: frames
        return torch.device("cpu")
    torch.set_deterministic_debug_mode("warn")  # as training does
    torch.utils.deterministic.fill_uninitialized_memory = False
    found = HERE / "results" / "stock.json"
    if not found.exists() or json.loads(found.read_text())["delays"] != COMPILED:
        _use_python_delays()
    return torch.device("cuda")


def _stock_modules() -> tuple[ModuleType, ModuleType]:
    """lava-dl's modules for shifts and for convolutions in time, which compile CUDA code when they first meet a GPU."""
    names = "lava.lib.dl.slayer.utils.time.shift", "lava.lib.dl.slayer.utils.filter.conv"
    return tuple(map(importlib.import_module, names))


def _use_python_delays() -> None:
    """Let lava-dl run its own Python on a GPU, which it has for the CPU."""
    shift, conv = _stock_modules()

    def shifted(x: torch.Tensor, steps: torch.Tensor | float, sampling_time: float = 1) -> torch.Tensor:
        by_neuron = torch.is_tensor(steps) and steps.numel() > 1
        return (shift._shift_individual if by_neuron else shift._shift_group)(x, steps, sampling_time)

    shift.Accelerated.module = SimpleNamespace(shift=shifted)
    conv.Accelerated.module = SimpleNamespace(fwd=conv._fwd, bwd=conv._bwd)


def _stock_has_no_time(part: str) -> bool:
    return time.monotonic() - START > STOCK_ENDS_S[part]


def _side(side: str, batch: int, seconds: int, repeats: int, place: torch.device) -> dict[str, Any]:
    """What a step of a side takes, the best of repeats after a first one, which alone counts if there are none."""
    if side == "stock" and _stock_has_no_time("speed"):
        return {"not_run": "no time left"}
    torch.manual_seed(0)
    try:
        run = training.sdnn_sides(SDNN().to(place), batch, seconds)[side]()
        took = training.timed(run, place)
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        took = min((training.timed(run, place) for _ in range(repeats)), default=took)
        figures = {"step_s": took, "audio_s_per_s": batch * seconds / took}
        if place.type == "cuda":
            figures["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        return figures
    except torch.OutOfMemoryError:
        return {"not_run": "out of memory"}
    finally:
        if place.type == "cuda":
            torch.cuda.empty_cache()


def _baseline(place: torch.device) -> SDNN:
    network = SDNN()
    network.load_state_dict(torch.load(HERE / "network.pt", map_location="cpu", weights_only=True))
    return network.to(place)


def _on(argument: Any, device: torch.device) -> Any:
    return argument.to(device) if torch.is_tensor(argument) else argument


def _outcome(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output of a network and the gradients of all its parameters."""
    network.zero_grad()
    out = network(x)
    out.square().sum().backward()
    return [out.detach(), *(parameter.grad for parameter in network.parameters() if parameter.requires_grad)]


def _compared(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], tolerance: float) -> dict[str, Any]:
    differences = [_difference(found.cpu(), expected) for found, expected in pairs]
    largest = max(differences)
    return {
        "checks": len(differences),
        "equal": differences.count(0),
        "difference": largest,
        "passed": largest <= tolerance,
    }


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over that of what is expected; infinite where other values are NaN."""
    if not torch.equal(found.isnan(), expected.isnan()):
        return math.inf
    found, expected = found.double().nan_to_num(), expected.double().nan_to_num()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))
