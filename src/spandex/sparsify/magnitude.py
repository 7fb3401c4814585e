"""Gradual magnitude pruning (GMP): the smallest weights of the whole network go, a few at a time."""

import torch

from spandex.errors import SpandexError
from spandex.sparsify.pruner import Pruner, Tensors
from spandex.sparsify.schedule import Cubic
from spandex.sparsify.synapses import dense_weights

# Weights below this count as zero when a network's initial sparsity is measured, as in SPANDEX
# (Michaeljurado42/SPANDEX, prune_utils.sparsity_statistics).
NEGLIGIBLE = 1e-5


@torch.no_grad()
def global_magnitude(weights: Tensors, masks: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
    """Remove exactly round(sparsity * n) of all n weights: those removed before, then the smallest magnitudes.

    Of equal magnitudes the one that comes first goes first: by layer, then by position in it.

    Args:
        weights: weight tensors by layer.
        masks: boolean tensors of the same shapes; False: removed before.
        sparsity: fraction of all weights to remove. Weights removed before stay removed if they are more than that.

    Returns:
        Boolean tensors by layer; False: removed.
    """
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    magnitude = torch.cat([weight.abs().flatten() for weight in weights.values()])
    magnitude[~kept] = -1.0
    count = round(sparsity * magnitude.numel())
    kept[magnitude.argsort(stable=True)[:count]] = False
    parts = kept.split([mask.numel() for mask in masks.values()])
    return {name: part.reshape(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}


class GradualMagnitude(Pruner):
    """Gradual magnitude pruning of all dense synapses together, on a cubic schedule.

        pruner = GradualMagnitude(network, 0.75, steps=2000)
        for batch in batches:
            ...
            optimizer.step()
            pruner.step()

    Sources: Zhu and Gupta 2017; SPANDEX (Michaeljurado42/SPANDEX, train_sdnn_custom.py), which prunes every 30
    iterations with steps = pruning epochs * iterations an epoch - 1. Unlike there, the last step reaches the target
    exactly, and equal magnitudes do not change the count.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        target: float,
        steps: int,
        frequency: int = 30,
        initial: float | None = None,
    ):
        """
        Args:
            network: a network with lava-dl dense synapses.
            target: final sparsity, a fraction of all dense weights.
            steps: the iteration, counted from 0, at which the target is reached.
            frequency: iterations between two pruning steps.
            initial: sparsity at iteration 0; as it is (magnitudes below 1e-5) if not given.

        Raises:
            SpandexError: the target is not between the initial sparsity and 1, ``steps`` or ``frequency`` is below 1,
                or the network has no dense synapse.
        """
        if initial is None:
            weights = dense_weights(network).values()
            negligible = sum(int((weight.detach().abs() < NEGLIGIBLE).sum()) for weight in weights)
            initial = negligible / sum(weight.numel() for weight in weights)
            if initial > target:
                raise SpandexError(f"target sparsity {target:g}: the network is already at {initial:g}")
        super().__init__(network, global_magnitude, Cubic(initial, target, steps), frequency)
