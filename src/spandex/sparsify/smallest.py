"""Pruning by magnitude: the smallest weights go first."""

from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]


@torch.no_grad()
def magnitude(weights: Tensors, masks: Tensors, sparsity: float) -> dict[str, torch.Tensor]:
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
    size = torch.cat([weight.abs().flatten() for weight in weights.values()])
    size[~kept] = -1.0
    count = round(sparsity * size.numel())
    kept[size.argsort(stable=True)[:count]] = False
    parts = kept.split([mask.numel() for mask in masks.values()])
    return {name: part.reshape(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}
