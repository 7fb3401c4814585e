from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from spandex.errors import SpandexError
from spandex.metrics import network_size
from spandex.networks import SDNN, export_hdf5


def write_network(path: Path, *layers: dict[str, np.ndarray], kind: str = "dense") -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("layer/0/type", (1,), "S10", [b"input"])
        for i, layer in enumerate(layers, start=1):
            file.create_dataset(f"layer/{i}/type", (1,), "S10", [kind.encode()])
            file.create_dataset(f"layer/{i}/shape", data=[len(layer["weight"])])
            for name, value in layer.items():
                file.create_dataset(f"layer/{i}/{name}", data=np.asarray(value, np.float32))
    return path


def test_weights_and_delays_of_a_small_network_by_hand(tmp_path):
    weight = [[0, 2, -4], [6, 0, 0]]
    size = network_size(write_network(tmp_path / "a.net", {"weight": weight, "delay": [5, 0]}, {"weight": [[2, 2]]}))
    first, second = size.layers
    # netx shifts 6 to 192 and -4 to -128: 8 bits; the two synapses of the neuron with delay 5 take 3 bits each
    assert (first.nonzero_weights, first.nonzero_delays) == (3, 2)
    assert (first.weight_bits, first.delay_bits) == (8, 3)
    # 2 becomes 128, whose log2 is 7
    assert (second.nonzero_weights, second.nonzero_delays, second.weight_bits, second.delay_bits) == (2, 0, 7, 0)
    assert size.parameters == 7
    assert size.size_kb == (3 * 8 + 2 * 3 + 2 * 7) / 8 / 1024
    assert size.deployed_sparsity == pytest.approx(3 / 8)


def test_delays_of_the_inputs_and_of_every_synapse_are_expanded_as_netx_does(tmp_path):
    weight = [[2, 4, 0], [6, 0, 2]]
    by_input = network_size(write_network(tmp_path / "a.net", {"weight": weight, "delay": [3, 0, 70]}))
    assert by_input.nonzero_delays == 3  # column 0 twice, column 2 once
    assert by_input.layers[0].delay_bits == 6  # 70 is clamped to 62
    by_synapse = network_size(
        write_network(tmp_path / "b.net", {"weight": weight, "delay": [[1, 0, 9], [0, 5, 1]]}),
    )
    assert by_synapse.nonzero_delays == 2


def test_layer_without_weights_has_no_parameters(tmp_path):
    size = network_size(write_network(tmp_path / "a.net", {"weight": np.zeros((2, 3)), "delay": [1, 2]}))
    assert size.parameters == 0 and size.size_kb == 0 and size.deployed_sparsity == 1


def test_exported_network_is_counted(tmp_path):
    torch.manual_seed(0)
    network = SDNN(hidden=16)
    with torch.no_grad():
        network.blocks[2].synapse.weight[:8] = 0
    export_hdf5(network, tmp_path / "network.net")
    size = network_size(tmp_path / "network.net")
    for layer, block in zip(size.layers, list(network.blocks)[1:], strict=True):
        deployed = block.synapse.pre_hook_fx(block.synapse.weight)
        assert layer.nonzero_weights == deployed.count_nonzero()
        assert layer.weights == deployed.numel()


def test_foreign_files_and_layers_are_named(tmp_path):
    with pytest.raises(SpandexError, match=r"absent\.net: no such file"):
        network_size(tmp_path / "absent.net")
    text = tmp_path / "text.net"
    text.write_text("no HDF5")
    with pytest.raises(SpandexError, match=r"text\.net: not a whole HDF5 file"):
        network_size(text)
