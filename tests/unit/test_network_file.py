"""What is refused in a network file; what Lava would make of it is in tests/conformance."""

import h5py
import numpy as np
import pytest

from network_files import INTEGRATOR, convolution, image, write_layers
from spandex.deploy import Executor, Network
from spandex.deploy.survey import survey
from spandex.errors import SpandexError
from spandex.metrics import network_size
from spandex.networks import deployed_weights
from spandex.networks.hdf5 import network_layers
from spandex.steps.info import info

READERS = [Network, deployed_weights, network_layers, network_size, info]


@pytest.fixture
def path(tmp_path):
    """Input of 4, hidden layer of 6 with bias and delays, output of 2."""
    path = tmp_path / "network.net"
    with h5py.File(path, "w") as file:
        for index, (kind, size) in enumerate([("input", 4), ("dense", 6), ("dense", 2)]):
            group = file.create_group(f"layer/{index}")
            group["type"] = np.array([kind.encode()])
            group["shape"] = np.array([size])
            group["neuron/type"] = "SDNN"
            group["neuron/activation"] = "relu"
            group["neuron/vThMant"] = 6
        file["layer/1/weight"] = np.resize([2.0, -4.0, 0.0, 8.0, -6.0], (6, 4)).astype(np.float32)
        file["layer/1/bias"] = np.arange(6.0)
        file["layer/1/delay"] = np.arange(6.0)
        file["layer/2/weight"] = np.resize([2.0, -4.0, 1.0], (2, 6))
        file["layer/2/neuron/sigma_output"] = True
    return path


def replace(path, key, value):
    """Put ``value`` at layer/``key``, or nothing where it is None."""
    with h5py.File(path, "r+") as file:
        if f"layer/{key}" in file:
            del file[f"layer/{key}"]
        if value is not None:
            file[f"layer/{key}"] = value


def test_intact_network_is_described(path):
    layers = network_layers(path)
    assert [(layer.type, layer.shape, layer.neurons, layer.neuron, layer.threshold) for layer in layers] == [
        ("input", (4,), 4, "SDNN", 6),
        ("dense", (6,), 6, "SDNN", 6),
        ("dense", (2,), 2, "SDNN", None),
    ]
    assert [layer.synapses and layer.synapses.weights.shape for layer in layers] == [None, (6, 4), (2, 6)]


