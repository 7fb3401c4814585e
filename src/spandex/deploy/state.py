"""State of a network between two steps, so that a clip can be run in pieces and a run be continued elsewhere."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spandex.deploy.layers import Layer
from spandex.deploy.neurons import STATE_OF, NeuronState, Resonators
from spandex.errors import SpandexError, prefixed
from spandex.files import atomic_path
from spandex.files.arrays import read_arrays


@dataclass(frozen=True)
class LayerState:
    """State of one layer between two steps, in Lava's terms.

    Attributes:
        neurons: int32 (neurons,) each.
        pending: int32 (longest delay + 1, neurons), input that is on its way; row k arrives in k steps. Lava's
            ``a_buff``, transposed; of resonators, the real inputs before the imaginary. None for the input layer.
    """

    neurons: NeuronState
    pending: np.ndarray | None


@dataclass(frozen=True)
class State:
    """State of a network between two steps.

    Attributes:
        layers: one entry a layer.
        step: steps run so far, which tell when a reset comes.
    """

    layers: tuple[LayerState, ...]
    step: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """By number of the layer and name."""
        arrays = {}
        for number, layer in enumerate(self.layers):
            arrays |= {f"{number}.{name}": value for name, value in layer.neurons._asdict().items()}
            if layer.pending is not None:
                arrays[f"{number}.pending"] = layer.pending
        return arrays

    def save(self, path: str | os.PathLike) -> None:
        """Write as NumPy archive."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, step=self.step, **self.arrays())


def initial_state(layers: Sequence[Layer]) -> State:
    """The state before the first step: all zero, in arrays that take no memory."""
    return State(tuple(map(_initial_state, layers)))


def load_state(path: str | os.PathLike, initial: State) -> State:
    """Read what ``State.save`` wrote of the network with this initial state.

    Raises:
        SpandexError: the file is missing, broken, or of another network.
    """
    arrays = read_arrays(Path(path), [*initial.arrays(), "step"])
    with prefixed(f"{path}: not a state of this network: "):
        if arrays["step"].dtype.kind not in "iu" or arrays["step"].ndim or arrays["step"] < 0:
            raise SpandexError(f"step is {arrays['step']}")
        layers = tuple(_read(arrays, number, layer) for number, layer in enumerate(initial.layers))
    return State(layers, int(arrays["step"]))


def _initial_state(layer: Layer) -> LayerState:
    kind = STATE_OF[type(layer.neurons)]
    zeros = kind(*np.broadcast_to(np.int32(0), (len(kind._fields), layer.size)))
    if not layer.connections:
        return LayerState(zeros, None)
    longest = max(connections.longest_delay for connections in layer.connections)
    inputs = layer.size * (1 + isinstance(layer.neurons, Resonators))
    return LayerState(zeros, np.broadcast_to(np.int32(0), (longest + 1, inputs)))


def _read(arrays: Mapping[str, np.ndarray], number: int, expected: LayerState) -> LayerState:
    def read(name: str, like: np.ndarray) -> np.ndarray:
        value = arrays[f"{number}.{name}"]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise SpandexError(f"{number}.{name} is {value.dtype} {value.shape}, not {like.dtype} {like.shape}")
        return value

    neurons = {name: read(name, value) for name, value in expected.neurons._asdict().items()}
    pending = None if expected.pending is None else read("pending", expected.pending)
    return LayerState(type(expected.neurons)(**neurons), pending)
