"""Synapses of the exact executor, as its loops take them."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Synapses(NamedTuple):
    """Synapses of one layer: what never changes.

    A step's sums lie in slots, one for every pair of neuron and delay that is summed, hence rounded, by itself. Slots
    of neurons that stand side by side and have the same delay are a block.

    Attributes:
        columns: (inputs, neurons), weights with those of one input side by side; empty if they are listed.
        starts: int64 (inputs + 1,), where an input's listed synapses begin.
        slots, weights: (synapses,), as listed.
        shift: bits by which weights are moved down, all of them 0, to fit 8 bits; otherwise they have 16.
        fan_out: int64 (inputs,), synapses of an input.
        blocks: int64 (blocks + 1,), where the slots of each block begin.
        firsts: int64 (blocks,), its first neuron.
        delays: int64 (blocks,), its steps.
        largest: largest absolute weight, moved down.
        left, right: bits by which a sum is moved up or down.
        wraps_late: whether sums have 64 bits and wrap after the shift (DelayDense) or before it (the others).
        alone: whether a neuron's input at a step is one of these sums, to which nothing is added.
    """

    columns: np.ndarray
    starts: np.ndarray
    slots: np.ndarray
    weights: np.ndarray
    shift: int
    fan_out: np.ndarray
    blocks: np.ndarray
    firsts: np.ndarray
    delays: np.ndarray
    largest: int
    left: int
    right: int
    wraps_late: bool
    alone: bool

    places = 1  # by which events are listed

    @property
    def senders(self) -> int:
        """Neurons that may send."""
        return len(self.fan_out)

    @property
    def sums(self) -> int:
        """How many are held at once."""
        return int(self.blocks[-1])


class Convolution(NamedTuple):
    """Kernels of one layer: what never changes. Neurons are in the order x, y, channel; pairs are of x and y.

    Attributes:
        weights: int16 (groups, columns, rows x input channels of a group, output channels of a group).
        apart: whether each channel goes to one of its own; then all are one group, and weights (1, columns, rows,
            channels).
        fan_out: int32 (kinds of columns of the input, rows and channels), synapses of an input in such a column.
        columns: int64 (columns of the input,), the kind of each.
        rows, channels, channels_out: of a kernel; input channels of a group; all output channels.
        shape_in, shape_out: columns and rows.
        stride, padding, dilation: of the kernels.
        largest: largest sum of the absolute weights of an output.
    """

    weights: np.ndarray
    apart: bool
    fan_out: np.ndarray
    columns: np.ndarray
    rows: int
    channels: int
    channels_out: int
    shape_in: tuple[int, int]
    shape_out: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    largest: int

    @property
    def senders(self) -> int:
        """Neurons that may send."""
        return self.columns.size * self.fan_out.shape[1]

    @property
    def places(self) -> int:
        """Of the input, by which events are listed: columns, rows and groups."""
        return math.prod(self.shape_in) * len(self.weights)

    @property
    def sums(self) -> int:
        """How many are held at once, those of a place."""
        return self.channels_out


class Scratch(NamedTuple):
    """Room that the loops need while they deliver what arrives at a step.

    Attributes:
        sources: int32 (senders,), for the neurons that send.
        starts: int32 (places + 1,), for where those of each place begin.
        sums_16, sums_32, sums_64: zero between two steps.
    """

    sources: np.ndarray
    starts: np.ndarray
    sums_16: np.ndarray
    sums_32: np.ndarray
    sums_64: np.ndarray


def scratch_for(synapses: Iterable[Synapses | Convolution]) -> Scratch:
    """Room for any of these synapses."""
    sizes = [(part.senders, part.places + 1, part.sums) for part in synapses]
    senders, places, sums = map(max, zip((0, 1, 0), *sizes, strict=True))
    sums_of = (np.zeros(sums, number) for number in (np.int16, np.int32, np.int64))
    return Scratch(np.empty(senders, np.int32), np.zeros(places, np.int32), *sums_of)
