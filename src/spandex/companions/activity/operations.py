"""Operations that cannot be left out: of a network of ReLUs, and of the spiking network made of it.

The fan-out of a neuron is the number of non-zero weights that its output is multiplied by. In a convolution that is
the sum over the positions at which the kernel covers it, which are fewer at the borders, and with a stride.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from torch import nn

from spandex.companions.activity.networks import WEIGHTED, ReluNetwork, weighted


class Operations(NamedTuple):
    """Of one image, mean over images.

    Attributes:
        effective: EFLOPS: products whose weight and activation are both non-zero, of all layers, each with its
            addition as one operation, and non-zero biases once for each position at which they are added.
        product: sum over layers of phi(W) * phi(A) + phi(B) as the formula stands, phi being the number of non-zero
            elements.
    """

    effective: float
    product: float


def fan_out(layer: nn.Module, shape: Sequence[int]) -> torch.Tensor:
    """Fan-out of every input of a dense or convolution layer, (shape), float64.

    With 1 for every non-zero weight, the derivative of the sum of the layer's outputs by an input is the number of
    products that this input is in.
    """
    ones = (layer.weight != 0).double()
    x = ones.new_zeros(1, *shape, requires_grad=True)
    with torch.enable_grad():
        (counts,) = torch.autograd.grad(_weighted(layer, x, ones).sum(), x)
    return counts[0]


def _weighted(layer: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The layer with another weight and no bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight)
    return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


@torch.no_grad()
def operations(network: ReluNetwork, images: torch.Tensor) -> Operations:
    """Of the network for these images (images, channels, height, width)."""
    effective = product = 0.0
    x = images
    for layer in network:
        y = layer(x)
        if isinstance(layer, WEIGHTED):
            active = (x != 0).flatten(1).double()
            biases, positions = int(layer.bias.count_nonzero()), y[0].numel() // len(layer.bias)
            effective += float((active @ fan_out(layer, x.shape[1:]).flatten()).mean()) + biases * positions
            product += float(active.sum(1).mean()) * int(layer.weight.count_nonzero()) + biases
        x = y
    return Operations(effective, product)


def spike_fan_outs(network: ReluNetwork, shape: Sequence[int]) -> list[torch.Tensor]:
    """Fan-out of every neuron of each hidden layer, (neurons,).

    Args:
        network: the layers.
        shape: of its input, without the batch.
    """
    return [fan_out(layer, inputs).flatten() for layer, inputs in weighted(network, shape)][1:]
