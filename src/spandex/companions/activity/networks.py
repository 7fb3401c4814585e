"""The networks that are regularised and converted: a multilayer perceptron and LeNet-5."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from spandex.companions.images import CLASSES

KERNEL, STRIDE = 5, 2
WEIGHTED = (nn.Linear, nn.Conv2d)


class ReluNetwork(nn.Sequential):
    """Layers one after another that remember what their ReLUs gave.

    Attributes:
        activations: of the last forward pass, (batch, ...) for each hidden layer.
    """

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.activations: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> scores of the classes (batch, classes)."""
        self.activations = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                self.activations.append(x)
        return x


def relu_network(shape: Sequence[int], channels: Sequence[int], hidden: Sequence[int]) -> ReluNetwork:
    """Convolutions of 5 x 5 with stride 2, then dense layers, each followed by a ReLU, and a dense layer of scores.

    LeNet-5 has channels 6 and 16 and hidden layers of 120 and 84 neurons; the strides take the place of its pooling,
    so that every connection has a weight of its own. Without channels it is a multilayer perceptron.

    Args:
        shape: of an image, channels, height and width.
        channels: of each convolution.
        hidden: neurons of each dense layer.
    """
    layers: list[nn.Module] = []
    depth, height, width = shape
    for count in channels:
        layers += [nn.Conv2d(depth, count, KERNEL, STRIDE), nn.ReLU()]
        depth, height, width = count, (height - KERNEL) // STRIDE + 1, (width - KERNEL) // STRIDE + 1
    layers.append(nn.Flatten())
    inputs = depth * height * width
    for count in hidden:
        layers += [nn.Linear(inputs, count), nn.ReLU()]
        inputs = count
    return ReluNetwork(*layers, nn.Linear(inputs, CLASSES))


@torch.no_grad()
def weighted(network: ReluNetwork, shape: Sequence[int]) -> Iterator[tuple[nn.Module, torch.Size]]:
    """The layers with weights, in order, each with the shape of one image's input there.

    Args:
        network: the layers.
        shape: of its input, without the batch.
    """
    x = next(network.parameters()).new_zeros(1, *shape)
    for layer in network:
        if isinstance(layer, WEIGHTED):
            yield layer, x.shape[1:]
        x = layer(x)
