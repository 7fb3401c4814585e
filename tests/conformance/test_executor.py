"""The event-driven executor sends the spikes that stock Lava sends: every layer, every step, every bit."""

import itertools
import warnings
from pathlib import Path

import lava.lib.dl.slayer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from scipy.sparse import csr_matrix

from denoising import encoded_speech
from network_files import SIGMA_DELTA, dense, image, write_layers
from spandex.deploy import Executor, Network
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.lava_run import run_in_lava
from stock_lava import lava_spikes, model_spikes, stock_network


def assert_same_spikes(expected, actual):
    assert len(expected) == len(actual)
    for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
        np.testing.assert_array_equal(other, one, err_msg=f"layer {number}")


@st.composite
def netx_layers(draw, inputs=9):
    """Layers of a random netx file with everything that netx honours."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers = []
    count = draw(st.integers(1, 4))
    for number in range(count):
        neurons = draw(st.integers(1, 12))
        largest = draw(st.sampled_from([1, 3, 15, 60, 127]))
        keep = draw(st.sampled_from([0.02, 0.3, 1.0]))
        weight = random.integers(-largest, largest + 1, (neurons, inputs)) * (random.random((neurons, inputs)) < keep)
        weight.flat[:2] = (1, -1)[: weight.size]  # both signs: of one sign netx and Lava disagree, which is refused
        if weight.size == 1:
            weight[:] = 1
        delay_shape = draw(st.sampled_from([None, (neurons,), (inputs,), (neurons, inputs)]))
        longest = draw(st.sampled_from([0, 1, 5, 62]))
        last = number == count - 1
        sigma = last and draw(st.booleans())
        neuron = SIGMA_DELTA | {"vThMant": draw(st.sampled_from([0, 1, 6, 40]))}
        layer = dense(weight * draw(st.sampled_from([1, 1, 2])), neuron | ({"sigma_output": True} if sigma else {}))
        if delay_shape is not None:
            layer["delay"] = random.integers(0, longest + 1, delay_shape)
        if not sigma and draw(st.booleans()):
            layer["bias"] = random.integers(-300, 300, neurons)
        layers.append(layer)
        inputs = neurons
    return layers


@pytest.mark.parametrize("examples", [10, pytest.param(150, marks=pytest.mark.slow)])
def test_random_files_run_as_stock_netx_deploys_them(tmp_path, examples):
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(netx_layers(), st.booleans(), st.integers(0, 99), st.sampled_from([2, 300, 2**20, 2**31 - 1]))
    def check(layers, sparse, seed, largest):
        own = {"type": "input", "shape": [9], "neuron": SIGMA_DELTA}
        path = write_layers(tmp_path / "network.net", own, *layers)
        inputs = np.random.default_rng(seed).integers(-largest, largest, (9, 40))
        with processes_forgotten():
            stock = stock_network(path, sparse_fc_layer=sparse)
        expected = model_spikes([(getattr(b, "synapse", None), b.neuron) for b in stock.layers], inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Executor(path, sparsity_map=sparse).run(inputs, record=True)
        assert_same_spikes(expected, run.spikes)

    check()


def random_synapse(draw, random, inputs, neurons):
    """A Lava synapse built directly, with what netx never makes as well."""
    shape = (neurons, inputs)
    weights = random.integers(-128, 128, shape) * 2 * (random.random(shape) < draw(st.sampled_from([0.05, 0.5, 1.0])))
    options = {
        "weight_exp": draw(st.sampled_from([-8, -1, 0, 2])),
        "num_weight_bits": draw(st.sampled_from([8, 8, 5])),
        "num_message_bits": draw(st.sampled_from([0, 16, 16])),
    }
    sparse = draw(st.booleans())
    if draw(st.booleans()):
        return Sparse(weights=csr_matrix(weights), **options) if sparse else Dense(weights=weights, **options)
    delays = np.broadcast_to(random.integers(0, 9, draw(st.sampled_from([shape, (neurons, 1), (1, inputs)]))), shape)
    if not sparse:
        return DelayDense(weights=weights, delays=delays.copy(), **options)
    delays = np.where(weights == 0, 0, delays)
    return DelaySparse(weights=csr_matrix(weights), delays=csr_matrix(delays), **options)


@st.composite
def process_chains(draw):
    """Delta and random sigma-delta layers as Lava processes, with cumulative error and unit activation."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    exponents = {"spike_exp": draw(st.integers(0, 6)), "state_exp": draw(st.integers(0, 6))}
    cumulative = {"cum_error": draw(st.booleans())}
    chain = [(None, Delta(shape=(7,), vth=draw(st.integers(-1, 9)), **exponents, **cumulative))]
    sizes = [7, *draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))]
    for inputs, neurons in itertools.pairwise(sizes):
        sigma_delta = SigmaDelta(
            shape=(neurons,),
            vth=draw(st.sampled_from([-2, 0, 1, 30, 4000])),
            bias=random.integers(-50, 50, neurons),
            act_mode=draw(st.sampled_from(list(ActivationMode))),
            **exponents,
            **cumulative,
        )
        chain.append((random_synapse(draw, random, inputs, neurons), sigma_delta))
    return chain


