"""Layers in fixed point, as the executor runs them, and those of a network file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spandex.deploy.event_loops import Neurons
from spandex.deploy.sparsity_map import SparsityMap, chosen_layers
from spandex.networks.hdf5 import MAX_DELAY, STATE_SCALE, NetworkLayer, network_layers
from spandex.params.section import DENSITY_THRESHOLD

STATE_BITS = STATE_SCALE.bit_length() - 1  # by which an input is moved up
SPIKE_BITS = 6  # by which a spike is moved down (netx's state_exp)


@dataclass(frozen=True)
class Connections:
    """Synapses of a layer in fixed point.

    Attributes:
        weights: int32 (neurons, inputs).
        delays: int32 (neurons, inputs), steps.
        exponent: sums are multiplied by 2**exponent, rounded down.
        longest_delay: steps that Lava's buffer reaches.
        graded: whether spikes have a value; if not, each counts as 1.
        wraps_late: whether a sum that leaves 32 bits wraps after the shift by the exponent, not before it.
    """

    weights: np.ndarray
    delays: np.ndarray
    exponent: int
    longest_delay: int
    graded: bool
    wraps_late: bool


@dataclass(frozen=True)
class Layer:
    """A layer in fixed point.

    Attributes:
        name: for messages and reports.
        connections: its synapses; None for the input layer.
        neurons: their constants.
    """

    name: str
    connections: Connections | None
    neurons: Neurons

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.neurons.bias)


def file_layers(
    path: str | os.PathLike, sparsity_map: SparsityMap = "auto", density_threshold: float = DENSITY_THRESHOLD
) -> list[Layer] | None:
    """The layers of a network file as netx builds them, without Lava; None if there are others than those here.

    These are an input layer of one dimension and fully connected ones, all of sigma-delta neurons.

    Args:
        path: HDF5 network as lava-dl exports it.
        sparsity_map, density_threshold: see ``spandex.deploy.netx.Network``.

    Raises:
        SpandexError: the file cannot be used, or the map does not fit it. Warns of clamped delays.
    """
    found = network_layers(path)
    if not _is_plain(found):
        return None
    synapses = {layer.index: layer.synapses for layer in found if layer.synapses}
    sparse = chosen_layers(path, sparsity_map, synapses, density_threshold)
    return [_layer(layer, sparse.get(layer.index, False)) for layer in found]


def _is_plain(found: Sequence[NetworkLayer]) -> bool:
    types = [layer.type for layer in found]
    first = found[0]
    return (
        types == ["input", *["dense"] * (len(found) - 1)]
        and all(layer.neuron == "SDNN" for layer in found)
        and len(first.shape) == 1
        and first.threshold is not None
    )


def _layer(layer: NetworkLayer, is_sparse: bool) -> Layer:
    if layer.synapses is None:
        return Layer(str(layer.index), None, _neurons(layer))
    synapses = layer.synapses
    connections = Connections(
        synapses.weights.astype(np.int32),
        synapses.delays.astype(np.int32),
        synapses.weight_exponent,
        MAX_DELAY if synapses.delayed else 0,
        graded=True,
        wraps_late=synapses.delayed and not is_sparse,
    )
    return Layer(str(layer.index), connections, _neurons(layer))


def _neurons(layer: NetworkLayer) -> Neurons:
    """Lava's Delta of an input, Sigma where nothing is compared to a threshold, else SigmaDelta."""
    bias = np.zeros(layer.neurons, np.int32)
    if layer.threshold is None:
        return Neurons(bias, 0, False, False, False, 0, 0)
    if layer.bias is not None:
        bias[:] = layer.bias.reshape(-1) * STATE_SCALE
    (threshold,) = np.ravel(layer.threshold)
    return Neurons(
        bias=bias,
        threshold=max(int(threshold * STATE_SCALE), 0),  # below 0 everything is sent, as at 0
        relu=layer.type == "dense",
        delta=True,
        cumulative=False,
        input_shift=STATE_BITS,
        spike_shift=SPIKE_BITS,
    )
