"""What the layers of a network file hold, whether or not anything can run them, and what runs them."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import h5py
import numpy as np

from spandex.errors import SpandexError
from spandex.networks.hdf5 import (
    CONNECTED,
    UNREADABLE,
    NetworkLayer,
    Shape,
    declared_shape,
    layer_groups,
    neuron_of,
    numbers,
    read_layer,
    shape_behind,
    text,
    threshold_of,
    unbuilt_pool,
)

WEIGHTS = ("weight", "weight/real", "weight/imag", "weight_rec")
T = TypeVar("T")


@dataclass(frozen=True)
class SurveyedLayer:
    """A layer as the file has it. What the file does not say, or not in a way that can be read, is None.

    Attributes:
        index: its number in the file.
        type, neuron: lava-dl's names, such as ``"dense"`` and ``"CUBA"``.
        shape: of its neurons: channels, height, width where there are three.
        threshold: in the units of the weights, one for all neurons or one each.
        inputs: of a fully connected layer.
        weights: number of weights, zeros too; recurrent ones count, and complex ones as two; 0 where none belong.
        nonzero_weights: of them.
        nonzero_delays: synapses of a fully connected layer that exist and are delayed, else delays in the file.
        longest_delay: steps, of those that count.
        deployed: what Lava makes of it, if it runs the layer as the file says.
        netx: why stock netx does not.
        executor: why the exact executor does not.
    """

    index: int
    type: str | None
    neuron: str | None
    shape: Shape | None
    threshold: float | list[float] | None
    inputs: int | None
    weights: int | None
    nonzero_weights: int | None
    nonzero_delays: int | None
    longest_delay: float | None
    deployed: NetworkLayer | None
    netx: str | None
    executor: str | None

    @property
    def neurons(self) -> int | None:
        """Number of neurons; None where the file does not say."""
        return None if self.shape is None else math.prod(self.shape)


def survey(path: str | os.PathLike) -> list[SurveyedLayer]:
    """All layers of a network file.

    Raises:
        SpandexError: see ``layer_groups``; no layer by itself is refused.
    """
    layers: list[SurveyedLayer] = []
    before = None
    with layer_groups(path) as groups:
        for index, group in enumerate(groups):
            layers.append(_survey(index, group, before))
            before = shape_behind(layers[-1].type, layers[-1].shape, before)
    return layers


def _survey(index: int, layer: h5py.Group, before: Shape | None) -> SurveyedLayer:
    deployed, netx = None, None
    try:
        deployed = read_layer(index, layer, before)
    except SpandexError as error:
        netx = str(error)
    executor = netx
    if deployed is not None and deployed.type == "pool":
        netx = unbuilt_pool(deployed.shape[0])
    kind = _or_none(lambda: text(layer["type"]))
    shape = _or_none(lambda: declared_shape(layer))
    weights = [] if kind == "input" else [found for key in WEIGHTS if (found := _array(layer, key)) is not None]
    known = bool(weights) or deployed is not None
    delays = _delays(layer, deployed)
    return SurveyedLayer(
        index=index,
        type=kind,
        neuron=_or_none(lambda: neuron_of(layer)),
        shape=shape,
        threshold=_or_none(lambda: threshold_of(layer)),
        inputs=weights[0].size // math.prod(shape) if weights and shape and kind in CONNECTED else None,
        weights=sum(part.size for part in weights) if known else None,
        nonzero_weights=int(sum(map(np.count_nonzero, weights))) if known else None,
        nonzero_delays=int(np.count_nonzero(delays)),
        longest_delay=_plain(delays.max(initial=0)),
        deployed=deployed,
        netx=netx,
        executor=executor,
    )


def _delays(layer: h5py.Group, deployed: NetworkLayer | None) -> np.ndarray:
    """Those that count."""
    if deployed is not None and deployed.synapses is not None:
        return deployed.synapses.delays[deployed.synapses.weights != 0]
    delays = _array(layer, "delay")
    return np.zeros(0) if delays is None else delays


def _plain(number: np.number) -> float:
    """As Python's own; an int if it is whole."""
    return int(number) if number == np.trunc(number) else number.item()


def _array(layer: h5py.Group, key: str) -> np.ndarray | None:
    return _or_none(lambda: numbers(layer, key))


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (SpandexError, *UNREADABLE):
        return None
