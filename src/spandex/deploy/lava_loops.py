"""Compiled sums over events for ``spandex.deploy.lava_models``."""

import numpy as np
from numba import int16, int32, int64, njit, void


@njit(nogil=True, cache=True)
def add_columns(columns, messages, sums):
    """Add ``columns[i] * messages[i]`` to ``sums`` for all inputs i that sent something.

    Each product wraps to 32 bits, the sums do not.

    Args:
        columns: weights, int16 (inputs, targets).
        messages: int32 (inputs,).
        sums: int64 (targets,).
    """
    active = np.empty(len(messages) + 3, np.intp)
    events = 0
    for i in range(len(messages)):
        active[events] = i
        events += messages[i] != 0
    # Four columns a pass: the sums are loaded and stored a quarter as often.
    for k in range(0, events - 3, 4):
        a, b, c, d = columns[active[k]], columns[active[k + 1]], columns[active[k + 2]], columns[active[k + 3]]
        s, t, u, v = messages[active[k]], messages[active[k + 1]], messages[active[k + 2]], messages[active[k + 3]]
        for j in range(len(sums)):
            first = np.int64(np.int32(a[j] * s)) + np.int64(np.int32(b[j] * t))
            sums[j] += first + (np.int64(np.int32(c[j] * u)) + np.int64(np.int32(d[j] * v)))
    for k in range(events - events % 4, events):
        a = columns[active[k]]
        s = messages[active[k]]
        for j in range(len(sums)):
            sums[j] += np.int32(a[j] * s)


@njit(nogil=True, cache=True)
def add_synapses(starts, targets, weights, messages, sums):
    """Like ``add_columns``, for weights in compressed sparse columns.

    Args:
        starts: int32 (inputs + 1,); the synapses of input i are ``starts[i]`` to ``starts[i + 1]``.
        targets: of the synapses, int32.
        weights: of the synapses, int16.
        messages: int32 (inputs,).
        sums: int64 (targets,).
    """
    for i in range(len(messages)):
        s = messages[i]
        if s != 0:
            for k in range(starts[i], starts[i + 1]):
                sums[targets[k]] += np.int32(weights[k] * s)


def compile_loops() -> None:
    """Compile the loops, or load them from numba's cache, so that processes forked from this one have them.

    A signature at each loop would do so too, but again whenever Lava executes this file: it executes all files
    beside that of a process, many times.
    """
    add_columns.compile(void(int16[:, ::1], int32[::1], int64[::1]))
    add_synapses.compile(void(int32[::1], int32[::1], int16[::1], int32[::1], int64[::1]))
