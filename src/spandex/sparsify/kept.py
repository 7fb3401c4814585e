"""Zeros of the network that a training starts from, held whatever is done next."""

import torch

from spandex.sparsify.masked import MaskedWeights
from spandex.sparsify.pruner import share
from spandex.sparsify.schedule import OneShot
from spandex.sparsify.weights import synapse_weights


class KeptZeros(MaskedWeights):
    """Holds the weights at zero that are exactly zero when it is made, such as those of a network pruned before.

    Beside other methods it comes first, and they must leave the weights plain parameters: under a parametrisation,
    as ``MaskSearch`` adds one, a zero in a parameter need not be one in the weight.
    """

    def __init__(self, network: torch.nn.Module):
        """
        Raises:
            SpandexError: the network has no weights that could be held.
        """
        weights = synapse_weights(network)
        zeros = {name: weight.value() == 0 for name, weight in weights.items()}
        there = share(zeros, zeros)
        super().__init__(weights, OneShot(there, steps=0), {"the network": there})
        self.masks = {name: ~zero for name, zero in zeros.items()}

    def __repr__(self) -> str:
        return self._describe(layers=list(self.masks))

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Those of the start."""
        return self.masks
