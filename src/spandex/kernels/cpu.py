"""Sigma-delta units on the CPU; signals are contiguous (batch, steps, neurons) float32 tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from spandex.kernels import loops

_NOTHING = np.empty((0, 0, 0), np.float32)


def delta(
    x: torch.Tensor, threshold: torch.Tensor, step: float, cumulative: bool, keep: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Delta encoding: what is sent, floored to multiples of ``step``, and the change d[t] before the threshold.

    Args:
        x: signal.
        threshold: (neurons,), or (1,) for all.
        step: quantisation step of what is sent.
        cumulative: hold the sum of the changes since the last event against the threshold, not each change.
        keep: return the change, which the threshold's gradient needs; otherwise None.
    """
    sent = torch.empty_like(x)
    change = torch.empty_like(x) if keep else None
    _run(loops.delta, x, _each(threshold, x), np.float32(step), cumulative, keep, sent, change)
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
    """Sigma, relu, delta and delay of a synaptic current.

    Args:
        z: synaptic current.
        bias: (neurons,), added to the sigma.
        delays: (neurons,) int32, in steps, not below 0; longer ones than the signal silence their neuron.
        threshold, step, cumulative, keep: as for :func:`delta`.

    Returns:
        What arrives after the delays, where the relu passed (uint8) and the change, both at the time of the neuron.
    """
    out = torch.empty_like(z)
    active = torch.empty_like(z, dtype=torch.uint8)
    change = torch.empty_like(z) if keep else None
    shift = z.new_zeros(z.shape[2]) if bias is None else bias
    how = _each(threshold, z), np.float32(step), cumulative, keep
    _run(loops.sigma_relu_delta, z, shift, _within(delays, z), *how, out, active, change)
    return out, active, change


def sigma_relu_delta_backward(
    grad: torch.Tensor, out: torch.Tensor, active: torch.Tensor, delays: torch.Tensor, by_delay: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gradients of :func:`sigma_relu_delta` for z and, if ``by_delay``, for the delays (neurons,), otherwise None."""
    grad_z = torch.empty_like(grad)
    grad_delay = grad.new_empty(grad.shape[0], grad.shape[2])
    late = _within(delays, grad)
    _run(loops.sigma_relu_delta_backward, grad, out, active, late, by_delay, grad_z, grad_delay)
    return grad_z, grad_delay.sum(0) if by_delay else None


def cumulative_sum(z: torch.Tensor, reverse: bool = False, out: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over the steps from the first or, if ``reverse``, from the last, in ``out``, which may be ``z``."""
    out = torch.empty_like(z) if out is None else out
    _run(loops.cumulative_sum, z, reverse, out)
    return out


def leak(x: torch.Tensor, keep: torch.Tensor, scale: int, reset: float) -> torch.Tensor:
    """Leaky integration in fixed point.

    Args:
        x: what is integrated.
        keep: (neurons,), share of the state that a step leaves, in multiples of 1 / 4096.
        scale: steps of the state that make up 1.
        reset: the state, in these steps, that 0 follows; infinity for never.
    """
    out = torch.empty_like(x)
    _run(loops.leak, x, keep, np.float32(scale), np.float32(reset), out)
    return out


def leak_backward(grad: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Gradient of :func:`leak` for x."""
    grad_x = torch.empty_like(grad)
    _run(loops.leak_backward, grad, keep, grad_x)
    return grad_x


def _run(loop: Callable[..., None], *arguments: Any) -> None:
    """Run a loop on the memory of tensors; None stands for one that is not wanted."""
    arrays = (argument.numpy() if torch.is_tensor(argument) else argument for argument in arguments)
    loops.over_blocks(loop, *(_NOTHING if array is None else array for array in arrays))


def _each(threshold: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    return threshold.expand(signal.shape[2]).contiguous()


def _within(delays: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """Delays no longer than the signal, so that a delay line need not be longer either."""
    return delays.clamp(max=signal.shape[1])
