"""Compiled loops of the exact executor: one for each model of neurons, one for each kind of synapses, their pairing.

All arithmetic is that of Lava's fixed-point models, modulo 2**32. What leaves that width, or the 24 bits of Loihi 2's
neurons, is counted; that nothing does, as in the usual step, is known from the least and the greatest value. Events
are the non-zero spikes; a layer costs its events times the synapses that each has, plus its neurons. Sources of the
equations: the models of lava.proc.sdn, lif, rf, rf_iz, dense, sparse and conv of lava-nc 0.10.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from spandex.deploy.neurons import (
    ABOVE_24_BITS,
    INPUT_SHIFT,
    INT16_MAX,
    INT24_MAX,
    INT24_MIN,
    INT32_MAX,
    INT32_MIN,
    STATE_LIMIT,
    Delta,
    Integrators,
    Resonators,
    SigmaDelta,
)
from spandex.deploy.synapses import Convolution, Synapses

MOST_INPUT = 8 * STATE_LIMIT  # of resonators, beyond which any state is clipped

NOT_COUNTED = {"_nrt": False}  # callers hold all arrays; counting references to them took a third of a small step
# rows and columns of what is counted as out of range
SUMS, STATES = 0, 1
IN_24_BITS, IN_32_BITS = 0, 1


@njit(nogil=True, cache=True, **NOT_COUNTED)
def run_layer(
    arriving,
    senders,
    first_step,
    synapses,
    neurons,
    state,
    pending,
    position,
    spikes,
    scratch,
    arrived,
    operations,
    watched,
    trace,
    beyond,
):
    """A layer's neurons and synapses on the spikes that arrive in some steps; fills ``spikes``, (steps, neurons).

    Args:
        arriving: int32 (steps, senders) for each of the synapses; for recurrent ones, ``spikes`` itself.
        senders: number of these that are not the same again.
        first_step: number of the first of these steps, from 0.
        pending: int32 (a power of two above the longest delay, inputs of the neurons), a ring: its row ``position + k``
            is the neurons' input in k steps.
        scratch: of these synapses.
        arrived, operations: int64 (steps,), to which the numbers of events and of synaptic operations are added.
        watched, trace: an array of the state, and int32 (steps, neurons) into which it is copied after every step;
            (0, 0) for none.
        beyond: int64 (2, 2), to which the numbers of sums and of states (rows) are added that did not fit 24 and 32
            bits (columns). The sums are the neurons' inputs at a step in 24 bits, and in 32 those of each slot, and of
            slots that arrive together.

    Returns:
        The new position.
    """
    for t in range(spikes.shape[0]):
        row = pending[position]
        _advance(neurons, state, row, first_step + t, spikes[t], beyond)
        row[:] = 0
        if trace.size:
            _copy(watched, trace[t])
        position = (position + 1) & (pending.shape[0] - 1)
        for k in range(len(synapses)):
            sent = arriving[k][t]
            if k < senders:
                _find_events(sent, scratch)
                arrived[t] += scratch.starts[-1]
            operations[t] += _deliver(synapses[k], sent, scratch, pending, position, beyond)
    return position


@njit(nogil=True, cache=True, **NOT_COUNTED)
def run_input(inputs, first_step, neurons, state, spikes, watched, trace, beyond):
    """Neurons without synapses on int32 inputs (steps, neurons); see ``run_layer``."""
    for t in range(inputs.shape[0]):
        _advance(neurons, state, inputs[t], first_step + t, spikes[t], beyond)
        if trace.size:
            _copy(watched, trace[t])


@njit(**NOT_COUNTED)
def _copy(values, into):
    for i in range(values.size):
        into[i] = values[i]


def _advance(neurons, state, row, step, spikes, beyond):
    """One step of a layer's neurons on the input of that step, which fills their spikes."""


@overload(_advance, jit_options=NOT_COUNTED)
def _advance_of_model(neurons, state, row, step, spikes, beyond):
    models = {Delta: _delta_step, SigmaDelta: _sigma_delta_step, Integrators: _integrate, Resonators: _resonate}
    return models[neurons.instance_class]


def _deliver(synapses, spikes, scratch, pending, position, beyond):
    """Send events on their way to the neurons; the number of synaptic operations."""


@overload(_deliver, jit_options=NOT_COUNTED)
def _deliver_by_kind(synapses, spikes, scratch, pending, position, beyond):
    return {Synapses: _add_weights, Convolution: _convolve}[synapses.instance_class]


