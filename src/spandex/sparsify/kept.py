"""Zeros of the network that a training starts from, held whatever is done next."""

from collections.abc import Mapping
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.weights import synapse_weights


class KeptZeros(Sparsifier):
    """Holds the weights at zero that are exactly zero when it is made, such as those of a network pruned before.

    Beside other methods it comes first, and they must leave the weights plain parameters: under a parametrisation,
    as ``MaskSearch`` adds one, a zero in a parameter need not be one in the weight.
    """

    def __init__(self, network: torch.nn.Module):
        """
        Raises:
            SpandexError: the network has no weights that could be held.
        """
        self._weights = synapse_weights(network)
        self.masks = {name: weight.value() != 0 for name, weight in self._weights.items()}
        self._hooks = [
            handle
            for name, weight in self._weights.items()
            for handle in weight.mask_gradients(lambda name=name: self.masks[name])
        ]

    def __repr__(self) -> str:
        zeros = {name: int((~mask).sum()) for name, mask in self.masks.items()}
        return f"{type(self).__name__}({zeros})"

    @property
    def steps(self) -> int:
        """0: nothing gets sparser."""
        return 0

    @property
    def done(self) -> bool:
        """Always."""
        return True

    def step(self) -> None:
        """Put back what an optimiser moved in spite of a gradient of zero."""
        for name, weight in self._weights.items():
            weight.hold(self.masks[name])

    def remove(self) -> None:
        """Let go of the network."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def state_dict(self) -> dict[str, Any]:
        """The masks."""
        return {"masks": {name: mask.clone() for name, mask in self.masks.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the masks of a run of the same network.

        Raises:
            SpandexError: they are of another.
        """
        masks = state.get("masks", {})
        if {name: mask.shape for name, mask in masks.items()} != {name: m.shape for name, m in self.masks.items()}:
            raise SpandexError(f"not the zeros of a network with {', '.join(self.masks)}")
        self.masks = {name: mask.to(self.masks[name].device) for name, mask in masks.items()}
        self.step()
