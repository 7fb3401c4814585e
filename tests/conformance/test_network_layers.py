"""Which layers stock netx builds and Lava runs, of all that stock lava-dl exports; info says the same, and run does."""

import h5py
import lava.lib.dl.slayer as slayer
import numpy as np
import pytest
import torch
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

from commands import spandex
from spandex.deploy import Executor, Network
from spandex.deploy.execution import execution, processes_forgotten
from spandex.errors import SpandexError
from spandex.steps.info import describe
from stock_lava import stock_network

STEPS = 24
CUBA = {"threshold": 0.25, "current_decay": 0.5, "voltage_decay": 0.5}
ADAPTIVE = {"threshold_step": 0.1, "threshold_decay": 0.5, "refractory_decay": 0.5}
RESONATING = {"threshold": 0.1, "period": 10, "decay": 0.1}
SIGMA_DELTA = {"threshold": 0.1, "activation": torch.relu}
block = slayer.block
OPTIONS = {"weight_scale": 2}


def dense(kind, neuron, **more):
    """A layer of 5 neurons on 6 inputs."""
    return [kind.Dense(neuron, 6, 5, **OPTIONS, **more)]


MADE = {  # what makes the blocks, and the number of layers that stock netx does not run as the file says
    "dense": (lambda: dense(block.cuba, CUBA), 0),
    "recurrent": (lambda: [block.cuba.Recurrent(CUBA, 6, 5, **OPTIONS)], 0),
    "recurrent, delayed": (lambda: [block.cuba.Recurrent(CUBA, 6, 6, **OPTIONS, delay=True)], 1),
    "resonate-and-fire": (lambda: dense(block.rf, RESONATING), 0),
    "Izhikevich": (lambda: dense(block.rf_iz, RESONATING), 0),
    "resonate-and-fire twice": (lambda: [*dense(block.rf, RESONATING), block.rf.Dense(RESONATING, 5, 4, **OPTIONS)], 0),
    "adaptive resonate-and-fire": (lambda: dense(block.adrf, {**RESONATING, **ADAPTIVE}), 1),
    "adaptive": (lambda: dense(block.alif, {**CUBA, **ADAPTIVE}), 1),
    "affine": (lambda: [*dense(block.cuba, CUBA), block.cuba.Affine(CUBA, 5, 3, dynamics=False)], 0),
    "winner takes all": (lambda: [block.cuba.KWTA(CUBA, 6, 5, 2)], 1),
    "graded spikes": (lambda: dense(block.cuba, {**CUBA, "graded_spike": True}), 1),
    "sigma-delta": (lambda: [block.sigma_delta.Input(SIGMA_DELTA), *dense(block.sigma_delta, SIGMA_DELTA)], 0),
}
IMAGES = {
    "convolution": (lambda: [block.cuba.Conv(CUBA, 2, 3, 3)], 0),
    "pooling": (lambda: [block.cuba.Pool(CUBA, 2)], 1),
    "unpooling": (lambda: [block.cuba.Unpool(CUBA, 2)], 1),
    "transposed convolution": (lambda: [block.cuba.ConvT(CUBA, 2, 3, 3)], 1),
}


@pytest.fixture
def export(tmp_path):
    def export(blocks, shape=(6,), name="network.net"):
        """The path of the blocks as lava-dl exports them, and what they make of spikes (1, *shape, steps)."""
        torch.manual_seed(0)
        signal = (torch.rand(1, *shape, STEPS) > 0.5).float()
        with torch.no_grad(), h5py.File(tmp_path / name, "w") as file:
            for index, made in enumerate(blocks):
                signal = made(signal)
                made.export_hdf5(file.create_group(f"layer/{index}"))
        return tmp_path / name, signal

    return export


def sent(network, inputs):
    """What a netx network sends for inputs (..., steps) to its first synapses, in stock Lava."""
    source, sink = Source(data=inputs), Sink(shape=network.out.shape, buffer=inputs.shape[-1])
    source.s_out.connect(network.in_layer.inp)
    network.out.connect(sink.a_in)
    with execution(source, Loihi2SimCfg(select_tag="fixed_pt")) as run:
        run.steps(inputs.shape[-1])
        return sink.data.get().astype(int)


def spikes(seed=0):
    return np.random.default_rng(seed).integers(0, 2, (6, STEPS))


def run(tmp_path, path, inputs, *options):
    np.save(tmp_path / "X.npy", inputs)
    result = spandex("run", path, "--input", tmp_path / "X.npy", "--output", tmp_path / "Y.npy", *options)
    assert result.exit_code == 0, result.output
    return np.load(tmp_path / "Y.npy")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the processes that netx gave up on
@pytest.mark.parametrize("name", [*MADE, *IMAGES])
def test_info_says_what_stock_netx_does_not_run_and_the_executor_refuses_what_it_says(export, name):
    make, unfit = (MADE | IMAGES)[name]
    torch.manual_seed(1)
    shape = (2, 8, 8) if name in IMAGES else (6,)
    path, _ = export(make(), shape)
    if name in IMAGES:  # netx has to know the shape of what arrives
        with h5py.File(path, "r+") as file:
            file.move("layer/0", "layer/1")
            file["layer/0/type"] = np.array([b"input"])
            file["layer/0/shape"] = np.array(shape)
    found = describe(path)
    assert len([layer for layer in found["layers"] if layer["netx"]]) == unfit
    with processes_forgotten():
        if unfit:
            with pytest.raises(SpandexError, match=r"network\.net: layer"):
                Network(path)
        else:
            assert len(Network(path)) == len(stock_network(path))
        if any(layer["executor"] for layer in found["layers"]):
            with pytest.raises(SpandexError, match=r"network\.net: (layer|block)"):
                Executor(path)
        else:
            Executor(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("adaptive", AttributeError),
        ("winner takes all", KeyError),
        ("pooling", NotImplementedError),
        ("unpooling", NotImplementedError),
        ("transposed convolution", NotImplementedError),
    ],
)
def test_stock_netx_fails_on_layers_that_info_calls_so(export, name, error):
    path, _ = export((MADE | IMAGES)[name][0](), (2, 8, 8) if name in IMAGES else (6,))
    with processes_forgotten(), pytest.raises(error):
        stock_network(path)


