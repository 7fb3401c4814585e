"""A convolutional spiking network of the VGG type, of lava-dl blocks that netx can run."""

import torch
from lava.lib.dl import slayer

from spandex.companions.images import CLASSES
from spandex.params.companions.vgg import Vgg

CLIP = 2.0  # standard deviations from the mean at which a pixel spikes at every step


def encode(images: torch.Tensor, steps: int) -> torch.Tensor:
    """Pixels as spike trains of two channels each, one for brighter and one for darker than the mean.

    A pixel x fires k = min(|x| / 2, 1) T times, evenly spread: after t steps it has fired floor(k t / T + 1/2) times.

    Args:
        images: standardised (batch, channels, height, width).
        steps: T.

    Returns:
        0 or 1, (batch, 2 channels, height, width, T).
    """
    rate = (torch.cat([images, -images], 1) / CLIP).clamp(0, 1)
    fired = torch.floor(rate.unsqueeze(-1) * torch.arange(steps + 1, device=images.device) + 0.5)
    return fired[..., 1:] - fired[..., :-1]


class SpikingVgg(torch.nn.Module):
    """Blocks of 3 x 3 convolutions, the last of each with stride 2 in place of pooling, and two dense layers.

    A class has several output neurons, whose spikes are its votes. Blocks do not add a step of delay between layers,
    as Lava does; what Lava sends is the same, a step later for every layer.

    Args:
        settings: of the experiment.
        shape: of the images, (channels, height, width).
    """

    def __init__(self, settings: Vgg, shape: tuple[int, int, int] = (3, 32, 32)):
        super().__init__()
        cuba = slayer.block.cuba
        self.steps, self.voters, self.gain = settings.steps, settings.voters, settings.gain
        neuron = {"current_decay": 1, "requires_grad": False, **settings.neuron.model_dump()}
        common = {"weight_scale": settings.weight_scale, "delay_shift": False}
        channels, height, width = 2 * shape[0], *shape[1:]
        blocks = [cuba.Input(delay_shift=False)]
        for group in settings.channels:
            for place, features in enumerate(group, start=1):
                stride = 2 if place == len(group) else 1
                blocks.append(cuba.Conv(neuron, channels, features, 3, stride=stride, padding=1, **common))
                channels = features
            height, width = -(-height // 2), -(-width // 2)
        blocks.append(cuba.Flatten())
        blocks.append(cuba.Dense(neuron, channels * height * width, settings.hidden, **common))
        blocks.append(cuba.Dense(neuron, settings.hidden, CLASSES * settings.voters, **common))
        self.blocks = torch.nn.ModuleList(blocks)

    @property
    def layers(self) -> list[torch.nn.Module]:
        """The blocks with synapses."""
        return [block for block in self.blocks if hasattr(block, "synapse")]

    def spikes(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Spikes (batch, ..., steps) of the input and of every layer, for standardised images."""
        trains = [encode(images, self.steps)]
        signal = trains[0]
        for block in self.blocks:
            signal = block(signal)
            if hasattr(block, "synapse"):
                trains.append(signal)
        return trains

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of the classes (batch, classes): the gain times the mean spike rate of a class's neurons."""
        return self.scores(self.spikes(images)[-1])

    def scores(self, output: torch.Tensor) -> torch.Tensor:
        """Scores of the classes from the last layer's spikes (batch, neurons, steps)."""
        return self.gain * output.mean(-1).unflatten(1, (CLASSES, self.voters)).mean(-1)
