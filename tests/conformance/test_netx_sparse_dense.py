"""Sparse and dense conversion of one network give the same spikes in every layer, and the same as stock lava-dl."""

import numpy as np
import pytest
import torch
from lava.proc.dense.process import DelayDense
from lava.proc.dense.process import Dense as DenseSynapse
from lava.proc.sparse.process import DelaySparse, Sparse

from denoising import encoded_speech, random_network
from spandex.deploy import Network
from spandex.networks import export_hdf5
from stock_lava import lava_spikes, stock_network

INT32_LIMIT = 2**31


def assert_same_spikes(reference, other):
    for expected, actual in zip(reference, other, strict=True):
        assert np.abs(expected).max() < INT32_LIMIT
        np.testing.assert_array_equal(actual, expected)


def sparse_network(path, seed, keep=(0.9, 0.3, 0.3)):
    """A small exported network with the given fraction of each layer's weights kept."""
    network = random_network(seed, gains=(2, 2, 2), longest_delay=64)
    with torch.no_grad():
        for block, fraction in zip(network.blocks[1:], keep, strict=True):
            block.synapse.weight *= torch.rand_like(block.synapse.weight) < fraction
    export_hdf5(network, path)
    return path


def random_inputs(seed, neurons=17, steps=90):
    steps_between = np.random.default_rng(seed).integers(-40, 45, (neurons, steps))
    return np.abs(steps_between.cumsum(axis=1))


@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_random_network_spikes_alike_however_it_is_converted(tmp_path, seed):
    path = sparse_network(tmp_path / "network.net", seed)
    inputs = random_inputs(seed)
    reference = lava_spikes(stock_network(path, sparse_fc_layer=False), inputs)
    assert all(layer.any() for layer in reference)
    assert_same_spikes(reference, lava_spikes(stock_network(path, sparse_fc_layer=True), inputs))
    automatic = Network(path, "auto", density_threshold=0.5)
    assert [type(layer.synapse) for layer in automatic.layers[1:]] == [DelayDense, DelaySparse, Sparse]
    assert_same_spikes(reference, lava_spikes(automatic, inputs))
    for sparsity_map in (True, False, [True, False, False]):
        assert_same_spikes(reference, lava_spikes(Network(path, sparsity_map), inputs))


@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize("empty", [0, 2, pytest.param(1, marks=pytest.mark.slow)])
def test_layer_without_weights_runs_and_is_silent(tmp_path, empty):
    keep = [0.9, 0.9, 0.9]
    keep[empty] = 0
    path = sparse_network(tmp_path / "network.net", seed=3, keep=keep)
    inputs = random_inputs(3, steps=40)
    sparse, dense = (lava_spikes(Network(path, sparse), inputs) for sparse in (True, False))
    assert_same_spikes(dense, sparse)
    assert dense[empty].any()
    assert not any(layer.any() for layer in dense[empty + 1 :])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize(
    ("name", "automatic"),
    [("baseline", [DelayDense, DelayDense, Sparse]), ("prune50", [DelayDense, DelaySparse, Sparse])],
)
def test_published_network_spikes_alike_on_speech(mirror, name, automatic):
    path = mirror / "ndns" / name / "network.net"
    inputs = encoded_speech(mirror, steps=20)
    reference = lava_spikes(stock_network(path, sparse_fc_layer=True), inputs)
    assert all(layer.any() for layer in reference)
    mixed = Network(path, "auto", density_threshold=0.5)
    assert [type(layer.synapse) for layer in mixed.layers[1:]] == automatic
    for network in (mixed, Network(path, False)):
        assert_same_spikes(reference, lava_spikes(network, inputs))


@pytest.mark.filterwarnings("ignore:.*clamped")
def test_dense_synapse_without_delay_is_the_stock_one(tmp_path):
    path = sparse_network(tmp_path / "network.net", seed=4)
    ours, theirs = Network(path, {1: True, 2: True}).layers[3].synapse, stock_network(path).layers[3].synapse
    assert type(ours) is type(theirs) is DenseSynapse
    np.testing.assert_array_equal(ours.weights.init, theirs.weights.init)
    assert ours.proc_params["weight_exp"] == theirs.proc_params["weight_exp"]
