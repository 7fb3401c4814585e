"""Exact, event-driven execution of sigma-delta networks: what Lava's fixed-point models compute, spike for spike."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.magma.core.process.process import AbstractProcess

from spandex.deploy.event_loops import Events, NeuronState, Synapses, collect, run_input, run_layer
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.fixed_point import Connections, Layer, network_layers, process_layers
from spandex.deploy.netx import Network, SparsityMap
from spandex.errors import SpandexError
from spandex.files import atomic_path

CHUNK_STEPS = 128  # steps that a layer runs before the next one does; its events stay in the cache
LISTED_BELOW = 0.06  # density under which listing an input's synapses is faster than adding its whole column

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class LayerState:
    """State of one layer between two steps, in Lava's terms.

    Attributes:
        neurons: int32 (neurons,) each.
        pending: int32 (longest delay + 1, neurons), input that is on its way; row k arrives in k steps. Lava's
            ``a_buff``, transposed. None for the input layer.
    """

    neurons: NeuronState
    pending: np.ndarray | None


@dataclass(frozen=True)
class State:
    """State of a network between two steps."""

    layers: tuple[LayerState, ...]

    def save(self, path: str | os.PathLike) -> None:
        """Write as NumPy archive."""
        arrays = {}
        for number, layer in enumerate(self.layers):
            arrays |= {f"{number}.{name}": value for name, value in layer.neurons._asdict().items()}
            if layer.pending is not None:
                arrays[f"{number}.pending"] = layer.pending
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did in some steps.

    Attributes:
        name: of the layer.
        steps: network steps.
        events: spikes that arrived at its synapses; 0 for the input layer.
        synops: synaptic operations: over these events, the non-zero weights that each met.
        neuron_updates: neurons times steps.
        overflows: synaptic sums that left 32 bits. Only then sparse and dense conversion differ.
    """

    name: str
    steps: int = 0
    events: int = 0
    synops: int = 0
    neuron_updates: int = 0
    overflows: int = 0

    def __add__(self, other: "LayerActivity") -> "LayerActivity":
        return LayerActivity(
            self.name,
            self.steps + other.steps,
            self.events + other.events,
            self.synops + other.synops,
            self.neuron_updates + other.neuron_updates,
            self.overflows + other.overflows,
        )


@dataclass(frozen=True)
class Run:
    """Result of running some steps.

    Attributes:
        outputs: int32 (outputs, steps), what the last layer sends.
        state: to go on from.
        activity: one entry a layer.
        spikes: of every layer, int32 (neurons, steps); None unless asked for.
    """

    outputs: np.ndarray
    state: State
    activity: tuple[LayerActivity, ...]
    spikes: tuple[np.ndarray, ...] | None = None


