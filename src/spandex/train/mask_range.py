"""Masks that stay in the range of the deployed network's output neurons."""

from typing import Any, Self

import torch

WEIGHT = 10.0  # of the penalty in the loss, which is in dB


class MaskRange:
    """Penalty on a network's outputs beyond a limit, while it trains.

        penalty = WEIGHT * mean(max(|output| - limit, 0)^2)

    The mask is relu(output + 1), so nothing else in the loss tells an output of -2 from one of -200; deployed, outputs
    beyond the 24 bits of Loihi 2's state (-32 to 32) wrap to the other sign, and noise comes out amplified.

    Outputs are taken by a hook on the last block, in passes with gradients only, while the context is open.

    Args:
        block: the network's last.
        limit: in units of the mask, above 0.
    """

    def __init__(self, block: torch.nn.Module, limit: float):
        self.limit = limit
        self._block = block
        self._outputs: torch.Tensor | None = None

    def __enter__(self) -> Self:
        self._hook = self._block.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()
        self._outputs = None

    def penalty(self) -> torch.Tensor:
        """Of the last forward pass, a scalar; lets go of its outputs."""
        beyond = torch.relu(self._outputs.abs() - self.limit)
        self._outputs = None
        return WEIGHT * beyond.square().mean()

    def _keep(self, block: torch.nn.Module, inputs: Any, outputs: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            self._outputs = outputs