def compressed(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", (25_000, 25_000), np.float32, chunks=(1000, 1000), compression="gzip")


def beside(file: h5py.File) -> None:
    file.create_dataset("notes", (2**30,), np.int8, chunks=(2**20,), compression="gzip")


def vast_input(file: h5py.File) -> None:
    del file["layer/0/shape"]
    file["layer/0/shape"] = [100_000, 100_000, 10]


def external_link(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file["layer/1/weight"] = h5py.ExternalLink("elsewhere.h5", "/weight")


def soft_link(file: h5py.File) -> None:
    file["layer/2/delay"] = h5py.SoftLink("/layer/1/delay")


def external_storage(file: h5py.File) -> None:
    del file["layer/1/weight"]
    file.create_dataset("layer/1/weight", (6, 4), np.float32, external=[("/etc/passwd", 0, 96)])


def virtual(file: h5py.File) -> None:
    del file["layer/1/weight"]
    layout = h5py.VirtualLayout((6, 4), np.float32)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "weight", shape=(6, 4))
    file.create_virtual_dataset("layer/1/weight", layout)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (compressed, r": declares 4,768 MiB of numbers; at most 256 are read"),
        (beside, r": declares 8,192 MiB of numbers; at most 256 are read"),
        (external_link, r": /layer/1/weight is a link; the data has to lie in the file"),
        (soft_link, r": /layer/2/delay is a link; the data has to lie in the file"),
        (external_storage, r": /layer/1/weight: its numbers lie in other files"),
        (virtual, r": /layer/1/weight: its numbers lie in other files"),
    ],
)
def test_file_that_asks_for_more_than_it_is_is_refused_before_it_is_read(path, read, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    assert path.stat().st_size < 100_000
    with pytest.raises(SpandexError, match=rf"network\.net{message}"):
        read(path)


@pytest.mark.parametrize("read", [Network, deployed_weights, network_size])
def test_layer_of_more_neurons_than_any_chip_has_is_refused_where_it_would_run(path, read):
    with h5py.File(path, "r+") as file:
        vast_input(file)
    with pytest.raises(
        SpandexError, match=r"network\.net: layer 0: 100,000,000,000 neurons; at most 4,194,304 are run"
    ):
        read(path)


def test_chunked_and_compressed_weights_and_a_group_within_itself_are_read(path):
    with h5py.File(path, "r+") as file:
        weights = file["layer/1/weight"][()]
        del file["layer/1/weight"]
        file.create_dataset("layer/1/weight", data=weights, chunks=(2, 2), compression="gzip")
        file["layer/1/neuron/again"] = file["layer/1"]
    assert [layer.type for layer in network_layers(path)] == ["input", "dense", "dense"]


@pytest.mark.parametrize("read", READERS)
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(SpandexError, match=r"absent\.net: no such file"):
        read(tmp_path / "absent.net")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_truncated_file_is_named(path, kept, read):
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(SpandexError, match=rf"^{path}: not a whole HDF5 file"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_foreign_hdf5_is_named(path, read):
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(SpandexError, match=rf"^{path}: no lava-dl network"):
        read(path)


def test_damaged_table_of_layers_is_named(path):
    root, *groups = path.read_bytes().split(b"SNOD")  # signature of a group's symbol table; the first is the root's
    path.write_bytes(root + b"SNOD" + b"DONS".join(groups))
    with pytest.raises(SpandexError, match=rf"^{path}: its layers cannot be read"):
        network_layers(path)


def test_missing_layer_is_named(path):
    replace(path, "1", None)
    with pytest.raises(SpandexError, match=rf"^{path}: no lava-dl network"):
        deployed_weights(path)


WEIGHTS = np.resize([2.0, -4.0, 0.0, 8.0, -6.0], (6, 4))


def with_weight(value):
    weights = WEIGHTS.copy()
    weights[1, 2] = value
    return weights


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("1", np.zeros(3), "layer 1: type is missing"),
        ("1/type", None, "layer 1: type is missing"),
        ("1/type", np.array([3]), "layer 1: cannot be read"),
        ("1/type", np.array([b"average"]), "layer 1: type 'average', which netx cannot build"),
        ("1/type", np.array([b"dense_comp"]), "layer 1: type 'dense_comp', which netx cannot build"),
        (
            "1/type",
            np.array([b"lstm"]),
            "layer 1: type 'lstm', which lava-dl does not know; netx would leave the layer",
        ),
        ("1/type", np.array([b"dense_rec"]), "layer 1: weight_rec is missing"),
        ("1/shape", None, "layer 1: shape is missing"),
        ("1/shape", np.array([0]), r"layer 1: impossible shape \[0\]"),
        ("1/shape", np.array([6.5]), r"layer 1: shape 6.5 is not a whole number"),
        ("1/weight", None, "layer 1: weight is missing"),
        ("1/weight", "text", "layer 1: weight holds no numbers"),
        ("1/weight", np.zeros((0, 4)), "layer 1: weight holds no numbers"),
        ("1/weight", np.full((6, 5), 2.0), r"layer 1: weights of shape \(6, 5\) do not fit 4 inputs"),
        ("1/weight", np.full((5, 4), 2.0), r"layer 1: weights of shape \(5, 4\) do not fit 6 neurons"),
        ("1/weight", with_weight(0.5), "layer 1: 1 weights are not whole numbers, such as 0.5"),
        ("1/weight", with_weight(np.nan), "layer 1: weight is nan"),
        ("1/weight", with_weight(-np.inf), "layer 1: weight is -inf"),
        ("1/weight", with_weight(300), "layer 1: 1 weights lie outside 8 bits, such as 300"),
        ("1/weight", with_weight(255), "layer 1: 1 weights lie outside 8 bits, such as 255"),
        ("1/weight", with_weight(-258), "layer 1: 1 weights lie outside 8 bits, such as -258"),
        ("1/weight", with_weight(1e300), "layer 1: weight is 1e"),
        ("1/weight", np.full((6, 4), 256), "layer 1: 24 weights lie outside 8 bits, such as 256"),
        ("1/weight", np.full((6, 4), -1), "layer 1: Lava would change 24 of 24 weights, such as -1 to 0"),
        ("1/weight", np.minimum(WEIGHTS, 0) / 2, None),
        ("1/weight", np.minimum(WEIGHTS + 2, 0) / 2, "layer 1: Lava would change 4 of 9 weights, such as -2 to -1.5"),
        ("1/bias", np.zeros(5), r"layer 1: bias of shape \(5,\) does not fit 6 neurons"),
        ("1/bias", np.zeros((6, 1)), r"layer 1: bias of shape \(6, 1\) does not fit 6 neurons"),
        ("1/bias", np.full(6, 1.5), "layer 1: bias 1.5 is not a whole number"),
        ("1/bias", np.full(6, np.nan), "layer 1: bias is nan"),
        ("1/bias", np.full(6, -(2**19)), "layer 1: bias -524288; Lava takes"),
        ("1/bias", np.full(6, 2**19 - 1), None),
        ("1/bias", 3.0, None),
        ("2/bias", np.zeros(2), "layer 2: bias on an output layer"),
        ("1/delay", np.full(6, -1.0), "layer 1: negative delay -1"),
        ("1/delay", np.full(6, 0.5), "layer 1: delay 0.5 is not a whole number"),
        ("1/delay", np.full(6, np.nan), "layer 1: delay is nan"),
        ("1/delay", np.full(6, np.inf), "layer 1: delay is inf"),
        ("1/delay", np.zeros(5), r"layer 1: delays of shape \(5,\) do not fit"),
        ("1/delay", np.zeros((1, 6, 4)), r"layer 1: delays of shape \(1, 6, 4\) do not fit"),
        ("1/neuron/type", None, "layer 1: cannot be read"),
        ("1/neuron/type", "ALIF", "layer 1: neuron type 'ALIF'; netx runs SDNN, LOIHI, CUBA, RF_PHASE, RF_IZHIKEVICH"),
        ("1/neuron/type", "ADRF_PHASE", "layer 1: neuron type 'ADRF_PHASE', which netx would run as RF neurons"),
        ("1/neuron/type", "RF_IZHIKEVICH", "layer 1: RF_IZHIKEVICH neurons without complex weights, on which netx"),
        ("1/neuron/gradedSpike", True, "layer 1: neuron/gradedSpike of SDNN neurons; Lava's send 1 or nothing"),
        ("1/neuron/gradedSpike", False, None),
        ("1/neuron/refDelay", 2, "layer 1: neuron/refDelay 2, which netx ignores"),
        ("1/neuron/refDelay", 1, None),
        ("1/neuron/type", "CUBA", "layer 1: neuron/iDecay is missing"),
        ("1/neuron/vThMant", None, "layer 1: neuron/vThMant is missing"),
        ("1/neuron/vThMant", np.nan, "layer 1: neuron/vThMant is nan"),
        ("1/neuron/vThMant", np.full(6, 6), "layer 1: 6 thresholds"),
        ("1/neuron/vThMant", 2**19, "layer 1: threshold 524288; Lava takes"),
        ("1/neuron/vThMant", 6.0001, "layer 1: threshold 6.0001; Lava takes multiples of 1/4096"),
        ("1/neuron/vThMant", 6.5, None),
        ("1/neuron/vThMant", 2**18 - 1, None),
        ("1/neuron/activation", "tanh", "layer 1: activation 'tanh'; netx would run 'relu'"),
        ("1/neuron/activation", None, None),
        ("2/neuron/activation", "tanh", None),
        ("1/neuron/weight_exp", 2, "layer 1: neuron/weight_exp 2, which netx ignores"),
        ("1/neuron/weight_exp", 0, None),
        ("1/neuron/messageBits", 16, "layer 1: neuron/messageBits"),
        ("0/bias", np.zeros(4), r"layer 0: bias of shape \(4,\)"),
        ("0/shape", None, "layer 0: shape is missing"),
    ],
)
def test_unsuitable_layer_is_named_with_its_value(path, key, value, message):
    replace(path, key, value)
    if message is None:
        Network(path)
        return
    with pytest.raises(SpandexError, match=rf"^{path}: {message}") as raised:
        Network(path)
    assert "\n" not in str(raised.value)