class Executor:
    """Runs a network in the integer arithmetic of Lava's fixed-point models, bit for bit.

    The same as ``Loihi2SimCfg(select_tag="fixed_pt")`` does with ``io.source.RingBuffer`` on the input layer's
    neurons and ``io.sink.RingBuffer`` on the output: each synapse delays by a step, so outputs come as many steps
    late as there are synaptic layers. Sparse layers compute as Lava's Sparse and DelaySparse, dense ones as
    Dense and DelayDense; the two differ only once a sum leaves 32 bits, which ``LayerActivity.overflows`` counts.

    Args:
        network: HDF5 network as lava-dl exports it, or a netx network.
        sparsity_map, density_threshold, options: see ``Network``; only for a file.

    Raises:
        SpandexError: the file or the map is unusable, or a layer cannot be run exactly.
    """

    def __init__(
        self,
        network: str | os.PathLike | hdf5.Network,
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = 0.5,
        **options: Any,
    ):
        if not isinstance(network, hdf5.Network):
            with processes_forgotten():
                network = Network(network, sparsity_map, density_threshold, **options)
        self._set_layers(network_layers(network))

    @classmethod
    def from_processes(cls, processes: Iterable[tuple[AbstractProcess | None, AbstractProcess]]) -> Self:
        """Executor of Lava processes built directly, a pair of synapse (None: none) and neurons for each layer."""
        executor = cls.__new__(cls)
        executor._set_layers(process_layers(processes))
        return executor

    def _set_layers(self, layers: list[Layer]) -> None:
        self.layers = layers
        self._synapses = [_layout(layer.connections) for layer in layers]

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        first = self.layers[0]
        return first.size if first.connections is None else first.connections.weights.shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.layers[-1].size

    def initial_state(self) -> State:
        """The state before the first step: all zero."""
        return State(tuple(_initial_state(layer) for layer in self.layers))

    def load_state(self, path: str | os.PathLike) -> State:
        """Read what ``State.save`` wrote.

        Raises:
            SpandexError: the file is missing, broken, or of another network.
        """
        expected = self.initial_state()
        try:
            with np.load(path, allow_pickle=False) as archive:
                return State(tuple(_read_state(archive, number, layer) for number, layer in enumerate(expected.layers)))
        except FileNotFoundError:
            raise SpandexError(f"{path}: no such file") from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise SpandexError(f"{path}: not a state of this network ({error})") from None

    def run(self, inputs: np.ndarray, state: State | None = None, record: bool = False) -> Run:
        """Run a step for every column of the inputs.

        Args:
            inputs: integers (inputs, steps), within 32 bits. A transposed view of a C-contiguous (steps, inputs)
                int32 array is used as it is.
            state: where to go on; from the beginning if None. It is not changed.
            record: keep the spikes of every layer.

        Raises:
            SpandexError: inputs of another shape, or not integers within 32 bits.
        """
        inputs = _time_major(inputs, self.inputs)
        steps = len(inputs)
        state = state or self.initial_state()
        room = min(steps, CHUNK_STEPS)
        layers = [
            _RunningLayer(layer, synapses, own, room)
            for layer, synapses, own in zip(self.layers, self._synapses, state.layers, strict=True)
        ]
        kept = [np.empty((steps, layer.size), np.int32) for layer in (self.layers if record else self.layers[-1:])]
        entry = _new_events(room, self.inputs)
        for start in range(0, steps, CHUNK_STEPS):
            chunk = inputs[start : start + CHUNK_STEPS]
            events = entry
            if self.layers[0].connections is not None:
                collect(chunk, events)
            for layer in layers:
                events = layer.run(chunk, events)
            for whole, layer in zip(kept, layers[-len(kept) :], strict=True):
                whole[start : start + CHUNK_STEPS] = layer.spikes[: len(chunk)]
        return Run(
            outputs=kept[-1].T,
            state=State(tuple(layer.state() for layer in layers)),
            activity=tuple(layer.activity(steps) for layer in layers),
            spikes=tuple(spikes.T for spikes in kept) if record else None,
        )

    def run_batch(self, batch: Iterable[np.ndarray], workers: int | None = None) -> Iterator[Run]:
        """Run every array of inputs (inputs, steps) from the initial state, on several cores; yields in order.

        At most twice as many as there are workers are taken from ``batch`` ahead of what has been yielded.

        Args:
            batch: see ``run``.
            workers: threads; one a core if None.
        """
        yield from map_in_order(self.run, batch, workers)


class _RunningLayer:
    """One layer during a run: its state, which the loops change in place, and room for the results of a chunk."""

    def __init__(self, layer: Layer, synapses: Synapses | None, state: LayerState, room: int):
        self._layer = layer
        self._synapses = synapses
        self._neurons = NeuronState(*(part.copy() for part in state.neurons))
        self._events = _new_events(room, layer.size)
        self.spikes = np.empty((room, layer.size), np.int32)
        self._arrived = self._synops = self._overflows = 0
        if synapses is None:
            return
        slots = layer.size * (1 if synapses.by_neuron else len(synapses.delays))
        self._pending, self._position = state.pending.copy(), 0
        self._sums, self._wide_sums = np.zeros(slots, np.int32), np.zeros(slots, np.int64)

    def run(self, inputs: np.ndarray, arriving: Events) -> Events:
        """Run a chunk: the input layer on ``inputs`` (steps, inputs), every other on the arriving events."""
        spikes = self.spikes[: len(inputs)]
        if self._synapses is None:
            run_input(inputs, self._layer.neurons, self._neurons, spikes, self._events)
            return self._events
        if not self._layer.connections.graded:
            arriving = arriving._replace(values=np.ones_like(arriving.values))
        self._position, synops, overflows = run_layer(
            arriving,
            self._synapses,
            self._layer.neurons,
            self._neurons,
            self._pending,
            self._position,
            self._sums,
            self._wide_sums,
            spikes,
            self._events,
        )
        self._arrived += int(arriving.starts[len(inputs)])
        self._synops += synops
        self._overflows += overflows
        return self._events

    def state(self) -> LayerState:
        return LayerState(
            self._neurons, None if self._synapses is None else np.roll(self._pending, -self._position, axis=0)
        )

    def activity(self, steps: int) -> LayerActivity:
        return LayerActivity(
            self._layer.name, steps, self._arrived, self._synops, steps * self._layer.size, self._overflows
        )


