"""Events that meet the weights of a layer, counted while its network trains."""

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl import slayer


def events_met(synapse: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Events that each weight meets, over samples, steps and all positions where it is used.

    Whole numbers, exact up to 2^24, so that their sum over processes depends on no order.

    Args:
        synapse: Dense, Conv or ConvTranspose of lava-dl.
        x: what enters it, (batch, inputs, steps) or (batch, inputs, height, width, steps); what is not zero is an
            event.

    Returns:
        Of the shape of the weights to one neuron: (1, inputs, height, width, 1), of ConvTranspose (inputs, 1, ...).
    """
    transposed = isinstance(synapse, slayer.synapse.ConvTranspose)
    convolve, ends = (F.conv_transpose3d, (-1, 1)) if transposed else (F.conv3d, (1, -1))
    events = (x != 0).float().sum(dim=(0, -1))
    events = events.reshape(1, synapse.in_channels, *(events.shape[1:] or (1, 1)), 1)
    weight = events.new_zeros(synapse.in_channels, *synapse.kernel_size).unflatten(0, ends).requires_grad_()
    with torch.enable_grad():
        # In the sum of what a neuron receives, each weight has its events as its gradient.
        received = convolve(events, weight, None, synapse.stride, synapse.padding, dilation=synapse.dilation).sum()
    return torch.autograd.grad(received, weight)[0]


def newest(count: int, memory: float) -> float:
    """Share of the newest of ``count`` values in a running mean: plain at first, then the others keep ``memory``."""
    return max(1 - memory, 1 / count)