RESONATORS = {"type": "RF_PHASE", "vThMant": 6, "sinDecay": np.array([2165]), "cosDecay": np.array([2980])}


def make_complex(path, **neuron):
    """Complex weights and resonate-and-fire neurons in the hidden layer."""
    for key in ("weight", "bias", "delay", "neuron"):
        replace(path, f"1/{key}", None)
    replace(path, "1/weight/real", WEIGHTS)
    replace(path, "1/weight/imag", -WEIGHTS)
    for key, value in (RESONATORS | neuron).items():
        replace(path, f"1/neuron/{key}", value)


def make_recurrent(path):
    """CUBA neurons that listen to each other in the hidden layer."""
    for key, value in {"delay": None, "type": np.array([b"dense_rec"]), "weight_rec": np.full((6, 6), -2.0)}.items():
        replace(path, f"1/{key}", value)
    for key, value in {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "refDelay": 1, "gradedSpike": False}.items():
        replace(path, f"1/neuron/{key}", value)


@pytest.mark.parametrize("make", [make_complex, make_recurrent])
def test_layers_that_are_no_plain_matrix_are_mapped_and_counted(path, make):
    make(path)
    network = Network(path, True)
    assert network.sparse_layers == {1: True, 2: True}
    assert [type(layer).__name__ for layer in network.layers[2:]] == ["Dense"]
    assert [layer.index for layer in deployed_weights(path)] == [2]
    more = np.count_nonzero(WEIGHTS) if make is make_complex else 36
    assert network_size(path).layers[0].nonzero_weights == np.count_nonzero(WEIGHTS) + more