def map_in_order(job: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """Apply ``job``, which should spend its time outside Python's lock, on threads; results in order of the items.

    At most two items a worker are taken ahead of what has been yielded, so that memory is bounded.
    """
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _initial_state(layer: Layer) -> LayerState:
    zeros = NeuronState(*np.zeros((3, layer.size), np.int32))
    if layer.connections is None:
        return LayerState(zeros, None)
    return LayerState(zeros, np.zeros((layer.connections.longest_delay + 1, layer.size), np.int32))


def _read_state(archive: Mapping[str, np.ndarray], number: int, expected: LayerState) -> LayerState:
    def read(name: str, like: np.ndarray) -> np.ndarray:
        value = archive[f"{number}.{name}"]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(f"{number}.{name} is {value.dtype} {value.shape}, not {like.dtype} {like.shape}")
        return value

    neurons = {name: read(name, value) for name, value in expected.neurons._asdict().items()}
    return LayerState(NeuronState(**neurons), None if expected.pending is None else read("pending", expected.pending))


def _new_events(steps: int, neurons: int) -> Events:
    return Events(
        np.zeros(steps + 1, np.int64), np.empty(steps * neurons, np.int32), np.empty(steps * neurons, np.int32)
    )


def _time_major(inputs: np.ndarray, count: int) -> np.ndarray:
    """Inputs as C-contiguous int32 (steps, inputs)."""
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or inputs.shape[0] != count:
        raise SpandexError(f"inputs have shape {inputs.shape}; the network takes ({count}, steps)")
    if inputs.dtype.kind not in "iu":
        raise SpandexError(f"inputs are {inputs.dtype}, not integers")
    if inputs.dtype != np.int32 and inputs.size:
        limits = np.iinfo(np.int32)
        if inputs.min() < limits.min or inputs.max() > limits.max:
            raise SpandexError(f"inputs from {inputs.min()} to {inputs.max()} leave 32 bits")
    return np.ascontiguousarray(inputs.T, np.int32)


def _layout(connections: Connections | None) -> Synapses | None:
    """Synapses as the loops want them; see ``Synapses`` for what the arrays hold."""
    if connections is None:
        return None
    weights, delays = connections.weights, connections.delays
    neurons = len(weights)
    exists = weights.T != 0  # (inputs, neurons): synapses in order of their input
    neuron_delays = _delay_of_each_neuron(weights, delays)
    by_neuron = neuron_delays is not None
    listed = not by_neuron or exists.mean() < LISTED_BELOW
    if by_neuron:
        distinct, slots = neuron_delays, np.broadcast_to(np.arange(neurons), exists.shape)
    else:
        distinct, place = np.unique(delays.T[exists], return_inverse=True)
        slots = np.zeros(exists.shape, np.int64)
        slots[exists] = place * neurons + np.nonzero(exists)[1]
    return Synapses(
        columns=np.ascontiguousarray(weights.T if not listed else np.zeros((0, 0)), np.int16),
        starts=np.concatenate([[0], exists.sum(axis=1).cumsum()]).astype(np.int64),
        slots=slots[exists].astype(np.int32) if listed else np.zeros(0, np.int32),
        weights=weights.T[exists].astype(np.int16) if listed else np.zeros(0, np.int16),
        fan_out=exists.sum(axis=1, dtype=np.int64),
        by_neuron=by_neuron,
        delays=distinct.astype(np.int64),
        largest=int(np.abs(weights).max(initial=0)),
        left=min(max(connections.exponent, 0), 32),
        right=min(max(-connections.exponent, 0), 63),
        wraps_late=connections.wraps_late,
    )


def _delay_of_each_neuron(weights: np.ndarray, delays: np.ndarray) -> np.ndarray | None:
    """The delay that all synapses of a neuron share, (neurons,); None if those of some neuron differ."""
    exists = weights != 0
    longest = np.where(exists, delays, 0).max(axis=1, initial=0)
    return (
        longest
        if np.array_equal(
            np.where(exists, delays, longest[:, np.newaxis]), np.broadcast_to(longest[:, np.newaxis], delays.shape)
        )
        else None
    )
