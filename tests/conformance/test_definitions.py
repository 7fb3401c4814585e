"""Definitions of the published figures, on the published baseline: what is zero, and which operations are counted."""

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from denoising import real_pair
from networks import prune_evaluate
from spandex.metrics import EventCounter
from spandex.networks import load_network, stft
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


@pytest.mark.parametrize("pruned", [False, True], ids=["as published", "75 % by torch"])
def test_operations_with_float_weights_are_those_of_prune_evaluate(mirror, baseline, tmp_path, pruned):
    path, state = baseline, torch.load(baseline, map_location="cpu", weights_only=True)
    if pruned:
        network = load_network(baseline)
        synapses = [(block.synapse, "weight") for block in network.blocks[1:]]
        prune.global_unstructured(synapses, prune.L1Unstructured, amount=0.75)
        state = network.state_dict()
        torch.save(state, path := tmp_path / "network.pt")
        for i in (1, 2, 3):
            name = f"blocks.{i}.synapse.weight"
            state[name] = state[f"{name}_orig"] * state[f"{name}_mask"]
    weights = [state[f"blocks.{i}.synapse.weight"] for i in (1, 2, 3)]
    network, entered = load_network(path), []
    for block in network.blocks[1:]:
        block.register_forward_pre_hook(lambda block, inputs: entered.append(inputs[0]))
    noisy, _ = real_pair(mirror, seconds=3)
    magnitude, _ = stft(torch.from_numpy(noisy)[None])
    with torch.no_grad(), EventCounter(network) as counter:
        network(magnitude)
    expected = prune_evaluate(weights, entered)
    activity = counter.activity()
    assert min(expected) > 0
    assert [layer.synops_per_step for layer in activity.layers] == [n / magnitude.shape[-1] for n in expected]
    assert activity.neuronops_per_step == 1281
