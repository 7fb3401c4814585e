"""Weights of a deployed network, layer by layer, as a reader looks at them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spandex.networks.hdf5 import deployed_weights

LARGEST = 256  # Lava holds -256 to 254
BIN_WIDTH = 8  # of a histogram, at least; quantisation and netx, which fills 8 bits, may leave wider steps


@dataclass(frozen=True)
class LayerWeights:
    """The synapses between two layers of neurons.

    Attributes:
        name: number of the synaptic layer, from 1.
        weights: number of them, zeros included.
        deployed_sparsity: share of weights that are zero as deployed.
        kept: the weights that are not, as integers that Lava holds.
        step: largest number that all of them are multiples of.
    """

    name: str
    weights: int
    deployed_sparsity: float
    kept: np.ndarray
    step: int


def layer_weights(path: str | os.PathLike) -> list[LayerWeights]:
    """The fully connected layers of a lava-dl HDF5 network.

    Raises:
        SpandexError: the file is no network that Lava runs.
    """
    found = []
    for number, layer in enumerate(deployed_weights(path), start=1):
        kept = layer.weights[layer.weights != 0]
        zero = 1 - kept.size / layer.weights.size
        found.append(LayerWeights(str(number), layer.weights.size, zero, kept, int(np.gcd.reduce(kept)) or 1))
    return found


def histograms(layers: Sequence[LayerWeights]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centres of the bins, and by layer the number of weights in each; zeros are left out.

    Args:
        layers: of several networks, to be compared.
    """
    width = max(BIN_WIDTH, *(layer.step for layer in layers))
    centres = np.arange(-LARGEST, LARGEST + 1, width)
    edges = np.append(centres, LARGEST + width) - width / 2
    return centres, [np.histogram(layer.kept, edges)[0] for layer in layers]
