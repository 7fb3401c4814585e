"""Streams, states, counts and refusals of the executor; that it equals Lava is for tests/conformance."""

import h5py
import lava.lib.dl.slayer
import numpy as np
import pytest
import torch
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFRefractory
from lava.proc.rf.process import RF
from lava.proc.sdn.process import Delta, SigmaDelta

from denoising import random_network
from spandex.deploy import Executor
from spandex.deploy.execution import processes_forgotten
from spandex.errors import SpandexError
from spandex.networks import export_hdf5

STEPS = 300


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A small exported network with delays whose layers all have events."""
    path = tmp_path_factory.mktemp("network") / "network.net"
    export_hdf5(random_network(seed=0), path)
    return path


@pytest.fixture(scope="module")
def inputs():
    return np.abs(np.random.default_rng(0).integers(-40, 45, (17, STEPS)).cumsum(axis=1))


@pytest.mark.parametrize("lengths", [[1] * 5 + [STEPS - 5], [7, 130, 0, 163], [128, 128, 44], [299, 1]])
def test_pieces_of_a_clip_give_the_whole(path, inputs, lengths):
    executor = Executor(path, sparsity_map=[True, False, True])
    whole = executor.run(inputs, record=True)
    assert all(spikes.any() for spikes in whole.spikes)
    state, pieces, activity = None, [], None
    for piece in np.split(inputs, np.cumsum(lengths)[:-1], axis=1):
        run = executor.run(piece, state)
        state = run.state
        pieces.append(run.outputs)
        activity = run.activity if activity is None else [a + b for a, b in zip(activity, run.activity, strict=True)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole.outputs)
    assert list(activity) == list(whole.activity)
    for mine, expected in zip(_arrays(state), _arrays(whole.state), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_network_of_blocks_runs_as_its_export_does(tmp_path):
    torch.manual_seed(1)
    cuba = lava.lib.dl.slayer.block.cuba
    neuron = {"threshold": 0.2, "current_decay": 0.5, "voltage_decay": 0.3}
    network = torch.nn.Module()
    network.blocks = torch.nn.ModuleList(
        [cuba.Conv(neuron, 2, 3, 3, weight_scale=2), cuba.Flatten(), cuba.Dense(neuron, 24, 5, weight_scale=2)]
    )
    spikes = (np.random.default_rng(0).random((4, 6, 2, 30)) < 0.5).astype(int)
    with torch.no_grad():  # which tells the blocks their shapes
        signal = torch.from_numpy(spikes.transpose(2, 1, 0, 3)[np.newaxis]).float()
        for block in network.blocks:
            signal = block(signal)
    export_hdf5(network, tmp_path / "network.net")
    outputs = Executor(network, input_shape=(4, 6, 2)).run(spikes).outputs
    np.testing.assert_array_equal(
        outputs, Executor(tmp_path / "network.net", input_shape=(4, 6, 2)).run(spikes).outputs
    )
    assert outputs.any()


def _arrays(state):
    return [array for layer in state.layers for array in (*layer.neurons, layer.pending) if array is not None]


def test_state_is_left_alone_and_survives_a_file(path, inputs, tmp_path):
    executor = Executor(path)
    state = executor.run(inputs[:, :100]).state
    before = [array.copy() for array in _arrays(state)]
    state.save(tmp_path / "state.npz")
    expected = executor.run(inputs[:, 100:], state).outputs
    for mine, kept in zip(_arrays(state), before, strict=True):
        np.testing.assert_array_equal(mine, kept)
    loaded = Executor(path).load_state(tmp_path / "state.npz")
    np.testing.assert_array_equal(executor.run(inputs[:, 100:], loaded).outputs, expected)


def test_state_of_another_network_is_refused(path, tmp_path):
    with processes_forgotten():
        other = Executor.from_processes([(None, Delta(shape=(3,), vth=1))])
    other.initial_state().save(tmp_path / "state.npz")
    with pytest.raises(SpandexError, match=r"state\.npz: holds no array 1\."):
        Executor(path).load_state(tmp_path / "state.npz")
    Executor(path).initial_state().save(tmp_path / "state.npz")
    whole = (tmp_path / "state.npz").read_bytes()
    flipped = whole[:190] + bytes([whole[190] ^ 255]) + whole[191:]
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (b"PK nonsense", whole[:-40], flipped, b"", (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "state.npz").write_bytes(content)
        with pytest.raises(SpandexError, match=r"state\.npz: not a whole \.npz file"):
            Executor(path).load_state(tmp_path / "state.npz")
    with pytest.raises(SpandexError, match=r"none\.npz: No such file"):
        Executor(path).load_state(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"step": np.float64(1)}, "step is 1.0"),
        ({"step": np.int64(-1)}, "step is -1"),
        ({"step": np.array([1])}, r"step is \[1\]"),
        ({"1.pending": np.zeros((1, 1), np.int32)}, r"1\.pending is int32 \(1, 1\), not int32"),
    ],
)
def test_state_with_other_arrays_is_refused(path, tmp_path, arrays, message):
    executor = Executor(path)
    state = executor.initial_state()
    np.savez(tmp_path / "state.npz", **{"step": state.step, **state.arrays()} | arrays)
    with pytest.raises(SpandexError, match=rf"state\.npz: not a state of this network: {message}"):
        executor.load_state(tmp_path / "state.npz")


def test_counts_follow_from_spikes_and_weights(path, inputs):
    run = Executor(path).run(inputs, record=True)
    with h5py.File(path) as file:
        fan_outs = [np.count_nonzero(file[f"layer/{i}/weight"][()], axis=0) for i in (1, 2, 3)]
    assert run.activity[0].events == run.activity[0].synops == 0
    for number, fan_out in enumerate(fan_outs, start=1):
        events = np.count_nonzero(run.spikes[number - 1], axis=1)
        layer = run.activity[number]
        assert (layer.steps, layer.events, layer.synops) == (STEPS, events.sum(), events @ fan_out)
        assert layer.neuron_updates == STEPS * len(run.spikes[number])


def test_batch_gives_each_clip_on_its_own_in_order(path, inputs):
    executor = Executor(path)
    clips = [inputs[:, : 20 + 30 * i] for i in range(9)]
    runs = list(executor.run_batch(iter(clips), workers=2))
    for clip, run in zip(clips, runs, strict=True):
        alone = executor.run(clip)
        np.testing.assert_array_equal(run.outputs, alone.outputs)
        assert run.activity == alone.activity


def test_batch_reads_little_ahead(path, inputs):
    taken = []

    def clips():
        for i in range(50):
            taken.append(i)
            yield inputs[:, :5]

    runs = Executor(path).run_batch(clips(), workers=2)
    next(runs)
    assert len(taken) <= 6


def test_network_without_any_weight_outputs_its_bias_alone(tmp_path):
    export_hdf5(random_network(seed=0, gains=(0, 0, 0)), tmp_path / "network.net")
    for sparse in (True, False):
        run = Executor(tmp_path / "network.net", sparse).run(np.full((17, 5), 400), record=True)
        assert run.spikes[0].any()
        assert not run.outputs.any()


def test_inputs_that_do_not_fit_are_refused(path):
    executor = Executor(path)
    assert (executor.inputs, executor.outputs) == (17, 17)
    for wrong, message in [
        (np.zeros((18, 4), int), r"\(18, 4\); the network takes \(17, steps\)"),
        (np.zeros(17, int), r"\(17,\)"),
        (np.full((17, 4), 0.5), "whole numbers"),
        (np.full((17, 4), np.nan), "whole numbers"),
        (np.full((17, 4), 2**31), "2147483648 do not fit 32 bits"),
        (np.full((17, 4), "1"), "whole numbers"),
    ]:
        with pytest.raises(SpandexError, match=message):
            executor.run(wrong)


def test_processes_that_cannot_be_run_exactly_are_named():
    def chain(synapse, neurons):
        return [(None, Delta(shape=(2,), vth=1)), (synapse, neurons)]

    weights = np.eye(2)

    def resonator(alpha):
        return RF(shape=(2,), period=9, alpha=alpha, state_exp=6, decay_bits=12)

    def kernels(weight=weights, shape=(1, 1, 2), **options):
        return [(Conv(weight=np.reshape(weight, (2, 1, 1, 2)), input_shape=(1, 1, 2), **options), LIF(shape=shape))]

    with processes_forgotten():
        binary, graded = Dense(weights=weights), Dense(weights=weights, num_message_bits=16)
        for wrong, message in [
            (chain(binary, LIFRefractory(shape=(2,))), "layer 1: neurons LIFRefractory"),
            (chain(binary, LIF(shape=(2,), du=0.5)), r"layer 1: du 0.5 \(float64\) is no whole number"),
            (chain(binary, LIF(shape=(2,), du=4096)), "layer 1: decay 4097 is not between 0 and 4096"),
            (chain(binary, LIF(shape=(2,), v=3)), "layer 1: v is not 0 at the start"),
            (chain([binary] * 2, RF(shape=(2,), period=9, alpha=0.1)), "layer 1: state_exp 0 and decay_bits 0"),
            (chain([binary] * 2, resonator(np.array([0.1, 0.2]))), "layer 1: cos_decay has 2 values"),
            (chain(binary, resonator(0.1)), "layer 1: RF with 1 synapses"),
            (chain([binary, graded], LIF(shape=(2,))), "layer 1: two synapses, of which only one"),
            (chain([binary] * 2, SigmaDelta(shape=(2,), vth=1)), "layer 1: sigma-delta neurons with recurrent"),
            (kernels(shape=(2,)), r"layer 0: synapse of shape \(1, 1, 2\) between neurons of shape \(2,\)"),
            (
                [([kernels()[0][0], binary], LIF(shape=(1, 1, 2)))],
                "layer 0: synapse Conv cannot be run exactly in a pair",
            ),
            (kernels(weights * 40_000), "layer 0: weight 40000 of a convolution does not fit 16 bits"),
            (kernels(stride=128), r"layer 0: stride \(128, 128\)"),
            (
                chain(Dense(weights=np.eye(3)), SigmaDelta(shape=(3,), vth=1)),
                r"layer 1: synapse of shape \(3,\) between",
            ),
            (chain(binary, SigmaDelta(shape=(2,), vth=1, act_mode=7)), "layer 1: activation 7"),
            (chain(None, SigmaDelta(shape=(2,), vth=1)), "layer 1: SigmaDelta with 0 synapses"),
            (chain(binary, Delta(shape=(2,), vth=1)), "layer 1: Delta with 1 synapses"),
            (chain(Delta(shape=(2,), vth=1), SigmaDelta(shape=(2,), vth=1)), "layer 1: synapse Delta"),
            ([], "no layers"),
        ]:
            with pytest.raises(SpandexError, match=message):
                Executor.from_processes(wrong)
