"""Connections, the synaptic operations they cause, and what a weight or a neuron can cause at most.

A connection joins a sending neuron to a receiving one: a weight of a convolution makes one at every position at which
it is used. It lives if its weight and both its neurons do. Behind max-pooling the sender is a square of neurons, which
lives if one of them does. Pixels send the first layer's connections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

from spandex.companions.masks.network import Layer, SpikingConvNet


@dataclass(frozen=True)
class Costs:
    """Of a dense network.

    Attributes:
        weights: connections that each weight makes, by layer, of the weight's shape.
        neurons: connections that each neuron sends to, by layer, of the layer's shape; 0 in the last one.
        connections: of the whole network.
    """

    weights: list[torch.Tensor]
    neurons: list[torch.Tensor]
    connections: float


def costs(network: SpikingConvNet) -> Costs:
    """Connections of each weight and each neuron if all else lives."""
    weights, neurons = [], []
    senders = _pixels(network)
    for layer in network.layers:
        weight = torch.ones_like(layer.synapse.weight, dtype=senders.dtype, requires_grad=True)
        with torch.enable_grad():
            connections = layer.current(senders, weight).sum()  # linear in each weight
        weights += torch.autograd.grad(connections, weight)
        senders = layer.pooled(senders.new_ones(1, *layer.neurons.shape))
    for layer, following in pairwise(network.layers):
        senders = layer.pooled(senders.new_ones(1, *layer.neurons.shape))
        weight = torch.ones_like(following.synapse.weight, dtype=senders.dtype)
        fan_out = _fan_out(following, weight, senders.new_ones(1, *following.neurons.shape), senders)
        neurons.append(fan_out if layer.pool == 1 else F.interpolate(fan_out, scale_factor=layer.pool))
    neurons.append(senders.new_zeros(1, *network.layers[-1].neurons.shape))
    return Costs(weights, [cost[0] for cost in neurons], float(sum(cost.sum() for cost in weights)))


def living_connections(network: SpikingConvNet) -> int:
    """Connections whose weight and neurons live."""
    count = 0.0
    senders = _pixels(network)
    for layer in network.layers:
        count += float((senders * _living_fan_out(layer, senders)).sum())
        senders = layer.pooled(layer.neurons.alive(senders)[None])
    return round(count)


def operations(network: SpikingConvNet, spikes: Sequence[torch.Tensor]) -> float:
    """Synaptic operations (SOPs) of all the images together: each spike counts the living connections it goes to.

    The first layer is not counted: what it gets is no spike but a current.

    Args:
        network: not under search.
        spikes: what its layers sent, as ``network.spikes`` gives it.
    """
    count = 0.0
    for sent, layer in zip(spikes, network.layers[1:], strict=False):
        by_sender = sent.detach().sum((0, 1), dtype=torch.float64)[None]
        count += float((by_sender * _living_fan_out(layer, by_sender)).sum())
    return count


def _pixels(network: SpikingConvNet) -> torch.Tensor:
    device = network.layers[0].synapse.weight.device
    return torch.ones(1, *network.input_shape, dtype=torch.float64, device=device)


def _living_fan_out(layer: Layer, senders: torch.Tensor) -> torch.Tensor:
    return _fan_out(layer, layer.weights.alive(senders), layer.neurons.alive(senders)[None], senders)


def _fan_out(layer: Layer, weight: torch.Tensor, receivers: torch.Tensor, senders: torch.Tensor) -> torch.Tensor:
    """Connections of each sender, of the shape of ``senders``, for a weight and receivers of zeros and ones."""
    x = torch.zeros_like(senders, requires_grad=True)
    with torch.enable_grad():
        current = layer.current(x, weight)
    return torch.autograd.grad(current, x, receivers)[0]
