"""Loops over time on the GPU, in Triton.

Signals are (batch, steps, neurons), float32, contiguous. A program walks through time with one warp of neurons of
one sample, so that its threads read and write neighbouring addresses. It asks for a chunk of steps at once, delta
units and sums even before they compute the chunk before, so that it seldom waits for the memory; batch 64 with
512 neurons makes 1024 programs, which wait in turns. Nothing is shared between programs and nothing is added up
atomically, so results are bitwise reproducible.

Sigma and the gradients add up in float64, as on the CPU: the sum of thousands of steps decides which events cross
the threshold, and rounding it in float32 moves events. That takes three double-precision instructions a step. By
count they cost less than the memory traffic of the same step even where a card does double precision at 1/64 of its
single-precision rate, and need no code of their own, unlike compensated sums.

Gives the CPU's bits on an H200 (docs/results.md), and in Triton's interpreter.

The equations are those of lava-dl 0.6: slayer/neuron/sigma_delta.py, slayer/axon/delta.py, slayer/axon/delay.py,
slayer/neuron/dynamics/leaky_integrator.py. A non-finite value stays in the signal.
"""

import math

import torch
import triton
import triton.language as tl

BLOCK = 32  # neurons of a program: a warp
CHUNK = 16  # steps fetched at once
# Rounding is the CPU's only without fused multiply-adds.
OPTIONS = {"num_warps": 1, "enable_fp_fusion": False}


@triton.jit
def _place(steps, neurons, BLOCK: tl.constexpr):
    """The program's neurons, whether they exist, how many steps they have, and where they stand at step 0."""
    neuron = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = neuron < neurons
    return neuron, exists, tl.where(exists, steps, 0), tl.program_id(0).to(tl.int64) * steps * neurons + neuron


@triton.jit
def _fetch(ptr, stride, left, CHUNK: tl.constexpr):
    """The values at ``ptr + k * stride`` for k below CHUNK; zeros from k = ``left`` (neurons,) on."""
    values = ()
    for k in tl.static_range(CHUNK):
        values = values + (tl.load(ptr + k * stride, k < left, 0),)  # noqa: RUF005  no unpacking in Triton
    return values


@triton.jit
def _delta_step(x, previous, residual, error, threshold, CUMULATIVE: tl.constexpr):
    """One step of delta: (change, sent before flooring, residual, error). False comparisons let NaN through."""
    change = (x - previous) + residual
    if CUMULATIVE:
        error += change
        sent = tl.where(tl.abs(error) < threshold, 0.0, change)
        error = tl.where(sent != 0, 0.0, error)
    else:
        sent = tl.where(tl.abs(change) < threshold, 0.0, change)
    return change, sent, change - sent, error


@triton.jit
def _floor(sent, step, inverse, EXACT: tl.constexpr):
    """Multiples of ``step``; EXACT if its inverse is a power of two, since division takes far longer."""
    multiples = sent * inverse if EXACT else tl.div_rn(sent, step)
    return tl.floor(multiples) * step


