from pathlib import Path

import pytest
import torch

import own_network
from spandex.errors import SpandexError
from spandex.networks import export_hdf5, from_factory, from_hdf5
from spandex.networks.references import source_file


@pytest.mark.parametrize("name", ["own_network:two_layers", "own_network:Module"])
def test_blocks_of_a_factory_mask_a_spectrum(name):
    network = from_factory(name, {"hidden": 5}, n_fft=512, hop=128)
    magnitude = torch.rand(2, 257, 20)
    x = magnitude - 0.2
    for block in network.blocks:
        x = block(x)
    assert torch.equal(network(magnitude), magnitude * torch.relu(x + 1))
    assert network.blocks[1].synapse.out_channels == 5


@pytest.mark.parametrize(
    "name, reason",
    [
        ("own_network", "is not of the form package.module:callable"),
        ("no_such_module:network", "no_such_module cannot be imported (ModuleNotFoundError"),
        ("own_network:missing", "own_network has no callable missing"),
        ("own_network:number", "own_network has no callable number"),
        ("own_network:failing", "KeyError: 'no such\\ncorpus'"),
        ("own_network:without_end", "expected the sigma-delta blocks Input, Dense, ..., Output, not Input, Dense"),
        ("own_network:sigmoid", "block 1 has the activation sigmoid; Lava runs relu"),
        ("own_network:unshifted", "block 1 has no delay_shift"),
        ("own_network:cumulative", "block 1 has cumulative error, which lava-dl's export leaves out"),
        ("own_network:by_channel", "block 1 has a threshold for every neuron"),
        ("own_network:logging", "block 1 logs its events"),
        ("own_network:persistent", "block 1 has persistent_state; every batch begins at rest"),
        ("own_network:weighted", "block 0 has a weight, which the encoder of a mask network does not apply"),
        ("own_network:biased", "block 0 has a bias, which the encoder of a mask network does not apply"),
        ("own_network:narrow", "it takes 100 values, a spectrum of 512 samples has 257"),
    ],
)
def test_factory_that_cannot_be_used_is_refused_in_one_line(name, reason):
    with pytest.raises(SpandexError) as error:
        from_factory(name, {}, n_fft=512, hop=128)
    message = str(error.value)
    assert reason in message and name in message and "\n" not in message


def test_wrong_argument_is_refused():
    with pytest.raises(SpandexError, match="unexpected keyword argument 'width'"):
        from_factory("own_network:two_layers", {"width": 3}, n_fft=512, hop=128)


def test_source_file_of_a_factory_is_known():
    assert source_file("own_network:two_layers") == Path(own_network.__file__)
    assert source_file("no_such_module:network") is None


def test_normalised_weights_are_exported_as_they_are_now(tmp_path):
    network = from_factory("own_network:two_layers", {"weight_norm": True}, n_fft=512, hop=128)
    network(torch.rand(1, 257, 5)).sum().backward()  # leaves weights with a graph
    with torch.no_grad():
        for block in network.blocks[1:]:
            block.synapse.weight_g *= 1.5
    export_hdf5(network, tmp_path / "network.net")
    magnitude = torch.rand(1, 257, 40)
    with torch.no_grad():
        expected = network(magnitude)
        assert torch.allclose(from_hdf5(tmp_path / "network.net")(magnitude), expected, atol=1e-5)
    assert all(block.synapse.weight_norm_enabled for block in network.blocks[1:])