def _delta_step(neurons, state, row, step, spikes, beyond):
    """activation = input << input_shift, of which changes are sent."""
    low, high = np.int32(0), np.int32(0)
    for i in range(row.size):
        value = row[i]
        spikes[i] = np.int32(value << neurons.input_shift)
        low, high = min(low, value), max(high, value)
    if low < INT24_MIN >> neurons.input_shift or high > INT24_MAX >> neurons.input_shift:
        for i in range(row.size):
            value = np.int64(row[i]) << neurons.input_shift
            beyond[STATES, IN_24_BITS] += value < INT24_MIN or value > INT24_MAX
            beyond[STATES, IN_32_BITS] += value < INT32_MIN or value > INT32_MAX
    _delta(spikes, neurons, state)


def _sigma_delta_step(neurons, state, row, step, spikes, beyond):
    """sigma += input; activation = relu(sigma + bias), of which changes are sent."""
    if _sigma(row, neurons, state, spikes):
        _count_beyond(row, neurons.bias, state.sigma, beyond)
    if neurons.delta:
        _delta(spikes, neurons, state)


def _integrate(neurons, state, row, step, spikes, beyond):
    """u = rtz(u kept_u) + 64 input, wrapped once into (-2**23, 2**23]
    v = clip(rtz(v kept_v) + u + bias, -2**23 + 1, 2**23 - 1)
    spike = v > threshold, after which v = 0; rtz rounds toward zero
    """
    current, voltage = state.current, state.voltage
    if neurons.reset_interval > 0 and (step + 1) % neurons.reset_interval == neurons.reset_phase:
        current[:] = 0
        voltage[:] = 0
    if _may_wrap(row):
        _count_inputs(row, current, neurons.current_kept, beyond)
    limit = np.int32(STATE_LIMIT)
    left = np.int32(0)
    size = _count(neurons.bias, spikes.size)
    for start in range(0, spikes.size, size):
        part = slice(start, start + size)
        us, vs, inputs, sent = current[part], voltage[part], row[part], spikes[part]
        for i in range(size):
            u = np.int32(np.int32(us[i] * _of(neurons.current_kept, i)) + np.int32(inputs[i] << INPUT_SHIFT))
            wrapped = (u > limit) | (u <= -limit)
            u = np.int32(u - np.int32(2 * limit)) if u > limit else u
            u = np.int32(u + np.int32(2 * limit)) if u <= -limit else u
            v = np.int32(np.int32(vs[i] * _of(neurons.voltage_kept, i)) + u + _of(neurons.bias, i))
            clipped = (v >= limit) | (v <= -limit)
            v = max(min(v, np.int32(limit - 1)), np.int32(1 - limit))
            spike = np.int32(v > _of(neurons.threshold, i))
            us[i], vs[i], sent[i] = u, np.int32(0) if spike else v, spike
            left = np.int32(left + (wrapped | clipped))
    beyond[STATES, IN_24_BITS] += left


def _resonate(neurons, state, row, step, spikes, beyond):
    """re' = clip(rtz(cosine re) - rtz(sine im) + 64 real input, -2**23 + 1, 2**23 - 1)
    im' = clip(rtz(sine re) + rtz(cosine im) + 64 imaginary input, likewise)
    RF sends a spike where re' >= threshold, im' >= 0 and im < 0, RF_IZ where
    im' >= threshold; then re' = 0, im' = threshold - 1.
    """
    real, imaginary = state.real, state.imaginary
    to_real, to_imaginary = row[: spikes.size], row[spikes.size :]
    if _may_wrap(row):
        _count_inputs(to_real, real, 0.0, beyond)
        _count_inputs(to_imaginary, imaginary, 0.0, beyond)
    limit, most = np.int32(STATE_LIMIT - 1), np.int32(MOST_INPUT)
    left = np.int32(0)
    for i in range(spikes.size):
        re, im = np.float64(real[i]), np.float64(imaginary[i])
        a, b = np.int32(to_real[i] << INPUT_SHIFT), np.int32(to_imaginary[i] << INPUT_SHIFT)
        a, b = max(min(a, most), -most), max(min(b, most), -most)  # what is clipped anyway fits 32 bits
        new_re = np.int32(np.int32(neurons.cosine * re) - np.int32(neurons.sine * im) + a)
        new_im = np.int32(np.int32(neurons.sine * re) + np.int32(neurons.cosine * im) + b)
        left = np.int32(left + ((abs(new_re) > limit) | (abs(new_im) > limit)))
        new_re, new_im = np.int32(max(min(new_re, limit), -limit)), np.int32(max(min(new_im, limit), -limit))
        if neurons.izhikevich:
            spike = np.int32(new_im >= neurons.threshold)
            new_re = np.int32(new_re * (1 - spike))
            new_im = np.int32(neurons.threshold - 1) if spike else new_im
        else:
            spike = np.int32((new_re >= neurons.threshold) & (new_im >= 0) & (im < 0))
        real[i], imaginary[i], spikes[i] = new_re, new_im, spike
    beyond[STATES, IN_24_BITS] += left


