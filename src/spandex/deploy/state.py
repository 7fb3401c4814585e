"""State of a network between two steps, so that a clip can be run in pieces and a run be continued elsewhere."""

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spandex.deploy.event_loops import NeuronState
from spandex.deploy.layers import Layer
from spandex.errors import SpandexError
from spandex.files import atomic_path


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


def initial_state(layers: Sequence[Layer]) -> State:
    """The state before the first step: all zero."""
    return State(tuple(map(_initial_state, layers)))


def load_state(path: str | os.PathLike, layers: Sequence[Layer]) -> State:
    """Read what ``State.save`` wrote.

    Raises:
        SpandexError: the file is missing, broken, or of another network.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return State(tuple(_read(archive, number, _initial_state(layer)) for number, layer in enumerate(layers)))
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except (OSError, ValueError, LookupError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise SpandexError(f"{path}: not a state of this network ({error})") from None


def _initial_state(layer: Layer) -> LayerState:
    zeros = NeuronState(*np.zeros((3, layer.size), np.int32))
    if layer.connections is None:
        return LayerState(zeros, None)
    return LayerState(zeros, np.zeros((layer.connections.longest_delay + 1, layer.size), np.int32))


def _read(archive: Mapping[str, np.ndarray], number: int, expected: LayerState) -> LayerState:
    def read(name: str, like: np.ndarray) -> np.ndarray:
        value = archive[f"{number}.{name}"]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(f"{number}.{name} is {value.dtype} {value.shape}, not {like.dtype} {like.shape}")
        return value

    neurons = {name: read(name, value) for name, value in expected.neurons._asdict().items()}
    return LayerState(NeuronState(**neurons), None if expected.pending is None else read("pending", expected.pending))
