"""Compiled loops over time, one row (neuron) at a time, and the threads that share the rows.

Every loop works on ``rows start to stop`` of C-contiguous (neurons, steps) arrays. Rows are independent, so
the result does not depend on the number of threads. Sums over time accumulate in float64, as torch's do.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import float32, int64, njit, types, void

_values = float32[:, ::1]
_flags = types.uint8[:, ::1]
_row_steps = int64[::1]


def over_rows(loop: Callable[..., None], rows: int, *arguments: Any) -> None:
    """Run ``loop(start, stop, *arguments)`` over all rows, split among as many threads as torch uses."""
    threads = min(torch.get_num_threads(), rows)
    if threads < 2:
        loop(0, rows, *arguments)
        return
    bounds = [rows * i // threads for i in range(threads + 1)]
    # The loops release the GIL. A pool made for the call costs some 0.1 ms and survives a fork.
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(loop, *bounds[i : i + 2], *arguments) for i in range(threads)]:
            future.result()


@njit(void(int64, int64, _values, float32, float32, _values), nogil=True, cache=True)
def delta(start, stop, x, threshold, step, out):
    """Delta encoding: d[t] = x[t] - x[t-1] + r[t-1] is sent, floored to ``step``, where |d| >= threshold.

    The residual r[t] is d[t] less what was sent before flooring. lava-dl: slayer/axon/delta.py.
    """
    zero = np.float32(0)
    for i in range(start, stop):
        previous = zero
        residual = zero
        for t in range(x.shape[1]):
            d = (x[i, t] - previous) + residual
            previous = x[i, t]
            sent = d if abs(d) >= threshold else zero
            residual = d - sent
            out[i, t] = np.floor(sent / step) * step


@njit(inline="always")
def _advance(z, current, x, residual, threshold):
    """One step of sigma, relu and delta: (sigma, relu, whether relu passed, what is sent, residual)."""
    current += z
    previous = x
    x = max(np.float32(current), np.float32(0))
    d = (x - previous) + residual
    # Subtracting, unlike choosing the residual by cases, compiles without a branch.
    sent = d if abs(d) >= threshold else np.float32(0)
    return current, x, x > 0, sent, d - sent


@njit(void(int64, int64, _values, _row_steps, float32, float32, _flags), nogil=True, cache=True)
def sigma_relu_delta_delay(start, stop, z, delays, threshold, step, active):
    """Sigma, relu, delta and a delay of ``delays[i]`` steps, in place of the synaptic current ``z``.

    ``active`` receives where the relu passed its input. lava-dl: slayer/neuron/sigma_delta.py.
    """
    zero = np.float32(0)
    steps = z.shape[1]
    sent = np.empty((2, steps), np.float32)
    # Every step waits for the one before it, so two rows at once take little longer than one.
    for a in range(start, stop, 2):
        b = min(a + 1, stop - 1)  # an odd last row is done twice
        sum_a = sum_b = 0.0
        x_a = x_b = zero
        r_a = r_b = zero
        for t in range(steps):
            sum_a, x_a, active[a, t], sent[0, t], r_a = _advance(z[a, t], sum_a, x_a, r_a, threshold)
            sum_b, x_b, active[b, t], sent[1, t], r_b = _advance(z[b, t], sum_b, x_b, r_b, threshold)
        for k in range(b - a + 1):
            delay = min(delays[a + k], steps)
            z[a + k, :delay] = zero
            for t in range(steps - delay):
                z[a + k, t + delay] = np.floor(sent[k, t] / step) * step


@njit(void(int64, int64, _values, _values, _flags, _row_steps, _values, float32[::1]), nogil=True, cache=True)
def sigma_relu_delta_delay_backward(start, stop, grad, out, active, delays, grad_z, grad_delay):
    """Gradients of :func:`sigma_relu_delta_delay` for z and for the delays.

    With g[t] = grad[t + delay]: relu and delta give a[t] = active[t] (g[t] - g[t+1]) and sigma sums a from t
    to the end. The delay's gradient is sum_t grad[t] (out[t-1] - out[t]) (lava-dl: slayer/axon/delay.py).
    """
    zero = np.float32(0)
    steps = grad.shape[1]
    for i in range(start, stop):
        by_delay = 0.0
        previous = zero
        for t in range(steps):
            by_delay += grad[i, t] * (previous - out[i, t])
            previous = out[i, t]
        grad_delay[i] = by_delay
        delay = min(delays[i], steps)
        for t in range(steps - delay, steps):
            grad_z[i, t] = zero
        total = 0.0
        following = zero
        for t in range(steps - delay - 1, -1, -1):
            g = grad[i, t + delay]
            if active[i, t]:
                total += g - following
            following = g
            grad_z[i, t] = total


@njit(void(int64, int64, _values), nogil=True, cache=True)
def sigma(start, stop, z):
    """Cumulative sum over time, in place."""
    for i in range(start, stop):
        total = 0.0
        for t in range(z.shape[1]):
            total += z[i, t]
            z[i, t] = total


@njit(void(int64, int64, _values, _values), nogil=True, cache=True)
def sigma_backward(start, stop, grad, grad_z):
    """Gradient of :func:`sigma`: the cumulative sum from the end."""
    for i in range(start, stop):
        total = 0.0
        for t in range(grad.shape[1] - 1, -1, -1):
            total += grad[i, t]
            grad_z[i, t] = total