def _of(values, i):
    """What neuron i has: its own, or the one number that all share."""


@overload(_of, inline="always")
def _of_one(values, i):
    return (lambda values, i: values[i]) if isinstance(values, types.Array) else (lambda values, i: values)


def _count(values, all_neurons):
    """Number of neurons that have these values."""


@overload(_count, inline="always")
def _count_one(values, all_neurons):
    return (
        (lambda values, all_neurons: values.size)
        if isinstance(values, types.Array)
        else (lambda values, all_neurons: all_neurons)
    )


@njit(inline="always", **NOT_COUNTED)
def _may_wrap(row):
    low, high = np.int32(0), np.int32(0)
    for i in range(row.size):
        low, high = min(low, row[i]), max(high, row[i])
    return (low < INT24_MIN) | (high > INT24_MAX)


@njit(**NOT_COUNTED)
def _count_inputs(row, current, kept, beyond):
    """Count inputs beyond 24 bits, and the states that they move out of 32."""
    for i in range(row.size):
        total = np.int64(current[i] * _of(kept, i)) + np.int64(np.int32(row[i] << INPUT_SHIFT))
        beyond[SUMS, IN_24_BITS] += _beyond_24_bits(row[i])
        shifted = np.int64(row[i]) << INPUT_SHIFT
        beyond[STATES, IN_32_BITS] += (shifted != np.int32(shifted)) | (total != np.int32(total))


@njit(inline="always", **NOT_COUNTED)
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


@njit(inline="always", **NOT_COUNTED)
def _widened(low, high, a, b, c):
    """The range from low to high, so that it holds three more values."""
    return min(low, min(min(a, b), c)), max(high, max(max(a, b), c))


@njit(**NOT_COUNTED)
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


@njit(inline="always", **NOT_COUNTED)
def _beyond_24_bits(value):
    return (value < np.int32(INT24_MIN)) | (value > np.int32(INT24_MAX))


@njit(inline="always", **NOT_COUNTED)
def _wrapped(total, a, b):
    """Whether a + b is not the total of 32 bits: then alone it has another sign than both."""
    return ((total < 0) != (a < 0)) & ((total < 0) != (b < 0))


@njit(inline="always", **NOT_COUNTED)
def _delta(spikes, neurons, state):
    """Turn activations into spikes: the change since the last spike where it reaches the threshold."""
    sent, error = state.sent, state.error
    above, below = np.int32(neurons.threshold), np.int32(-neurons.threshold)
    shift = neurons.spike_shift & 31
    if neurons.cumulative:
        for i in range(spikes.size):
            change = np.int32(spikes[i] - sent[i])
            error[i] += change
            spike = change if _reaches(error[i], above, below) else np.int32(0)
            if spike > 0 or (spike < 0 and spike != INT32_MIN):
                error[i] = 0
            sent[i] += spike
            spikes[i] = spike >> shift
    else:
        for i in range(spikes.size):
            change = np.int32(spikes[i] - sent[i])
            spike = change if _reaches(change, above, below) else np.int32(0)
            sent[i] += spike
            spikes[i] = spike >> shift


@njit(inline="always", **NOT_COUNTED)
def _reaches(value, above, below):
    """|value| >= threshold; -2**31 has no absolute value in 32 bits and reaches none."""
    return (value >= above) | ((value <= below) & (value != np.int32(INT32_MIN)))


@njit(inline="always", **NOT_COUNTED)
def _find_events(spikes, scratch):
    """List the neurons that send, and where the list goes on with each place; places have as many neurons."""
    sources, starts = scratch.sources, scratch.starts
    size = spikes.size // (starts.size - 1)
    n = np.uint64(0)  # a signed index costs a test for negative ones
    for place in range(starts.size - 1):
        first = place * size
        sent = spikes[first : first + size]
        for i in range(size):
            sources[n] = first + i
            n += np.uint64(sent[i] != 0)
        starts[place + 1] = n


