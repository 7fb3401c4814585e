"""Layers in fixed point, as the executor runs them, and those of a network file."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spandex.deploy.neurons import INPUT_SHIFT, STATE_LIMIT, Delta, Integrators, Neurons, Resonators, SigmaDelta
from spandex.deploy.sparsity_map import SparsityMap, chosen_layers
from spandex.errors import SpandexError
from spandex.networks.hdf5 import (
    DECAY_UNIT,
    INTEGRATORS,
    MAX_DELAY,
    RESONATORS,
    DeployedLayer,
    Kernels,
    NetworkLayer,
    Shape,
    missing_input_shape,
    network_layers,
    without_message_bits,
)
from spandex.params.section import DENSITY_THRESHOLD

STATE_BITS = 6  # by which a spike of sigma-delta neurons is moved down (netx's state_exp)
BIAS_SHIFT = 6  # by which integrators' bias is moved up (netx's bias_exp)
UNSET_INTEGRATOR = (1 << 17, 0, 4096)  # threshold and decays of netx's neurons where a file has none


@dataclass(frozen=True)
class NetxOptions:
    """What stock netx takes beside a file and what changes the result.

    Attributes:
        num_layers: of the file's layers that are read; None for all.
        skip_layers: of these that are left out at the beginning.
        input_shape: x, y, channels of what arrives, where no input layer tells it.
        input_message_bits: of what arrives at a network without an input layer; 0 or None for spikes.
        reset_interval, reset_offset: integrators' states are 0 every so many steps; a layer later, a step later.
        spike_exp: bits behind the point in the messages of sigma-delta neurons.
    """

    num_layers: int | None = None
    skip_layers: int = 0
    input_shape: Shape | None = None
    input_message_bits: int | None = None
    reset_interval: int | None = None
    reset_offset: int = 0
    spike_exp: int = 6


DEFAULTS = NetxOptions()


@dataclass(frozen=True)
class Connections:
    """Fully connected synapses of a layer in fixed point.

    Attributes:
        weights: integers (neurons, inputs).
        delays: integers (neurons, inputs), steps.
        exponent: sums are multiplied by 2**exponent, rounded down.
        longest_delay: steps that Lava's buffer reaches.
        graded: whether spikes have a value; if not, each counts as 1.
        wraps_late: whether a sum that leaves 32 bits wraps after the shift by the exponent, not before it.
        recurrent: whether they come from the layer itself, not from the one before.
        imaginary: whether they lead to the imaginary inputs of resonators.
    """

    weights: np.ndarray
    delays: np.ndarray
    exponent: int
    longest_delay: int
    graded: bool
    wraps_late: bool
    recurrent: bool = False
    imaginary: bool = False

    @property
    def input_shape(self) -> Shape:
        return self.weights.shape[1:]


@dataclass(frozen=True)
class KernelConnections:
    """Kernels of a layer in fixed point.

    Attributes:
        kernels: of the file.
        graded: as of ``Connections``.
    """

    kernels: Kernels
    graded: bool
    longest_delay = 0
    recurrent = False

    @property
    def weights(self) -> np.ndarray:
        return self.kernels.weights

    @property
    def input_shape(self) -> Shape:
        return self.kernels.inputs


@dataclass(frozen=True)
class Layer:
    """A layer in fixed point.

    Attributes:
        name: for messages and reports.
        shape: of its neurons: x, y, channels where there are three.
        connections: its synapses; none for an input layer.
        neurons: their constants.
    """

    name: str
    shape: Shape
    connections: tuple[Connections | KernelConnections, ...]
    neurons: Neurons

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


def file_layers(
    path: str | os.PathLike,
    sparsity_map: SparsityMap = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    options: NetxOptions = DEFAULTS,
) -> list[Layer]:
    """The layers of a network file as netx builds them, without Lava.

    Args:
        path: HDF5 network as lava-dl exports it.
        sparsity_map, density_threshold: see ``spandex.deploy.netx.Network``.

    Raises:
        SpandexError: the file or an option cannot be used, or the map does not fit the file. Warns of clamped delays.
    """
    found = network_layers(path, options.num_layers, options.input_shape)
    kept = found[options.skip_layers :]
    if not any(layer.has_neurons for layer in kept):
        raise SpandexError(f"{path}: no layer is left of {len(found)}")
    check_input(path, found, options)
    synapses = {layer.index: layer.connected for layer in kept if layer.connected}
    sparse = chosen_layers(path, sparsity_map, synapses, density_threshold)
    layers: list[Layer] = []
    graded = bool(options.input_message_bits)
    order = None
    for index, layer in enumerate(found):
        if layer.type == "flatten":
            order = flat_order(layers[-1].shape) if layers else None
        elif layer.has_neurons:
            if index >= options.skip_layers:
                reset_offset = options.reset_offset + 1 + len(layers)
                neurons = _neurons(layer, options, reset_offset)
                connections = _connections(layer, graded, sparse.get(index, False), order)
                layers.append(Layer(str(index), _shape_in_lava(layer), connections, neurons))
            graded, order = layer.neuron == "SDNN", None
    if options.reset_interval is not None and any(isinstance(layer.neurons, SigmaDelta) for layer in layers):
        warnings.warn(f"{path}: sigma-delta neurons are not reset", stacklevel=2)
    return layers


def check_input(path: str | os.PathLike, found: Sequence[NetworkLayer], options: NetxOptions) -> None:
    """Raise SpandexError if sigma-delta neurons get messages of unknown width, or a convolution an unknown shape."""
    if missing := missing_input_shape(found):
        raise SpandexError(f"{path}: {missing}; spandex run takes --input-shape")
    if options.input_message_bits is None and (index := without_message_bits(found)) is not None:
        raise SpandexError(
            f"{path}: layer {index}: sigma-delta neurons without an input layer, so the file does not say how "
            "many bits the messages to it have; spandex run takes --input-message-bits, which is 16 behind "
            "sigma-delta neurons"
        )


def _shape_in_lava(layer: NetworkLayer) -> Shape:
    return (layer.neurons,) if layer.connections else layer.shape[::-1]


def flat_order(shape: Shape) -> np.ndarray:
    """Where each neuron of a shape (x, y, channels) stands in a flat layer: behind netx's transposition."""
    return np.argsort(np.arange(math.prod(shape)).reshape(shape).transpose().ravel())