@pytest.mark.parametrize(("kind", "error"), [("average", NotImplementedError), ("concat", NotImplementedError)])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_netx_fails_on_types_that_lava_dl_can_no_longer_export(export, kind, error):
    path, _ = export(MADE["dense"][0]())
    with h5py.File(path, "r+") as file:
        file["layer/1/type"] = np.array([kind.encode()])
        file["layer/1/shape"] = np.array([5])
    with processes_forgotten(), pytest.raises(error):
        stock_network(path)
    assert describe(path)["layers"][1]["netx"] == f"type {kind!r}, which netx cannot build"


def test_stock_netx_leaves_out_types_that_it_does_not_know(export):
    path, _ = export(MADE["resonate-and-fire twice"][0]())
    with h5py.File(path, "r+") as file:
        file["layer/1/type"][0] = b"lstm"
    with processes_forgotten():
        assert len(stock_network(path)) == 1
    assert "netx would leave the layer out" in describe(path)["layers"][1]["netx"]


def test_delays_make_stock_netx_forget_the_exponent_of_recurrent_weights(export):
    with processes_forgotten():
        plain = stock_network(export(MADE["recurrent"][0]())[0]).layers[0]
        delayed = stock_network(export(MADE["recurrent, delayed"][0](), name="delayed.net")[0]).layers[0]
        for synapse in (plain.synapse, plain.synapse_rec):
            assert synapse.proc_params["weight_exp"] < 0
        for synapse in (delayed.synapse, delayed.synapse_rec):
            assert np.abs(synapse.weights.init).max() > 64  # moved up to fill 8 bits
            assert synapse.proc_params.get("weight_exp", 0) == 0


def test_stock_netx_leaves_bias_and_delays_out_of_complex_layers_and_adaptation_out_of_resonators(export):
    path, _ = export(MADE["resonate-and-fire"][0]())
    with h5py.File(path, "r+") as file:
        file["layer/0/delay"] = np.full(5, 3)
        file["layer/0/bias"] = np.full(5, 50)
    with processes_forgotten():
        layer = stock_network(path).layers[0]
        kinds = {type(layer.real_synapse).__name__, type(layer.imag_synapse).__name__}
        assert kinds == {"Dense"} and not hasattr(layer.neuron, "bias")
        adaptive = stock_network(export(MADE["adaptive resonate-and-fire"][0](), name="adaptive.net")[0]).layers[0]
        assert type(adaptive.neuron) is type(layer.neuron)


@pytest.mark.parametrize("name", ["recurrent", "resonate-and-fire", "Izhikevich", "resonate-and-fire twice"])
def test_recurrent_and_resonating_networks_run_in_lava_as_stock_netx_runs_them(export, tmp_path, name):
    torch.manual_seed(1)
    path, _ = export(MADE[name][0]())
    with processes_forgotten():
        expected = sent(stock_network(path), spikes())
    assert expected.any()
    np.testing.assert_array_equal(run(tmp_path, path, spikes(), "--backend", "lava"), expected)


def test_pools_are_written_as_convolutions_that_stock_lava_runs_with_the_same_bits(export, tmp_path):
    images = [block.cuba.Conv(CUBA, 2, 3, 3, **OPTIONS), block.cuba.Pool(CUBA, 2, **OPTIONS), block.cuba.Flatten()]
    path, _ = export([*images, block.cuba.Dense(CUBA, 27, 4, **OPTIONS)], (2, 8, 8))
    written = tmp_path / "written.net"
    result = spandex("convert", path, "--output", written)
    assert result.stdout == f"{written}: pools written as convolutions: layer 1\n"
    inputs = np.random.default_rng(0).integers(0, 2, (8, 8, 2, STEPS))
    with processes_forgotten():
        expected = sent(stock_network(written, input_shape=(8, 8, 2)), inputs)
    assert expected.any()
    np.testing.assert_array_equal(run(tmp_path, path, inputs, "--input-shape", "8,8,2"), expected)
    assert spandex("convert", written, "--output", tmp_path / "again.net").stdout.endswith(": none\n")


def test_stock_lava_sends_graded_spikes_of_integrators_as_ones(export):
    torch.manual_seed(1)
    path, trained = export(MADE["graded spikes"][0]())
    assert set(trained.unique().tolist()) - {0.0, 1.0}
    with processes_forgotten():
        assert set(np.unique(sent(stock_network(path), spikes()))) == {0, 1}
    assert describe(path)["layers"][0]["netx"].startswith("neuron/gradedSpike of CUBA neurons")


@pytest.mark.parametrize("backend", ["events", "lava"])
def test_sigma_delta_network_without_input_layer_runs_with_the_message_bits_given(export, tmp_path, backend):
    torch.manual_seed(1)
    path, _ = export([*dense(block.sigma_delta, SIGMA_DELTA), block.sigma_delta.Output(SIGMA_DELTA, 5, 4, **OPTIONS)])
    inputs = spikes() * 2000
    with processes_forgotten():
        assert not sent(stock_network(path), inputs).any()  # what the file alone gives in netx
        expected = sent(stock_network(path, input_message_bits=16), inputs)
    assert expected.any()
    found = run(tmp_path, path, inputs, "--backend", backend, "--input-message-bits", "16")
    np.testing.assert_array_equal(found, expected)
