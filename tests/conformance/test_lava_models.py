"""The fast models of Lava's synapses give what stock Lava's fixed-point models give, at every step."""

import copy
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.compiler.utils import VarInitializer
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix, issparse

from denoising import encoded_speech, random_network
from spandex.deploy import lava_loops, lava_models
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.lava_models import FAST_MODELS
from spandex.networks import export_hdf5
from stock_lava import stock_network

STOCK_MODELS = {
    Sparse: PySparseModelBitAcc,
    DelaySparse: PyDelaySparseModelBitAcc,
    Dense: PyDenseModelBitAcc,
    DelayDense: PyDelayDenseModelBitAcc,
}
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "explanation" / "lava_models.md"


class Port:
    """Stands in for Lava's channels, which need a running system of processes."""

    def recv(self):
        return self.value.copy()

    def send(self, value):
        self.value = value.copy()


def built(models, process):
    """The process's model with its variables, as Lava builds it."""
    builder = PyProcessBuilder(models[type(process)], 0, process.proc_params)
    builder.set_variables([VarInitializer(v.name, v.shape, copy.deepcopy(v.init), v.id) for v in process.vars])
    model = builder.build()
    model.s_in, model.a_out = Port(), Port()
    return model


def values(variable):
    return variable.toarray() if issparse(variable) else variable


def assert_same_steps(stock, fast, messages):
    """Step both models; False once both have failed with the same error."""
    for received in messages:
        errors = []
        for model in (stock, fast):
            model.s_in.value = received
            errors.append(None)
            try:
                model.run_spk()
            except (TypeError, ValueError) as error:
                errors[-1] = error
        assert type(errors[0]) is type(errors[1]), errors
        if errors[0]:
            return False
        for expected, actual in (
            (stock.a_out.value, fast.a_out.value),
            (stock.a_buff, fast.a_buff),
            (values(stock.weights), values(fast.weights)),
        ):
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)
    return True


def delay_matrix(random, kind, shape, longest):
    if kind == "one":
        return random.integers(0, longest, endpoint=True) * np.ones(shape, int)
    own = {"row": (shape[0], 1), "column": (1, shape[1]), "synapse": shape}[kind]
    return np.broadcast_to(random.integers(0, longest, own, endpoint=True), shape).copy()


@st.composite
def synapses(draw):
    """A synapse process with random weights, delays and options."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    shape = draw(st.integers(1, 12), label="neurons"), draw(st.integers(1, 40), label="inputs")
    ranges = [(-10, 10), (-256, 254), (-1000, 1000), (0, 300), (-300, 0)]
    low, high = draw(st.sampled_from(ranges), label="weights")
    density = draw(st.sampled_from([0.05, 0.5, 1, 1, 0]), label="density")
    weights = random.integers(low, high, shape, endpoint=True) * (random.random(shape) < density)
    options = {
        "num_message_bits": draw(st.sampled_from([0, 8, 24]), label="message bits"),
        "weight_exp": draw(st.integers(-8, 2) | st.sampled_from([-64, -31, 31]), label="weight exponent"),
    }
    if draw(st.booleans(), label="options given"):
        options["num_weight_bits"] = draw(st.integers(1, 8), label="weight bits")
        options["sign_mode"] = draw(st.sampled_from(SignMode), label="sign mode")
    sparse = draw(st.booleans(), label="sparse")
    form = csr_matrix if sparse else np.array
    kind = draw(st.sampled_from([None, "one", "row", "column", "synapse"]), label="delays")
    if kind is None:
        return (Sparse if sparse else Dense)(weights=form(weights), **options)
    delays = delay_matrix(random, kind, shape, draw(st.sampled_from([0, 1, 7, 7, 7, 63]), label="longest delay"))
    maximum = draw(st.sampled_from([0, 0, 1, 9]), label="max_delay")
    process = DelaySparse if sparse else DelayDense
    return process(weights=form(weights), delays=form(delays), max_delay=maximum, **options)


@st.composite
def message_steps(draw, inputs):
    """What a synapse receives: some steps of (inputs,), up to values whose products leave 32 bits."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="message seed"))
    kind = draw(st.sampled_from([np.int32, np.int32, np.int32, np.int64, np.int8, bool]), label="message type")
    largest = draw(st.sampled_from([2**31 - 1, 2**26, 10_000, 2**45]), label="largest message")
    density = draw(st.sampled_from([1, 0.2, 0]), label="events")
    shape = 10, inputs
    return (random.integers(-largest, largest, shape, endpoint=True) * (random.random(shape) < density)).astype(kind)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_synapses_are_those_of_stock_lava(data):
    with processes_forgotten():
        process = data.draw(synapses())
        messages = data.draw(message_steps(process.s_in.shape[0]))
        # Both layouts of the weights, whatever their density.
        whole = data.draw(st.sampled_from([0, lava_models.WHOLE_COLUMNS, 2]))
        with mock.patch.object(lava_models, "WHOLE_COLUMNS", whole):
            assert assert_same_steps(built(STOCK_MODELS, process), built(FAST_MODELS, process), messages)
    # More would compile within the processes of Lava.
    assert [len(loop.signatures) for loop in (lava_loops.add_columns, lava_loops.add_synapses)] == [1, 1]


