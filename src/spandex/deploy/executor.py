"""Exact, event-driven execution of sigma-delta networks: what Lava's fixed-point models compute, spike for spike."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spandex.data.threads import map_in_order
from spandex.deploy.event_loops import INT32_MAX, INT32_MIN, Events, NeuronState, collect, run_input, run_layer
from spandex.deploy.layers import Layer, file_layers
from spandex.deploy.layout import ArrangedLayer, arrange
from spandex.deploy.sparsity_map import SparsityMap
from spandex.deploy.state import LayerState, State, initial_state, load_state
from spandex.errors import SpandexError
from spandex.params.section import DENSITY_THRESHOLD

if TYPE_CHECKING:
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.process.process import AbstractProcess

CHUNK_STEPS = 128  # steps that a layer runs before the next one does; its events stay in the cache


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did in some steps.

    Attributes:
        name: of the layer.
        steps: network steps.
        events: spikes that arrived at its synapses; 0 for the input layer.
        synops: synaptic operations: over these events, the non-zero weights that each met.
        neuron_updates: neurons times steps.
        sums_beyond_24_bits: how often the input of a neuron at a step left the 24 bits of Loihi 2.
        states_beyond_24_bits: how often the state of a neuron did, with its bias or without.
        sums_beyond_32_bits: synaptic sums (of products within 32 bits) that left the 32 bits of Lava's simulation, and
            wrapped. Only then sparse and dense conversion differ.
        states_beyond_32_bits: how often the state of a neuron did, and wrapped.
    """

    name: str
    steps: int = 0
    events: int = 0
    synops: int = 0
    neuron_updates: int = 0
    sums_beyond_24_bits: int = 0
    states_beyond_24_bits: int = 0
    sums_beyond_32_bits: int = 0
    states_beyond_32_bits: int = 0

    def __add__(self, other: "LayerActivity") -> "LayerActivity":
        counts = zip(astuple(self)[1:], astuple(other)[1:], strict=True)
        return LayerActivity(self.name, *map(sum, counts))

    @property
    def beyond(self) -> dict[str, int]:
        """What left its range, by name."""
        return {name: getattr(self, name) for name in BEYOND}


