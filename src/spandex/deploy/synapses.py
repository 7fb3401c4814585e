"""Synapses of the exact executor, as its loops take them, and the events that arrive there."""

from typing import NamedTuple

import numpy as np


class Synapses(NamedTuple):
    """Synapses of one layer: what never changes.

    A step's sums lie in slots, one for every pair of neuron and delay that is summed, hence rounded, by itself. Slots
    of neurons that stand side by side and have the same delay are a block.

    Attributes:
        columns: int16 (inputs, neurons), weights with those of one input side by side; empty if they are listed.
        starts: int64 (inputs + 1,), where an input's listed synapses begin.
        slots, weights: int32 and int16 (synapses,), as listed.
        fan_out: int64 (inputs,), synapses of an input.
        blocks: int64 (blocks + 1,), where the slots of each block begin.
        firsts: int64 (blocks,), its first neuron.
        delays: int64 (blocks,), its steps.
        largest: largest absolute weight.
        left, right: bits by which a sum is moved up or down.
        wraps_late: whether sums have 64 bits and wrap after the shift (DelayDense) or before it (the others).
        alone: whether a neuron's input at a step is one of these sums, to which nothing is added.
    """

    columns: np.ndarray
    starts: np.ndarray
    slots: np.ndarray
    weights: np.ndarray
    fan_out: np.ndarray
    blocks: np.ndarray
    firsts: np.ndarray
    delays: np.ndarray
    largest: int
    left: int
    right: int
    wraps_late: bool
    alone: bool


class Convolution(NamedTuple):
    """Kernels of one layer: what never changes. Arrays of neurons are in the order x, y, channel.

    A column x of the input, with the padding q stride + r, meets the kernel's columns r, r + stride, ... for outputs q,
    q - 1, ...; likewise a row y. What the neurons of one place and group of channels add to the outputs that they reach
    is a patch of these. Columns and rows that a kernel lacks, also between dilated ones, are zero.

    Attributes:
        weights: int16 (groups, columns' r, rows' r, input channels of a group, patch); a patch is (outputs back from q
            along x, outputs up to q along y, output channels of a group), flat.
        nonzero: int32 (groups, columns' r, rows' r, 1 + outputs back, 1 + outputs up, input channels of a group): how
            many weights before these outputs are not zero.
        columns, rows: int64 (columns or rows of the input, 4): r, q, and the outputs that they reach, from and to.
        rows_out, channels_out: of the output.
        reach_y: outputs of a patch along y.
        largest: largest sum of the absolute weights of an output.
    """

    weights: np.ndarray
    nonzero: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    rows_out: int
    channels_out: int
    reach_y: int
    largest: int


class Events(NamedTuple):
    """Spikes of some steps, and which of them are events.

    Attributes:
        spikes: int32 (steps, neurons).
        starts: int64 (steps + 1,); the events of step t are those from ``starts[t]`` to ``starts[t + 1]``.
        indices: int32, neurons with an event, with room for all neurons at every step.
    """

    spikes: np.ndarray
    starts: np.ndarray
    indices: np.ndarray
