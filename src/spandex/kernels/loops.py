"""Compiled loops over time for blocks of neurons, and the threads that share the blocks.

Signals are C-contiguous (batch, steps, neurons). A unit of work is one block of neurons of one sample: its state stays
in the first-level cache while the loop over time runs, and the loops over its neurons compile to vector instructions.
Units are independent, so the result does not depend on the number of threads. Sums over time accumulate in float64,
as torch's do.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit

BLOCK_NEURONS = 512  # at most: the state of more would leave the first-level cache


def over_blocks(loop: Callable[..., None], signal: np.ndarray, *arguments: Any) -> None:
    """Run ``loop(start, stop, blocks, signal, *arguments)`` over all units, on as many threads as torch uses."""
    batch, _, neurons = signal.shape
    threads = torch.get_num_threads()
    blocks = min(max(-(-neurons // BLOCK_NEURONS), -(-threads // batch)), neurons)  # of a sample
    units = batch * blocks
    threads = min(threads, units)
    if threads < 2:
        loop(0, units, blocks, signal, *arguments)
        return
    bounds = [units * i // threads for i in range(threads + 1)]
    helpers = _helpers(threads - 1)  # the loops release the GIL
    parts = [helpers.submit(loop, *bounds[i : i + 2], blocks, signal, *arguments) for i in range(1, threads)]
    loop(*bounds[:2], blocks, signal, *arguments)
    for part in parts:
        part.result()


@cache
def _helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that stay, since to start some for every loop takes as long as many a loop does."""
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_helpers.cache_clear)  # a fork has none of the threads


@njit(inline="always")
def _unit(unit, blocks, neurons):
    """Sample, first neuron and end of the neurons of a unit."""
    block = unit % blocks
    return unit // blocks, neurons * block // blocks, neurons * (block + 1) // blocks


@njit(inline="always")
def _delta(x, previous, residual, error, threshold, step, cumulative, d, sent):
    """One step of delta encoding of every neuron of a block.

    d[t] = x[t] - x[t-1] + r[t-1] is sent, floored to ``step``, where |d[t]| >= threshold; with cumulative error where
    |e[t]| >= threshold, e[t] = e[t-1] + d[t] starting again after a value was sent. The residual r[t] is d[t] less
    what was sent before flooring. NaN is sent, since it is not below the threshold. lava-dl: slayer/axon/delta.py.
    """
    zero = np.float32(0)
    for i in range(len(x)):
        d[i] = (x[i] - previous[i]) + residual[i]
        previous[i] = x[i]
    if cumulative:
        for i in range(len(x)):
            error[i] += d[i]
            sent[i] = zero if abs(error[i]) < threshold[i] else d[i]
            error[i] = error[i] if sent[i] == zero else zero
    else:
        for i in range(len(x)):
            sent[i] = zero if abs(d[i]) < threshold[i] else d[i]
    for i in range(len(x)):
        residual[i] = d[i] - sent[i]
        sent[i] = np.floor(sent[i] / step) * step


@njit(nogil=True, cache=True)
def delta(start, stop, blocks, x, threshold, step, cumulative, keep, out, change):
    """Delta encoding of ``x``; ``change`` receives d if ``keep``."""
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, x.shape[2])
        previous, residual, error, d = np.zeros((4, end - first), np.float32)
        limit = threshold[first:end].copy()
        for t in range(x.shape[1]):
            sent = out[sample, t, first:end]
            _delta(x[sample, t, first:end], previous, residual, error, limit, step, cumulative, d, sent)
            if keep:
                change[sample, t, first:end] = d


@njit(nogil=True, cache=True)
def sigma_relu_delta(start, stop, blocks, z, bias, delays, threshold, step, cumulative, keep, out, active, change):
    """Sigma, relu, delta and a delay of ``delays`` steps; ``active`` receives where the relu passed its input."""
    zero = np.float32(0)
    lines = delays.max() + 1
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, z.shape[2])
        width = end - first
        total = np.zeros(width, np.float64)
        x, previous, residual, error, d = np.zeros((5, width), np.float32)
        limit, shift = threshold[first:end].copy(), bias[first:end].copy()
        # What was sent in the last steps, one line a step, the present one in line ``now``.
        sent = np.zeros((lines, width), np.float32)
        flat = sent.reshape(-1)
        back = np.empty(width, np.int32)
        for i in range(width):
            back[i] = delays[first + i] * width - i
        now = 0
        for t in range(z.shape[1]):
            current = z[sample, t, first:end]
            for i in range(width):
                total[i] += current[i]
                x[i] = max(np.float32(total[i]) + shift[i], zero)
            passed = active[sample, t, first:end]
            for i in range(width):
                passed[i] = x[i] > zero
            _delta(x, previous, residual, error, limit, step, cumulative, d, sent[now])
            if keep:
                change[sample, t, first:end] = d
            arriving = out[sample, t, first:end]
            here = np.int32(now * width)
            for i in range(width):
                k = here - back[i]
                arriving[i] = flat[k if k >= 0 else k + lines * width]
            now = now + 1 if now + 1 < lines else 0