@pytest.mark.parametrize(
    ("make", "key", "value", "message"),
    [
        (make_complex, "neuron/type", "SDNN", "complex weights without resonate-and-fire neurons, on which netx fails"),
        (make_complex, "type", np.array([b"conv"]), "complex weights without resonate-and-fire neurons"),
        (make_complex, "neuron/type", "ADRF_IZHIKEVICH", "neuron type 'ADRF_IZHIKEVICH', which netx would run as RF"),
        (
            make_complex,
            "neuron/sinDecay",
            np.ones(6),
            "6 values of neuron/sinDecay; Lava's RF_PHASE neurons of a layer",
        ),
        (make_complex, "neuron/cosDecay", None, "neuron/cosDecay is missing"),
        (make_complex, "neuron/gradedSpike", True, "neuron/gradedSpike of RF_PHASE neurons; Lava's send 1 or nothing"),
        (make_complex, "weight/imag", None, "weight/imag is missing"),
        (make_complex, "weight/imag", np.zeros((6, 4)), "weight/imag is zero, on which netx fails"),
        (make_complex, "weight/real", np.full((6, 5), 2), r"weights of shape \(6, 5\) do not fit 4 inputs"),
        (make_complex, "weight/real", np.full((6, 4), 0.5), "24 weights are not whole numbers, such as 0.5"),
        (make_complex, "weight/real", np.full((6, 4), 300), "24 weights lie outside 8 bits, such as 300"),
        (make_complex, "delay", np.full(6, 2), "delays, which netx leaves out of a layer with complex weights"),
        (make_complex, "delay", np.zeros(6), None),
        (make_complex, "bias", np.full(6, 2), "bias, which netx leaves out of a layer with complex weights"),
        (make_recurrent, "weight_rec", np.full((6, 5), 2), r"weights of shape \(6, 5\) do not fit 6 inputs"),
        (make_recurrent, "weight_rec", np.full((6, 6), 0.5), "36 weights are not whole numbers, such as 0.5"),
        (make_recurrent, "weight_rec", np.full((6, 6), 300), "36 weights lie outside 8 bits, such as 300"),
        (make_recurrent, "delay", np.zeros(6), "delays in a recurrent layer, with which netx leaves out the exponent"),
        (make_recurrent, "neuron/type", "SDNN", "sigma-delta neurons in a recurrent layer, whose messages netx takes"),
        (make_recurrent, "neuron/gradedSpike", True, "neuron/gradedSpike of CUBA neurons; Lava's send 1 or nothing"),
        (make_recurrent, "bias", np.zeros(5), r"bias of shape \(5,\) does not fit 6 neurons"),
    ],
)
def test_what_netx_makes_of_complex_and_recurrent_layers_is_refused(path, make, key, value, message):
    make(path)
    replace(path, f"1/{key}", value)
    if message is None:
        Network(path)
        return
    with pytest.raises(SpandexError, match=rf"^{path}: layer 1: {message}"):
        Network(path)


@pytest.mark.parametrize(
    ("sizes", "kind", "message"),
    [
        ([4], "flatten", "type 'flatten' behind a layer of shape 4, which netx cannot connect"),
        ([2, 2], "flatten", "type 'flatten' behind a layer of shape 2x2"),
        ([1, 2, 2], "dense", "type 'dense' behind a layer of shape 1x2x2"),
    ],
)
def test_layer_that_netx_cannot_connect_is_refused(path, sizes, kind, message):
    replace(path, "0/shape", np.array(sizes))
    replace(path, "1/type", np.array([kind.encode()]))
    with pytest.raises(SpandexError, match=rf"^{path}: layer 1: {message}"):
        Network(path)
    assert survey(path)[1].netx.startswith(message)


