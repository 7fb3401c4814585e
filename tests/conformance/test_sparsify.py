"""Pruned networks as they are deployed: exact arithmetic, masked against shrunk."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.chains import complex_rf, pooled_cuba, recurrent_cuba

from denoising import random_network
from spandex.deploy import Executor
from spandex.networks import export_hdf5
from spandex.sparsify import Cubic, NeuronPruner, OneShot, Pruner, shrink

DOCUMENT = Path(__file__).parents[2] / "docs" / "howto" / "sparsify.md"


@pytest.fixture(scope="module", params=["global", "layer"])
def networks(request):
    """An SDNN whose neurons were pruned in training, which of them are left, and what is left of the SDNN."""
    network = random_network(seed=0, n_fft=64, hop=16, hidden=48)
    pruner = NeuronPruner(network, Cubic(0.5, steps=9, frequency=2), scope=request.param)
    optimizer = torch.optim.RAdam(network.parameters(), lr=0.005, weight_decay=0.01)
    for _ in range(12):
        optimizer.zero_grad()
        network(torch.rand(2, 33, 90)).sub(0.2).square().mean().backward()
        optimizer.step()
        pruner.step()
    keep = [neurons.numpy() for neurons in pruner.neurons.values()]
    pruner.remove()
    return network, keep, shrink(network)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_the_deployed_smaller_network_is_the_masked_one_bit_for_bit(networks, sparse, tmp_path):
    network, keep, small = networks
    runs = []
    for name, one in (("whole", network), ("small", small)):
        export_hdf5(one, tmp_path / f"{name}.net")
        executor = Executor(tmp_path / f"{name}.net", sparsity_map=[sparse] * 3)
        inputs = np.abs(np.random.default_rng(0).integers(-40, 45, (33, 500)).cumsum(axis=1)) * 64
        runs.append(executor.run(inputs.astype(np.int32), record=True))
    whole, less = runs
    assert whole.outputs.any()
    np.testing.assert_array_equal(less.outputs, whole.outputs)
    for before, after, kept in zip(whole.spikes[1:3], less.spikes[1:3], keep, strict=True):
        assert 0 < kept.sum() < kept.size and after.any()
        np.testing.assert_array_equal(after, before[kept])
        assert not before[~kept].any()
    for before, after in zip(whole.activity, less.activity, strict=True):
        assert after.events == before.events
        # A dense synapse also counts the zeros it multiplies with.
        assert after.synops == before.synops
    assert sum(a.neuron_updates for a in less.activity) < sum(a.neuron_updates for a in whole.activity)


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize(
    ("build", "shape"),
    [(pooled_cuba, (2, 6, 6)), (recurrent_cuba, (12,)), (complex_rf, (12,))],
    ids=["images", "recurrent", "complex"],
)
def test_neurons_of_any_kind_to_which_nothing_listens_go_from_the_file(build, shape, weight_norm, tmp_path):
    def unheard(weights, masks, sparsity):
        """Every third neuron of the hidden layers."""
        for name, mask in masks.items():
            positions = 4 if name == "blocks.4.synapse" else 1  # behind flattening
            if not name.startswith("blocks.0."):
                mask[:, torch.arange(mask.shape[1]) // positions % 3 == 0] = False
        return masks

    torch.manual_seed(0)
    network = build(weight_norm=weight_norm)
    network(torch.zeros(1, *shape, 1))
    Pruner(network, OneShot(0.1, steps=0), source=unheard).step()
    inputs = np.random.default_rng(0).integers(0, 2, (*shape[::-1], 400)).astype(np.int32)
    images = {"input_shape": shape[::-1]} if len(shape) == 3 else {}
    runs = []
    for name, one in (("whole", network), ("small", shrink(network))):
        export_hdf5(one, tmp_path / f"{name}.net")
        runs.append(Executor(tmp_path / f"{name}.net", **images).run(inputs, record=True))
    whole, less = runs
    assert whole.outputs.any()
    np.testing.assert_array_equal(less.outputs, whole.outputs)
    in_vain = []
    for before, after in zip(whole.spikes[:-1], less.spikes[:-1], strict=True):
        kept = np.arange(before.shape[-2]) % 3 != 0
        np.testing.assert_array_equal(after, before[..., kept, :])
        in_vain.append(before[..., ~kept, :].any())
    assert any(in_vain)


def test_the_layers_in_the_file_are_as_small_as_the_neurons_left(networks, tmp_path):
    _, keep, small = networks
    export_hdf5(small, tmp_path / "small.net")
    first, second = (int(kept.sum()) for kept in keep)
    assert first + second == 48  # half of 96
    with h5py.File(tmp_path / "small.net") as file:
        layers = file["layer"]
        assert [layers[f"{i}/weight"].shape for i in (1, 2, 3)] == [(first, 33), (second, first), (33, second)]
        assert [layers[f"{i}/delay"].shape for i in (1, 2)] == [(first,), (second,)]
        assert [int(layers[f"{i}/shape"][0]) for i in range(4)] == [33, first, second, 33]


def test_the_documented_examples_run():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    for code in blocks:
        exec(code, names)
    small = names["small"]
    assert sum(int(neurons.sum()) for neurons in names["pruner"].neurons.values()) == 32
    assert small[0].synapse.out_channels + small[1].synapse.out_channels <= 32  # weights were pruned before
    x = torch.rand(2, 17, 40)
    torch.testing.assert_close(small(x), names["network"](x))
