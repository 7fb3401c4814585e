"""Differentiable layers on the compiled loops; shapes are (batch, neurons, steps), float32, on the CPU."""

import torch
from torch.autograd.function import once_differentiable

from spandex.kernels import loops


class Delta(torch.autograd.Function):
    """Delta encoding of (batch, neurons, steps) with one threshold, floored to multiples of ``step``."""

    @staticmethod
    def forward(ctx, x, threshold, step):
        x = x.contiguous()
        out = torch.empty_like(x)
        rows = x.shape[0] * x.shape[1]
        steps = x.shape[2]
        loops.over_rows(loops.delta, rows, x.view(rows, steps).numpy(), threshold, step, out.view(rows, steps).numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        grad_x = grad.clone()
        grad_x[..., :-1] -= grad[..., 1:]
        return grad_x, None, None


class DenseDelta(torch.autograd.Function):
    """Synapse, sigma, relu, delta, step shift and delay of a Dense block.

    Inputs: x (batch, in, steps), weight (out, in), delay (out,) in steps or None, then the delta threshold,
    the quantisation step of its events and the step shift (0 or 1). Output: (batch, out, steps).

    Samples are taken one after another, so that a sample's currents stay in the cache between the matrix
    product and the loop over time.
    """

    @staticmethod
    def forward(ctx, x, weight, delay, threshold, step, shift):
        x = x.contiguous()
        batch, _, steps = x.shape
        neurons = weight.shape[0]
        out = x.new_empty(batch, neurons, steps)
        active = torch.empty(batch, neurons, steps, dtype=torch.uint8)
        delays = torch.full((neurons,), shift) if delay is None else delay.long() + shift
        for b in range(batch):
            torch.mm(weight, x[b], out=out[b])
            loops.over_rows(
                loops.sigma_relu_delta_delay,
                neurons,
                out[b].numpy(),
                delays.numpy(),
                threshold,
                step,
                active[b].numpy(),
            )
        ctx.save_for_backward(x, weight, out, active, delays)
        ctx.delayed = delay is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, out, active, delays = ctx.saved_tensors
        grad = grad.contiguous()
        neurons = weight.shape[0]
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        grad_z = torch.empty_like(out[0])
        grad_delay = weight.new_empty(len(x), neurons)
        for b in range(len(x)):
            loops.over_rows(
                loops.sigma_relu_delta_delay_backward,
                neurons,
                grad[b].numpy(),
                out[b].numpy(),
                active[b].numpy(),
                delays.numpy(),
                grad_z.numpy(),
                grad_delay[b].numpy(),
            )
            grad_weight.addmm_(grad_z, x[b].T)
            if grad_x is not None:
                torch.mm(weight.T, grad_z, out=grad_x[b])
        return grad_x, grad_weight, grad_delay.sum(0) if ctx.delayed else None, None, None, None


class DenseSigma(torch.autograd.Function):
    """Synapse and sigma of an Output block: x (batch, in, steps), weight (out, in) -> (batch, out, steps)."""

    @staticmethod
    def forward(ctx, x, weight):
        x = x.contiguous()
        out = x.new_empty(x.shape[0], weight.shape[0], x.shape[2])
        for b in range(len(x)):
            torch.mm(weight, x[b], out=out[b])
            loops.over_rows(loops.sigma, weight.shape[0], out[b].numpy())
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        grad_z = torch.empty_like(grad[0])
        for b in range(len(x)):
            loops.over_rows(loops.sigma_backward, weight.shape[0], grad[b].numpy(), grad_z.numpy())
            grad_weight.addmm_(grad_z, x[b].T)
            if grad_x is not None:
                torch.mm(weight.T, grad_z, out=grad_x[b])
        return grad_x, grad_weight
