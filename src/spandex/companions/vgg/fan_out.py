"""Synapses that spikes reach, counted position by position."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl import slayer

from spandex.companions.vgg.network import SpikingVgg


@torch.no_grad()
def mean_fan_outs(network: SpikingVgg, image: torch.Tensor) -> dict[str, list[float]]:
    """Synapses that a spike can reach, mean over the neurons that feed each layer with synapses.

    Args:
        network: in evaluation mode.
        image: any (1, channels, height, width), for the shapes.

    Returns:
        fan_out: with the synapses of the file; held: where every weight of a convolution is one, as Lava holds it.
    """
    found: dict[str, list[float]] = {"fan_out": [], "held": []}
    for layer, signal in zip(network.layers, network.spikes(image)[:-1], strict=True):
        shape, weights = signal.shape[1:-1], synapses(layer)
        whole = weights if is_dense(layer) else torch.ones_like(weights)
        found["fan_out"].append(float(fan_out(layer, shape, weights).mean()))
        found["held"].append(float(fan_out(layer, shape, whole).mean()))
    return found


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