def _add_weights(synapses, spikes, scratch, pending, position, beyond):
    """sum = weights spikes; input of a neuron += sum << left >> right, after its delay."""
    operations = 0
    reach = 0
    for i in range(spikes.size):
        operations += synapses.fan_out[i] if spikes[i] else 0
        reach += abs(np.int64(spikes[i]))
    reach *= synapses.largest  # no sum can be larger
    sources = scratch.sources[: scratch.starts[-1]]
    slots = synapses.blocks[-1]
    left = synapses.left + synapses.shift
    if reach > INT32_MAX >> left:
        sums = scratch.sums_64[:slots]
        _add_wide(sources, spikes, synapses, sums)
        beyond[SUMS, IN_32_BITS] += _wrap(sums, synapses)
        _push(sums, synapses.left, synapses, pending, position, beyond)
    elif reach > INT16_MAX:
        sums = scratch.sums_32[:slots]
        _add_narrow(sources, spikes, synapses, sums)
        _push(sums, left, synapses, pending, position, beyond)
    else:  # the fewer the bits, the more sums a core makes at once
        sums = scratch.sums_16[:slots]
        _add_narrow(sources, spikes, synapses, sums)
        _push(sums, left, synapses, pending, position, beyond)
    return operations


@njit(inline="always", **NOT_COUNTED)
def _add_narrow(sources, spikes, synapses, sums):
    if synapses.columns.size:
        _add_columns(sources, 0, spikes, synapses.columns, sums)
    else:
        _add_listed(sources, spikes, synapses, sums)


def _convolve(synapses, spikes, scratch, pending, position, beyond):
    """input of a neuron = the low 24 bits of the sum of weights times spikes; Lava sums exactly, in float64."""
    row = pending[position]
    largest = 0
    for source in scratch.sources[: scratch.starts[-1]]:
        largest = max(largest, abs(np.int64(spikes[source])))
    reach = largest * synapses.largest  # no sum can be larger
    places, size = synapses.shape_out[0] * synapses.shape_out[1], synapses.channels_out
    if reach <= INT32_MAX:
        _add_kernels(synapses, spikes, scratch, 0, places, row)
    else:
        sums = scratch.sums_64[:size]
        for place in range(places):
            _add_kernels(synapses, spikes, scratch, place, place + 1, sums)
            for i in range(size):
                fits = INT32_MIN <= sums[i] <= INT32_MAX
                row[place * size + i] = sums[i] if fits else INT32_MIN  # to what the processor turns such a float64
                beyond[SUMS, IN_32_BITS] += not fits
            sums[:] = 0
    if reach > INT24_MAX:
        for i in range(row.size):
            beyond[SUMS, IN_24_BITS] += _beyond_24_bits(row[i])
            row[i] = np.int32(row[i] << ABOVE_24_BITS) >> ABOVE_24_BITS
    return _operations(synapses, spikes)


@njit(**NOT_COUNTED)
def _operations(synapses, spikes):
    operations = 0
    for x in range(synapses.columns.size):
        fan_out = synapses.fan_out[synapses.columns[x]]
        sent = spikes[x * fan_out.size : (x + 1) * fan_out.size]
        for i in range(fan_out.size):
            operations += fan_out[i] if sent[i] else 0
    return operations


@njit(**NOT_COUNTED)
def _add_kernels(synapses, spikes, scratch, first_place, end_place, outputs):
    """Add to each output of some places what the events in its kernel's reach send there."""
    sources, starts = scratch.sources, scratch.starts
    groups, columns, _, size = synapses.weights.shape
    (width, height), height_out = synapses.shape_in, synapses.shape_out[1]
    (stride_x, stride_y), (padding_x, padding_y) = synapses.stride, synapses.padding
    (dilation_x, dilation_y), rows, channels = synapses.dilation, synapses.rows, synapses.channels
    together = rows if groups == 1 and dilation_y == 1 and not synapses.apart else 1  # their inputs lie side by side
    for place in range(first_place, end_place):
        left = place // height_out * stride_x - padding_x
        top = place % height_out * stride_y - padding_y
        for group in range(groups):
            at = (place - first_place) * groups + group
            output = outputs[at * size : (at + 1) * size]
            for i in range(columns):
                x = left + i * dilation_x
                if x < 0 or x >= width:
                    continue
                weights = synapses.weights[group, i]
                for j in range(0, rows, together):
                    y = top + j * dilation_y
                    first, end = max(y, 0), min(y + together, height)
                    if first >= end:
                        continue
                    start = (x * height + y) * groups + group  # of the first row, perhaps outside
                    if synapses.apart:
                        _add_products(weights[j], spikes[start * size : (start + 1) * size], output)
                    else:
                        reached = sources[starts[start + first - y] : starts[start + end - y]]
                        _add_columns(reached, (start - j) * channels, spikes, weights, output)


