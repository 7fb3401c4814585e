"""Steps per second of the deployed network: stock Lava, Lava with the faster models, and the executor, in one run.

The network is the published one with half its weights; every side gets the same encoded audio, and what Lava sends is
held to what the executor sends. Lava is timed over steps alone, without compiling and starting; it has an operating
system process for every layer's synapses and neurons, and all cores. The executor's figure is for one core.

Then other kinds of layers, lava-dl's own trained networks where the mirror has them: processor time a step of stock
Lava and of the executor, and the memory that the executor holds.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

import spandex  # noqa: F401  before Lava: it lets Lava import on Python 3.11 and later

# isort: split
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks.process import Input
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io import sink, source
from numba import njit

from spandex.data import SynthesisSettings, build_synthetic, read_audio, synthesize, write_wav
from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.data.catalog import source as published
from spandex.data.download import fetch
from spandex.data.folders import audio_files
from spandex.data.public import prepare_corpus
from spandex.deploy import Executor
from spandex.deploy.codec import encode, executor_framing
from spandex.deploy.execution import execution, processes_forgotten
from spandex.deploy.executor import MOST_CHUNK_STEPS, _RunningLayer
from spandex.deploy.lava_models import FAST_MODELS
from spandex.errors import SpandexError
from spandex.evaluation import evaluate, load_subject, pair_clips
from spandex.files import write_json
from spandex.files.results import ResultLog
from spandex.networks.hdf5 import MAX_DELAY, network_layers
from spandex.networks.named import network_file
from spandex.params import mirror_in_use
from spandex.steps.bench import benchmark_parser

CLIP_S = 30.0
WARM_UP_STEPS = 10  # the first steps of a model lay out its weights
TEST_SET_CLIPS = 12_000

TARGETS = {
    "ratio_executor": 2000,
    "ratio_general": 200,
    "ratio_lava_sparse": 20,
    "ratio_lava_dense": 40,
    "clips_per_10_min": TEST_SET_CLIPS,
}
KINDS = {  # of networks of others: steps in stock Lava, and how much less processor time the executor should take
    "oxford": (400, 350),
    "mnist": (400, 350),
    "recurrent": (400, 500),
    "resonators": (400, 500),
    "pilotnet_sdnn": (12, 200),
    "pilotnet_lif": (12, 150),
}
ROUNDS = 8  # of these steps, in which the executor is timed
MOST_MEMORY = 1.5  # of what the executor holds, over weights of 16 bits and states


def measure(
    network: str | None = None,
    audio: Path | None = None,
    mirror: str | None = None,
    clips: int = 40,
    stock_steps: int = 150,
    lava_steps: int = 2000,
    repeats: int = 5,
) -> dict[str, Any]:
    """All figures; see ``main`` for the arguments, and ``docs/explanation/inference.md`` for what they mean.

    Raises:
        SpandexError: a number below 1, no network or audio, or Lava sent something else than the executor.
    """
    for name, count in {
        "clips": clips,
        "stock-steps": stock_steps,
        "lava-steps": lava_steps,
        "repeats": repeats,
    }.items():
        if count < 1:
            raise SpandexError(f"--{name} {count}: at least 1")
    load = os.getloadavg()[0]  # of others; figures taken beside other work are too low
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network, net_used = _network(network, mirror, folder)
        audio_used = _write_clips(audio, mirror, folder, clips)
        general = _with_delay_per_synapse(network, folder / "general.net")
        sparse, dense, delayed = Executor(network, True), Executor(network, False), Executor(general, True)
        frame = executor_framing(sparse, network)
        noisy = sorted((folder / "noisy").iterdir())[: max(4, 2 * _cores())]
        inputs = [encode(read_audio(file), *frame)[0] for file in noisy]

        lava = {
            "stock_sparse": (network, True, {}, stock_steps, sparse),
            "stock_dense": (network, False, {}, stock_steps, dense),
            "stock_general": (general, True, {}, stock_steps, delayed),
            "lava_sparse": (network, True, FAST_MODELS, lava_steps, sparse),
            "lava_dense": (network, False, FAST_MODELS, lava_steps, dense),
            "lava_general": (general, True, FAST_MODELS, lava_steps, delayed),
        }
        rates = {}
        for side, (path, is_sparse, models, steps, executor) in lava.items():
            steps = min(steps, inputs[0].shape[1] - WARM_UP_STEPS)
            rates[side], outputs = _run_lava(path, is_sparse, models, inputs[0][:, : steps + WARM_UP_STEPS])
            _check_equal(side, outputs, executor.run(inputs[0]).outputs[:, : outputs.shape[1]])
        rates["executor"] = _one_core(sparse, inputs, repeats)
        rates["executor_dense"] = _one_core(dense, inputs, repeats)
        rates["executor_general"] = _one_core(delayed, inputs, repeats)
        rates["executor_all"] = _all_cores(sparse, inputs, repeats)
        figures = {
            "network": net_used,
            "audio": audio_used,
            "cores": _cores(),
            "load_before": load,
            "steps_per_s": rates,
            "ratio_executor": rates["executor"] / rates["stock_sparse"],
            "ratio_lava_sparse": rates["lava_sparse"] / rates["stock_sparse"],
            "ratio_lava_dense": rates["lava_dense"] / rates["stock_dense"],
            "ratio_general": rates["executor_general"] / rates["stock_general"],
            "clips_per_10_min": _clips_per_10_min(network, folder),
            "limit": _limit(sparse, inputs[0], repeats),
            "memory": _memory(sparse, network),
            "kinds": _kinds(mirror, folder, repeats),
        }
    return figures


def _kinds(mirror: str | None, folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """Networks with other layers: us a step of processor time of both sides, their ratio, and memory."""
    random = np.random.default_rng(1)
    found = {name: Path(mirror or "", "lavadl", name, "network.net") for name in KINDS}
    found["recurrent"] = _integrators(folder / "recurrent.net", random)
    found["resonators"] = _resonators(folder / "resonators.net", random)
    return {name: _kind(name, path, random, repeats) for name, path in found.items() if path.is_file()}


def _kind(name: str, path: Path, random: np.random.Generator, repeats: int) -> dict[str, Any]:
    executor, steps = Executor(path), KINDS[name][0]
    entry = executor.input_shape
    if executor.takes_spikes:
        inputs = (random.random((*entry, steps)) < 0.1).astype(np.int32)
    else:  # a picture of which a fifth changes at every step, in the units of the network's input
        inputs = random.integers(0, 255, (*entry, steps))
        for step in range(1, steps):
            inputs[..., step] = np.where(random.random(entry) < 0.2, inputs[..., step], inputs[..., step - 1])
        inputs *= 64 if name == "pilotnet_sdnn" else 1
    stock, outputs = _run_lava(path, False, {}, inputs, WARM_UP_STEPS // 5, processor_time=True)
    run = executor.run(inputs)
    if differing := np.count_nonzero(outputs != run.outputs):
        raise SpandexError(f"{name}: {differing} of {outputs.size} outputs are not those of the executor")
    again = np.concatenate([inputs] * ROUNDS, axis=-1)  # neither side's start counts
    ours = _best(lambda: executor.run(again), 4 * repeats, time.process_time) / again.shape[-1]
    return {
        "stock_us": 1e6 / stock,
        "executor_us": 1e6 * ours,
        "ratio": 1 / (stock * ours),
        "events_per_step": float(run.events.sum() / steps),
        "memory": _memory(executor, path),
    }


def _integrators(path: Path, random: np.random.Generator) -> Path:
    """256 integrators that listen to each other, and 32 behind them."""
    neuron = {"type": b"CUBA", "iDecay": 1000, "vDecay": 300, "vThMant": 900}
    with h5py.File(path, "w") as file:
        for number, (kind, shape) in enumerate({b"dense_rec": (256, 200), b"dense": (32, 256)}.items()):
            layer = file.create_group(f"layer/{number}")
            layer["type"], layer["shape"] = np.array([kind]), [shape[0]]
            layer["weight"] = 2 * random.integers(-60, 61, shape)
            if number == 0:
                layer["weight_rec"] = 2 * random.integers(-30, 31, (256, 256))
            for key, value in neuron.items():
                layer[f"neuron/{key}"] = value
    return path


def _resonators(path: Path, random: np.random.Generator) -> Path:
    """Two layers of 256 resonators."""
    neuron = {"type": b"RF_PHASE", "sinDecay": 700, "cosDecay": 3900, "vThMant": 300}
    with h5py.File(path, "w") as file:
        for number, inputs in enumerate((200, 256)):
            layer = file.create_group(f"layer/{number}")
            layer["type"], layer["shape"] = np.array([b"dense"]), [256]
            layer["weight/real"], layer["weight/imag"] = 2 * random.integers(-60, 61, (2, 256, inputs))
            for key, value in neuron.items():
                layer[f"neuron/{key}"] = value
    return path


def _memory(executor: Executor, path: Path) -> dict[str, float]:
    """Bytes that the executor holds during a run, and how many times the weights as int16 and the states that is."""
    weights = sum(2 * layer.held.weights.size for layer in network_layers(path) if layer.held is not None)
    states = sum(array.size * array.itemsize for array in executor.initial_state().arrays().values())
    return {"bytes": executor.held_bytes(), "ratio": executor.held_bytes() / (weights + states)}


def _network(typed: str | None, mirror: str | None, folder: Path) -> tuple[Path, str]:
    """The network file, and how to name it."""
    if typed is not None:
        return network_file(typed, lambda: mirror), typed
    entry = published("spandex-prune50-net")
    return fetch([entry], folder, mirror=mirror, in_place=True)[entry.name], f"{entry.file} ({entry.role})"


def _write_clips(audio: Path | None, mirror: str | None, folder: Path, count: int) -> str:
    """Write clips of 30 s to ``folder``, noisy/ and clean/; what they are."""
    if audio is None and mirror is not None and Path(mirror, "corpus.csv").is_file():
        manifest = prepare_corpus("mini", folder / "corpus", mirror=mirror)
        what = f"{count} mixtures of the mirror's test speech and noise"
    elif audio is None:
        minutes = {"train": 0.5, "validation": 0.5, "test": 10.0}
        manifest = build_synthetic(folder / "corpus", minutes, minutes, seed=1)
        what = f"{count} mixtures of speech and noise of the synthetic corpus"
    else:
        _cut(audio, folder, count)
        return f"{count} clips cut from {audio}"
    synthesize(manifest, "test", folder, count, SynthesisSettings(clip_s=CLIP_S), seed=1)
    return what


def _cut(audio: Path, folder: Path, count: int) -> None:
    """Clips from files one after the other, over again if they do not suffice. They are scored against themselves
    backwards: the time that takes is the same against anything."""
    files = audio_files(audio, below=True) if audio.is_dir() else [audio]
    joined = np.concatenate([read_audio(file) for file in files])
    samples = round(CLIP_S * SAMPLE_RATE_HZ)
    for number in range(count):
        clip = np.take(joined, np.arange(number * samples, (number + 1) * samples), mode="wrap")
        for kind, samples_of_kind in (("noisy", clip), ("clean", clip[::-1])):
            (folder / kind).mkdir(exist_ok=True)
            write_wav(folder / kind / f"{number:04}.wav", samples_of_kind)


def _with_delay_per_synapse(path: Path, copy: Path) -> Path:
    """A copy of a network file with a random delay for every synapse of the layers that have delays."""
    random = np.random.default_rng(1)
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        for layer in file["layer"].values():
            if "delay" in layer:
                del layer["delay"]
                layer["delay"] = random.integers(0, MAX_DELAY + 1, layer["weight"].shape)
    return copy


def _run_lava(
    path: Path,
    sparse: bool,
    models: dict,
    inputs: np.ndarray,
    warm_up: int = WARM_UP_STEPS,
    processor_time: bool = False,
) -> tuple[float, np.ndarray]:
    """Steps per second, of all processes' time if asked for, after the warm-up; int32 (outputs, steps) of all steps."""
    steps = inputs.shape[-1]
    clock = _processor_s if processor_time else time.perf_counter
    with processes_forgotten(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # netx's remark on delays above its limit
        network = hdf5.Network(str(path), sparse_fc_layer=sparse)
        network.net_config.f.close()
        sender = source.RingBuffer(data=inputs)
        entry = network.in_layer
        sender.s_out.connect(entry.neuron.a_in if isinstance(entry, Input) else entry.inp)
        receiver = sink.RingBuffer(shape=network.out.shape, buffer=steps)
        network.out.connect(receiver.a_in)
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
        with execution(sender, config) as lava:
            lava.steps(warm_up)
            start = clock()
            lava.steps(steps - warm_up)
            seconds = clock() - start
            return (steps - warm_up) / seconds, receiver.data.get()


def _processor_s() -> float:
    """Of this process and of those that it started, which still run."""
    process = psutil.Process()
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _check_equal(side: str, outputs: np.ndarray, expected: np.ndarray) -> None:
    if not outputs.any():
        raise SpandexError(f"{side}: all outputs are 0; take louder audio")
    differing = np.count_nonzero(outputs != expected)
    if differing:
        raise SpandexError(f"{side}: {differing} of {outputs.size} outputs are not those of the executor")


def _one_core(executor: Executor, inputs: list[np.ndarray], repeats: int) -> float:
    def run() -> None:
        for clip in inputs:
            executor.run(clip)

    return sum(clip.shape[1] for clip in inputs) / _best(run, repeats)


def _all_cores(executor: Executor, inputs: list[np.ndarray], repeats: int) -> float:
    def run() -> None:
        for _ in executor.run_batch(inputs):
            pass

    return sum(clip.shape[1] for clip in inputs) / _best(run, repeats)


def _clips_per_10_min(network: Path, folder: Path) -> float:
    """Clips read, encoded, executed, decoded and scored by SI-SNR in 10 minutes on all cores."""
    subject = load_subject(network)
    pairs, _ = pair_clips(folder / "noisy", folder / "clean")
    evaluate([subject], pairs[:1], None, ResultLog(folder / "warm-up.log"))
    _forget_cached_files([file for pair in pairs for file in (pair.noisy, pair.clean)])
    log = ResultLog(folder / "scores.log")
    start = time.perf_counter()
    evaluate([subject], pairs, None, log, workers=_cores())
    seconds = time.perf_counter() - start
    log.remove()
    return 600 * len(pairs) / seconds


def _forget_cached_files(files: Sequence[Path]) -> None:
    """Have files read from the disk next time, where the system can be told so."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()
    for file in files:
        with file.open("rb") as open_file:
            os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _limit(executor: Executor, inputs: np.ndarray, repeats: int) -> dict[str, Any]:
    """Where the executor's time goes, and how far its synapse sums are from what the core can do.

    Returns:
        ``share``: of the time, by part; ``us_per_step``: of the whole; ``gmac_per_s``: multiply-adds of the sums, a
        column's zeros included, and the peak on columns in the first-level cache; ``gb_per_s``: of weights read, and
        the peak of reading as much as the largest layer's weights in sequence; ``steps_per_s_at_peak``: with sums at
        the peak rate of multiply-adds and all else as it is.
    """
    steps = inputs.shape[1]
    whole = _best(lambda: executor.run(inputs), repeats)
    passes = [_time_parts(executor, inputs) for _ in range(repeats + 1)]
    parts = min(passes, key=lambda parts: sum(parts.values()))
    parts["rest"] = max(0.0, whole - sum(parts.values()))
    total = sum(parts.values())
    counts = executor.run(inputs).activity
    columns = [arranged.synapses[0].columns for arranged in executor._arranged if arranged.synapses]
    products = sum(
        counted.events * matrix.shape[1] for counted, matrix in zip(counts[1:], columns, strict=True) if matrix.size
    )
    largest = max((matrix.nbytes for matrix in columns), default=0)
    peak = _peak_multiply_adds(repeats)
    at_peak = parts | {"sums": products / peak}
    return {
        "us_per_step": 1e6 * whole / steps,
        "share": {part: seconds / total for part, seconds in parts.items()},
        "events_per_step": [counted.events / steps for counted in counts[1:]],
        "gmac_per_s": {"sums": products / parts["sums"] / 1e9, "peak": peak / 1e9},
        "gb_per_s": {
            "sums": products * columns[0].itemsize / parts["sums"] / 1e9,
            "peak": _peak_read(largest, repeats) / 1e9,
        },
        "steps_per_s_at_peak": steps / sum(at_peak.values()),
    }


def _time_parts(executor: Executor, inputs: np.ndarray) -> dict[str, float]:
    """Seconds of a run in synapse sums, and in neurons (with what waits for its delay, and the search for events).

    A layer runs every chunk of steps twice: on the spikes that arrive, and on none, which leaves out the sums alone.
    """
    steps = np.ascontiguousarray(inputs.T)
    busy, idle = (
        [
            _RunningLayer(
                layer, *parts, np.empty(MOST_CHUNK_STEPS * layer.size, np.int32), executor._scratch(), len(steps)
            )
            for layer, *parts in zip(executor.layers, executor._arranged, executor.initial_state().layers, strict=True)
        ]
        for _ in range(2)
    )
    parts = dict.fromkeys(("sums", "neurons"), 0.0)
    for start in range(0, len(steps), MOST_CHUNK_STEPS):
        signal = steps[start : start + MOST_CHUNK_STEPS]
        chunk = slice(start, start + len(signal))
        for layer, same_layer in zip(busy, idle, strict=True):
            nothing = np.zeros_like(signal)
            begin = time.perf_counter()
            sent = layer.run(signal, chunk, start)
            all_parts = time.perf_counter()
            same_layer.run(nothing, chunk, start)
            without_sums = time.perf_counter() - all_parts
            parts["neurons"] += without_sums
            parts["sums"] += all_parts - begin - without_sums
            signal = sent
    return parts


@njit(nogil=True)
def _multiply_add(columns, spikes, sums, rounds):
    """The executor's loop over columns, on the same ones again and again."""
    for _ in range(rounds):
        for e in range(0, spikes.size, 4):
            u, v, w, x = columns[e], columns[e + 1], columns[e + 2], columns[e + 3]
            a, b, c, d = spikes[e], spikes[e + 1], spikes[e + 2], spikes[e + 3]
            for r in range(sums.size):
                sums[r] += (np.int32(u[r]) * a + np.int32(v[r]) * b) + (np.int32(w[r]) * c + np.int32(x[r]) * d)


@njit(nogil=True)
def _read(values, rounds):
    total = 0
    for number in range(rounds):
        for i in range(values.size):
            total += values[i]
        values[0] = number  # so that no round can be left out
    return total


def _peak_multiply_adds(repeats: int) -> float:
    """Multiply-adds per second of int16 columns (16 of 512, 16 KiB: in the first-level cache) and int32 spikes."""
    columns = np.arange(16 * 512, dtype=np.int16).reshape(16, 512)
    spikes, sums, rounds = np.arange(1, 17, dtype=np.int32), np.zeros(512, np.int32), 2000
    return columns.size * rounds / _best(lambda: _multiply_add(columns, spikes, sums, rounds), 2 * repeats)


def _peak_read(size: int, repeats: int) -> float:
    """Bytes per second of reading ``size`` bytes in sequence, over and over."""
    values, rounds = np.ones(max(1, size // 8), np.int64), 200
    return values.nbytes * rounds / _best(lambda: _read(values, rounds), 2 * repeats)


def _best(job: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of ``repeats`` after one to warm up: other load on the machine only adds time."""
    job()
    seconds = []
    for _ in range(repeats):
        start = clock()
        job()
        seconds.append(clock() - start)
    return min(seconds)


def _cores() -> int:
    return os.cpu_count() or 1


def _report(figures: dict[str, Any]) -> str:
    rates, limit = figures["steps_per_s"], figures["limit"]
    lines = [f"network: {figures['network']}", f"audio: {figures['audio']}"]
    lines += [f"{side:>16} {rate:9.1f} steps/s" for side, rate in rates.items()]
    lines += [f"{name:>18} {figures[name]:8.0f} (target {target})" for name, target in TARGETS.items()]
    share = ", ".join(f"{part} {100 * value:.0f} %" for part, value in limit["share"].items())
    rate, bandwidth = limit["gmac_per_s"], limit["gb_per_s"]
    lines += [
        f"one core, {limit['us_per_step']:.1f} us a step: {share}",
        f"sums at {rate['sums']:.1f} of {rate['peak']:.1f} thousand million multiply-adds per s "
        f"({100 * rate['sums'] / rate['peak']:.0f} %), reading {bandwidth['sums']:.0f} of {bandwidth['peak']:.0f} GB/s "
        f"({100 * bandwidth['sums'] / bandwidth['peak']:.0f} %)",
        f"with sums at that peak: {limit['steps_per_s_at_peak']:.0f} steps/s",
        _memory_line(figures["memory"]),
        *(
            f"{name:>13} {kind['executor_us']:8.1f} us a step, stock Lava {kind['stock_us']:9.0f}: "
            f"{kind['ratio']:.0f} times (target {KINDS[name][1]}), {kind['events_per_step']:.0f} events a step; "
            f"{_memory_line(kind['memory'])}"
            for name, kind in figures["kinds"].items()
        ),
        f"{figures['cores']} cores, load {figures['load_before']:.1f} before; every output of Lava is the executor's",
    ]
    return "\n".join(lines)


def _memory_line(memory: dict[str, float]) -> str:
    return f"{memory['bytes'] / 2**20:.1f} MB, {memory['ratio']:.2f} times weights and states (at most {MOST_MEMORY})"


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("inference", __doc__)
    parser.add_argument(
        "--network", help="network, its file or its name (default: the published one, from mirror or network)"
    )
    parser.add_argument(
        "--audio", type=Path, help="WAV, FLAC or OGG file or folder (default: mixtures of the mirror's, or synthetic)"
    )
    parser.add_argument(
        "--mirror",
        help="of public data (default: of SPANDEX_SET, SPANDEX_MIRROR or params.yaml, the first that names one)",
    )
    parser.add_argument("--clips", type=int, default=40, help="clips of 30 s for clips_per_10_min")
    parser.add_argument("--stock-steps", type=int, default=150)
    parser.add_argument("--lava-steps", type=int, default=2000, help="with the faster models")
    parser.add_argument("--repeats", type=int, default=5, help="the best counts")
    arguments = vars(parser.parse_args(argv))
    out = arguments.pop("json")
    arguments["mirror"] = arguments["mirror"] or mirror_in_use(Path(__file__).parents[1] / "params.yaml")
    figures = measure(**arguments)
    print(_report(figures))
    if out is not None:
        write_json(out, figures)


if __name__ == "__main__":
    main()
