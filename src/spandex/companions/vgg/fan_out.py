"""Synapses that spikes reach, counted position by position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl import slayer

from spandex.companions.training import Labelled
from spandex.companions.vgg.network import SpikingVgg


@dataclass(frozen=True)
class Traffic:
    """What a network does for an image, mean over images, by layer with synapses.

    Attributes:
        spikes: into the layer.
        operations: synaptic operations, spikes times the synapses that each reaches.
        fan_out: synapses that a spike can reach, mean over the neurons that feed the layer.
        held: the same where Lava holds every weight of a convolution, zero or not.
    """

    spikes: Sequence[float]
    operations: Sequence[float]
    fan_out: Sequence[float]
    held: Sequence[float]


@torch.no_grad()
def traffic(network: SpikingVgg, data: Labelled, batch_size: int = 100) -> Traffic:
    """Spikes and synaptic operations in evaluation mode."""
    network.eval()
    totals: list[torch.Tensor] = []
    for images, _ in data.batches(batch_size):
        counts = [train.sum((0, -1), dtype=torch.float64) for train in network.spikes(images)[:-1]]
        totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else counts
    layers = []
    for layer, total in zip(network.layers, totals, strict=True):
        weights = synapses(layer)
        each = fan_out(layer, total.shape, weights)
        spikes, operations = float(total.sum()) / len(data), float((total * each).sum()) / len(data)
        whole = weights if is_dense(layer) else torch.ones_like(weights)
        layers.append((spikes, operations, float(each.mean()), float(fan_out(layer, total.shape, whole).mean())))
    return Traffic(*map(list, zip(*layers, strict=True)))


def synapses(layer: torch.nn.Module) -> torch.Tensor:
    """Which weights of a layer are not zero in 8 bits, as its file and Lava have it: 1.0 or 0.0."""
    return (layer.synapse.pre_hook_fx(layer.synapse.weight.detach()) != 0).float()


def fan_out(layer: torch.nn.Module, shape: Sequence[int], weights: torch.Tensor) -> torch.Tensor:
    """Synapses that a spike of each input reaches; at the edge of a convolution's input they are fewer.

    The number is the derivative of the sum of all outputs to the input, with every synapse of weight one.

    Args:
        layer: a convolution or dense block.
        shape: of its inputs without batch and time: (channels, height, width), which a dense block takes flattened.
        weights: 1.0 where there is a synapse, else 0.0; of the weight's shape.

    Returns:
        Counts of the inputs' shape.
    """
    if is_dense(layer):
        return weights.flatten(1).sum(0).reshape(shape)
    synapse = layer.synapse
    with torch.enable_grad():
        signal = torch.zeros(1, *shape, 1, device=weights.device, requires_grad=True)
        total = F.conv3d(signal, weights, None, synapse.stride, synapse.padding, synapse.dilation, synapse.groups).sum()
    return torch.autograd.grad(total, signal)[0][0, ..., 0]


def is_dense(layer: torch.nn.Module) -> bool:
    """Whether a block's synapse is fully connected."""
    return isinstance(layer.synapse, slayer.synapse.Dense)