@njit(nogil=True, cache=True)
def sigma_relu_delta_backward(start, stop, blocks, grad, out, active, delays, by_delay, grad_z, grad_delay):
    """Gradients of :func:`sigma_relu_delta` for z and, if ``by_delay``, for the delays of each sample.

    With g[t] = grad[t + delay]: relu and delta give a[t] = active[t] (g[t] - g[t+1]) and sigma sums a from t
    to the end. The delay's gradient is sum_t grad[t] (out[t-1] - out[t]) (lava-dl: slayer/axon/delay.py), here
    summed as out[t] (grad[t+1] - grad[t]).
    """
    zero = np.float32(0)
    steps = grad.shape[1]
    lines = delays.max() + 1
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, grad.shape[2])
        width = end - first
        total, slope = np.zeros((2, width), np.float64)
        g, following, later = np.zeros((3, width), np.float32)
        # The gradients of the next steps, one line a step, the present one in line ``now``.
        arriving = np.zeros((lines, width), np.float32)
        flat = arriving.reshape(-1)
        ahead = np.empty(width, np.int32)
        for i in range(width):
            ahead[i] = delays[first + i] * width + i
        now = lines - 1
        for t in range(steps - 1, -1, -1):
            incoming, line = grad[sample, t, first:end], arriving[now]
            if by_delay:
                value = out[sample, t, first:end]
                for i in range(width):
                    slope[i] += value[i] * (later[i] - incoming[i])
                    later[i] = incoming[i]
            for i in range(width):
                line[i] = incoming[i]
            here = np.int32(now * width)
            for i in range(width):
                k = here + ahead[i]
                g[i] = flat[k if k < lines * width else k - lines * width]
            passed = active[sample, t, first:end]
            summed = grad_z[sample, t, first:end]
            for i in range(width):
                total[i] += (g[i] - following[i]) if passed[i] else zero
                summed[i] = total[i]
                following[i] = g[i]
            now = now - 1 if now else lines - 1
        grad_delay[sample, first:end] = slope


@njit(nogil=True, cache=True)
def cumulative_sum(start, stop, blocks, z, reverse, out):
    """Sum over time from the first step or, if ``reverse``, from the last; ``out`` may be ``z``."""
    steps = z.shape[1]
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, z.shape[2])
        total = np.zeros(end - first, np.float64)
        for step in range(steps):
            t = steps - 1 - step if reverse else step
            row, summed = z[sample, t, first:end], out[sample, t, first:end]
            for i in range(end - first):
                total[i] += row[i]
            for i in range(end - first):  # with the loop before in one, ``out`` that is ``z`` keeps it from vectors
                summed[i] = total[i]


@njit(nogil=True, cache=True)
def leak(start, stop, blocks, x, keep, scale, reset, out):
    """Leaky integration of ``x`` on the grid of 1 / ``scale``, towards zero; 0 follows what reached ``reset``.

    y[t] = trunc(keep y[t-1]) + trunc(scale x[t]); scale * ``out`` = y. lava-dl: neuron/dynamics/leaky_integrator.py,
    in 64-bit integers, which float64 holds up to 2^53.
    """
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, x.shape[2])
        state, kept = np.zeros(end - first, np.float64), keep[first:end].astype(np.float64)
        for t in range(x.shape[1]):
            incoming, result = x[sample, t, first:end], out[sample, t, first:end]
            for i in range(end - first):
                state[i] = np.trunc(state[i] * kept[i]) + np.trunc(scale * incoming[i])
                reached = np.float32(state[i])
                result[i] = reached / scale
                state[i] = 0 if reached >= reset else state[i]


@njit(nogil=True, cache=True)
def leak_backward(start, stop, blocks, grad, keep, grad_x):
    """Gradient of :func:`leak` for x, to which resets and rounding are nothing: g[t] = keep g[t+1] + grad[t]."""
    for unit in range(start, stop):
        sample, first, end = _unit(unit, blocks, grad.shape[2])
        later, kept = np.zeros(end - first, np.float32), keep[first:end].copy()
        for t in range(grad.shape[1] - 1, -1, -1):
            incoming, result = grad[sample, t, first:end], grad_x[sample, t, first:end]
            for i in range(end - first):
                later[i] = kept[i] * later[i] + incoming[i]
                result[i] = later[i]