BEYOND = tuple(field.name for field in fields(LayerActivity) if "_beyond_" in field.name)


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
    Dense and DelayDense; the two differ only once a sum leaves 32 bits (``LayerActivity.sums_beyond_32_bits``).

    Args:
        network: HDF5 network as lava-dl exports it, or a netx network, which is run as it has been built.
        sparsity_map, density_threshold, options: see ``Network``; of no effect on a network that is built already.

    Raises:
        SpandexError: the file or the map is unusable, or a layer cannot be run exactly.
    """

    def __init__(
        self,
        network: "str | os.PathLike | hdf5.Network",
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = DENSITY_THRESHOLD,
        **options: Any,
    ):
        layers = None
        options = {name: value for name, value in options.items() if value is not None}
        if isinstance(network, str | os.PathLike) and not options:
            layers = file_layers(network, sparsity_map, density_threshold)
        self._prepare(layers or _layers_in_lava(network, sparsity_map, density_threshold, options))

    @classmethod
    def from_layers(cls, layers: Sequence[Layer]) -> Self:
        """Executor of layers in fixed point."""
        executor = cls.__new__(cls)
        executor._prepare(layers)
        return executor

    @classmethod
    def from_processes(cls, processes: "Iterable[tuple[AbstractProcess | None, AbstractProcess]]") -> Self:
        """Executor of Lava processes built directly, a pair of synapse (None: none) and neurons for each layer."""
        from spandex.deploy.fixed_point import process_layers

        return cls.from_layers(process_layers(processes))

    def _prepare(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self._arranged = arrange(layers)

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
        return initial_state(self.layers)

    def load_state(self, path: str | os.PathLike) -> State:
        """Read what ``State.save`` wrote.

        Raises:
            SpandexError: the file is missing, broken, or of another network.
        """
        return load_state(path, self.layers)

    def run(self, inputs: np.ndarray, state: State | None = None, record: bool = False) -> Run:
        """Run a step for every column of the inputs.

        Args:
            inputs: whole numbers (inputs, steps), within 32 bits. A transposed view of a C-contiguous (steps, inputs)
                int32 array is used as it is.
            state: where to go on; from the beginning if None. It is not changed.
            record: keep the spikes of every layer.

        Raises:
            SpandexError: inputs of another shape, or not whole numbers within 32 bits.
        """
        inputs = _time_major(inputs, self.inputs)
        steps = len(inputs)
        state = state or self.initial_state()
        running = [
            _RunningLayer(*parts, min(steps, CHUNK_STEPS))
            for parts in zip(self.layers, self._arranged, state.layers, strict=True)
        ]
        kept = running if record else running[-1:]
        spikes = [np.empty((steps, layer.size), np.int32) for layer in (self.layers if record else self.layers[-1:])]
        for start in range(0, steps, CHUNK_STEPS):
            chunk = slice(start, min(start + CHUNK_STEPS, steps))
            count = chunk.stop - chunk.start
            signal = _no_events(inputs[chunk])
            if self.layers[0].connections is not None:
                collect(signal, count)
            for layer in running:
                signal = layer.run(signal, count)
            for layer, whole in zip(kept, spikes, strict=True):
                layer.copy_spikes(whole[chunk])
        return Run(
            outputs=spikes[-1].T,
            state=State(tuple(layer.state() for layer in running)),
            activity=tuple(layer.activity(steps) for layer in running),
            spikes=tuple(whole.T for whole in spikes) if record else None,
        )

    def run_batch(self, batch: Iterable[np.ndarray], workers: int | None = None) -> Iterator[Run]:
        """Run every array of inputs (inputs, steps) from the initial state, on several cores; yields in order.

        At most twice as many as there are workers are taken from ``batch`` ahead of what has been yielded.

        Args:
            batch: see ``run``.
            workers: threads; one a core if None.
        """
        yield from map_in_order(self.run, batch, workers)


def _layers_in_lava(
    network: "str | os.PathLike | hdf5.Network",
    sparsity_map: SparsityMap,
    density_threshold: float,
    options: dict[str, Any],
) -> list[Layer]:
    """The layers of a netx network, built by Lava where only a file is given; Lava and torch are loaded for it."""
    from spandex.deploy.execution import processes_forgotten
    from spandex.deploy.fixed_point import fixed_point_layers
    from spandex.deploy.netx import Network

    if isinstance(network, str | os.PathLike):
        with processes_forgotten():
            network = Network(network, sparsity_map, density_threshold, **options)
    return fixed_point_layers(network)


class _RunningLayer:
    """One layer during a run: its state, which the loops change in place, and room for the events of a chunk."""

    def __init__(self, layer: Layer, arranged: ArrangedLayer, state: LayerState, room: int):
        self._layer = layer
        self._order, self._constants, self._synapses = arranged
        self._place = np.argsort(self._order)  # where each neuron of the layer stands
        self._neurons = NeuronState(*(part[self._order] for part in state.neurons))
        self._events = _no_events(np.empty((room, layer.size), np.int32))
        self._arrived = self._synops = 0
        self._beyond = np.zeros((2, 2), np.int64)
        if self._synapses is not None:
            rows = 1 << layer.connections.longest_delay.bit_length()
            self._pending, self._position = np.zeros((rows, layer.size), np.int32), 0
            self._pending[: len(state.pending)] = state.pending[:, self._order]
            slots = self._synapses.blocks[-1]
            self._sums, self._wide_sums = np.zeros(slots, np.int32), np.zeros(slots, np.int64)

    def run(self, arriving: Events, steps: int) -> Events:
        """Run a chunk on what arrives: input (the first layer, if it has no synapses) or events."""
        if self._synapses is None:
            run_input(arriving.spikes, self._constants, self._neurons, self._events, self._beyond)
            return self._events
        if not self._layer.connections.graded:
            arriving = arriving._replace(spikes=(arriving.spikes != 0).astype(np.int32))
        self._position, synops = run_layer(
            arriving,
            steps,
            self._synapses,
            self._constants,
            self._neurons,
            self._pending,
            self._position,
            self._sums,
            self._wide_sums,
            self._events,
            self._beyond,
        )
        self._arrived += int(arriving.starts[steps])
        self._synops += synops
        return self._events

    def copy_spikes(self, into: np.ndarray) -> None:
        """Copy a chunk's spikes into (steps, neurons) in the layer's own order."""
        np.take(self._events.spikes[: len(into)], self._place, axis=1, out=into)

    def state(self) -> LayerState:
        neurons = NeuronState(*(part[self._place] for part in self._neurons))
        if self._synapses is None:
            return LayerState(neurons, None)
        rows = self._layer.connections.longest_delay + 1
        return LayerState(neurons, np.roll(self._pending, -self._position, axis=0)[:rows, self._place])

    def activity(self, steps: int) -> LayerActivity:
        return LayerActivity(
            self._layer.name,
            steps,
            self._arrived,
            self._synops,
            steps * self._layer.size,
            *self._beyond.T.ravel().tolist(),
        )


def _no_events(spikes: np.ndarray) -> Events:
    """Spikes (steps, neurons) among which no events have been looked for."""
    return Events(spikes, np.zeros(len(spikes) + 1, np.int64), np.empty(spikes.size, np.int32))


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Values as int32.

    Raises:
        SpandexError: they are not whole numbers, or do not fit 32 bits.
    """
    if values.dtype == np.int32:
        return values
    if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and not np.array_equal(values, np.rint(values))):
        raise SpandexError(f"inputs ({values.dtype}) are not whole numbers")
    if values.size and (values.min() < INT32_MIN or values.max() > INT32_MAX):
        raise SpandexError(f"inputs from {values.min()} to {values.max()} do not fit 32 bits")
    return values.astype(np.int32)


def _time_major(inputs: np.ndarray, count: int) -> np.ndarray:
    """Inputs as C-contiguous int32 (steps, inputs)."""
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or inputs.shape[0] != count:
        raise SpandexError(f"inputs have shape {inputs.shape}; the network takes ({count}, steps)")
    return np.ascontiguousarray(whole_numbers(inputs).T)
