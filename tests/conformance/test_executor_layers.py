"""Every kind of layer that netx builds: spikes, voltages and states as stock Lava has them, to the bit."""

import warnings
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network_files import (
    INTEGRATOR,
    RESONATOR,
    SIGMA_DELTA,
    convolution,
    dense,
    image,
    recurrent,
    resonant,
    shape_of,
    weights,
    write_layers,
)
from spandex.deploy import Executor, Network
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.lava_run import run_in_lava
from spandex.errors import SpandexError
from spandex.networks import pools_as_convolutions
from spandex.networks.hdf5 import network_layers
from stock_lava import modelled, stock_network

STEPS = 40
FAST = INTEGRATOR | {"iDecay": 4096, "vDecay": 4096, "vThMant": 1}
ENDLESS = INTEGRATOR | {"iDecay": 0, "vDecay": 0, "vThMant": 131071}
IZHIKEVICH = RESONATOR | {"type": b"RF_IZHIKEVICH"}
TURNING = RESONATOR | {"sinDecay": 4000, "cosDecay": -900}
FLATTEN = {"type": "flatten"}


def spikes(random, *shape, rate=0.3):
    return (random.random((*shape, STEPS)) < rate).astype(int)


def values(random, *shape, largest=3000):
    return random.integers(-largest, largest, (*shape, STEPS))


