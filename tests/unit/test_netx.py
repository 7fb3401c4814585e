"""Network files and sparsity maps; what the networks compute is in tests/conformance."""

import h5py
import numpy as np
import pytest
from lava.proc.dense.process import DelayDense
from lava.proc.dense.process import Dense as DenseSynapse
from lava.proc.sparse.process import DelaySparse, Sparse

from spandex.deploy import Network
from spandex.deploy.sparsity_map import parse_sparsity_map, resolve_sparsity_map
from spandex.errors import SpandexError
from spandex.networks import deployed_weights

DENSITIES = {1: 0.9, 2: 0.5, 3: 0.1}


@pytest.fixture
def path(tmp_path):
    """Three fully connected layers on 4 inputs: full with delays, half empty with delays, nearly empty without."""
    path = tmp_path / "network.net"
    half = np.resize([2.0, 0.0], (6, 6))
    nearly_empty = np.zeros((4, 6))
    nearly_empty[0, 0] = 8
    with h5py.File(path, "w") as file:
        _write_layer(file, 0, "input", 4)
        _write_layer(file, 1, "dense", 6, weight=np.full((6, 4), 4.0), delay=np.array([0, 1, 2, 62, 63, 64.0]))
        _write_layer(file, 2, "dense", 6, weight=half, delay=np.arange(6.0))
        _write_layer(file, 3, "dense", 4, weight=nearly_empty)
    return path


def _write_layer(file, index, kind, size, **data):
    group = file.create_group(f"layer/{index}")
    group["type"] = np.array([kind.encode()])
    group["shape"] = np.array([size])
    group["neuron/type"] = "SDNN"
    group["neuron/vThMant"] = 6
    for key, value in data.items():
        group[key] = value.astype(np.float32)


def _synapses(network):
    return [type(layer.synapse) for layer in network.layers[1:]]


@pytest.mark.parametrize(
    ("sparsity_map", "expected"),
    [
        (True, [True, True, True]),
        (False, [False, False, False]),
        ([True, False, True], [True, False, True]),
        (np.array([False, True, False]), [False, True, False]),
        ({3: True}, [False, False, True]),
        ({1: True, 2: False}, [True, False, False]),
        ("auto", [False, True, True]),
    ],
)
def test_map_chooses_layers(sparsity_map, expected):
    chosen = resolve_sparsity_map(sparsity_map, DENSITIES, density_threshold=0.5)
    assert chosen == dict(zip(DENSITIES, expected, strict=True))


@pytest.mark.parametrize(
    ("sparsity_map", "message"),
    [
        ([True, False], "2 entries for the 3 fully connected layers"),
        ({0: True}, "names layer 0"),
        ({"1": True}, "names layer '1'"),
        ([True, 1, False], "says 1 for layer 2"),
        ({3: "yes"}, "says 'yes' for layer 3"),
        ("all", "'all'"),
        (0.5, "0.5"),
        (None, "None"),
    ],
)
def test_impossible_map_is_named(sparsity_map, message):
    with pytest.raises(SpandexError, match=message):
        resolve_sparsity_map(sparsity_map, DENSITIES, density_threshold=0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_impossible_threshold_is_named(threshold):
    with pytest.raises(SpandexError, match=str(threshold)):
        resolve_sparsity_map("auto", DENSITIES, threshold)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", "auto"),
        ("sparse", True),
        ("False", False),
        ("1,0,1", [True, False, True]),
        ("true, dense ,TRUE", [True, False, True]),
        ("1:true,3:0", {1: True, 3: False}),
        (" 2 : sparse ", {2: True}),
    ],
)
def test_typed_map_is_understood(text, expected):
    assert parse_sparsity_map(text) == expected


@pytest.mark.parametrize("text", ["", "all", "1,2", "1,,0", "a:true", "1:", "1:true,0", "1:0:1"])
def test_typing_error_in_map_is_named(text):
    with pytest.raises(SpandexError, match=f"sparsity map '{text}' is none of"):
        parse_sparsity_map(text)


def test_layer_typed_twice_is_named():
    with pytest.raises(SpandexError, match="twice"):
        parse_sparsity_map("1:true,1:false")


@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize(
    ("sparsity_map", "expected"),
    [
        (True, [DelaySparse, DelaySparse, Sparse]),
        (False, [DelayDense, DelayDense, DenseSynapse]),
        ([False, True, False], [DelayDense, DelaySparse, DenseSynapse]),
        ({3: True}, [DelayDense, DelayDense, Sparse]),
        ("auto", [DelayDense, DelaySparse, Sparse]),
    ],
)
def test_layers_get_their_synapses(path, sparsity_map, expected):
    assert _synapses(Network(path, sparsity_map)) == expected


@pytest.mark.filterwarnings("ignore:.*clamped")
def test_map_counts_only_generated_layers(path):
    network = Network(path, [False, True], num_layers=3)
    assert _synapses(network) == [DelayDense, DelaySparse]
    network = Network(path, [True], skip_layers=3, input_message_bits=16)
    assert [type(layer.synapse) for layer in network.layers] == [Sparse]


def test_wrong_map_names_the_file(path):
    with pytest.raises(SpandexError, match=rf"{path}: .*1 entries"):
        Network(path, [True])


def test_stock_option_is_refused(path):
    with pytest.raises(SpandexError, match="sparsity_map"):
        Network(path, sparse_fc_layer=True)


def test_long_delays_are_clamped_with_one_warning(path):
    with pytest.warns(UserWarning) as warned:
        network = Network(path, False)
    assert [str(warning.message) for warning in warned] == [f"{path}: 2 delays above 62 steps, up to 64, clamped to 62"]
    assert network.layers[1].synapse.delays.init[:, 0].tolist() == [0, 1, 2, 62, 62, 62]


def test_reading_the_weights_alone_does_not_warn(path, recwarn):
    full, half, _ = deployed_weights(path)
    assert (full.clamped_delays, full.longest_delay) == (2, 64)
    assert (half.clamped_delays, half.longest_delay) == (0, 5)
    assert not recwarn.list


def test_deployed_layers_are_counted(path):
    full, half, nearly_empty = deployed_weights(path)
    assert [layer.index for layer in (full, half, nearly_empty)] == [1, 2, 3]
    assert [layer.nonzero_weights for layer in (full, half, nearly_empty)] == [24, 18, 1]
    assert [layer.nonzero_delays for layer in (full, half, nearly_empty)] == [20, 15, 0]
    assert [layer.density for layer in (full, half, nearly_empty)] == [1, 0.5, 1 / 24]
    for layer, weight in ((full, 4), (half, 2), (nearly_empty, 8)):
        assert (layer.weights * 2.0**layer.weight_exponent).flat[0] == weight


def test_published_network_deploys_the_published_counts(mirror):
    layers = deployed_weights(mirror / "ndns/prune50/network.net")
    assert sum(layer.nonzero_weights for layer in layers) == 215_125
    assert sum(layer.nonzero_delays for layer in layers) == 129_267
