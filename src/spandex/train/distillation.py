"""Distillation: what a network becomes stays close to what it was."""

import copy

import torch

from spandex.train.checkpoint import state_digest
from spandex.train.world import World


class Distillation:
    """Distance in the loss to what a teacher makes of the same noisy input.

        loss = weight * sum((y - t)^2) / sum(t^2)

    over a batch, with the denoised magnitudes y of the network in training and t of the teacher.

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531, whose
    targets are probabilities of classes.

    Attributes:
        teacher: does not learn.
    """

    def __init__(self, network: torch.nn.Module, weight: float):
        """
        Args:
            network: as ``fit`` takes it, on its device. The teacher is a copy of it as it is now, in evaluation mode;
                so make this before a ``Sparsifier`` changes the network.
            weight: of the distance in the loss.
        """
        self.teacher = copy.deepcopy(network).eval().requires_grad_(False)
        self.weight = weight

    def __repr__(self) -> str:
        return f"{type(self).__name__}(weight={self.weight}, teacher={state_digest(self.teacher)})"

    def loss(self, noisy_magnitude: torch.Tensor, magnitude: torch.Tensor, world: World) -> torch.Tensor:
        """Of this process's rows of a batch, a scalar: its mean over the processes is that of the whole batch.

        Args:
            noisy_magnitude: the input (rows, bins, steps).
            magnitude: y, of the same shape.
            world: the processes that share the batch.
        """
        with torch.no_grad():
            target = self.teacher(noisy_magnitude)
        (energy,) = world.sum(target.square().sum().item())
        return world.size * self.weight * (magnitude - target).square().sum() / (energy or 1.0)  # silence is 0 / 0