def assert_as_stock(path, inputs, **options):
    """What the executor does with a file, and with what stock netx builds of it, is what Lava does; returns the run."""
    with processes_forgotten():
        stock = stock_network(path, **options)
        expected, voltages, states = modelled(stock, inputs)
        built = Executor(stock).run(inputs, record=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        executor = Executor(path, **options)
        integrates = "voltage" in executor.initial_state().layers[-1].neurons._fields
        run = executor.run(inputs, record=True, voltage=integrates)
    assert len(expected) == len(run.spikes)
    for number, (one, other, state) in enumerate(zip(expected, run.spikes, states, strict=True)):
        np.testing.assert_array_equal(other, one, err_msg=f"layer {number}")
        for own, stock in zip(run.state.layers[number].neurons, state, strict=False):
            np.testing.assert_array_equal(own, stock, err_msg=f"state of layer {number}")
    if integrates:
        np.testing.assert_array_equal(run.voltage, voltages)
    for number, (one, other) in enumerate(zip(run.spikes, built.spikes, strict=True)):
        np.testing.assert_array_equal(other, one, err_msg=f"layer {number} of the built network")
    assert [astuple(layer)[1:] for layer in built.activity] == [astuple(layer)[1:] for layer in run.activity]
    sent = [np.count_nonzero(one.reshape(-1, inputs.shape[-1]), axis=0) for one in (inputs, *expected)]
    first = 0 if executor.initial_state().layers[0].pending is not None else 1
    for number, events in enumerate(run.events[first:], start=first):
        own = sent[number + 1] if "_rec" in path.name and not number else 0
        np.testing.assert_array_equal(events, sent[number] + own)
    return run


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("density", [0.02, 1.0], ids=["listed", "whole"])
def test_two_synapses_of_which_one_has_wider_weights(tmp_path, swapped, density):
    random = np.random.default_rng(11)
    narrow, wide = weights(random, (30, 30)) // 2 * 2, random.integers(100, 256, (30, 30))
    narrow, wide = (part * (random.random(part.shape) < density) for part in (narrow, wide))
    wide[0, :2] = 129, 255
    narrow[0, :2] = 2, -2
    pair = (narrow, wide)[:: -1 if swapped else 1]
    assert_as_stock(write_layers(tmp_path / "complex.net", resonant(*pair, RESONATOR)), spikes(random, 30))
    own = recurrent(*map(abs, pair), INTEGRATOR)  # of one sign, which 8 bits hold with the odd ones
    assert_as_stock(write_layers(tmp_path / "network_rec.net", own), spikes(random, 30))


SIZES = [(7, 9), (1, 5), (33, 4)]  # inputs, neurons


@pytest.mark.parametrize(("inputs", "neurons"), SIZES)
@pytest.mark.parametrize("neuron", [INTEGRATOR, FAST, ENDLESS], ids=["leaky", "fast", "endless"])
@pytest.mark.parametrize("options", [{}, {"reset_interval": 7, "reset_offset": 3}], ids=["", "reset"])
def test_integrators(tmp_path, inputs, neurons, neuron, options):
    random = np.random.default_rng(inputs)
    first = dense(weights(random, (neurons, inputs)), neuron, bias=random.integers(-200, 200, neurons))
    path = write_layers(tmp_path / "network.net", first, dense(weights(random, (3, neurons)), INTEGRATOR))
    assert_as_stock(path, spikes(random, inputs), **options)


def test_integrators_whose_current_wraps_and_whose_voltage_is_clipped(tmp_path):
    random = np.random.default_rng(0)
    large = 127 * np.ones((6, 900), int) * np.array([[1], [-1], [1], [-1], [1], [-1]])
    path = write_layers(tmp_path / "network.net", dense(large * 2, ENDLESS))
    run = assert_as_stock(path, spikes(random, 900, rate=0.9))
    assert run.activity[0].states_beyond_24_bits > 0


def test_integrators_with_thresholds_and_decays_of_their_own(tmp_path):
    random = np.random.default_rng(1)
    own = INTEGRATOR | {
        "vThMant": random.integers(1, 90, 9),
        "iDecay": random.integers(0, 4097, 9),
        "vDecay": random.integers(0, 4097, 9),
    }
    path = write_layers(tmp_path / "network.net", dense(weights(random, (9, 7)), own), dense(np.eye(9, dtype=int), own))
    assert_as_stock(path, spikes(random, 7))


def test_delays_of_integrators_and_layers_without_neurons(tmp_path):
    random = np.random.default_rng(2)
    delayed = dense(weights(random, (9, 7)), INTEGRATOR, delay=random.integers(0, 12, (9, 7)))
    bare = dense(weights(random, (4, 9)), INTEGRATOR)
    del bare["neuron"]
    assert_as_stock(write_layers(tmp_path / "network.net", delayed, bare), spikes(random, 7))


@pytest.mark.parametrize(("inputs", "neurons"), SIZES)
@pytest.mark.parametrize("options", [{}, {"reset_interval": 5}], ids=["", "reset"])
def test_recurrence(tmp_path, inputs, neurons, options):
    random = np.random.default_rng(neurons)
    own = recurrent(weights(random, (neurons, inputs)), weights(random, (neurons, neurons), 40), INTEGRATOR)
    path = write_layers(tmp_path / "network_rec.net", own, dense(weights(random, (3, neurons)), INTEGRATOR))
    assert_as_stock(path, spikes(random, inputs), **options)


@pytest.mark.parametrize(("inputs", "neurons"), SIZES)
@pytest.mark.parametrize("neuron", [RESONATOR, IZHIKEVICH, TURNING], ids=["RF", "RF_IZ", "turning"])
def test_resonators(tmp_path, inputs, neurons, neuron):
    random = np.random.default_rng(inputs)
    layers = [
        resonant(weights(random, (neurons, inputs)), weights(random, (neurons, inputs), 15), neuron),
        resonant(weights(random, (4, neurons), 60), weights(random, (4, neurons)), neuron),
    ]
    assert_as_stock(write_layers(tmp_path / "network.net", *layers), spikes(random, inputs))


def test_resonators_whose_state_is_clipped(tmp_path):
    random = np.random.default_rng(3)
    undamped = RESONATOR | {"sinDecay": 500, "cosDecay": 4065, "vThMant": 100_000}
    real, imaginary = (weights(random, (6, 900)) * 2 for _ in range(2))
    run = assert_as_stock(
        write_layers(tmp_path / "network.net", resonant(abs(real), abs(imaginary), undamped)),
        spikes(random, 900, rate=0.95),
    )
    assert run.activity[0].states_beyond_24_bits > 0


GEOMETRIES = {
    "plain": ((11, 9, 4), (6, 4, 3, 5), {}),
    "strides": ((12, 7, 3), (5, 3, 4, 3), {"stride": (3, 2), "padding": (2, 1)}),
    "dilated": ((13, 15, 2), (3, 2, 3, 2), {"dilation": (3, 2), "stride": (2, 3), "padding": (0, 4)}),
    "groups": ((6, 5, 6), (9, 2, 3, 3), {"groups": 3, "padding": (1, 1)}),
    "by channel": ((7, 8, 5), (5, 1, 2, 2), {"groups": 5, "stride": (2, 2)}),
    "strides beyond the kernel": ((9, 11, 3), (4, 3, 1, 2), {"stride": (4, 3)}),
    "wide": ((140, 3, 1), (2, 1, 3, 3), {"stride": (1, 2), "padding": (1, 0)}),
}


@pytest.mark.parametrize("neuron", [SIGMA_DELTA, INTEGRATOR], ids=["sigma-delta", "integrators"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolutions(tmp_path, name, neuron):
    inputs, shape, geometry = GEOMETRIES[name]
    random = np.random.default_rng(len(name))
    biased = random.integers(-9, 9, shape[0])
    first = convolution(weights(random, shape), inputs, neuron, **geometry, bias=biased)
    flat = int(np.prod(first["shape"]))
    layers = [image(*inputs, neuron), first, FLATTEN, dense(weights(random, (5, flat)), neuron)]
    path, signal = write_layers(tmp_path / "network.net", *layers), values(random, *inputs)
    run = assert_as_stock(path, signal)
    with processes_forgotten():
        network = Network(path, unroll=True)
        assert network.unrolled_layers == {1: np.count_nonzero(network.layers[1].synapse.weights.init.toarray())}
        for one, other in zip(run.spikes, modelled(network, signal)[0], strict=True):
            np.testing.assert_array_equal(other, one)
        np.testing.assert_array_equal(Executor(network).run(signal).outputs, run.outputs)


def test_two_convolutions_with_resets_on_an_input_of_which_the_file_has_no_shape(tmp_path):
    random = np.random.default_rng(4)
    first = convolution(weights(random, (4, 2, 3, 3)), (9, 8, 2), INTEGRATOR)
    second = convolution(weights(random, (3, 4, 2, 2)), shape_of(first), INTEGRATOR, stride=(2, 2))
    path = write_layers(tmp_path / "network.net", first, second)
    options = {"input_shape": (9, 8, 2), "reset_interval": 6, "reset_offset": 2}
    assert_as_stock(path, spikes(random, 9, 8, 2), **options)


def test_convolutions_at_both_ends_of_the_weights_and_of_the_sums(tmp_path):
    random = np.random.default_rng(5)
    ends = random.choice([-256, -255, 254, 255], (4, 3, 3, 3))
    first = convolution(ends, (8, 8, 3), SIGMA_DELTA)
    path = write_layers(tmp_path / "network.net", image(8, 8, 3), first)
    run = assert_as_stock(path, values(random, 8, 8, 3, largest=2**21))
    assert run.activity[1].sums_beyond_24_bits > 0


def test_unrolled_convolutions_keep_odd_weights_and_24_bits_of_sums_and_refuse_those_beyond_32(tmp_path):
    random = np.random.default_rng(5)
    first = convolution(random.choice([-256, -255, 254, 255], (4, 3, 3, 3)), (8, 8, 3), SIGMA_DELTA)
    path = write_layers(tmp_path / "network.net", image(8, 8, 3), first)
    signal = values(random, 8, 8, 3, largest=2**11)
    run = assert_as_stock(path, signal)
    assert run.activity[1].sums_beyond_24_bits > 0
    assert run.activity[1].sums_beyond_32_bits == 0
    with processes_forgotten():
        np.testing.assert_array_equal(modelled(Network(path, unroll=True), signal)[0][-1], run.outputs)
        with pytest.raises(ValueError, match=r"sum of magnitude \d{10,} of unrolled synapses"):
            modelled(Network(path, unroll=True), signal << 8)
    wide = convolution(np.ones((1, 1, 127, 127), int), (1000, 1000, 1), INTEGRATOR)
    write_layers(path, image(1000, 1000, 1, None), wide)
    with pytest.raises(SpandexError, match=r"network\.net: layer 1: 12,\d+,\d+,\d+ weights when unrolled; at most"):
        Network(path, unroll=True)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 3},
        {"num_layers": 2, "spike_exp": 3},
        {"skip_layers": 1},
        {"skip_layers": 2, "num_layers": 5},
        {"skip_layers": 4},
        {"skip_layers": 5, "input_message_bits": 16},
        {"spike_exp": 0},
        {"spike_exp": 8},
    ],
)
def test_options_of_netx_mean_what_they_mean_there(tmp_path, options):
    random = np.random.default_rng(6)
    first = convolution(weights(random, (4, 2, 3, 3)), (9, 8, 2), SIGMA_DELTA)
    second = convolution(weights(random, (3, 4, 2, 2)), shape_of(first), SIGMA_DELTA)
    flat = int(np.prod(second["shape"]))
    hidden = dense(weights(random, (6, flat)), SIGMA_DELTA)
    layers = [image(9, 8, 2), first, second, FLATTEN, hidden, dense(weights(random, (5, 6)), SIGMA_DELTA)]
    path = write_layers(tmp_path / "network.net", *layers)
    with processes_forgotten():
        shape = stock_network(path, **options).inp.shape
    assert_as_stock(path, values(random, *shape), **options)