@triton.jit
def _delta(
    x_ptr,
    threshold_ptr,
    threshold_stride,
    step,
    inverse,
    sent_ptr,
    change_ptr,
    steps,
    neurons,
    CUMULATIVE: tl.constexpr,
    KEEP: tl.constexpr,
    EXACT: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    neuron, exists, length, place = _place(steps, neurons, BLOCK)
    threshold = tl.load(threshold_ptr + neuron * threshold_stride, exists, 0.0)
    previous = tl.zeros([BLOCK], tl.float32)
    residual = tl.zeros([BLOCK], tl.float32)
    error = tl.zeros([BLOCK], tl.float32)
    following = _fetch(x_ptr + place, neurons, length, CHUNK)
    for start in range(0, steps, CHUNK):
        chunk = following
        following = _fetch(x_ptr + place + (start + CHUNK) * neurons, neurons, length - start - CHUNK, CHUNK)
        for k in tl.static_range(CHUNK):
            change, sent, residual, error = _delta_step(chunk[k], previous, residual, error, threshold, CUMULATIVE)
            previous = chunk[k]
            at = place + (start + k) * neurons
            tl.store(sent_ptr + at, _floor(sent, step, inverse, EXACT), start + k < length)
            if KEEP:
                tl.store(change_ptr + at, change, start + k < length)


@triton.jit
def _sigma_relu_delta(
    z_ptr,
    bias_ptr,
    delay_ptr,
    threshold_ptr,
    threshold_stride,
    step,
    inverse,
    out_ptr,
    active_ptr,
    change_ptr,
    steps,
    neurons,
    BIAS: tl.constexpr,
    CUMULATIVE: tl.constexpr,
    KEEP: tl.constexpr,
    EXACT: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    neuron, exists, length, place = _place(steps, neurons, BLOCK)
    threshold = tl.load(threshold_ptr + neuron * threshold_stride, exists, 0.0)
    delay = tl.minimum(tl.load(delay_ptr + neuron, exists, 0), length)
    for t in range(0, tl.max(delay)):
        tl.store(out_ptr + place + t * neurons, 0.0, t < delay)
    current = tl.zeros([BLOCK], tl.float64)
    previous = tl.zeros([BLOCK], tl.float32)
    residual = tl.zeros([BLOCK], tl.float32)
    error = tl.zeros([BLOCK], tl.float32)
    if BIAS:
        bias = tl.load(bias_ptr + neuron, exists, 0.0)
    following = _fetch(z_ptr + place, neurons, length, CHUNK)
    for start in range(0, steps, CHUNK):
        chunk = following
        following = _fetch(z_ptr + place + (start + CHUNK) * neurons, neurons, length - start - CHUNK, CHUNK)
        for k in tl.static_range(CHUNK):
            current += chunk[k]
            x = current.to(tl.float32)
            if BIAS:
                x += bias
            x = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
            change, sent, residual, error = _delta_step(x, previous, residual, error, threshold, CUMULATIVE)
            previous = x
            at = place + (start + k) * neurons
            tl.store(active_ptr + at, (x > 0).to(tl.uint8), start + k < length)
            # Neurons of a warp store to different steps; the cache gathers them into whole lines.
            tl.store(out_ptr + at + delay * neurons, _floor(sent, step, inverse, EXACT), start + k + delay < length)
            if KEEP:
                tl.store(change_ptr + at, change, start + k < length)


@triton.jit
def _sigma_relu_delta_backward(
    grad_ptr,
    out_ptr,
    active_ptr,
    delay_ptr,
    grad_z_ptr,
    grad_delay_ptr,
    steps,
    neurons,
    BY_DELAY: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    neuron, exists, length, place = _place(steps, neurons, BLOCK)
    delay = tl.minimum(tl.load(delay_ptr + neuron, exists, 0), length)
    following = tl.zeros([BLOCK], tl.float32)
    later = tl.zeros([BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float64)
    by_delay = tl.zeros([BLOCK], tl.float64)
    for start in range(0, steps, CHUNK):  # counted from the last step
        left = length - start
        at = place + (steps - 1 - start) * neurons
        grads = ()
        for k in tl.static_range(CHUNK):
            arrives = (delay <= start + k) & (k < left)
            grads = grads + (tl.load(grad_ptr + at + (delay - k) * neurons, arrives, 0.0),)  # noqa: RUF005
        actives = _fetch(active_ptr + at, -neurons, left, CHUNK)
        if BY_DELAY:
            arrivals = _fetch(grad_ptr + at, -neurons, left, CHUNK)
            outs = _fetch(out_ptr + at, -neurons, left, CHUNK)
        for k in tl.static_range(CHUNK):
            total += tl.where(actives[k] != 0, grads[k] - following, 0.0)
            following = grads[k]
            tl.store(grad_z_ptr + at - k * neurons, total.to(tl.float32), k < left)
            if BY_DELAY:
                # sum of grad[t] (out[t-1] - out[t]), by parts
                by_delay += outs[k] * (later - arrivals[k])
                later = arrivals[k]
    if BY_DELAY:
        tl.store(grad_delay_ptr + tl.program_id(0).to(tl.int64) * neurons + neuron, by_delay, exists)


@triton.jit
def _cumulative_sum(z_ptr, out_ptr, steps, neurons, REVERSE: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    _, _, length, place = _place(steps, neurons, BLOCK)
    stride = neurons
    if REVERSE:
        place += (steps - 1) * neurons
        stride = -neurons
    total = tl.zeros([BLOCK], tl.float64)
    following = _fetch(z_ptr + place, stride, length, CHUNK)
    for start in range(0, steps, CHUNK):
        at = place + start * stride
        chunk = following
        following = _fetch(z_ptr + at + CHUNK * stride, stride, length - start - CHUNK, CHUNK)
        for k in tl.static_range(CHUNK):
            total += chunk[k]
            tl.store(out_ptr + at + k * stride, total.to(tl.float32), start + k < length)


@triton.jit
def _trunc(x):
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))


@triton.jit
def _leak(x_ptr, keep_ptr, scale, reset, out_ptr, steps, neurons, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    neuron, exists, length, place = _place(steps, neurons, BLOCK)
    keep = tl.load(keep_ptr + neuron, exists, 0.0).to(tl.float64)
    state = tl.zeros([BLOCK], tl.float64)
    for start in range(0, steps, CHUNK):
        at = place + start * neurons
        chunk = _fetch(x_ptr + at, neurons, length - start, CHUNK)
        for k in tl.static_range(CHUNK):
            state = _trunc(state * keep) + _trunc(scale * chunk[k])
            reached = state.to(tl.float32)
            tl.store(out_ptr + at + k * neurons, tl.div_rn(reached, scale), start + k < length)
            state = tl.where(reached >= reset, 0.0, state)


@triton.jit
def _leak_backward(grad_ptr, keep_ptr, grad_x_ptr, steps, neurons, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    neuron, exists, length, place = _place(steps, neurons, BLOCK)
    keep = tl.load(keep_ptr + neuron, exists, 0.0)
    later = tl.zeros([BLOCK], tl.float32)
    for start in range(0, steps, CHUNK):  # counted from the last step
        at = place + (steps - 1 - start) * neurons
        chunk = _fetch(grad_ptr + at, -neurons, length - start, CHUNK)
        for k in tl.static_range(CHUNK):
            later = keep * later + chunk[k]
            tl.store(grad_x_ptr + at - k * neurons, later, start + k < length)


def delta(
    x: torch.Tensor, threshold: torch.Tensor, step: float, cumulative: bool, keep: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Delta encoding: d[t] = x[t] - x[t-1] + r[t-1] is sent, floored to ``step``, where |d| >= threshold.

    The residual r[t] is d[t] less what was sent before flooring. With cumulative error, e += d decides in place of
    d, and starts from 0 again where something was sent.

    Args:
        x: (batch, steps, neurons).
        threshold: (neurons,) or (1,).
        step: quantisation step of what is sent.
        cumulative: whether the error is cumulative.
        keep: whether to return d.

    Returns:
        What is sent, and d or None, both of ``x``'s shape.
    """
    sent = torch.empty_like(x)
    change = torch.empty_like(x) if keep else None
    constants = {"CUMULATIVE": cumulative, "KEEP": keep, "EXACT": _is_power_of_two(step)}
    _launch(_delta, x, threshold, _stride(threshold), step, 1 / step, sent, change, **constants)
    return sent, change


def sigma_relu_delta(
    z: torch.Tensor,
    bias: torch.Tensor | None,
    delays: torch.Tensor,
    threshold: torch.Tensor,
    step: float,
    cumulative: bool,
    keep: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Sigma, bias, relu, :func:`delta`, and a delay of ``delays[i]`` steps for what neuron i sends.

    Args:
        z: synaptic current (batch, steps, neurons).
        bias: (neurons,) or None.
        delays: int32 (neurons,), 0 or more; what leaves the end is dropped.
        threshold, step, cumulative, keep: as for :func:`delta`.

    Returns:
        The delayed output; uint8, where the relu passed its input; d or None. All of ``z``'s shape, the last two
        in the neuron's own time.
    """
    out = torch.empty_like(z)
    active = torch.empty_like(z, dtype=torch.uint8)
    change = torch.empty_like(z) if keep else None
    constants = {"CUMULATIVE": cumulative, "KEEP": keep, "EXACT": _is_power_of_two(step), "BIAS": bias is not None}
    quantities = threshold, _stride(threshold), step, 1 / step
    _launch(_sigma_relu_delta, z, bias, delays, *quantities, out, active, change, **constants)
    return out, active, change


def sigma_relu_delta_backward(
    grad: torch.Tensor, out: torch.Tensor, active: torch.Tensor, delays: torch.Tensor, by_delay: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gradients of :func:`sigma_relu_delta` for z and for the delays.

    With g[t] = grad[t + delay], a[t] = active[t] (g[t] - g[t+1]) and grad_z[t] = sum of a[s] over s >= t; the
    delay's gradient is the sum of grad[t] (out[t-1] - out[t]) over batch and time.

    Args:
        grad: of the output, (batch, steps, neurons).
        out, active, delays: from the forward pass.
        by_delay: whether to return the delays' gradient.

    Returns:
        grad_z of ``grad``'s shape, and the delays' gradient (neurons,) or None.
    """
    grad_z = torch.empty_like(grad)
    of_samples = grad.new_empty(grad.shape[0], grad.shape[2], dtype=torch.float64) if by_delay else None
    _launch(_sigma_relu_delta_backward, grad, out, active, delays, grad_z, of_samples, BY_DELAY=by_delay)
    return grad_z, None if of_samples is None else of_samples.sum(0).float()


def cumulative_sum(z: torch.Tensor, reverse: bool = False, out: torch.Tensor | None = None) -> torch.Tensor:
    """Cumulative sum of z (batch, steps, neurons) over the steps, from the last one if ``reverse``.

    Args:
        out: where to, which may be ``z``; by default a new tensor.
    """
    out = torch.empty_like(z) if out is None else out
    _launch(_cumulative_sum, z, out, REVERSE=reverse)
    return out


def leak(x: torch.Tensor, keep: torch.Tensor, scale: int, reset: float) -> torch.Tensor:
    """Leaky integration in fixed point: y[t] = trunc(keep y[t-1]) + trunc(scale x[t]), of which y / scale is returned.

    Args:
        x: (batch, steps, neurons).
        keep: (neurons,), share of the state that a step leaves, in multiples of 1 / 4096.
        scale: steps of the state that make up 1.
        reset: the state, in these steps, that 0 follows; infinity for never.
    """
    out = torch.empty_like(x)
    _launch(_leak, x, keep, float(scale), reset, out)
    return out


def leak_backward(grad: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Gradient of :func:`leak` for x: g[t] = keep g[t+1] + grad[t]."""
    grad_x = torch.empty_like(grad)
    _launch(_leak_backward, grad, keep, grad_x)
    return grad_x


def _is_power_of_two(step: float) -> bool:
    return math.frexp(step)[0] == 0.5


def _stride(threshold: torch.Tensor) -> int:
    return int(len(threshold) > 1)


def _launch(kernel: triton.JITFunction, signal: torch.Tensor, *arguments, **constants) -> None:
    batch, steps, neurons = signal.shape
    grid = (batch, triton.cdiv(neurons, BLOCK))
    with torch.cuda.device_of(signal):
        kernel[grid](signal, *arguments, steps, neurons, **constants, BLOCK=BLOCK, CHUNK=CHUNK, **OPTIONS)