def example(kind, shape=(6, 30), longest=7, seed=0, **options):
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 127, shape) * 2
    form = csr_matrix if kind in (Sparse, DelaySparse) else np.array
    if kind in (DelaySparse, DelayDense):
        options["delays"] = form(delay_matrix(random, "synapse", shape, longest))
    return kind(weights=form(weights), num_message_bits=24, weight_exp=-2, **options)


def example_messages(inputs=30, steps=12, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, (steps, inputs)).astype(np.int32)


def test_wrap_around_differs_between_sparse_and_dense_delays_as_in_stock_lava():
    weights, delays = np.full((1, 30), 254), np.ones((1, 30), int)
    messages = np.full((4, 30), 2**23 - 1, np.int32)
    sent = []
    for process in (
        DelaySparse(weights=csr_matrix(weights), delays=csr_matrix(delays), num_message_bits=24, weight_exp=-6),
        DelayDense(weights=weights, delays=delays, num_message_bits=24, weight_exp=-6),
    ):
        fast = built(FAST_MODELS, process)
        assert_same_steps(built(STOCK_MODELS, process), fast, messages)
        sent.append(fast.a_out.value)
    assert sent[0] != sent[1]


@pytest.mark.parametrize("kind", FAST_MODELS)
def test_variables_changed_between_steps_take_effect(kind):
    stock, fast = built(STOCK_MODELS, example(kind)), built(FAST_MODELS, example(kind))
    messages = example_messages()
    assert assert_same_steps(stock, fast, messages)
    changed = np.random.default_rng(1).integers(-300, 300, values(fast.weights).shape).astype(np.int32)
    for model in (stock, fast):  # as Lava does for another process: through a reference port
        model.weights = csr_matrix(changed) if issparse(model.weights) else changed.copy()
        model.a_buff = np.asfortranarray(model.a_buff.astype(np.int64) * 3)
    assert assert_same_steps(stock, fast, messages)
    if kind in (DelaySparse, DelayDense):
        for model in (stock, fast):
            model.delays = model.delays * 2  # up to 14, of which those above 7 have no place to wait
        assert assert_same_steps(stock, fast, messages)
    if kind in (Dense, DelayDense):
        for model in (stock, fast):  # as Lava does for its user: in place
            model.weights[0] = 100_000
            model.on_var_update()
        assert assert_same_steps(stock, fast, messages * 1000)
    for model in (stock, fast):
        model.num_message_bits[:] = 0
    assert assert_same_steps(stock, fast, messages)


@pytest.mark.parametrize("kind", [DelaySparse, DelayDense])
def test_delay_beyond_loihi_is_refused_as_in_stock_lava(kind):
    process = example(kind, longest=70)
    stock, fast = (built(models, process) for models in (STOCK_MODELS, FAST_MODELS))
    for model in (stock, fast):
        model.s_in.value = example_messages()[0]
    with pytest.raises(ValueError, match="between 0 and 63") as expected:
        stock.run_spk()
    with pytest.raises(ValueError, match=f"^{re.escape(str(expected.value))}$"):
        fast.run_spk()


