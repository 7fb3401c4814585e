"""Parameters and size of a network as netx deploys it."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from lava.lib.dl.netx.utils import optimize_weight_bits

from spandex.errors import SpandexError

MAX_DELAY = 62  # steps; netx clamps longer delays
WITHOUT_PARAMETERS = ("input", "flatten")


@dataclass(frozen=True)
class LayerSize:
    """One dense layer after conversion.

    Attributes:
        name: its number in the file.
        neurons, inputs: shape of the weights.
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
    def sparsity(self) -> float:
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
    def sparsity(self) -> float:
        """Share of deployed weights that are zero, rounding to 8 bits included."""
        return 1 - self.nonzero_weights / sum(layer.weights for layer in self.layers)


def network_size(path: str | os.PathLike) -> NetworkSize:
    """Count the non-zero weights and delays of a lava-dl HDF5 network converted by netx to sparse synapses.

    netx scales the weights of a layer to 8 bits and gives each synapse its neuron's delay; a synapse whose weight is
    zero is dropped together with its delay. A layer takes ``ceil(log2(max |w|))`` bits a non-zero weight and
    ``ceil(log2(max d))`` bits a non-zero delay.

    Raises:
        SpandexError: the file is not a lava-dl network, or has a layer other than input, flatten and dense.

    Source:
        get_model_size.py of Michaeljurado42/SPANDEX, baseline_solution/sdnn_delays; lava-dl 0.6.0, netx.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            layers = file["layer"]
            return NetworkSize(
                tuple(
                    _layer_size(path, name, layers[name])
                    for name in sorted(layers, key=int)
                    if _kind(layers[name]) not in WITHOUT_PARAMETERS
                )
            )
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except (OSError, KeyError, ValueError) as error:
        raise SpandexError(f"{path}: not a lava-dl network ({error})") from None


def _kind(layer: h5py.Group) -> str:
    return np.atleast_1d(layer["type"][()])[0].decode()


def _layer_size(path: Path, name: str, layer: h5py.Group) -> LayerSize:
    if _kind(layer) != "dense" or "weight/imag" in layer:
        raise SpandexError(f"{path}: layer {name} is {_kind(layer)!r}; only real dense layers can be counted")
    weights = layer["weight"][()].astype(int)
    if weights.any():
        weights = optimize_weight_bits(weights)[0]
    delays = np.zeros_like(weights)
    if "delay" in layer:
        delays = _expand(np.clip(layer["delay"][()].astype(int), 0, MAX_DELAY), weights.shape)
    delays = np.where(weights == 0, 0, delays)
    return LayerSize(
        name=name,
        neurons=weights.shape[0],
        inputs=weights.shape[1],
        nonzero_weights=int(np.count_nonzero(weights)),
        nonzero_delays=int(np.count_nonzero(delays)),
        weight_bits=_bits(np.abs(weights).max()),
        delay_bits=_bits(delays.max()),
    )


def _expand(delays: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Delays of the shape of the weights; one a row where the count fits both rows and columns, as in netx."""
    if delays.ndim == 1:
        delays = delays[:, None] if len(delays) == shape[0] else delays[None, :]
    return np.broadcast_to(delays, shape)


def _bits(maximum: int) -> int:
    return int(np.ceil(np.log2(maximum))) if maximum > 0 else 0
