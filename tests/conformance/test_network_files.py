"""What is refused in a network file is what stock lava-dl and Lava would change in it or fail on."""

import h5py
import numpy as np
import pytest
from lava.lib.dl.netx.utils import optimize_weight_bits
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.sdn.process import ActivationMode
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

from denoising import N_FFT, small_network
from network_files import SIGMA_DELTA, dense, write_layers
from package import compress
from spandex.deploy import Executor, Network
from spandex.deploy.execution import execution, processes_forgotten
from spandex.errors import SpandexError
from spandex.networks import deployed_weights
from spandex.networks.hdf5 import held_weights
from stock_lava import stock_network

# Both signs, 9 bits, one sign, zeros
EXACT = [[[3, -1], [0, 7]], [[129, -1], [-255, 3]], [[255, 0], [6, 7]], [[-3, -5], [-255, -7]], [[-6, 0], [-2, -5]]]
# The smallest weight is a power of two; odd below -128 and zero. Of the last two, Lava keeps no weight.
CHANGED = [[[-1, 0], [-1, 0]], [[-8, -1], [-3, -4]], [[-1, -1], [-1, -1]], [[-129, 0], [-3, -4]]]


def write_network(path, layers, **last):
    """Two inputs and hidden layers with the given weights; further entries of the last one."""
    neuron = SIGMA_DELTA | {"vThMant": 0}
    hidden = [dense(np.array(weights, np.float32), neuron) for weights in layers]
    hidden[-1] |= last
    return write_layers(path, {"type": "input", "shape": [2], "neuron": neuron}, *hidden)


def held(network):
    """The weights that Lava's synapses compute with, times their exponents, of each layer."""
    source = RingBuffer(data=np.ones((2, 2), int))
    source.s_out.connect(network.in_layer.neuron.a_in)
    with execution(source, Loihi2SimCfg(select_tag="fixed_pt")) as run:
        run.steps(2)
        synapses = [layer.synapse for layer in network.layers[1:]]
        weights = [synapse.weights.get() for synapse in synapses]
    return [
        (matrix.toarray() if hasattr(matrix, "toarray") else matrix) * 2.0 ** synapse.proc_params["weight_exp"]
        for matrix, synapse in zip(weights, synapses, strict=True)
    ]


def as_lava_converts(weights):
    """What netx and Lava's synapse make of integer weights within the range that netx does not clip."""
    with np.errstate(divide="ignore"):
        shifted, bits, exponent, _ = optimize_weight_bits(weights)
    sign_mode = determine_sign_mode(shifted)
    return truncate_weights(clip_weights(shifted, sign_mode, 8), sign_mode, bits) * 2.0**exponent


@pytest.mark.parametrize("sparse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_lava_holds_the_weights_of_the_file(tmp_path, sparse):
    path = write_network(tmp_path / "network.net", EXACT)
    with processes_forgotten():
        np.testing.assert_array_equal(held(Network(path, sparse)), EXACT)
    np.testing.assert_array_equal(
        [layer.weights * 2.0**layer.weight_exponent for layer in deployed_weights(path)], EXACT
    )


@pytest.mark.parametrize(
    ("layers", "sparse"),
    [(CHANGED, False), pytest.param(CHANGED[:2], True, marks=pytest.mark.slow)],  # Lava cannot show an empty matrix
)
def test_weights_that_stock_lava_changes_are_refused_with_their_values(tmp_path, layers, sparse):
    path = write_network(tmp_path / "network.net", layers)
    with processes_forgotten():
        used = held(stock_network(path, sparse_fc_layer=sparse))
    for weights, in_use in zip(map(np.array, layers), used, strict=True):
        np.testing.assert_array_equal(in_use, as_lava_converts(weights))
        changed = in_use != weights
        example = f"such as {weights[changed][0]} to {in_use[changed][0]:g}"
        refused = write_network(tmp_path / "refused.net", [weights])
        with pytest.raises(
            SpandexError,
            match=f"layer 1: Lava would change {changed.sum()} of {np.count_nonzero(weights)} weights, {example}",
        ):
            Network(refused, sparse)


def test_weights_are_refused_exactly_where_lava_changes_them():
    """Smallest, largest and the power of two common to all decide, so three weights show every case."""
    refused = 0
    for low in range(-256, 256):
        for high in (low, *range(max(low, -9), 10), 127, 128, 254, 255):
            for middle in {0, high}:
                weights = np.array([[low, middle, high]])
                if not weights.any() or (weights.max() > 254 and weights.min() < 0):
                    continue  # nothing to convert, or beyond 8 bits
                used = as_lava_converts(weights)
                if np.array_equal(used, weights):
                    held_by_us, exponent, _ = held_weights(weights)
                    np.testing.assert_array_equal(held_by_us * 2.0**exponent, weights)
                else:
                    assert weights.max() <= 0
                    refused += 1
                    with pytest.raises(SpandexError, match="Lava would change"):
                        held_weights(weights)
    assert refused


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the process that stock netx gave up on
def test_stock_netx_silently_runs_other_than_the_file_says(tmp_path):
    weights = [[3, -1], [0, 7]]
    path = write_network(tmp_path / "fractions.net", [weights], bias=np.array([1.5, np.nan]), delay=[0.5, 2.9])
    layer = stock_network(path).layers[1]
    assert layer.neuron.bias.init[0] == 1 << 12
    np.testing.assert_array_equal(layer.synapse.delays.init, [[0, 0], [2, 2]])
    path = write_network(tmp_path / "tanh.net", [weights], **{"neuron/activation": "tanh", "neuron/weight_exp": 3})
    assert stock_network(path).layers[1].neuron.proc_params["act_mode"] is ActivationMode.RELU
    path = write_network(tmp_path / "output.net", [weights], bias=np.zeros(2), **{"neuron/sigma_output": True})
    with pytest.raises(TypeError, match="bias"):
        stock_network(path)


def test_compressed_file_is_the_same_network_to_stock_netx_and_to_the_executor(tmp_path):
    original, packed = small_network(tmp_path / "original.net"), tmp_path / "packed.net"
    compress(original, packed)
    with h5py.File(packed) as file:
        assert file["layer/1/weight"].compression == "gzip"
    for layer, other in zip(stock_network(original).layers, stock_network(packed).layers, strict=True):
        assert type(layer) is type(other) and layer.shape == other.shape
        if hasattr(layer, "synapse"):
            for name in ("weights", "delays"):
                if hasattr(layer.synapse, name):
                    assert np.array_equal(getattr(layer.synapse, name).get(), getattr(other.synapse, name).get())
            assert np.array_equal(layer.synapse.proc_params["weight_exp"], other.synapse.proc_params["weight_exp"])
    inputs = np.random.default_rng(1).integers(-12, 200, (N_FFT // 2 + 1, 40), dtype=np.int32)
    assert np.array_equal(Executor(original).run(inputs).outputs, Executor(packed).run(inputs).outputs)
