"""What spandex run does with the options of netx, for networks that have other layers than dense sigma-delta ones."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from commands import refusal, spandex
from network_files import INTEGRATOR, SIGMA_DELTA, convolution, dense, image, shape_of, weights, write_layers
from spandex.deploy.execution import processes_forgotten
from spandex.networks.hdf5 import network_layers
from stock_lava import modelled, stock_network

STEPS = 30


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A convolution and a dense layer of integrators, without an input layer; X.npy has images for it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    first = convolution(weights(random, (3, 2, 2, 2)), (6, 5, 2), INTEGRATOR)
    flat = int(np.prod(shape_of(first)))
    hidden = dense(weights(random, (4, flat)), INTEGRATOR)
    np.save("X.npy", random.integers(0, 2, (6, 5, 2, STEPS)))
    return write_layers(Path("network.net"), first, {"type": "flatten"}, hidden)


def run(network, *options):
    result = spandex("run", network, "--input", "X.npy", "--output", "Y.npy", "--input-shape", "6,5,2", *options)
    assert result.exit_code == 0, result.output
    return np.load("Y.npy"), result.stdout


def test_options_and_readings_are_those_of_stock_lava(network):
    with processes_forgotten():
        stock = stock_network(network, input_shape=(6, 5, 2), reset_interval=7, reset_offset=2)
        (images, sent), voltages, _ = modelled(stock, np.load("X.npy"))
    resets = ("--reset-interval", "7", "--reset-offset", "2")
    outputs, told = run(network, *resets, "--layers", "layers.npz")
    np.testing.assert_array_equal(outputs, sent)
    assert told.startswith("Y.npy: 4 outputs, 30 steps\n")
    with np.load("layers.npz") as layers:
        np.testing.assert_array_equal(layers["0.spikes"], images)
        np.testing.assert_array_equal(layers["2.voltage"], voltages[:, -1])
        assert set(layers) == {f"{layer}.{name}" for layer in (0, 2) for name in ("spikes", "current", "voltage")}
    np.testing.assert_array_equal(run(network, *resets, "--read", "voltage")[0], voltages)
    in_lava, _ = run(network, *resets, "--backend", "lava")
    np.testing.assert_array_equal(in_lava, sent)
    unrolled, told = run(network, *resets, "--backend", "lava", "--unroll")
    np.testing.assert_array_equal(unrolled, sent)
    assert told == "Y.npy: 4 outputs, 30 steps\nlayer 0: simulated as 480 unrolled synapses\n"
    wrong = refusal("run", network, "--input", "X.npy", "--output", "Z.npy", "--input-shape", "6,5,2", "--unroll")
    assert wrong.startswith("spandex run: --unroll is for the backend lava")


def test_a_part_of_the_layers_runs(network):
    outputs, told = run(network, "--num-layers", "1")
    assert outputs.shape == (5, 4, 3, STEPS) and told.startswith("Y.npy: 5x4x3 outputs, 30 steps\n")
    flattened = np.load("X.npy").reshape(60, STEPS)
    np.save("X.npy", flattened)
    np.testing.assert_array_equal(run(network, "--num-layers", "1")[0], outputs)
    np.save("X.npy", outputs.transpose(2, 1, 0, 3).reshape(60, STEPS))
    behind, _ = run(network, "--skip-layers", "2")
    np.save("X.npy", flattened)
    np.testing.assert_array_equal(behind, run(network)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "layer 0: the file has no shape of its input; the smallest x,y,channels is 6,5,2; spandex run takes"),
        ("--input-shape 6,5", "--input-shape: '6,5' is not X,Y,CHANNELS, such as 34,34,2"),
        ("--input-shape 7,5,2", "make no 3x4x5 neurons from an input of shape 2x5x7"),
        ("--input-shape 6,5,2 --skip-layers 9", "network.net: no layer is left of 3"),
        ("--input-shape 6,5,2 --backend lava --read voltage", "voltages and layers are read with the backend events"),
        ("--input-shape 6,5,2 --backend lava --layers l.npz", "voltages and layers are read with the backend events"),
        ("--input-shape 6,5,2 --layers X.npy", "X.npy"),
        ("--input-shape 6,5,2 --layers ./Y.npy", "Y.npy: is to hold the outputs and the layers"),
        ("--input-shape 6,5,2 --reset-offset 3", "--reset-offset needs --reset-interval"),
        (f"--input-shape 6,5,2 --reset-interval {10**30}", "--reset-interval': Input should be less than or equal to"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_is_written(network, options, message):
    status = 2 if message.startswith("--") else 1
    arguments = ("run", network, "--input", "X.npy", "--output", "Y.npy", *options.split())
    assert message in refusal(*arguments, status=status)
    assert sorted(path.name for path in Path().iterdir()) == ["X.npy", "network.net"]


@pytest.mark.parametrize("backend", ["events", "lava"])
def test_images_in_another_order_are_refused(network, backend):
    np.save("X.npy", np.load("X.npy").transpose(2, 1, 0, 3))
    arguments = ("--input", "X.npy", "--output", "Y.npy", "--input-shape", "6,5,2", "--backend", backend)
    line = refusal("run", network, *arguments)
    assert line.endswith("inputs have shape (2, 5, 6, 30); the network takes (6, 5, 2, steps) or (60, steps)")


@pytest.mark.parametrize(("neuron", "largest"), [(SIGMA_DELTA, 900), (INTEGRATOR, 1)])
def test_layers_behind_those_left_out_take_what_those_send(network, neuron, largest):
    """Values behind sigma-delta neurons, spikes behind integrators, whatever ``--input-message-bits`` says."""
    random = np.random.default_rng(2)
    layers = dense(weights(random, (5, 6)), neuron), dense(weights(random, (3, 5)), neuron)
    write_layers(network, {"type": "input", "shape": [6], "neuron": neuron}, *layers)
    np.save("X.npy", random.integers(0, largest + 1, (6, STEPS)))
    arguments = ("run", network, "--input", "X.npy", "--output", "Y.npy", "--skip-layers", "1")
    for bits in ("0", "8"):
        found = []
        for backend in ("events", "lava"):
            result = spandex(*arguments, "--input-message-bits", bits, "--backend", backend)
            assert result.exit_code == 0, result.output
            found.append(np.load("Y.npy"))
        np.testing.assert_array_equal(*found)
        assert found[0].any()
    np.save("X.npy", np.full((6, STEPS), largest + 1))
    if neuron is INTEGRATOR:
        for backend in ("events", "lava"):
            line = refusal(*arguments, "--input-message-bits", "8", "--backend", backend)
            assert "holds 2, but without an input layer" in line


def test_a_shape_that_is_not_the_input_layers_is_refused(network):
    random = np.random.default_rng(3)
    first = convolution(weights(random, (3, 2, 2, 2)), (6, 5, 2), INTEGRATOR)
    write_layers(network, image(6, 5, 2, INTEGRATOR), first)
    arguments = ("run", network, "--input", "X.npy", "--output", "Y.npy", "--input-shape")
    assert refusal(*arguments, "5,6,2").endswith("network.net: layer 0: takes inputs of 6,5,2, not of 5,6,2")
    assert spandex(*arguments, "6,5,2").exit_code == 0


def test_networks_without_voltages_say_so(network):
    random = np.random.default_rng(1)
    write_layers(
        network, {"type": "input", "shape": [6], "neuron": SIGMA_DELTA}, dense(weights(random, (3, 6)), SIGMA_DELTA)
    )
    np.save("X.npy", np.ones((6, 4), int))
    line = refusal("run", network, "--input", "X.npy", "--output", "Y.npy", "--read", "voltage")
    assert line.endswith("network.net: layer 1: no integrators, so there is no voltage to read")


def test_pilotnet_steers_as_lava_dl_expects(tmp_path, monkeypatch):
    """On the images of lava-dl's own tests, whose network of integrators is reset every 16 steps."""
    monkeypatch.chdir(tmp_path)
    shipped = distribution("lava-dl").locate_file("tests/lava/lib/dl/netx/gts")
    resets = ("--read", "voltage", "--reset-interval", "16", "--reset-offset", "15")
    for name, given, expected, options in (
        ("pilotnet_lif", "image.npy", "fc-3-v.npy", resets),
        ("pilotnet_sdnn", "input.npy", "output.npy", ()),
    ):
        angles = np.load(shipped / name / expected)[:, :24]
        shape = network_layers(shipped / name / "network.net")[0].shape[::-1]
        np.save("X.npy", np.repeat(np.load(shipped / name / given).reshape(*shape, 1), angles.shape[1], axis=3))
        result = spandex("run", shipped / name / "network.net", "--input", "X.npy", "--output", "Y.npy", *options)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(np.load("Y.npy"), angles)


def test_layers_of_all_kinds_run_without_torch_and_lava(network):
    program = (
        "import sys, numpy; from spandex.deploy import Executor; "
        "Executor('network.net', input_shape=(6, 5, 2)).run(numpy.load('X.npy')); "
        "print(*{'torch', 'lava'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
