"""Parameters and size of a network as netx deploys it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spandex.networks.hdf5 import DeployedLayer, network_layers

TOTALS = ("nonzero_weights", "nonzero_delays", "parameters", "size_kb", "deployed_sparsity")  # of ``NetworkSize``


@dataclass(frozen=True)
class LayerSize:
    """One layer after conversion.

    Attributes:
        name: its number in the file.
        neurons, inputs: shape of the weights; of a convolution, its kernels and the weights of one.
        nonzero_weights: synapses that remain.
        nonzero_delays: of these, the ones with a delay of a step or more.
        weight_bits, delay_bits: bits of one such weight and of one such delay.
    """

    name: str
    neurons: int
    inputs: int
    nonzero_weights: int
    nonzero_delays: int
    weight_bits: int
    delay_bits: int

    @property
    def weights(self) -> int:
        return self.neurons * self.inputs

    @property
    def deployed_sparsity(self) -> float:
        return 1 - self.nonzero_weights / self.weights

    @property
    def bits(self) -> int:
        return self.nonzero_weights * self.weight_bits + self.nonzero_delays * self.delay_bits


@dataclass(frozen=True)
class NetworkSize:
    """Size of a converted network, by layer and in all."""

    layers: tuple[LayerSize, ...]

    @property
    def nonzero_weights(self) -> int:
        return sum(layer.nonzero_weights for layer in self.layers)

    @property
    def nonzero_delays(self) -> int:
        return sum(layer.nonzero_delays for layer in self.layers)

    @property
    def parameters(self) -> int:
        return self.nonzero_weights + self.nonzero_delays

    @property
    def size_kb(self) -> float:
        """In units of 1024 bytes."""
        return sum(layer.bits for layer in self.layers) / 8 / 1024

    @property
    def deployed_sparsity(self) -> float:
        """Share of deployed weights that are zero, rounding to 8 bits included; 0 without any weight."""
        weights = sum(layer.weights for layer in self.layers)
        return 1 - self.nonzero_weights / weights if weights else 0.0


def deployed_size(layers: Sequence[DeployedLayer]) -> NetworkSize:
    """Count the non-zero weights and delays of deployed layers.

    A synapse whose weight is zero is dropped together with its delay. A layer takes ``ceil(log2(max |w|))`` bits a
    non-zero weight and ``ceil(log2(max d))`` bits a non-zero delay.

    Source:
        get_model_size.py of Michaeljurado42/SPANDEX, baseline_solution/sdnn_delays; lava-dl 0.6.0, netx.
    """
    return NetworkSize(tuple(_layer_size(layer) for layer in layers))


def network_size(path: str | os.PathLike) -> NetworkSize:
    """``deployed_size`` of a lava-dl HDF5 network.

    Raises:
        SpandexError: the file is no network that Lava runs.
    """
    return deployed_size([held for layer in network_layers(path) if (held := layer.held) is not None])


def _layer_size(layer: DeployedLayer) -> LayerSize:
    neurons, inputs = layer.weights.shape
    return LayerSize(
        name=str(layer.index),
        neurons=neurons,
        inputs=inputs,
        nonzero_weights=layer.nonzero_weights,
        nonzero_delays=layer.nonzero_delays,
        weight_bits=_bits(np.abs(layer.weights).max()),
        delay_bits=_bits(layer.delays[layer.weights != 0].max(initial=0)),
    )


def _bits(maximum: int) -> int:
    return int(np.ceil(np.log2(maximum))) if maximum > 0 else 0
