"""Exact, event-driven execution of networks: what Lava's fixed-point models compute, spike for spike."""

import copy
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spandex.data.threads import map_in_order
from spandex.deploy.event_loops import run_input, run_layer
from spandex.deploy.layers import Layer, NetxOptions, file_layers
from spandex.deploy.layout import ArrangedLayer, arrange, array_bytes, unscaled
from spandex.deploy.neurons import INT32_MAX, INT32_MIN, IntegratorState
from spandex.deploy.sparsity_map import SparsityMap
from spandex.deploy.state import LayerState, State, initial_state, load_state
from spandex.deploy.synapses import Scratch, scratch_for
from spandex.errors import SpandexError
from spandex.params.section import DENSITY_THRESHOLD

if TYPE_CHECKING:
    import torch
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.process.process import AbstractProcess

    from spandex.deploy.fixed_point import Synapse

MOST_CHUNK_STEPS = 64  # that a layer runs before the next one does; its events stay in the cache
MOST_HELD = 1.45  # times weights of 16 bits and states, to which a chunk is cut; a step's spikes may need more


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
        outputs: int32 (*shape of the last layer, steps), what that layer sends.
        state: to go on from.
        activity: one entry a layer.
        events, synops: int64 (layers, steps): spikes that arrived at each layer's synapses, and synaptic operations.
        spikes: of every layer, int32 (*shape, steps); None unless asked for.
        voltage: of the last layer after each step, int32 (*shape, steps); None unless asked for.
    """

    outputs: np.ndarray
    state: State
    activity: tuple[LayerActivity, ...]
    events: np.ndarray
    synops: np.ndarray
    spikes: tuple[np.ndarray, ...] | None = None
    voltage: np.ndarray | None = None

    @property
    def neuronops(self) -> int:
        """Neuron updates that the challenge counts: not those of the last layer, which has no synapses behind it."""
        return sum(layer.neuron_updates for layer in self.activity[:-1])


class Executor:
    """Runs a network in the integer arithmetic of Lava's fixed-point models, bit for bit.

    The same as ``Loihi2SimCfg(select_tag="fixed_pt")`` does with ``io.source.RingBuffer`` on the input layer's
    neurons and ``io.sink.RingBuffer`` on the output: each synapse delays by a step, so outputs come as many steps
    late as there are synaptic layers. Sparse layers compute as Lava's Sparse and DelaySparse, dense ones as
    Dense and DelayDense; the two differ only once a sum leaves 32 bits (``LayerActivity.sums_beyond_32_bits``).

    Args:
        network: HDF5 network as lava-dl exports it, a network of lava-dl blocks (``network.blocks``), which is run as
            its export would be, or a netx network, which is run as it has been built.
        sparsity_map, density_threshold: see ``Network``; of no effect on a netx network.
        options: those of ``NetxOptions``; likewise.

    Raises:
        SpandexError: the file, the map or an option is unusable, or a layer cannot be run exactly.
    """

    def __init__(
        self,
        network: "str | os.PathLike | torch.nn.Module | hdf5.Network",
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = DENSITY_THRESHOLD,
        **options: Any,
    ):
        chosen = sparsity_map, density_threshold, NetxOptions(**options)
        if isinstance(network, str | os.PathLike):
            self._prepare(file_layers(network, *chosen))
        elif hasattr(network, "blocks"):
            from spandex.networks import export_hdf5

            with TemporaryDirectory() as folder:
                path = Path(folder, "network.net")
                export_hdf5(network, path)
                self._prepare(file_layers(path, *chosen))
        else:
            from spandex.deploy.fixed_point import fixed_point_layers

            self._prepare(fixed_point_layers(network))

    @classmethod
    def from_layers(cls, layers: Sequence[Layer]) -> Self:
        """Executor of layers in fixed point."""
        executor = cls.__new__(cls)
        executor._prepare(layers)
        return executor

    @classmethod
    def from_processes(cls, processes: "Iterable[tuple[Synapse, AbstractProcess]]") -> Self:
        """Executor of Lava processes built directly: for each layer its synapse (None: none; or two) and its neurons.

        Raises:
            SpandexError: as ``process_layers``, where two synapses are explained.
        """
        from spandex.deploy.fixed_point import process_layers

        return cls.from_layers(process_layers(processes))

    def _prepare(self, layers: Sequence[Layer]) -> None:
        self._initial_state = initial_state(layers)
        self._arranged = arrange(layers)
        first = layers[0]
        self.input_shape = first.connections[0].input_shape if first.connections else first.shape
        self.inputs = math.prod(self.input_shape)
        self.takes_spikes = bool(first.connections) and not first.connections[0].graded
        self.layers = [replace(layer, connections=()) for layer in layers]  # their weights are in the arranged ones
        # a layer writes its spikes over those of the layer before the one whose spikes it reads
        self._rooms = [max((layer.size for layer in layers[k::2]), default=0) for k in range(2)]
        self._spikes_bytes = sum(self._rooms) * np.dtype(np.int32).itemsize  # of a step
        states_bytes = array_bytes(self._initial_state.arrays())
        self._held_bytes = array_bytes((self._arranged, self._scratch())) + states_bytes
        weights = sum(connections.weights.size for layer in layers for connections in layer.connections)
        least_bytes = 2 * weights + states_bytes
        steps = int((MOST_HELD * least_bytes - self._held_bytes) / self._spikes_bytes)
        self._chunk_steps = min(max(steps, 1), MOST_CHUNK_STEPS)

    def unscaled(self) -> Self:
        """The same network with fully connected weights as in its file: not moved up to 8 bits, nor sums down again."""
        executor = copy.copy(self)
        executor._arranged = [layer._replace(synapses=tuple(map(unscaled, layer.synapses))) for layer in self._arranged]
        return executor

    def _scratch(self) -> Scratch:
        return scratch_for(synapses for layer in self._arranged for synapses in layer.synapses)

    def held_bytes(self) -> int:
        """Of all arrays during a run: weights, constants, states, room for sums, and spikes of a chunk of steps."""
        return self._held_bytes + self._chunk_steps * self._spikes_bytes

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.layers[-1].size

    def check_voltage(self) -> None:
        """Raise SpandexError unless the last layer has a voltage to read."""
        if not isinstance(self._initial_state.layers[-1].neurons, IntegratorState):
            raise SpandexError(f"layer {self.layers[-1].name}: no integrators, so there is no voltage to read")

    def initial_state(self) -> State:
        """The state before the first step: all zero."""
        return self._initial_state

    def load_state(self, path: str | os.PathLike) -> State:
        """Read what ``State.save`` wrote.

        Raises:
            SpandexError: the file is missing, broken, or of another network.
        """
        return load_state(path, self._initial_state)

    def run(self, inputs: np.ndarray, state: State | None = None, record: bool = False, voltage: bool = False) -> Run:
        """Run a step for every column of the inputs.

        Args:
            inputs: whole numbers (inputs, steps) or, of images, (x, y, channels, steps), within 32 bits. A transposed
                view of a C-contiguous (steps, inputs) int32 array is used as it is.
            state: where to go on; from the beginning if None. It is not changed.
            record: keep the spikes of every layer.
            voltage: keep the voltage of the last layer, of integrators.

        Raises:
            SpandexError: inputs of another shape, or not whole numbers within 32 bits; no voltage.
        """
        if voltage:
            self.check_voltage()
        inputs = _time_major(inputs, self.input_shape)
        steps = len(inputs)
        state = state or self._initial_state
        room = max(min(steps, self._chunk_steps), 1)
        rooms, scratch = [np.empty(room * size, np.int32) for size in self._rooms], self._scratch()
        running = [
            _RunningLayer(*parts, rooms[number % 2], scratch, steps)
            for number, parts in enumerate(zip(self.layers, self._arranged, state.layers, strict=True))
        ]
        wholes = [
            np.empty((steps, layer.size), np.int32) if record or layer is self.layers[-1] else None
            for layer in self.layers
        ]
        voltages = running[-1].watch(steps) if voltage else None
        for start in range(0, steps, room):
            chunk = slice(start, min(start + room, steps))
            signal = np.ascontiguousarray(inputs[chunk])
            if self.takes_spikes:
                signal = (signal != 0).astype(np.int32)
            for layer, whole in zip(running, wholes, strict=True):
                signal = layer.run(signal, chunk, state.step + start)
                if whole is not None:
                    layer.copy_spikes(whole[chunk])
        spikes = [
            None if whole is None else whole.T.reshape(*layer.shape, steps)
            for whole, layer in zip(wholes, self.layers, strict=True)
        ]
        return Run(
            outputs=spikes[-1],
            state=State(tuple(layer.state() for layer in running), state.step + steps),
            activity=tuple(layer.activity(steps) for layer in running),
            events=np.stack([layer.events for layer in running]),
            synops=np.stack([layer.synops for layer in running]),
            spikes=tuple(spikes) if record else None,
            voltage=None if voltages is None else voltages.T.reshape(*self.layers[-1].shape, steps),
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
    """One layer during a run: its state, which the loops change in place, and room for the spikes of a chunk."""

    def __init__(
        self,
        layer: Layer,
        arranged: ArrangedLayer,
        state: LayerState,
        room: np.ndarray,
        scratch: Scratch,
        steps: int,
    ):
        self._layer = layer
        self._order, self._constants, self._synapses, self._recurrent, self._as_ones = arranged
        reordered = isinstance(self._order, np.ndarray)
        self._place = np.argsort(self._order) if reordered else self._order  # where each neuron of the layer stands
        self._neurons = type(state.neurons)(*(np.array(part[self._order]) for part in state.neurons))
        chunk_steps = room.size // layer.size
        self._spikes = room[: chunk_steps * layer.size].reshape(chunk_steps, layer.size)
        self.events, self.synops = np.zeros((2, steps), np.int64)
        self._beyond = np.zeros((2, 2), np.int64)
        self._trace = np.empty((0, 0), np.int32)
        if self.has_synapses:
            rows = 1 << (len(state.pending) - 1).bit_length()
            self._pending, self._position = np.zeros((rows, state.pending.shape[1]), np.int32), 0
            self._pending[: len(state.pending)] = state.pending[:, self._order]
            self._delays = len(state.pending)
            self._scratch = scratch._replace(starts=scratch.starts[: self._synapses[0].places + 1])

    @property
    def has_synapses(self) -> bool:
        return bool(self._synapses)

    def watch(self, steps: int) -> np.ndarray:
        """The array (steps, neurons) that the next chunks fill with the voltage."""
        self._trace = np.empty((steps, self._layer.size), np.int32)
        return self._trace

    def run(self, arriving: np.ndarray, chunk: slice, first_step: int) -> np.ndarray:
        """Run a chunk on what arrives, input (the first layer, if it has no synapses) or spikes; the layer's spikes."""
        spikes = self._spikes[: len(arriving)]
        watched = self._neurons[1], self._trace[chunk]
        if not self.has_synapses:
            run_input(arriving, first_step, self._constants, self._neurons, spikes, *watched, self._beyond)
            return spikes
        if self._as_ones:
            arriving = (arriving != 0).astype(np.int32)
        self._position = run_layer(
            tuple(spikes if recurrent else arriving for recurrent in self._recurrent),
            1 + any(self._recurrent),
            first_step,
            self._synapses,
            self._constants,
            self._neurons,
            self._pending,
            self._position,
            spikes,
            self._scratch,
            self.events[chunk],
            self.synops[chunk],
            *watched,
            self._beyond,
        )
        return spikes

    def copy_spikes(self, into: np.ndarray) -> None:
        """Copy a chunk's spikes into (steps, neurons) in the layer's own order."""
        into[:] = self._spikes[: len(into), self._place]

    def state(self) -> LayerState:
        neurons = type(self._neurons)(*(np.array(part[self._place]) for part in self._neurons))
        if not self.has_synapses:
            return LayerState(neurons, None)
        pending = np.roll(self._pending, -self._position, axis=0)
        return LayerState(neurons, pending[: self._delays, self._place])

    def activity(self, steps: int) -> LayerActivity:
        return LayerActivity(
            self._layer.name,
            steps,
            int(self.events.sum()),
            int(self.synops.sum()),
            steps * self._layer.size,
            *self._beyond.T.ravel().tolist(),
        )


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Values as int32.

    Raises:
        SpandexError: they are not whole numbers, or do not fit 32 bits.
    """
    if values.dtype == np.int32:
        return values
    if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and not np.array_equal(values, np.rint(values))):
        raise SpandexError(f"inputs ({values.dtype}) are not whole numbers")
    if values.size and (float(values.min()) < INT32_MIN or float(values.max()) > INT32_MAX):
        raise SpandexError(f"inputs from {values.min()} to {values.max()} do not fit 32 bits")
    return values.astype(np.int32)


def input_numbers(values: np.ndarray, spikes: bool) -> np.ndarray:
    """Values as int32; only 0 and 1 where the network takes whatever is not 0 for a spike.

    Raises:
        SpandexError: as of ``whole_numbers``, or there are others.
    """
    values = whole_numbers(values)
    if spikes and (graded := values[(values != 0) & (values != 1)]).size:
        raise SpandexError(f"holds {graded[0]}, but without an input layer the network takes spikes, 0 and 1")
    return values


def check_inputs(found: Sequence[int], shape: Sequence[int]) -> None:
    """Raise SpandexError unless inputs of a shape are (*shape, steps), or flattened (inputs, steps)."""
    takes = {tuple(map(int, shape)), (math.prod(shape),)}
    if tuple(found[:-1]) not in takes:
        forms = " or ".join(f"({', '.join(map(str, form))}, steps)" for form in sorted(takes, key=len, reverse=True))
        raise SpandexError(f"inputs have shape {tuple(found)}; the network takes {forms}")


def _time_major(inputs: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Inputs as int32 (steps, inputs)."""
    inputs = np.asarray(inputs)
    check_inputs(inputs.shape, shape)
    return whole_numbers(inputs.reshape(math.prod(shape), -1)).T
