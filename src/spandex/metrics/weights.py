"""Which weights of a float network are there: the one definition of zero, for its sparsity and for its operations."""

import torch

# Magnitude up to which a float weight is zero, as where SPANDEX counts the operations of its published networks
# (Michaeljurado42/SPANDEX, baseline_solution/sdnn_delays/prune_evaluate.py). What is pruned here is exactly zero;
# weight decay leaves others that never made it there, 7.03 % in the challenge's baseline.
ZERO = 1e-10


def nonzero(weight: torch.Tensor) -> torch.Tensor:
    """Where a weight is not zero: |w| > 1e-10, boolean of the weight's shape."""
    return weight.detach().abs() > ZERO
