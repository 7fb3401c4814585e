"""Compiled loops of the exact executor: one call runs one layer for some steps.

All arithmetic is that of Lava's fixed-point models, modulo 2**32. What leaves that width, or the 24 bits of Loihi 2's
neurons, is counted; that nothing does, as in the usual step, is known from the least and the greatest value. Events
are the non-zero spikes; a layer costs its events times the synapses that each has, plus its neurons. Sources of the
equations: lava.proc.sdn.models, lava.proc.sparse.models and lava.proc.dense.models of lava-nc 0.10.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
CHIP_BITS = 24  # of a neuron's input and state on Loihi 2
INT24_MIN, INT24_MAX = -(2 ** (CHIP_BITS - 1)), 2 ** (CHIP_BITS - 1) - 1

# rows and columns of what is counted as out of range
SUMS, STATES = 0, 1
IN_24_BITS, IN_32_BITS = 0, 1


class Neurons(NamedTuple):
    """Neurons of one layer: what never changes.

    Attributes:
        bias: int32 (neurons,), added to sigma before the activation.
        threshold: of the delta, in the scale of the activation.
        relu: whether negative activations become 0.
        delta: whether changes of the activation are sent, or (Lava's Sigma) the activation itself.
        cumulative: whether the threshold is for the error summed up since the last spike.
        input_shift: bits by which the input is moved up (Lava's Delta).
        spike_shift: bits by which a spike is moved down.
    """

    bias: np.ndarray
    threshold: int
    relu: bool
    delta: bool
    cumulative: bool
    input_shift: int
    spike_shift: int


class NeuronState(NamedTuple):
    """State of one layer's neurons, int32 (neurons,) each.

    Attributes:
        sigma: sum of all input.
        sent: the activation as its receivers know it, Lava's ``act - residue``.
        error: change summed up since the last spike; only with cumulative error.
    """

    sigma: np.ndarray
    sent: np.ndarray
    error: np.ndarray


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


@njit(nogil=True, cache=True)
def run_input(inputs, neurons, state, events, beyond):
    """Delta neurons on int32 inputs (steps, neurons); fills ``events`` and counts in ``beyond``, see ``run_layer``."""
    activation = np.empty(inputs.shape[1], np.int32)
    for t in range(inputs.shape[0]):
        low, high = np.int32(0), np.int32(0)
        for i in range(activation.size):
            value = inputs[t, i]
            activation[i] = np.int32(value << neurons.input_shift)
            low, high = min(low, value), max(high, value)
        if low < INT24_MIN >> neurons.input_shift or high > INT24_MAX >> neurons.input_shift:
            for i in range(activation.size):
                value = np.int64(inputs[t, i]) << neurons.input_shift
                beyond[STATES, IN_24_BITS] += value < INT24_MIN or value > INT24_MAX
                beyond[STATES, IN_32_BITS] += value < INT32_MIN or value > INT32_MAX
        _delta(activation, neurons, state, events.spikes[t])
        _collect(events, t)


@njit(nogil=True, cache=True)
def collect(events, steps):
    """Find the events among the spikes of the first ``steps`` steps."""
    for t in range(steps):
        _collect(events, t)


@njit(nogil=True, cache=True)
def run_layer(arriving, steps, synapses, neurons, state, pending, position, sums, wide_sums, events, beyond):
    """A layer's neurons and synapses on the events that arrive in some steps; fills ``events``.

    Args:
        pending: int32 (a power of two above the longest delay, neurons), a ring: its row ``position + k`` is the
            neurons' input in k steps.
        sums, wide_sums: int32 and int64 (slots,), zero before and after.
        beyond: int64 (2, 2), to which the numbers of sums and of states (rows) are added that did not fit 24 and 32
            bits (columns). The sums are the neurons' inputs at a step in 24 bits, and in 32 those of each slot, and of
            slots that arrive together.

    Returns:
        The new position and the number of synaptic operations.
    """
    activation = np.empty(pending.shape[1], np.int32)
    operations = 0
    for t in range(steps):
        row = pending[position]
        if _sigma(row, neurons, state, activation):
            _count_beyond(row, neurons.bias, state.sigma, beyond)
        row[:] = 0
        if neurons.delta:
            _delta(activation, neurons, state, events.spikes[t])
        else:
            events.spikes[t, :] = activation
        _collect(events, t)

        position = (position + 1) & (pending.shape[0] - 1)
        spikes = arriving.spikes[t]
        sources = arriving.indices[arriving.starts[t] : arriving.starts[t + 1]]
        reach = 0  # no sum can be larger
        for source in sources:
            operations += synapses.fan_out[source]
            reach += abs(np.int64(spikes[source])) * synapses.largest
        if reach <= INT32_MAX >> synapses.left:
            if synapses.columns.size:
                _add_columns(sources, spikes, synapses.columns, sums)
            else:
                _add_listed(sources, spikes, synapses, sums)
            _push(sums, synapses, pending, position, beyond)
        else:
            _add_wide(sources, spikes, synapses, wide_sums)
            beyond[SUMS, IN_32_BITS] += _wrap(wide_sums, synapses)
            _push(wide_sums, synapses, pending, position, beyond)
    return position, operations


@njit(inline="always")
def _sigma(row, neurons, state, activation):
    """sigma += input; activation = relu(sigma + bias). Returns whether any of the three left 24 bits."""
    sigma, bias = state.sigma, neurons.bias
    low, high = np.int32(0), np.int32(0)
    if neurons.relu:
        for i in range(activation.size):
            total = np.int32(sigma[i] + row[i])
            value = np.int32(total + bias[i])
            sigma[i], activation[i] = total, max(value, np.int32(0))
            low, high = _widened(low, high, row[i], total, value)
    else:
        for i in range(activation.size):
            total = np.int32(sigma[i] + row[i])
            value = np.int32(total + bias[i])
            sigma[i], activation[i] = total, value
            low, high = _widened(low, high, row[i], total, value)
    return (low < INT24_MIN) | (high > INT24_MAX)


@njit(inline="always")
def _widened(low, high, a, b, c):
    """The range from low to high, so that it holds three more values."""
    return min(low, min(min(a, b), c)), max(high, max(max(a, b), c))


@njit
def _count_beyond(row, bias, sigma, beyond):
    """Count the inputs, and the sigmas with and without bias, that did not fit; all have 32 bits, maybe wrapped."""
    sums_24, states_24, states_32 = np.int32(0), np.int32(0), np.int32(0)
    for i in range(row.size):
        total = sigma[i]
        value = np.int32(total + bias[i])
        before = np.int32(total - row[i])
        sums_24 = np.int32(sums_24 + _beyond_24_bits(row[i]))
        states_24 = np.int32(states_24 + (_beyond_24_bits(total) | _beyond_24_bits(value)))
        states_32 = np.int32(states_32 + (_wrapped(total, row[i], before) | _wrapped(value, total, bias[i])))
    beyond[SUMS, IN_24_BITS] += sums_24
    beyond[STATES, IN_24_BITS] += states_24
    beyond[STATES, IN_32_BITS] += states_32


@njit(inline="always")
def _beyond_24_bits(value):
    return (value < np.int32(INT24_MIN)) | (value > np.int32(INT24_MAX))


@njit(inline="always")
def _wrapped(total, a, b):
    """Whether a + b is not the total of 32 bits: then alone it has another sign than both."""
    return ((total < 0) != (a < 0)) & ((total < 0) != (b < 0))


@njit(inline="always")
def _delta(activation, neurons, state, spikes):
    """Send the change of the activation since the last spike where it reaches the threshold."""
    sent, error = state.sent, state.error
    above, below = np.int32(neurons.threshold), np.int32(-neurons.threshold)
    shift = neurons.spike_shift & 31
    if neurons.cumulative:
        for i in range(activation.size):
            change = np.int32(activation[i] - sent[i])
            error[i] += change
            spike = change if _reaches(error[i], above, below) else np.int32(0)
            if spike > 0 or (spike < 0 and spike != INT32_MIN):
                error[i] = 0
            sent[i] += spike
            spikes[i] = spike >> shift
    else:
        for i in range(activation.size):
            change = np.int32(activation[i] - sent[i])
            spike = change if _reaches(change, above, below) else np.int32(0)
            sent[i] += spike
            spikes[i] = spike >> shift


@njit(inline="always")
def _reaches(value, above, below):
    """|value| >= threshold; -2**31 has no absolute value in 32 bits and reaches none."""
    return (value >= above) | ((value <= below) & (value != np.int32(INT32_MIN)))


@njit(inline="always")
def _collect(events, t):
    spikes = events.spikes[t]
    n = np.uint64(events.starts[t])  # a signed index costs a test for negative ones
    for i in range(spikes.size):
        events.indices[n] = i
        n += np.uint64(spikes[i] != 0)
    events.starts[t + 1] = n


@njit(inline="always")
def _add_columns(sources, spikes, columns, sums):
    """Add weight times spike to the sums; four columns a pass load and store every sum a fourth as often."""
    e = 0
    while e + 4 <= sources.size:
        i, j, k, m = sources[e], sources[e + 1], sources[e + 2], sources[e + 3]
        u, v, w, x = columns[i], columns[j], columns[k], columns[m]
        a, b, c, d = spikes[i], spikes[j], spikes[k], spikes[m]
        for r in range(sums.size):
            sums[r] += (np.int32(u[r]) * a + np.int32(v[r]) * b) + (np.int32(w[r]) * c + np.int32(x[r]) * d)
        e += 4
    while e < sources.size:
        u, a = columns[sources[e]], spikes[sources[e]]
        for r in range(sums.size):
            sums[r] += np.int32(u[r]) * a
        e += 1


@njit(inline="always")
def _add_listed(sources, spikes, synapses, sums):
    for source in sources:
        spike = spikes[source]
        for k in range(synapses.starts[source], synapses.starts[source + 1]):
            sums[synapses.slots[k]] += np.int32(synapses.weights[k]) * spike


@njit
def _add_wide(sources, spikes, synapses, sums):
    """Products wrap to 32 bits, their sums do not."""
    for source in sources:
        spike = np.int64(spikes[source])
        if synapses.columns.size:
            column = synapses.columns[source]
            for i in range(sums.size):
                sums[i] += np.int32(column[i] * spike)
        else:
            for k in range(synapses.starts[source], synapses.starts[source + 1]):
                sums[synapses.slots[k]] += np.int32(synapses.weights[k] * spike)


@njit
def _wrap(sums, synapses):
    """Wrap sums to 32 bits unless that comes later; the number of those that do not fit, moved up or as they are."""
    low, high = INT32_MIN >> synapses.left, INT32_MAX >> synapses.left
    count = 0
    for i in range(sums.size):
        count += sums[i] < low or sums[i] > high
        if not synapses.wraps_late:
            sums[i] = np.int32(sums[i])
    return count


@njit(inline="always")
def _push(sums, synapses, pending, position, beyond):
    """Shift the sums, send each on its delay, and leave zero."""
    one_sum_a_neuron = sums.size == pending.shape[1]  # then nothing else is on its way to a neuron's step
    last_row = pending.shape[0] - 1  # all bits set: the ring has a power of two of rows
    left, right = synapses.left, synapses.right
    for k in range(synapses.delays.size):
        part = sums[synapses.blocks[k] : synapses.blocks[k + 1]]
        row = pending[(position + synapses.delays[k]) & last_row, synapses.firsts[k] :]
        if one_sum_a_neuron:
            for i in range(part.size):
                row[i] += np.int32((part[i] << left) >> right)
        else:
            for i in range(part.size):
                arriving = np.int32((part[i] << left) >> right)
                total = np.int32(row[i] + arriving)
                beyond[SUMS, IN_32_BITS] += _wrapped(total, row[i], arriving)
                row[i] = total
    sums[:] = 0
