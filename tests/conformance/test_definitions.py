"""Definitions of the published figures, on the published baseline: what is zero, and which operations are counted."""

import numpy as np
import pytest
import torch

from spandex.models import load_network
from spandex.sparsify import GradualMagnitude, sparsity


@pytest.fixture
def baseline(mirror):
    return mirror / "ndns/baseline/network.pt"


def test_sparsity_of_the_baseline_is_the_share_of_weights_up_to_1e_10_wherever_it_is_told(baseline):
    state = torch.load(baseline, map_location="cpu", weights_only=True)
    weights = np.concatenate([abs(state[f"blocks.{i}.synapse.weight"].numpy().ravel()) for i in (1, 2, 3)])
    network = load_network(baseline)
    share = np.count_nonzero(weights <= 1e-10) / weights.size
    assert sparsity(network).total == share
    assert GradualMagnitude(network, 0.75, steps=10).schedule.initial == share
    # not the exact zeros, of which there are none, nor those of SPANDEX's prune_utils.py, below 1e-5
    percents = [100 * np.count_nonzero(weights <= limit) / weights.size for limit in (0, 1e-10, 1e-5)]
    assert [round(percent, 2) for percent in percents] == [0.0, 7.03, 7.08]


def test_gradual_pruning_takes_the_baseline_to_its_target_exactly(baseline):
    network = load_network(baseline)
    pruner = GradualMagnitude(network, 0.75, steps=3, frequency=1)
    for _ in range(4):
        pruner.step()
    weights = np.concatenate([block.synapse.weight.detach().numpy().ravel() for block in network.blocks[1:]])
    assert np.count_nonzero(weights == 0) == round(0.75 * weights.size)
    assert sparsity(network).total == 0.75
