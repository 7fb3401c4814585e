"""Accuracy and cost of networks that classify, on labelled samples."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from spandex.companions.images import SETS, load
from spandex.deploy.executor import Executor, input_numbers, whole_numbers
from spandex.deploy.sparsity_map import parse_sparsity_map
from spandex.errors import SpandexError, prefixed
from spandex.evaluation.classify import encode_rate, latency_steps, sample_scores, summarise_samples
from spandex.evaluation.subject import check_distinct, network_name
from spandex.evaluation.summary import CONFIDENCE, differences
from spandex.files import PARTIAL, refuse_overwriting, sha256, write_json
from spandex.files.arrays import read_arrays
from spandex.files.results import ResultLog
from spandex.metrics.size import TOTALS, network_size
from spandex.networks.hdf5 import input_transform, missing_input_shape, network_layers
from spandex.params.section import DENSITY_THRESHOLD
from spandex.pipeline.provenance import code_digest, produced_by


class Samples(NamedTuple):
    """Labelled samples, and how a network is shown them.

    Attributes:
        source: where they are from.
        x: values from 0 to 1 (samples, inputs) or (samples, x, y, channels), or whole numbers with steps behind that.
        y: classes, whole numbers from 0 (samples,).
        shown_steps: for which values are shown.
        encode: how: as spikes at a ``"rate"``, as a ``"current"``, or, if None, as the network takes it.
    """

    source: str
    x: np.ndarray
    y: np.ndarray
    shown_steps: int | None
    encode: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample at a step: (inputs,) or (x, y, channels)."""
        return self.x.shape[1:4] if self.x.ndim > 3 else self.x.shape[1:2]

    @property
    def steps(self) -> int:
        """Of a sample: its own, or those for which it is shown."""
        return self.shown_steps or self.x.shape[-1]


def classify(
    networks: Sequence[Path],
    data: str,
    output: Path | None = None,
    *,
    names: Sequence[str | None] | None = None,
    steps: int | None = None,
    encode: str | None = None,
    read: str = "spikes",
    workers: int | None = None,
    mirror: str | None = None,
    sparsity_map: str = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
) -> None:
    """Judge networks on labelled samples, print a line for each, and write JSON.

    Scores go to ``OUTPUT.partial`` sample by sample; a run that was stopped goes on from there, whatever stopped it.

    Args:
        networks: HDF5 networks.
        data: NumPy archive of ``x`` and ``y``, see ``Samples``; or the name of an image set, for its test images.
        output: JSON file; none if None.
        names: of the networks; see ``load_subject``.
        steps, encode: see ``Samples``; None for samples that have steps of their own.
        read: of the last layer, ``"spikes"`` or ``"voltage"``.
        workers: samples at once; one a core if None.
        mirror: of image sets.
        sparsity_map, density_threshold: see ``load_subject``; the map as typed.

    Raises:
        SpandexError: a file or an option cannot be used, or they do not fit each other.
    """
    if not networks:
        raise SpandexError("no network to judge")
    if names and len(names) != len(networks):
        raise SpandexError(f"{len(names)} names for {len(networks)} networks")
    names = [name or network_name(path) for name, path in zip(names or [None] * len(networks), networks, strict=True)]
    check_distinct(names)
    files = [] if data in SETS else [Path(data)]
    if output is not None:
        refuse_overwriting([output], [*networks, *files])
    samples = Samples(data, *(_read(files[0]) if files else _images(data, mirror)), steps, encode)
    if samples.x.ndim % 2 == 0 and steps is None:
        raise SpandexError(f"{data}: x of shape {samples.x.shape} has no steps; say how many by --steps")
    if samples.x.ndim % 2 and (steps, encode) != (None, None):
        raise SpandexError(f"{data}: x has {samples.x.shape[-1]} steps; --steps and --encode are for values")
    options = {"sparsity_map": parse_sparsity_map(sparsity_map), "density_threshold": density_threshold}
    log = ResultLog(output and output.with_name(f"{output.name}{PARTIAL}"), code_digest())
    voltage = read == "voltage"
    executors = [_executor(path, samples, voltage, options) for path in networks]
    summaries = {}
    for name, path, executor in zip(names, networks, executors, strict=True):
        summaries[name] = _judged(name, path, executor, samples, voltage, workers, options, log)
        print(f"{name}: {_in_short(summaries[name])}")
    compared = differences(summaries)
    for summary in summaries.values():
        summary["per_sample"] = summary.pop("per_clip")
    if output is not None:
        content = {
            "samples": len(samples.y),
            "confidence": CONFIDENCE,
            "networks": summaries,
            "differences": compared,
            "settings": {"data": data, "steps": samples.steps, "encode": encode, "read": read, **options},
            "produced_by": produced_by([*networks, *files]),
        }
        write_json(output, content)
    log.remove()


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """x and y of an archive."""
    x, y = read_arrays(path, ("x", "y")).values()
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4, 5) or not x.size:
        takes = "numbers (samples, inputs) or (samples, x, y, channels), with steps behind or without, none of them 0"
        raise SpandexError(f"{path}: x is {x.dtype} of shape {x.shape}; it takes {takes}")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise SpandexError(f"{path}: y is {y.dtype} of shape {y.shape}; it takes a whole number for {len(x)} samples")
    return x.astype(np.uint8) if x.dtype == bool else x, y