def _connections(
    layer: NetworkLayer, graded: bool, is_sparse: bool, order: np.ndarray | None
) -> tuple[Connections | KernelConnections, ...]:
    if layer.kernels is not None:
        return (KernelConnections(layer.kernels, graded),)

    def connections(synapses: DeployedLayer, **place: bool) -> Connections:
        weights, delays = synapses.weights.astype(np.int16), synapses.delays
        if order is not None and not place.get("recurrent"):
            weights, delays = weights[:, order], delays[:, order]
        return Connections(
            weights,
            delays,
            synapses.weight_exponent,
            MAX_DELAY if synapses.delayed else 0,
            graded,
            wraps_late=synapses.delayed and not is_sparse,
            **place,
        )

    second = {"recurrent": True} if layer.type == "dense_rec" else {"imaginary": True}
    return tuple(connections(part, **(second if number else {})) for number, part in enumerate(layer.connections))


def _neurons(layer: NetworkLayer, options: NetxOptions, reset_offset: int) -> Neurons:
    """Lava's neurons that netx takes: Delta of an input, Sigma where nothing is compared to a threshold."""
    if layer.neuron in RESONATORS:
        return _resonators(layer)
    if layer.neuron in INTEGRATORS or layer.neuron is None:
        return _integrators(layer, options.reset_interval, reset_offset)
    scale = 1 << (options.spike_exp + STATE_BITS)
    if layer.type == "input":
        return Delta(_scaled(layer.threshold, scale), False, options.spike_exp + STATE_BITS, STATE_BITS)
    bias = np.zeros(layer.neurons, np.int32)
    if layer.threshold is None:
        return SigmaDelta(bias, 0, False, False, False, 0)
    if layer.bias is not None:
        bias[:] = _of_each_neuron(layer.bias * scale, layer)
    return SigmaDelta(bias, _scaled(layer.threshold, scale), True, True, False, STATE_BITS)


def _scaled(threshold: float | list[float], scale: int) -> int:
    (value,) = np.ravel(threshold)
    return max(int(value * scale), 0)  # below 0 everything is sent, as at 0


def _of_each_neuron(values: np.ndarray, layer: NetworkLayer) -> np.ndarray:
    """Values as (neurons,), of one for all, one a channel or one each."""
    return np.broadcast_to(values, _shape_in_lava(layer)).ravel()


def _integrators(layer: NetworkLayer, reset_interval: int | None, reset_offset: int) -> Integrators:
    threshold, *decays = UNSET_INTEGRATOR if layer.neuron is None else (layer.threshold, *layer.decays)
    bias = 0 if layer.bias is None else layer.bias.astype(np.int16).astype(np.int32) << BIAS_SHIFT  # Lava's 16 bits
    return integrators(_shape_in_lava(layer), threshold, decays, bias, reset_interval or 0, reset_offset)


def integrators(
    shape: Shape,
    threshold: ArrayLike,
    decays: Sequence[ArrayLike],
    bias: ArrayLike,
    reset_interval: int = 0,
    reset_offset: int = 0,
) -> Integrators:
    """Integrators of a shape, of what all of them share or what broadcasts to the shape.

    Args:
        threshold: in the units of the weights.
        decays: of current and voltage, in units of 2**-12.
        bias: in the scale of the voltage.
        reset_interval, reset_offset: steps, of Lava's LIFReset; interval 0 for never.
    """
    # voltages are below the limit, so thresholds may be cut to it
    thresholds = np.clip(np.multiply(threshold, 1 << INPUT_SHIFT, dtype=float), -STATE_LIMIT, STATE_LIMIT)
    shared = [thresholds.astype(np.int32), *((DECAY_UNIT - np.asarray(decay)) / DECAY_UNIT for decay in decays)]
    if all(values.size == 1 for values in shared):
        shared = [values.item() for values in shared]
    else:
        shared = [np.broadcast_to(values, shape).ravel() for values in shared]
    biases = np.broadcast_to(np.asarray(bias, np.int32), shape)
    if len(shape) == 3 and (biases == biases[:1]).all():  # as that of channels is
        biases = biases[0]
    return Integrators(
        biases.ravel() if biases.any() else 0, *shared, reset_interval, reset_offset % max(reset_interval, 1)
    )


def _resonators(layer: NetworkLayer) -> Resonators:
    """With the cosine and sine that Lava computes again from the period and the decay that netx makes of them."""
    cosine, sine = (np.ravel(value)[0] / DECAY_UNIT for value in layer.decays)
    kept = 1 - (1 - np.sqrt(sine**2 + cosine**2))
    angle = np.pi * 2 * 1 / (1 / (np.arctan2(sine, cosine) / 2 / np.pi))
    again = [int(kept * part(angle) * DECAY_UNIT) / DECAY_UNIT for part in (np.cos, np.sin)]
    (threshold,) = np.ravel(layer.threshold)
    return Resonators(*again, int(threshold * (1 << INPUT_SHIFT)), "IZHIKEVICH" in layer.neuron)
