"""lava-dl's sigma-delta equations, one step at a time in plain PyTorch, with the state reset at every call.

The reference where lava-dl itself cannot run: its delta with cumulative error raises in forward, and its backward
raises with per-channel thresholds. Written from the equations in lava-dl's slayer/axon/delta.py, dendrite/sigma.py,
axon/delay.py and utils/quantize.py. Signals are (batch, neurons, steps).
"""

import torch
from lava.lib.dl import slayer


class _Events(torch.autograd.Function):
    """What is sent of (batch, neurons, steps), with lava-dl's surrogate gradients."""

    @staticmethod
    def forward(ctx, x, threshold, cumulative, tau_grad, scale_grad):
        sent, changes = torch.zeros_like(x), torch.zeros_like(x)
        previous = residual = error = torch.zeros_like(x[..., 0])
        for t in range(x.shape[-1]):
            change = x[..., t] - previous + residual
            error = error + change
            sent[..., t] = torch.where((error if cumulative else change).abs() >= threshold, change, 0)
            error = torch.where(sent[..., t] != 0, 0, error)
            residual = change - sent[..., t]
            previous = x[..., t]
            changes[..., t] = change
        ctx.save_for_backward(changes, threshold)
        ctx.surrogate = tau_grad, scale_grad
        return sent

    @staticmethod
    def backward(ctx, grad):
        change, threshold = ctx.saved_tensors
        tau_grad, scale_grad = ctx.surrogate
        limit = threshold.view(-1, 1)
        distance = change.abs() - limit
        pulse = scale_grad * torch.exp(-distance.abs() / tau_grad)
        by_threshold = grad * torch.where(distance > 0, -change * pulse / limit, -change.sign())
        dims = (0, 2) if len(threshold) == change.shape[1] else (0, 1, 2)
        following = torch.nn.functional.pad(grad, (0, 1))[..., 1:]
        return grad - following, by_threshold.sum(dims).view(threshold.shape), None, None, None


def delta(x: torch.Tensor, unit: torch.nn.Module) -> torch.Tensor:
    """Delta encoding by the settings of a lava-dl delta unit, floored to its quantisation step."""
    unit.clamp()
    events = _Events.apply(x, unit.threshold, unit.cum_error, unit.tau_grad, unit.scale_grad)
    return slayer.utils.quantize(events, step=1 / unit.scale, mode=slayer.utils.QUANTIZE_MODE.FLOOR)


class _Late(torch.autograd.Function):
    """Delay whose gradient is that of a value moving along the difference of what arrives."""

    @staticmethod
    def forward(ctx, x, delay, grad_scale):
        out = _moved(x, delay.int())
        ctx.save_for_backward(out, delay)
        ctx.grad_scale = grad_scale
        return out

    @staticmethod
    def backward(ctx, grad):
        out, delay = ctx.saved_tensors
        before = torch.nn.functional.pad(out, (1, 0))[..., :-1]
        return _moved(grad, -delay.int()), ctx.grad_scale * (grad * (before - out)).sum((0, 2)), None


def _moved(x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    moved = torch.zeros_like(x)
    steps = x.shape[-1]
    for neuron, shift in enumerate(by.tolist()):
        for t in range(max(shift, 0), steps + min(shift, 0)):
            moved[:, neuron, t] = x[:, neuron, t - shift]
    return moved


def forward(block: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a lava-dl Input, Dense or Output block of the sigma-delta kind gives for ``x``."""
    sigma_delta = slayer.block.sigma_delta
    if isinstance(block, sigma_delta.Input):
        return delta(block.pre_hook_fx(x), block.neuron.delta)
    weight = (
        block.synapse.weight if block.synapse.pre_hook_fx is None else block.synapse.pre_hook_fx(block.synapse.weight)
    )
    current = torch.einsum("oi,bit->bot", weight.flatten(1), x)
    total = torch.cumsum(current, -1)
    if isinstance(block, sigma_delta.Output):
        return total
    if block.neuron.bias_is_set:
        total = total + block.neuron.bias.view(-1, 1)
    x = delta(torch.relu(total), block.neuron.delta)
    if block.delay_shift:
        x = torch.nn.functional.pad(x, (1, 0))[..., :-1]
    if block.delay is None:
        return x
    block.delay.clamp()
    return _Late.apply(x, block.delay.delay, block.delay.grad_scale)
