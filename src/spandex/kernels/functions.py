"""Differentiable parts of sigma-delta and CUBA blocks on the kernels of the tensors' device.

Signals are contiguous (batch, steps, neurons): the loop over time meets all neurons of a step side by side.
"""

from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from torch.autograd.function import once_differentiable

from spandex.kernels import cpu, products


@cache
def kernels(device: str) -> ModuleType | None:
    """The module with the loops over time for a type of device, such as "cpu"; None if there is none."""
    if device == "cpu":
        return cpu
    if device != "cuda":
        return None
    try:
        from spandex.kernels import triton
    except ImportError:
        return None
    return triton


class Synapse(torch.autograd.Function):
    """Synaptic current (batch, steps, out) of x (batch, steps, in) and weight (out, in).

    Third input: the precision of the factors in the products that give the gradients.
    """

    @staticmethod
    def forward(ctx, x, weight, gradient_dtype):
        ctx.save_for_backward(x, weight)
        ctx.gradient_dtype = gradient_dtype
        return products.currents(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad[:2]
        return *products.gradients(grad.contiguous(), x, weight, needs, ctx.gradient_dtype), None


class Sigma(torch.autograd.Function):
    """Sum over the steps of z (batch, steps, neurons), in place."""

    @staticmethod
    def forward(ctx, z):
        ctx.mark_dirty(z)
        return kernels(z.device.type).cumulative_sum(z, out=z)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return kernels(grad.device.type).cumulative_sum(grad.contiguous(), reverse=True)


class Delta(torch.autograd.Function):
    """Delta encoding of x (batch, steps, neurons).

    Inputs: x, threshold (neurons,) or (1,), quantisation step of what is sent, whether the error is cumulative,
    tau_grad and scale_grad of the threshold's surrogate gradient.
    """

    @staticmethod
    def forward(ctx, x, threshold, step, cumulative, tau_grad, scale_grad):
        sent, change = kernels(x.device.type).delta(x, threshold, step, cumulative, ctx.needs_input_grad[1])
        ctx.save_for_backward(change, threshold)
        ctx.surrogate = tau_grad, scale_grad
        return sent

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        change, threshold = ctx.saved_tensors
        grad_x = grad_threshold = None
        if ctx.needs_input_grad[0]:
            grad_x = grad.clone()
            grad_x[:, :-1] -= grad[:, 1:]
        if ctx.needs_input_grad[1]:
            grad_threshold = _threshold_gradient(grad, change, threshold, *ctx.surrogate)
        return grad_x, grad_threshold, None, None, None, None


class SigmaReluDelta(torch.autograd.Function):
    """Sigma, bias, relu, delta, step shift and delay of z (batch, steps, neurons), which is overwritten.

    Inputs: z, bias (neurons,) or None, delay (neurons,) in steps or None, step shift (0 or 1), the factor on the
    delay's gradient, then the delta's as for :class:`Delta`. Output: what arrives, (batch, steps, neurons).
    """

    @staticmethod
    def forward(ctx, z, bias, delay, shift, delay_scale, threshold, step, cumulative, tau_grad, scale_grad):
        delays = torch.full(z.shape[2:], shift, dtype=torch.int32, device=z.device)
        if delay is not None:
            delays += delay.to(torch.int32)
        out, active, change = kernels(z.device.type).sigma_relu_delta(
            z, bias, delays, threshold, step, cumulative, ctx.needs_input_grad[5]
        )
        ctx.save_for_backward(out, active, change, delays, threshold)
        ctx.delay_scale = delay_scale
        ctx.surrogate = tau_grad, scale_grad
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        out, active, change, delays, threshold = ctx.saved_tensors
        grad = grad.contiguous()
        _, by_bias, by_delay, *_ = ctx.needs_input_grad
        grad_z, grad_delay = kernels(grad.device.type).sigma_relu_delta_backward(grad, out, active, delays, by_delay)
        grad_threshold = None
        if ctx.needs_input_grad[5]:
            grad_threshold = _threshold_gradient(_moved(grad, delays), change, threshold, *ctx.surrogate)
        grad_bias = grad_z[:, 0].sum(0) if by_bias else None
        grad_delay = ctx.delay_scale * grad_delay if by_delay else None
        return grad_z, grad_bias, grad_delay, None, None, grad_threshold, None, None, None, None


class Leak(torch.autograd.Function):
    """Leaky integration of x (batch, steps, neurons) in lava-dl's fixed point.

    Inputs: x, decay (neurons,) in whole multiples of 1 / 4096 a step, steps of the state that make up 1, and the
    threshold at which it starts from 0 again, infinite for none. The decay's gradient is lava-dl's, which counts it
    as a share that is kept and in its own unit (neuron/dynamics/leaky_integrator.py).
    """

    @staticmethod
    def forward(ctx, x, decay, scale, threshold):
        keep = 1 - decay / 4096
        out = kernels(x.device.type).leak(x, keep, scale, threshold * scale)
        ctx.save_for_backward(keep, out if ctx.needs_input_grad[1] else None)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        keep, out = ctx.saved_tensors
        grad_x = kernels(grad.device.type).leak_backward(grad.contiguous(), keep)
        grad_decay = None if out is None else (grad_x[:, 1:] * out[:, :-1]).sum((0, 1))
        return grad_x, grad_decay, None, None


class Spike(torch.autograd.Function):
    """Spikes of voltage (batch, steps, neurons): 1 from the threshold on, or the voltage itself where they are graded.

    Inputs: voltage, threshold, whether spikes are graded, tau and scale of the surrogate gradient: scale / (2 tau)
    exp(-|v - threshold| / tau), for graded spikes scale exp(min(v - threshold, 0) / tau). lava-dl: spike/spike.py.
    """

    @staticmethod
    def forward(ctx, voltage, threshold, graded, tau, scale):
        ctx.save_for_backward(voltage)
        ctx.surrogate = threshold, graded, tau, scale
        fired = voltage >= threshold
        return voltage * fired if graded else fired.to(voltage.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        threshold, graded, tau, scale = ctx.surrogate
        above = ctx.saved_tensors[0] - threshold
        slope = above.clamp_(max=0).div_(tau) if graded else above.abs_().div_(-tau)
        return slope.exp_().mul_(scale if graded else scale / 2 / tau).mul_(grad), None, None, None, None


class Delay(torch.autograd.Function):
    """x (batch, steps, neurons) after a delay (neurons,) in steps; third input: the factor on the delay's gradient."""

    @staticmethod
    def forward(ctx, x, delay, scale):
        delays = delay.to(torch.int64)
        out = _moved(x, -delays)
        ctx.save_for_backward(out, delays)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        out, delays = ctx.saved_tensors
        grad_delay = None
        if ctx.needs_input_grad[1]:
            grad_delay = ctx.scale * (out * F.pad(grad, (0, 0, 0, 1)).diff(dim=1)).sum((0, 1))
        return _moved(grad, delays), grad_delay, None


def _threshold_gradient(grad, change, threshold, tau_grad, scale_grad):
    """lava-dl's surrogate: how what is sent falls with the threshold, times the gradient of what is sent.

    -d scale exp(-(|d| - threshold) / tau) / threshold where |d| exceeds the threshold, else -sign(d).
    Source: lava-dl, slayer/axon/delta.py.
    """
    above = change.abs() - threshold
    slope = torch.where(
        above > 0, -change * scale_grad * torch.exp(-above.abs() / tau_grad) / threshold, -change.sign()
    )
    by_neuron = (slope * grad).sum((0, 1))
    return by_neuron if threshold.numel() > 1 else by_neuron.sum(0, keepdim=True)


def _moved(x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """x[t + steps] for every neuron, 0 beyond either end."""
    end = x.shape[1]
    source = torch.arange(end, device=x.device)[:, None] + steps
    inside = (source >= 0) & (source < end)
    return torch.where(inside, x.gather(1, source.clamp(0, end - 1).expand_as(x)), 0)