@pytest.mark.parametrize("kind", FAST_MODELS)
def test_messages_that_are_no_integers_are_refused_as_in_stock_lava(kind):
    stock, fast = built(STOCK_MODELS, example(kind)), built(FAST_MODELS, example(kind))
    assert not assert_same_steps(stock, fast, example_messages().astype(float))


def config(models):
    untagged = {Extractor: PyLoihiExtractorModel}
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models | untagged)


@pytest.mark.parametrize(
    "kind", [DelaySparse, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Sparse, Dense, DelayDense))]
)
def test_variables_read_and_written_in_lava_are_those_of_stock_lava(kind):
    seen = []
    for models in ({}, FAST_MODELS):
        with processes_forgotten():
            synapse = example(kind)
            source, sink = Source(data=example_messages().T), Sink(shape=(6,), buffer=20)
            source.s_out.connect(synapse.s_in)
            synapse.a_out.connect(sink.a_in)
            run_config = config(models)
            try:
                synapse.run(condition=RunSteps(7), run_cfg=run_config)
                read = [values(synapse.weights.get()), synapse.a_buff.get()]
                if kind in (Dense, DelayDense):  # stock Lava cannot go on after its sparse weights have been set
                    synapse.weights.set(read[0] // 2)
                synapse.a_buff.set(read[1] + 5)
                synapse.run(condition=RunSteps(13), run_cfg=run_config)
                seen.append([*read, values(synapse.weights.get()), synapse.a_buff.get(), sink.data.get()])
            finally:
                synapse.stop()
    assert seen[0][-1].any()
    for expected, actual in zip(*seen, strict=True):
        np.testing.assert_array_equal(actual, expected)


def layer_signals(path, sparse, inputs, models):
    """What every synapse and every neuron of the network sends at every step: arrays (neurons, steps)."""
    steps = inputs.shape[1]
    with processes_forgotten():
        network = stock_network(path, sparse_fc_layer=sparse)
        source = Source(data=inputs)
        source.s_out.connect(network.in_layer.neuron.a_in)
        ports = [layer.neuron.s_out for layer in network.layers]
        ports += [layer.synapse.a_out for layer in network.layers[1:]]
        extractors = []
        for port in ports:
            extractors.append(Extractor(shape=port.shape, buffer_size=steps))
            port.connect(extractors[-1].in_port)
        try:
            source.run(condition=RunSteps(steps), run_cfg=config(models))
            return [np.stack([extractor.receive() for _ in range(steps)], axis=1) for extractor in extractors]
        finally:
            source.stop()


@pytest.mark.parametrize(
    ("sparse", "steps"),
    [
        (True, 40),
        pytest.param(True, 300, marks=pytest.mark.slow),
        pytest.param(False, 120, marks=pytest.mark.slow),
    ],
)
def test_published_network_is_that_of_stock_lava_layer_by_layer(mirror, sparse, steps):
    path = mirror / "ndns" / "prune50" / "network.net"
    inputs = encoded_speech(mirror, steps)
    expected, actual = (layer_signals(path, sparse, inputs, models) for models in ({}, FAST_MODELS))
    assert all(signal.any() for signal in expected)
    for stock, fast in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(fast, stock)


def test_documented_example_runs_and_gives_what_stock_lava_gives(tmp_path, monkeypatch):
    network = random_network(seed=2, gains=(2, 2, 2), longest_delay=8, n_fft=16, hop=4, hidden=12)
    export_hdf5(network, tmp_path / "network.net")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), flags=re.DOTALL)
    assert "exception_proc_model_map=FAST_MODELS" in code
    outputs = []
    for version in (code, code.replace("exception_proc_model_map=FAST_MODELS", "")):
        names = {}
        with processes_forgotten():
            exec(version, names)
        outputs.append(names["output"])
    assert outputs[0].any()
    np.testing.assert_array_equal(*outputs)