def _images(name: str, mirror: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Values and classes of the test images of a set."""
    images = load(name, mirror, train=1, test=sys.maxsize, seed=0)
    return images.test.transpose(0, 3, 2, 1) / np.float32(255), images.test_labels


def _executor(path: Path, samples: Samples, voltage: bool, options: Mapping[str, Any]) -> Executor:
    """The network of a file, which samples and options fit."""
    unknown = len(samples.shape) == 3 and missing_input_shape(network_layers(path))
    executor = Executor(path, **options, input_shape=samples.shape if unknown else None)
    _check(samples, path, executor, voltage)
    return executor


def _judged(
    name: str,
    path: Path,
    executor: Executor,
    samples: Samples,
    voltage: bool,
    workers: int | None,
    options: Mapping[str, Any],
    log: ResultLog,
) -> dict[str, Any]:
    """Summary of a network's scores, with its latency and size."""
    transform = None if executor.takes_spikes else input_transform(path)
    judged_by = f"{sha256(path)} {samples.shown_steps} {samples.encode} {voltage} {options}"
    keys = [_digest(judged_by, *sample) for sample in zip(samples.x, samples.y.tolist(), strict=True)]
    left = [number for number, key in enumerate(keys) if log.get(key) is None]
    inputs = _inputs(samples, left, executor, transform)
    scores = sample_scores(executor, inputs, samples.y[left].tolist(), voltage, workers)
    with tqdm(desc=name, total=len(keys), initial=len(keys) - len(left), unit=" samples", disable=None) as bar:
        for number, found in zip(left, scores, strict=True):
            log.add(keys[number], found)
            bar.update()
    per_sample = list(map(log.get, keys))
    size = network_size(path)
    totals = {total: getattr(size, total) for total in TOTALS}
    return {"latency_steps": latency_steps(executor)} | summarise_samples(per_sample, samples.steps) | totals


def _digest(judged_by: str, values: np.ndarray, label: int) -> str:
    """Of everything that the scores of a sample depend on."""
    about = f"{judged_by} {label} {values.dtype.str} {values.shape} "
    return hashlib.sha256(about.encode() + values.tobytes()).hexdigest()


def _check(samples: Samples, path: Path, executor: Executor, voltage: bool) -> None:
    """Raise SpandexError if samples, network and options do not fit, before a sample is run."""
    source, shape, takes = samples.source, samples.shape, executor.input_shape
    if shape != takes and (len(takes) > 1 or np.prod(shape) != executor.inputs):
        raise SpandexError(f"{source}: samples of shape {shape}; {path} takes {takes}")
    if beyond := samples.y[(samples.y < 0) | (samples.y >= executor.outputs)].tolist():
        raise SpandexError(f"{source}: y holds {beyond[0]}; {path} has {executor.outputs} outputs, from 0")
    if samples.encode == "current" and executor.takes_spikes:
        raise SpandexError(f"{path}: has no input layer that takes a current; encode at a rate")
    if voltage:
        with prefixed(f"{path}: "):
            executor.check_voltage()


def _inputs(
    samples: Samples, numbers: Iterable[int], executor: Executor, transform: tuple[int, int] | None
) -> Iterator[np.ndarray]:
    """What the network gets of some samples, (*input shape, steps); a flat network images row by row, as in lava-dl.

    Args:
        samples, executor: which fit.
        numbers: of the samples, from 0.
        transform: of an input layer, see ``input_transform``; None where spikes arrive.
    """
    for number in numbers:
        sample = samples.x[number]
        with prefixed(f"{samples.source}: sample {number}: "):
            if samples.shown_steps is None:
                inputs = input_numbers(sample, executor.takes_spikes)
            else:
                inputs = _encoded(sample, samples, transform)
        if len(executor.input_shape) < len(samples.shape):
            inputs = inputs.transpose(2, 1, 0, 3).reshape(executor.inputs, -1)
        yield inputs


def _encoded(values: np.ndarray, samples: Samples, transform: tuple[int, int] | None) -> np.ndarray:
    """Values of a sample, shown step by step."""
    if beyond := values[~((values >= 0) & (values <= 1))].tolist():
        raise SpandexError(f"holds {beyond[0]}; values are from 0 to 1")
    if transform is None:
        return encode_rate(values, samples.steps)
    weight, bias = transform
    shown = encode_rate(values, samples.steps) if samples.encode == "rate" else values[..., np.newaxis]
    current = whole_numbers(np.rint(weight * shown.astype(np.float64) + bias))
    return np.broadcast_to(current, (*values.shape, samples.steps))


def _in_short(scores: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in scores["intervals"]["accuracy"])
    return ", ".join(
        [
            f"accuracy {100 * scores['accuracy']:.2f} % ({low:.2f} to {high:.2f})",
            f"{scores['events_per_sample']:,.0f} events a sample",
            f"{scores['deployed_synops_per_sample']:,.0f} SynOps a sample",
            f"{scores['deployed_synops_per_step']:,.0f} a step",
            f"power proxy {scores['deployed_power_proxy_ops_per_step']:,.0f} operations a step",
            f"latency {scores['latency_steps']} steps",
            f"{scores['parameters']:,} parameters",
            f"{scores['size_kb']:.1f} KB",
        ]
    )