@njit(inline="always", **NOT_COUNTED)
def _add_products(weights, spikes, sums):
    for r in range(sums.size):
        sums[r] += np.int32(weights[r]) * spikes[r]


@njit(inline="always", **NOT_COUNTED)
def _add_columns(sources, first, spikes, columns, sums):
    """Add weight times spike to the sums; four columns a pass load and store every sum a fourth as often.

    Args:
        first: the source of the first column.
    """
    number = sums.dtype.type
    e = 0
    while e + 4 <= sources.size:
        i, j, k, m = sources[e], sources[e + 1], sources[e + 2], sources[e + 3]
        u, v, w, x = columns[i - first], columns[j - first], columns[k - first], columns[m - first]
        a, b, c, d = number(spikes[i]), number(spikes[j]), number(spikes[k]), number(spikes[m])
        for r in range(sums.size):
            first_two, second_two = number(u[r] * a + v[r] * b), number(w[r] * c + x[r] * d)
            sums[r] = number(sums[r] + number(first_two + second_two))
        e += 4
    while e + 2 <= sources.size:
        i, j = sources[e], sources[e + 1]
        u, v, a, b = columns[i - first], columns[j - first], number(spikes[i]), number(spikes[j])
        for r in range(sums.size):
            sums[r] = number(sums[r] + number(u[r] * a + v[r] * b))
        e += 2
    if e < sources.size:
        u, a = columns[sources[e] - first], number(spikes[sources[e]])
        for r in range(sums.size):
            sums[r] = number(sums[r] + number(u[r] * a))


@njit(inline="always", **NOT_COUNTED)
def _add_listed(sources, spikes, synapses, sums):
    number = sums.dtype.type
    for source in sources:
        spike = number(spikes[source])
        for k in range(synapses.starts[source], synapses.starts[source + 1]):
            slot = synapses.slots[k]
            sums[slot] = number(sums[slot] + number(synapses.weights[k] * spike))


@njit(**NOT_COUNTED)
def _add_wide(sources, spikes, synapses, sums):
    """Products wrap to 32 bits, their sums do not."""
    for source in sources:
        spike = np.int64(spikes[source])
        if synapses.columns.size:
            column = synapses.columns[source]
            for i in range(sums.size):
                sums[i] += np.int32((np.int64(column[i]) << synapses.shift) * spike)
        else:
            for k in range(synapses.starts[source], synapses.starts[source + 1]):
                sums[synapses.slots[k]] += np.int32((np.int64(synapses.weights[k]) << synapses.shift) * spike)


@njit(**NOT_COUNTED)
def _wrap(sums, synapses):
    """Wrap sums to 32 bits unless that comes later; the number of those that do not fit, moved up or as they are."""
    low, high = INT32_MIN >> synapses.left, INT32_MAX >> synapses.left
    count = 0
    for i in range(sums.size):
        count += sums[i] < low or sums[i] > high
        if not synapses.wraps_late:
            sums[i] = np.int32(sums[i])
    return count


@njit(inline="always", **NOT_COUNTED)
def _push(sums, left, synapses, pending, position, beyond):
    """Shift the sums, send each on its delay, and leave zero."""
    last_row = pending.shape[0] - 1  # all bits set: the ring has a power of two of rows
    right = synapses.right
    for k in range(synapses.delays.size):
        part = sums[synapses.blocks[k] : synapses.blocks[k + 1]]
        row = pending[(position + synapses.delays[k]) & last_row, synapses.firsts[k] :]
        if synapses.alone:
            for i in range(part.size):
                row[i] += np.int32((np.int64(part[i]) << left) >> right)
        else:
            wrapped = np.int32(0)
            for i in range(part.size):
                arriving = np.int32((np.int64(part[i]) << left) >> right)
                total = np.int32(row[i] + arriving)
                wrapped = np.int32(wrapped + _wrapped(total, row[i], arriving))
                row[i] = total
            beyond[SUMS, IN_32_BITS] += wrapped
    sums[:] = 0