def test_input_without_neurons_only_gives_the_shape(tmp_path):
    random = np.random.default_rng(7)
    first = convolution(weights(random, (4, 2, 3, 3)), (9, 8, 2), INTEGRATOR)
    path = write_layers(tmp_path / "network.net", image(9, 8, 2, neuron=None), first)
    assert_as_stock(path, spikes(random, 9, 8, 2))


@pytest.mark.parametrize("channels", [5, 127, 128])
def test_pool_runs_as_stock_lava_runs_the_convolution_that_it_is_written_as(tmp_path, channels):
    """lava-dl writes one weight for all channels; netx builds a convolution in as many groups, not a pool."""
    random = np.random.default_rng(8)
    geometry = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 1)}
    pool = convolution(np.full((1, 1, 2, 3), 64), (9, 8, channels), INTEGRATOR, **geometry) | {"type": "pool"}
    pool["shape"][0] = channels
    path = write_layers(tmp_path / "pool.net", image(9, 8, channels, None), pool)
    inputs = spikes(random, 9, 8, channels)
    run = Executor(path).run(inputs)
    assert run.outputs.any()
    if channels == 128:
        with pytest.raises(SpandexError, match=r"pool\.net: layer 1: .* convolution of Lava takes 127 groups, not 128"):
            pools_as_convolutions(path, tmp_path / "written.net")
        assert not (tmp_path / "written.net").exists()
        by_hand = pool | {"type": "conv", "weight": np.full((channels, 1, 2, 3), 64), "groups": channels}
        write_layers(path, image(9, 8, channels, None), by_hand)
        with processes_forgotten(), pytest.raises(OverflowError, match="128"):
            modelled(stock_network(path), inputs)
        return
    assert pools_as_convolutions(path, tmp_path / "written.net") == [1]
    np.testing.assert_array_equal(assert_as_stock(tmp_path / "written.net", inputs).outputs, run.outputs)


