"""The convolutional spiking network: stages of 3x3 convolutions and max-pooling, then two dense layers.

Direct coding: the image is the same current at every step, and the first layer turns it into spikes.
"""

from collections.abc import Sequence

import snntorch
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from snntorch import surrogate
from torch.func import functional_call

from spandex.companions.images import CLASSES
from spandex.companions.masks.mask import Mask
from spandex.params.companions.masks import Masks

STAGES = 2
THRESHOLD = 1.0


class Layer(torch.nn.Module):
    """Synapses, batch normalisation, leaky integrate-and-fire neurons and pooling, with a mask on weights and neurons.

        v[t] = leak v[t-1] + current[t];  s[t] = 1 if v[t] > 1 else 0;  v[t] = 0 where s[t] = 1

    What it sends is s[t] times the mask of the neurons, pooled.

    Attributes:
        synapse: convolution or linear map without a bias.
        weights: mask of its weight.
        neurons: mask of its neurons, (channels, height, width) or (neurons,); a neuron is one position of a channel.
    """

    def __init__(self, synapse: torch.nn.Module, neurons: tuple[int, ...], leak: float, pool: int = 1):
        """
        Args:
            synapse: convolution, which is followed by batch normalisation, or linear map.
            neurons: shape of the layer.
            leak: share of the membrane potential that is left after a step.
            pool: side of the squares of neurons of which the next layer sees the maximum.
        """
        super().__init__()
        self.synapse = synapse
        self.norm = torch.nn.BatchNorm2d(neurons[0]) if len(neurons) == 3 else torch.nn.Identity()
        self.neuron = snntorch.Leaky(
            leak, THRESHOLD, spike_grad=surrogate.atan(), reset_mechanism="zero", reset_delay=False
        )
        self.pool = pool
        self.weights = Mask(synapse.weight.shape)
        self.neurons = Mask(neurons)

    def current(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Synaptic current of x (images, ...) through a weight that takes the place of the synapse's."""
        x = x.flatten(1) if weight.ndim == 2 else x
        return functional_call(self.synapse, {"weight": weight}, (x,))

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """What the next layer sees of x (images, ...)."""
        return x if self.pool == 1 else F.max_pool2d(x, self.pool)

    def forward(self, x: torch.Tensor, steps: int) -> torch.Tensor:
        """Spikes (steps, images, ...) for x of that kind, or for x (1, images, ...) that stays the same."""
        current = self.norm(self.current(x.flatten(0, 1), self.weights(self.synapse.weight)))
        current = current.unflatten(0, x.shape[:2]).expand(steps, *([-1] * current.ndim))
        spikes = self.neurons(self._fire(current))
        return self.pooled(spikes.flatten(0, 1)).unflatten(0, (steps, -1))

    def _fire(self, current: torch.Tensor) -> torch.Tensor:
        potential = torch.zeros_like(current[0])
        spikes = []
        for step in current:
            spike, potential = self.neuron(step, potential)
            spikes.append(spike)
        return torch.stack(spikes)


class SpikingConvNet(torch.nn.Module):
    """``stages`` of ``convolutions`` 3x3 convolutions and 2x2 max-pooling, a hidden dense layer, and voters per class.

    After Shi et al. 2024: [[wC3]x3-MP2]x2-FCx2 on CIFAR-10, whose last layer has ten neurons for each class.
    """

    def __init__(self, settings: Masks):
        super().__init__()
        self.steps = settings.steps
        channels, size = 3, settings.image_px
        self.input_shape = (channels, size, size)
        self.layers = torch.nn.ModuleList()
        for _ in range(STAGES):
            for last in range(1 - settings.convolutions, 1):
                synapse = torch.nn.Conv2d(channels, settings.width, 3, padding=1, bias=False)
                channels = settings.width
                self.layers.append(Layer(synapse, (channels, size, size), settings.leak, pool=1 if last else 2))
            size //= 2
        inputs = channels * size * size
        for neurons in (settings.hidden, CLASSES * settings.voters):
            self.layers.append(Layer(torch.nn.Linear(inputs, neurons, bias=False), (neurons,), settings.leak))
            inputs = neurons
        for layer in self.layers:
            torch.nn.init.kaiming_normal_(layer.synapse.weight, nonlinearity="relu")

    def spikes(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What each layer sends, (steps, images, ...), for images (images, channels, height, width)."""
        sent = []
        x = images[None]
        for layer in self.layers:
            x = layer(x, self.steps)
            sent.append(x)
        return sent

    def scores(self, spikes: Sequence[torch.Tensor]) -> torch.Tensor:
        """Scores (images, classes) from what the layers sent: how many neurons of the class fire, mean over steps."""
        return spikes[-1].mean(0).unflatten(1, (CLASSES, -1)).sum(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(self.spikes(images))
