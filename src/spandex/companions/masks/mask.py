"""A factor on each element of a tensor that is learnt as sigmoid(beta alpha), and then 0 or 1."""

import math
from collections.abc import Sequence

import torch


class Mask(torch.nn.Module):
    """Multiplies a tensor by one factor an element: 1, or sigmoid(beta alpha) under search, or 0 and 1 once hard.

    Source: Shi, Ding, Hao and Yu, "Towards energy efficient spiking neural networks: an unstructured pruning
    framework", ICLR 2024.

    Attributes:
        scores: alpha, of the tensor's shape; None unless under search.
        beta: steepness of the sigmoid.
        keep: boolean of the tensor's shape, True: alive; None: all are.
    """

    def __init__(self, shape: Sequence[int]):
        """
        Args:
            shape: of what it masks, but for leading dimensions that share the factors.
        """
        super().__init__()
        self.shape = tuple(shape)
        self.beta = 1.0
        self.register_parameter("scores", None)
        self.register_buffer("keep", None)

    def search(self, device: torch.device) -> None:
        """Begin to learn the scores, from zero."""
        self.scores = torch.nn.Parameter(torch.zeros(self.shape, device=device))

    def soft(self) -> torch.Tensor:
        """sigmoid(beta alpha) of every element."""
        return torch.sigmoid(self.beta * self.scores)

    @torch.no_grad()
    def harden(self) -> None:
        """End the search: what has a score above 0 lives."""
        self.keep = self.scores > 0
        self.scores = None

    @property
    def living(self) -> int:
        """How many elements live."""
        return math.prod(self.shape) if self.keep is None else int(self.keep.sum())

    def alive(self, like: torch.Tensor) -> torch.Tensor:
        """1 for every element that lives and 0 for the others, in the type and on the device of ``like``."""
        ones = like.new_ones(self.shape)
        return ones if self.keep is None else ones * self.keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.scores is not None:
            return self.soft() * x
        return x if self.keep is None else torch.where(self.keep, x, 0.0)
