"""From a network of ReLUs to a spiking one, and its simulation.

Source: Rueckauer, Lungu, Hu, Pfeiffer and Liu, "Conversion of continuous-valued deep networks to efficient
event-driven networks for image classification", Frontiers in Neuroscience, 2017.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from spandex.companions.activity.networks import WEIGHTED, ReluNetwork

THRESHOLD = 1.0


@torch.no_grad()
def normalised(network: ReluNetwork, images: torch.Tensor, percentile: float) -> ReluNetwork:
    """A copy whose weights are scaled so that hidden activations reach about 1, the rate of one spike a step.

    With lambda_l the percentile of the activations of layer l that are not zero, and lambda = 1 for images and
    scores::

        W_l <- W_l * lambda_(l-1) / lambda_l        b_l <- b_l / lambda_l

    The scores stay what they were. A layer without any activation is left at lambda_l = 1. Without the zeros, which
    the percentile would otherwise count, its meaning does not change with the sparsity of a layer.

    Args:
        network: trained.
        images: to take activations from (images, channels, height, width).
        percentile: 0 to 100; 100 is the largest activation.
    """
    network(images)
    active = [activations[activations > 0].cpu().numpy() for activations in network.activations]
    scales = [float(np.percentile(values, percentile)) if values.size else 1.0 for values in active]
    copied = copy.deepcopy(network)
    layers = [layer for layer in copied if isinstance(layer, WEIGHTED)]
    for layer, before, after in zip(layers, [1.0, *scales], [*scales, 1.0], strict=True):
        layer.weight.mul_(before / after)
        layer.bias.div_(after)
    return copied


@torch.no_grad()
def simulate(
    network: ReluNetwork, images: torch.Tensor, steps: int
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """The network with integrate-and-fire neurons in place of its ReLUs, step by step.

    For every hidden layer, with input current z, potential V (0 at the start) and spikes s::

        V <- V + z,    s = [V >= 1],    V <- V - s

    The image is a constant current into the first layer; spikes reach the next layer in the same step. A neuron
    whose potential is above the threshold after its reset spikes again in the next step, whatever its input. Scores are
    integrated and never reset.

    Yields:
        After each step: mean score so far (images, classes), and spikes of this step by hidden layer (images, ...).
    """
    potentials: dict[nn.Module, torch.Tensor] = {}
    total = torch.zeros((), device=images.device)
    layers = list(network)
    first = next(place for place, layer in enumerate(layers) if isinstance(layer, WEIGHTED)) + 1
    constant = images
    for layer in layers[:first]:
        constant = layer(constant)
    for step in range(1, steps + 1):
        x, spikes = constant, []
        for layer in layers[first:]:
            if isinstance(layer, nn.ReLU):
                potential = potentials.get(layer, 0.0) + x
                x = (potential >= THRESHOLD).to(x.dtype)
                potentials[layer] = potential - THRESHOLD * x
                spikes.append(x)
            else:
                x = layer(x)
        total = total + x
        yield total / step, spikes