@pytest.mark.parametrize(("bits", "graded"), [(0, False), (16, True)])
def test_sigma_delta_network_without_input_layer_has_to_be_told_its_message_bits(path, bits, graded):
    for key in ("type", "shape", "neuron"):  # of the hidden layer, in the place of the input
        replace(path, f"0/{key}", None)
    with h5py.File(path, "r+") as file:
        del file["layer/0"]
        file.move("layer/1", "layer/0")
        file.move("layer/2", "layer/1")
    with pytest.raises(SpandexError, match=rf"^{path}: layer 0: sigma-delta neurons without an input layer.*bits"):
        Network(path)
    assert Executor(path, input_message_bits=bits).takes_spikes is not graded


def test_input_layer_without_neurons_tells_no_message_bits(path):
    replace(path, "0/neuron", None)
    with pytest.raises(SpandexError, match=r"layer 1: sigma-delta neurons without an input layer"):
        Network(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stride": (128, 1)}, "stride 128; Lava's convolution takes at most 127"),
        ({"dilation": (1, 200)}, "dilation 200; Lava's convolution takes at most 127"),
        ({"padding": (-1, 0)}, r"weights of shape \(4, 3, 3, 2\) with stride .* do not make neurons of shape"),
        ({"stride": (0, 1)}, "do not make neurons"),
        ({"stride": (1, 2, 3)}, r"stride of shape \(3,\)"),
        ({"stride": 1.5}, "stride 1.5 is not a whole number"),
        ({"groups": 128}, "128 groups; Lava's convolution takes at most 127"),
        ({"groups": 3}, "in 3 groups .* make no 4x5x7 neurons from an input of shape 3x7x8"),
        ({"groups": None}, "groups is missing"),
        ({"shape": [4, 7, 5]}, "make no 4x7x5 neurons"),
        ({"shape": [4, 35]}, "neurons of shape .*, where channels, height and width belong"),
        ({"weight": np.full((4, 3, 3, 2), 256)}, "72 weights lie outside 8 bits, such as 256"),
        ({"weight": np.ones((4, 3, 6))}, "do not make neurons"),
        ({"delay": [1, 2, 3, 4]}, "delays, which netx leaves out of a convolution"),
        ({"neuron": None}, "neuron is missing"),
        ({"neuron": INTEGRATOR | {"iDecay": 5000}}, "decay 5000 is not between 0 and 4096"),
        (
            {"weight": np.ones((2000, 3, 19, 19)), "dilation": (127, 127)},
            "kernels of 31,3[0-9]{2},[0-9]{3},000 weights",
        ),
    ],
)
def test_kernels_that_nothing_runs_are_refused_with_the_value(tmp_path, changed, message):
    layer = convolution(np.ones((4, 3, 3, 2), int), (8, 7, 3), INTEGRATOR)
    layer = {key: value for key, value in (layer | changed).items() if value is not None}
    if len(layer["weight"]) != 4:
        layer["shape"] = [len(layer["weight"]), 5, 7]
    path = write_layers(tmp_path / "network.net", image(8, 7, 3), layer)
    for read in (Network, Executor):
        with pytest.raises(SpandexError, match=rf"network\.net: layer 1: .*{message}"):
            read(path)


def test_layers_left_out_may_be_of_any_type(path):
    replace(path, "2/type", np.array([b"average"]))
    assert len(Network(path, num_layers=2)) == 2


def test_skipped_layers_count_for_shapes_alone(path):
    replace(path, "1/weight", np.zeros((6, 4)))
    replace(path, "1/delay", np.full(6, 70.0))
    network = Network(path, [True], skip_layers=2, input_message_bits=16)
    assert len(network) == 1 and network.sparse_layers == {2: True}


def test_options_that_fit_no_network_are_named(path):
    with pytest.raises(SpandexError, match=rf"^{path}: netx cannot build"):
        Network(path, num_layers=0)


def test_weights_may_have_the_trailing_dimensions_of_a_convolution(path):
    replace(path, "1/weight", WEIGHTS.reshape(6, 4, 1, 1, 1))
    np.testing.assert_array_equal(Network(path, False).layers[1].synapse.weights.init / 16, WEIGHTS)


def test_delays_of_synapses_may_be_a_row_or_a_column(path):
    for delays in (np.arange(4.0)[np.newaxis], np.arange(6.0)[:, np.newaxis], np.array([5.0]), 5.0):
        replace(path, "1/delay", delays)
        for sparse in (True, False):
            held = Network(path, sparse).layers[1].synapse.delays.init
            held = held.toarray() if sparse else held
            np.testing.assert_array_equal(held, np.where(sparse & (WEIGHTS == 0), 0, np.broadcast_to(delays, (6, 4))))