def test_pieces_of_a_stream_give_the_whole_with_resets_between_them(tmp_path):
    random = np.random.default_rng(9)
    own = recurrent(weights(random, (9, 7)), weights(random, (9, 9), 40), INTEGRATOR)
    path = write_layers(tmp_path / "network.net", own, dense(weights(random, (5, 9)), INTEGRATOR))
    executor = Executor(path, reset_interval=9, reset_offset=4)
    inputs = spikes(random, 7)
    whole = executor.run(inputs)
    first = executor.run(inputs[:, :17])
    first.state.save(tmp_path / "state.npz")
    second = executor.run(inputs[:, 17:], executor.load_state(tmp_path / "state.npz"))
    np.testing.assert_array_equal(np.hstack([first.outputs, second.outputs]), whole.outputs)
    np.testing.assert_array_equal(np.hstack([first.synops, second.synops]), whole.synops)


@st.composite
def networks(draw):
    """Layers of a random network, and what arrives at it."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["sigma-delta", "integrators", "integrators", "resonators"]))
    neuron = {
        "sigma-delta": SIGMA_DELTA | {"vThMant": draw(st.sampled_from([0, 5, 60]))},
        "integrators": INTEGRATOR
        | {name: int(random.integers(0, 4097)) for name in ("iDecay", "vDecay")}
        | {"vThMant": draw(st.sampled_from([1, 50, 5000]))},
        "resonators": draw(st.sampled_from([RESONATOR, IZHIKEVICH])) | {"vThMant": draw(st.sampled_from([5, 90]))},
    }[kind]
    largest = draw(st.sampled_from([1, 20, 127]))
    layers, shape = [], (draw(st.integers(1, 9)),)
    if kind != "resonators" and draw(st.booleans()):
        shape = tuple(draw(st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 4))))
        layers.append(image(*shape, neuron if kind == "sigma-delta" else None))
        for _ in range(draw(st.integers(1, 2))):
            kernel = draw(st.tuples(st.integers(1, min(3, shape[1])), st.integers(1, min(3, shape[0]))))
            layers.append(
                convolution(
                    weights(random, (draw(st.integers(1, 5)), shape[2], *kernel), largest),
                    shape,
                    neuron,
                    stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
                    padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
                )
            )
            shape = shape_of(layers[-1])
        layers.append(FLATTEN)
    elif kind == "sigma-delta":
        layers.append({"type": "input", "shape": [*shape], "neuron": neuron})
    arriving = shape_of(layers[0]) if layers else shape
    inputs = int(np.prod(shape))
    for _ in range(draw(st.integers(1, 2))):
        count = draw(st.integers(1, 8))
        matrix = weights(random, (count, inputs), largest)
        if kind == "resonators":
            layers.append(resonant(matrix, weights(random, (count, inputs), largest), neuron))
        elif kind == "integrators" and draw(st.booleans()):
            layers.append(recurrent(matrix, weights(random, (count, count), largest), neuron))
        else:
            layers.append(dense(matrix, neuron))
        inputs = count
    if kind == "sigma-delta":
        return layers, values(random, *arriving)
    return layers, spikes(random, *arriving, rate=draw(st.sampled_from([0.05, 0.4])))


@pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_random_networks_run_as_stock_lava_runs_them(tmp_path, examples):
    in_runtime = 2 if examples == 20 else 20
    seen = []

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(networks(), st.sampled_from([None, 3, 11]))
    def check(network, interval):
        layers, inputs = network
        path = write_layers(tmp_path / "network.net", *layers)
        options = {} if b"SDNN" in (layers[-1]["neuron"]["type"],) else {"reset_interval": interval}
        with processes_forgotten(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stock = stock_network(path, **options)
            expected, _, states = modelled(stock, inputs)
            run = Executor(path, **options).run(inputs, record=True)
            np.testing.assert_array_equal(Executor(stock).run(inputs).outputs, run.outputs)
        for number, (one, other) in enumerate(zip(expected, run.spikes, strict=True)):
            np.testing.assert_array_equal(other, one, err_msg=f"layer {number}")
            for own, stock in zip(run.state.layers[number].neurons, states[number], strict=False):
                np.testing.assert_array_equal(own, stock, err_msg=f"state of layer {number}")
        if len(seen) < in_runtime:
            with processes_forgotten():
                through_lava = run_in_lava(Network(path, **options), inputs[..., :12].astype(np.int32))
            np.testing.assert_array_equal(run.outputs[..., :12], through_lava)
        seen.append(run.outputs.any())

    check()
    assert len(seen) >= examples and sum(seen) > examples / 4


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("oxford", 64),
        ("mnist", 64),
        pytest.param("pilotnet_sdnn", 64, marks=pytest.mark.slow),
        pytest.param("pilotnet_lif", 64, marks=pytest.mark.slow),
    ],
)
def test_published_networks_of_lava_dl(mirror, name, steps):
    path = mirror / "lavadl" / name / "network.net"
    random = np.random.default_rng(10)
    with processes_forgotten():
        shape = tuple(map(int, stock_network(path).inp.shape))
    if len(shape) == 3:  # a picture that changes slowly
        inputs = random.integers(0, 255, (*shape, 1)) + random.integers(-20, 20, (*shape, steps))
        inputs = inputs * (64 if name == "pilotnet_sdnn" else 4)
    else:  # what excites more than it inhibits
        exciting = network_layers(path)[0].synapses.weights.sum(axis=0) > 0
        inputs = ((random.random((*shape, steps)) < 0.5) & exciting[:, np.newaxis]).astype(int)
    run = assert_as_stock(path, inputs)
    assert all(spikes.any() for spikes in run.spikes[: len(run.spikes) // 2])


@pytest.mark.parametrize("kind", ["recurrent", "complex"])
def test_recurrent_and_complex_layers_run_alike_with_sparse_and_dense_synapses(tmp_path, kind):
    random = np.random.default_rng(11)
    own, other = weights(random, (9, 7)), weights(random, (9, 9 if kind == "recurrent" else 7))
    first = recurrent(own, other, INTEGRATOR) if kind == "recurrent" else resonant(own, other, RESONATOR)
    path = write_layers(tmp_path / "network.net", first, dense(weights(random, (3, 9)), INTEGRATOR))
    inputs = spikes(random, 7).astype(np.int32)
    expected = Executor(path).run(inputs).outputs
    for sparse in ([True, False], [False, True]):
        with processes_forgotten():
            network = Network(path, sparse)
            assert network.sparse_layers == dict(enumerate(sparse))
            names = ("real_synapse", "imag_synapse") if kind == "complex" else ("synapse", "synapse_rec")
            kinds = {type(getattr(network.layers[0], name)).__name__ for name in names}
            assert kinds == {"Sparse" if sparse[0] else "Dense"}
            np.testing.assert_array_equal(Executor(network).run(inputs).outputs, expected)
            np.testing.assert_array_equal(run_in_lava(network, inputs), expected)