@pytest.mark.parametrize("examples", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_processes_built_directly_run_as_their_stock_models_do(examples):
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(process_chains(), st.integers(0, 99), st.sampled_from([1, 50, 2**20, 2**31 - 1]))
    def check(chain, seed, largest):
        inputs = np.random.default_rng(seed).integers(-largest, largest, (7, 30))
        expected = model_spikes(chain, inputs)
        assert_same_spikes(expected, Executor.from_processes(chain).run(inputs, record=True).spikes)

    with processes_forgotten():
        check()


@pytest.mark.parametrize("seed", range(4))
def test_processes_of_every_kind_run_as_their_stock_models_do(seed):
    random = np.random.default_rng(seed)

    def synapse(kind, inputs, neurons, largest=60, each=None, **options):
        weights = random.integers(-largest, largest + 1, (neurons, inputs)) * 2
        if kind in (Sparse, DelaySparse):
            weights = csr_matrix(weights * (random.random(weights.shape) < 0.5))
        if kind in (DelayDense, DelaySparse):
            delays = np.broadcast_to(random.integers(0, 7, each or weights.shape), weights.shape).copy()
            options["delays"] = csr_matrix(np.where(weights.toarray(), delays, 0)) if kind is DelaySparse else delays
        return kind(weights=weights, **options)

    def integrators(kind, **options):
        bias = random.integers(-90, 90, 8)
        exponents = random.integers(-2, 7, 8)
        return kind(shape=(8,), vth=300, du=700, dv=90, bias_mant=bias, bias_exp=exponents, **options)

    graded = {"num_message_bits": 16}
    kernels = Conv(
        weight=random.integers(-99, 100, (6, 2, 3, 1)),
        input_shape=(7, 5, 3),
        groups=3,
        stride=(2, 1),
        padding=(1, 0),
        **graded,
    )
    recurrent = [
        synapse(DelayDense, 4 * 6 * 3, 9, each=(9, 1), **graded, weight_exp=-4),
        synapse(DelaySparse, 9, 9, each=(9, 9), **graded, weight_exp=-8),
    ]
    with processes_forgotten():
        chain = [
            (None, Delta(shape=(7, 5, 3), vth=4)),
            (kernels, SigmaDelta(shape=kernels.output_shape, vth=90, bias=random.integers(-99, 99, (4, 3, 6)))),
            (recurrent, SigmaDelta(shape=(9,), vth=50)),
            (synapse(Dense, 9, 8, **graded), integrators(LIF)),
            (
                [synapse(Sparse, 8, 8), synapse(DelayDense, 8, 8)],
                integrators(LIFReset, reset_interval=5, reset_offset=7),
            ),
            (
                [synapse(DelaySparse, 8, 7), synapse(Dense, 8, 7)],
                RF(shape=(7,), period=5, alpha=0.05, vth=70, state_exp=6, decay_bits=10),
            ),
            (
                [synapse(Sparse, 7, 6), synapse(DelayDense, 7, 6)],
                RF_IZ(shape=(6,), period=7, alpha=0.1, vth=50, state_exp=6, decay_bits=12),
            ),
        ]
        inputs = random.integers(-300, 300, (7 * 5 * 3, 60))
        expected = model_spikes(chain, inputs)
        assert all(spikes.any() for spikes in expected)
        assert_same_spikes(expected, Executor.from_processes(chain).run(inputs, record=True).spikes)


PER_NEURON = np.arange(5)[:, np.newaxis]


@pytest.mark.parametrize(
    ("real", "imaginary"),
    [(1, 1), (1, 3), (None, 0), (0, None), (PER_NEURON, PER_NEURON), (PER_NEURON, 2)],
    ids=[
        "equal",
        "unequal",
        "of one that may wrap early",
        "of one that may wrap late",
        "per neuron",
        "of one per neuron",
    ],
)
@pytest.mark.parametrize("largest", [3000, 2**31 - 1])
def test_delays_of_real_and_imaginary_synapses_are_their_own(real, imaginary, largest):
    random = np.random.default_rng(12)

    def synapse(delays):
        options = {"weights": random.integers(-60, 61, (5, 7)) * 2, "num_message_bits": 24, "weight_exp": -8}
        if delays is None:
            return Dense(**options)
        return DelayDense(**options, delays=np.broadcast_to(delays, (5, 7)).copy(), max_delay=6)

    with processes_forgotten():
        resonators = RF(shape=(5,), period=10, alpha=0.05, vth=5, state_exp=6, decay_bits=12)
        chain = [(None, Delta(shape=(7,), vth=1)), ([synapse(real), synapse(imaginary)], resonators)]
        inputs = random.integers(-largest, largest, (7, 40))
        expected = model_spikes(chain, inputs)
        assert expected[-1].any()
        assert_same_spikes(expected, Executor.from_processes(chain).run(inputs, record=True).spikes)


def test_convolution_behind_delayed_neurons_takes_them_in_their_own_order():
    random, shape = np.random.default_rng(13), (3, 4, 2)
    size = int(np.prod(shape))
    with processes_forgotten():
        delays = np.broadcast_to(random.integers(0, 7, (size, 1)), (size, size)).copy()
        weights = random.integers(-60, 61, (size, size)) * 2
        delayed = DelayDense(weights=weights, delays=delays, num_message_bits=24, weight_exp=-4)
        kernels = Conv(weight=random.integers(-99, 100, (5, 2, 2, 2)), input_shape=shape, num_message_bits=24)
        chain = [
            (None, Delta(shape=(size,), vth=1)),
            (delayed, SigmaDelta(shape=shape, vth=1)),
            (kernels, Sigma(shape=kernels.output_shape)),
        ]
        inputs = random.integers(-300, 300, (size, 40))
        expected = model_spikes(chain, inputs)
        assert expected[-1].any()
        assert_same_spikes(expected, Executor.from_processes(chain).run(inputs, record=True).spikes)


def overflowing(synapse):
    """A delta neuron for each of 100 inputs into one sigma neuron; inputs that sum up beyond 32 bits."""
    chain = [(None, Delta(shape=(100,), vth=0)), (synapse, Sigma(shape=(1,)))]
    return chain, np.full((100, 3), 2**23 - 1, np.int32) * np.array([1, 2, 2])


@pytest.mark.parametrize("delayed", [False, True])
def test_sums_beyond_32_bits_are_reported_where_sparse_and_dense_differ(delayed):
    weights, delays = np.full((1, 100), 254), np.ones((1, 100), int)
    weights[0, 50:] = -2
    options = {"weight_exp": -4, "num_message_bits": 16}
    if delayed:
        dense = DelayDense(weights=weights, delays=delays, **options)
        sparse = DelaySparse(weights=csr_matrix(weights), delays=csr_matrix(delays), **options)
    else:
        dense, sparse = Dense(weights=weights, **options), Sparse(weights=csr_matrix(weights), **options)
    outputs = []
    for synapse in (dense, sparse):
        chain, inputs = overflowing(synapse)
        run = Executor.from_processes(chain).run(np.pad(inputs, ((0, 0), (0, 2))))
        np.testing.assert_array_equal(run.outputs, model_spikes(chain, np.pad(inputs, ((0, 0), (0, 2))))[-1])
        # at the first step, the change, and back to 0
        assert [layer.sums_beyond_32_bits for layer in run.activity] == [0, 3]
        outputs.append(run.outputs)
    assert np.array_equal(*outputs) == (not delayed)


def test_sums_within_32_bits_are_not_reported():
    weights = np.full((1, 100), 2)
    chain, inputs = overflowing(Dense(weights=weights, num_message_bits=16))
    run = Executor.from_processes(chain).run(inputs)
    assert run.activity[1].sums_beyond_32_bits == 0
    np.testing.assert_array_equal(run.outputs, model_spikes(chain, inputs)[-1])


def wrapped(value, bits=32):
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def counted_one_by_one(weights, bias, spikes):
    """What leaves 24 and 32 bits in a sigma layer on the spikes (inputs, steps) that stock Lava sent.

    In Python's integers: sums and states that leave 24 bits, then 32. Lava wraps each product before it adds them up.
    """
    counts = [0, 0, 0, 0]
    for row, own_bias in zip(weights.tolist(), bias.tolist(), strict=True):
        sigma = 0
        sums = [sum(wrapped(w * s) for w, s in zip(row, step, strict=True)) for step in spikes.T.tolist()]
        counts[2] += sum(wrapped(total) != total for total in sums)  # as they are sent
        for total in map(wrapped, [0, *sums[:-1]]):  # as they arrive, a step later
            exact = sigma + total
            sigma = wrapped(exact)
            with_bias = sigma + own_bias
            counts[0] += wrapped(total, 24) != total
            counts[1] += wrapped(sigma, 24) != sigma or wrapped(wrapped(with_bias), 24) != wrapped(with_bias)
            counts[3] += exact != sigma or with_bias != wrapped(with_bias)
    return counts


@pytest.mark.parametrize("largest", [2**8, 2**14, 2**17, 2**25])
@pytest.mark.parametrize("largest_bias", [0, 2**25, 2**31 - 1])
def test_what_leaves_its_range_is_counted_as_one_by_one(largest, largest_bias):
    random = np.random.default_rng(largest)
    weights = 2 * random.integers(-100, 100, (6, 8))
    bias = random.integers(-largest_bias, largest_bias + 1, 6)
    sigma_delta = SigmaDelta(shape=(6,), vth=1, bias=bias, act_mode=ActivationMode.UNIT)
    chain = [(None, Delta(shape=(8,), vth=0)), (Dense(weights=weights, num_message_bits=16), sigma_delta)]
    inputs = random.integers(-largest, largest, (8, 60))
    run = Executor.from_processes(chain).run(inputs)
    sent = model_spikes(chain, inputs)[0]
    expected = counted_one_by_one(weights, bias, sent)
    assert list(run.activity[1].beyond.values()) == expected
    assert (sum(expected) == 0) == (largest == 2**8 and largest_bias == 0)


def test_sums_of_several_delays_that_wrap_together_are_counted():
    synapse = DelayDense(weights=np.array([[126, 126]]), delays=np.array([[1, 0]]), num_message_bits=16)
    chain = [(None, Delta(shape=(2,), vth=0)), (synapse, Sigma(shape=(1,)))]
    inputs = np.array([[16_000_000, 16_000_000, 16_000_000, 16_000_000], [0, 16_000_000, 16_000_000, 16_000_000]])
    run = Executor.from_processes(chain).run(inputs)
    np.testing.assert_array_equal(run.outputs, model_spikes(chain, inputs)[-1])
    assert run.outputs[0, -1] == wrapped(2 * 126 * 16_000_000) < 0
    assert run.activity[1].sums_beyond_32_bits == 1


def test_sums_that_wrap_when_they_are_moved_up_are_counted():
    synapse = Dense(weights=np.array([[100]]), weight_exp=4, num_message_bits=16)
    chain = [(None, Delta(shape=(1,), vth=0)), (synapse, Sigma(shape=(1,)))]
    inputs = np.array([[2_000_000, 2_000_000, 2_000_000]])
    run = Executor.from_processes(chain).run(inputs)
    np.testing.assert_array_equal(run.outputs, model_spikes(chain, inputs)[-1])
    assert run.activity[1].sums_beyond_32_bits == 1


def test_inputs_that_leave_their_range_are_counted():
    delta = Delta(shape=(4,), vth=0, spike_exp=6, state_exp=6)
    inputs = np.array([[2**11 - 1, -(2**11), 2**11, -(2**11) - 1], [2**19 - 1, -(2**19), 2**19, -(2**19) - 1]]).T
    (activity,) = Executor.from_processes([(None, delta)]).run(inputs).activity
    assert list(activity.beyond.values()) == [0, 2 + 4, 0, 2]


@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize(
    ("name", "sparse", "steps"),
    [
        ("prune50", True, 100),
        pytest.param("prune50", False, 60, marks=pytest.mark.slow),
        pytest.param("baseline", True, 200, marks=pytest.mark.slow),
        pytest.param("baseline", False, 60, marks=pytest.mark.slow),
        pytest.param("prune50", {1: True, 3: True}, 100, marks=pytest.mark.slow),
    ],
)
def test_published_networks_run_as_in_lava(mirror, name, sparse, steps):
    path = mirror / "ndns" / name / "network.net"
    inputs = encoded_speech(mirror, steps)
    expected = lava_spikes(Network(path, sparse), inputs)
    assert all(spikes.any() for spikes in expected)
    assert_same_spikes(expected, Executor(path, sparse).run(inputs, record=True).spikes)


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [False, True])
def test_dense_layers_of_pilotnet_run_as_in_lava(sparse):
    shipped = Path(lava.lib.dl.slayer.__file__).parents[4] / "tests/lava/lib/dl/netx/gts/pilotnet_sdnn"
    frame = np.load(shipped / "input.npy")[..., 0]
    random = np.random.default_rng(0)
    inputs = frame[..., np.newaxis] + random.integers(-3, 4, (*frame.shape, 12))
    last_convolution, *expected = lava_spikes(stock_network(shipped / "network.net", sparse_fc_layer=sparse), inputs)[
        4:
    ]
    assert all(spikes.any() for spikes in expected)
    flat = last_convolution.transpose(2, 1, 0, 3).reshape(-1, inputs.shape[-1])
    executor = Executor(shipped / "network.net", sparse, skip_layers=6)
    assert_same_spikes(expected, executor.run(flat, record=True).spikes)


def test_dense_layer_behind_flatten_takes_its_inputs_as_in_lava(tmp_path):
    random = np.random.default_rng(3)
    last = dense(random.integers(-60, 60, (5, 24)), SIGMA_DELTA, delay=random.integers(0, 4, 24))
    write_layers(tmp_path / "dense.net", image(4, 3, 2), {"type": "flatten", "shape": [24, 1, 1]}, last)
    inputs = random.integers(-90, 90, (24, 20))
    with processes_forgotten():
        expected = run_in_lava(Network(tmp_path / "dense.net", False), inputs)
    assert expected.any()
    np.testing.assert_array_equal(Executor(tmp_path / "dense.net", False).run(inputs).outputs, expected)
