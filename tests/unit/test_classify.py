"""spandex evaluate --data: classes, intervals and costs of small networks, what is resumed, and what is refused."""

import io
import json
import pickle
import resource
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from commands import refusal, spandex
from evaluations import STOPPED_IN_WRITING
from image_mirror import image_mirror
from network_files import INTEGRATOR, SIGMA_DELTA, convolution, dense, image, shape_of, weights, write_layers
from spandex.deploy import Executor
from spandex.evaluation.classify import encode_rate
from spandex.files.results import ResultLog

SAMPLES, STEPS = 12, 9
LIVELY = INTEGRATOR | {"vThMant": 8}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with values for the six inputs of flat.net and images for convolution.net."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    write_layers("flat.net", dense(weights(random, (9, 6)), LIVELY), dense(weights(random, (3, 9)), LIVELY))
    first = convolution(weights(random, (3, 2, 2, 2)), (6, 5, 2), LIVELY)
    flat = int(np.prod(shape_of(first)))
    last = dense(weights(random, (4, flat)), LIVELY)
    write_layers("convolution.net", first, {"type": "flatten"}, last)
    write("flat.npz", random.random((SAMPLES, 6)))
    write("images.npz", random.random((SAMPLES, 6, 5, 2)) ** random.integers(1, 30, (SAMPLES, 1, 1, 1)))
    return tmp_path


def write(path, x, y=None):
    np.savez(path, x=x, y=np.arange(len(x)) % 3 if y is None else y)


def judged(*arguments, workers=1):
    result = spandex("evaluate", *arguments, "--json", "out.json", "--workers", workers)
    assert result.exit_code == 0, result.output
    return json.loads(Path("out.json").read_text()), result.stdout


def expected(executor, inputs, late, read="outputs"):
    """Class, events and SynOps a step of whole inputs (*shape, steps), step by step through the executor."""
    steps = inputs.shape[-1]
    padded = np.concatenate([inputs, np.zeros((*inputs.shape[:-1], late), int)], axis=-1)
    run = executor.run(padded, voltage=read == "voltage")
    sums = sum(getattr(run, read)[..., late + step].astype(int) for step in range(steps))
    layers = range(len(run.events) - late, len(run.events))
    counts = [
        [sum(counted[layer, number + step] for step in range(steps)) / steps for number, layer in enumerate(layers)]
        for counted in (run.events, run.synops)
    ]
    return list(sums).index(max(sums)), *counts


def test_rate_has_fired_the_rounded_product_after_every_step():
    values = np.array([0, 0.1, 1 / 3, 0.5, 0.99, 1])
    spikes = encode_rate(values, 20)
    assert spikes.shape == (6, 20) and set(np.unique(spikes)) == {0, 1}
    for step in range(1, 21):
        np.testing.assert_array_equal(spikes[:, :step].sum(axis=1), np.floor(values * step + 0.5))


@pytest.mark.parametrize("read", ["spikes", "voltage"])
@pytest.mark.parametrize(("network", "data"), [("flat.net", "flat.npz"), ("convolution.net", "images.npz")])
def test_classes_and_costs_are_those_of_the_executor_sample_by_sample(folder, network, data, read):
    content, printed = judged(network, "--data", data, "--steps", STEPS, "--read", read)
    found = content["networks"][Path(network).stem]
    options = {"input_shape": (6, 5, 2)} if data == "images.npz" else {}
    with np.load(data) as archive:
        x, y = archive["x"], archive["y"]
    right = 0
    for sample, label, scores in zip(x, y, found["per_sample"], strict=True):
        attribute = "outputs" if read == "spikes" else read
        predicted, events, synops = expected(Executor(network, **options), encode_rate(sample, STEPS), 2, attribute)
        assert (scores["label"], scores["predicted"]) == (label, predicted)
        assert scores["events_per_step"] == pytest.approx(events)
        assert scores["deployed_layer_synops_per_step"] == pytest.approx(synops)
        right += predicted == label
    neurons = 9 if network == "flat.net" else 5 * 4 * 3
    assert len({scores["predicted"] for scores in found["per_sample"]}) > 1
    assert found["accuracy"] == pytest.approx(right / SAMPLES)
    assert found["deployed_synops_per_sample"] == pytest.approx(STEPS * sum(found["deployed_layer_synops_per_step"]))
    power = found["deployed_synops_per_step"] + 10 * neurons
    assert found["deployed_power_proxy_ops_per_step"] == pytest.approx(power)
    assert found["latency_steps"] == 2 and found["deployed_synops_per_step"] > 0
    assert f"accuracy {100 * right / SAMPLES:.2f} %" in printed and "latency 2 steps" in printed


def test_the_interval_is_wilsons(folder):
    content, _ = judged("flat.net", "--data", "flat.npz", "--steps", STEPS)
    found = content["networks"]["flat"]
    z, share = 1.959964, found["accuracy"]
    middle = (share + z**2 / (2 * SAMPLES)) / (1 + z**2 / SAMPLES)
    half = z * np.sqrt(share * (1 - share) / SAMPLES + z**2 / (4 * SAMPLES**2)) / (1 + z**2 / SAMPLES)
    assert found["intervals"]["accuracy"] == pytest.approx([middle - half, middle + half], abs=1e-6)


def test_an_input_layer_gets_the_value_by_its_own_weight_and_bias(folder):
    random = np.random.default_rng(1)
    layers = dense(weights(random, (5, 6)), SIGMA_DELTA), dense(weights(random, (3, 5)), SIGMA_DELTA)
    own = {"type": "input", "shape": [6], "neuron": SIGMA_DELTA}
    executor = Executor(write_layers("plain.net", own, *layers))
    write_layers("own.net", own | {"weight": np.int64(30), "bias": np.int64(-7)}, *layers)
    content, _ = judged("plain.net", "own.net", "--data", "flat.npz", "--steps", STEPS)
    with np.load("flat.npz") as archive:
        x = archive["x"]
    for name, weight, bias in (("plain", 64, 0), ("own", 30, -7)):
        for sample, scores in zip(x, content["networks"][name]["per_sample"], strict=True):
            shown = np.repeat(np.rint(weight * sample + bias).astype(int)[:, np.newaxis], STEPS, axis=1)
            assert scores["predicted"] == expected(executor, shown, 2)[0]
    spikes, _ = judged("plain.net", "--data", "flat.npz", "--steps", STEPS, "--encode", "rate")
    for sample, scores in zip(x, spikes["networks"]["plain"]["per_sample"], strict=True):
        assert scores["predicted"] == expected(executor, 64 * encode_rate(sample, STEPS), 2)[0]


def test_steps_of_ones_own_are_taken_as_they_are(folder):
    spikes = np.random.default_rng(2).random((SAMPLES, 6, STEPS)) < 0.4
    write("spikes.npz", spikes)
    content, _ = judged("flat.net", "--data", "spikes.npz")
    found = [scores["predicted"] for scores in content["networks"]["flat"]["per_sample"]]
    assert found == [expected(Executor("flat.net"), sample.astype(int), 2)[0] for sample in spikes]
    assert content["settings"]["steps"] == STEPS


def test_a_flat_network_gets_an_image_row_by_row(folder):
    images = np.random.default_rng(3).random((SAMPLES, 3, 2, 1))
    write("images.npz", images)
    write("rows.npz", images[..., 0].transpose(0, 2, 1).reshape(SAMPLES, 6))
    both = [judged("flat.net", "--data", data, "--steps", STEPS)[0]["networks"] for data in ("images.npz", "rows.npz")]
    assert both[0] == both[1]


def test_workers_change_nothing_and_networks_are_compared(folder):
    random = np.random.default_rng(4)
    write_layers("other.net", dense(weights(random, (3, 6)), LIVELY))
    arguments = ("flat.net", "b=other.net", "--data", "flat.npz", "--steps", STEPS)
    one, printed = judged(*arguments)
    assert judged(*arguments, workers=3) == (one, printed)
    difference = one["differences"][0]["accuracy"]["mean"]
    assert difference == pytest.approx(one["networks"]["b"]["accuracy"] - one["networks"]["flat"]["accuracy"])
    alone = spandex("evaluate", "flat.net", "--data", "flat.npz", "--steps", STEPS, "--json", "-")
    assert json.loads(alone.stdout)["networks"]["flat"] == one["networks"]["flat"]


@pytest.fixture
def runs(monkeypatch):
    """The executors of samples, in order."""
    counted = []

    def run(self, inputs, *more, whole=Executor.run, **options):
        counted.extend([self] * (inputs.shape[-1] > 0))
        return whole(self, inputs, *more, **options)

    monkeypatch.setattr(Executor, "run", run)
    return counted


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)])
def test_a_stopped_run_goes_on_where_it_was(folder, runs, number, status):
    write_layers("other.net", dense(weights(np.random.default_rng(4), (3, 6)), LIVELY))
    arguments = ("flat.net", "other.net", "--data", "flat.npz", "--steps", STEPS)
    whole = judged(*arguments)
    Path("out.json").unlink()
    script = f"{STOPPED_IN_WRITING}from spandex.cli.commands import app\napp(sys.argv[3:])"
    command = [sys.executable, "-c", script, int(number), 15, "evaluate", *arguments, "--json", "out.json"]
    stopped = subprocess.run(list(map(str, command)), capture_output=True, timeout=120)
    assert stopped.returncode == status, stopped.stderr
    assert not Path("out.json").exists()
    assert len(Path("out.json.partial").read_text().splitlines()) == 16
    runs.clear()
    assert judged(*arguments) == whole
    assert len(runs) == 2 * SAMPLES - 15
    assert not Path("out.json.partial").exists()


def changed_network():
    write_layers("input.net", dense(weights(np.random.default_rng(8), (3, 6)), LIVELY))


def changed_samples():
    with np.load("flat.npz") as archive:
        write("flat.npz", 1 - archive["x"])


def changed_labels():
    with np.load("flat.npz") as archive:
        write("flat.npz", archive["x"], (archive["y"] + 1) % 3)


@pytest.mark.parametrize(
    "change",
    [
        changed_network,
        changed_samples,
        changed_labels,
        "--steps 8",
        "--encode rate",
        "--read voltage",
        "--sparsity-map dense",
        "--density-threshold 0.1",
    ],
)
def test_scores_of_other_networks_samples_or_options_are_not_taken(folder, monkeypatch, runs, change):
    own = {"type": "input", "shape": [6], "neuron": LIVELY}
    write_layers("input.net", own, dense(weights(np.random.default_rng(7), (3, 6)), LIVELY))
    arguments = ["input.net", "--data", "flat.npz", "--steps", STEPS]
    with monkeypatch.context() as patch:
        patch.setattr(ResultLog, "remove", ResultLog.close)
        judged(*arguments)
    if isinstance(change, str):
        arguments += change.split()
    else:
        change()
    runs.clear()
    content = judged(*arguments)
    assert len(runs) == SAMPLES
    assert content == judged(*arguments)  # with nothing known


def test_images_of_the_catalogue_come_from_the_mirror_by_name(folder):
    random = np.random.default_rng(5)
    mirror = image_mirror(folder / "mirror", per_class=1)
    Path("params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    write_layers("digits.net", dense(weights(random, (10, 784)), LIVELY))
    write_layers("colours.net", image(32, 32, 3, None), convolution(weights(random, (1, 3, 3, 3)), (32, 32, 3), LIVELY))
    for name, network in (("mnist", "digits.net"), ("cifar10", "colours.net")):
        command = ("--set", f"mirror={mirror}", "evaluate", network, "--data", name, "--steps", 2, "--json", "-")
        content = json.loads(spandex(*command).stdout)
        assert content["samples"] == 10 and content["settings"]["data"] == name


VALUES = np.full((4, 6), 0.5)
CLASSES = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"y": CLASSES}, "--steps 3", "data.npz: holds no array x"),
        ({"x": VALUES}, "--steps 3", "data.npz: holds no array y"),
        (
            {"x": VALUES, "y": CLASSES[:3]},
            "--steps 3",
            "y is int64 of shape (3,); it takes a whole number for 4 samples",
        ),
        ({"x": VALUES, "y": CLASSES / 2}, "--steps 3", "y is float64 of shape (4,)"),
        ({"x": VALUES, "y": CLASSES + 1}, "--steps 3", "data.npz: y holds 3; flat.net has 3 outputs, from 0"),
        ({"x": VALUES, "y": -CLASSES}, "--steps 3", "data.npz: y holds -1; flat.net has 3 outputs, from 0"),
        ({"x": VALUES * 3, "y": CLASSES}, "--steps 3", "data.npz: sample 0: holds 1.5; values are from 0 to 1"),
        ({"x": VALUES * np.nan, "y": CLASSES}, "--steps 3", "data.npz: sample 0: holds nan; values are from 0 to 1"),
        ({"x": VALUES[:, :5], "y": CLASSES}, "--steps 3", "data.npz: samples of shape (5,); flat.net takes (6,)"),
        ({"x": VALUES, "y": CLASSES}, "", "data.npz: x of shape (4, 6) has no steps; say how many by --steps"),
        ({"x": VALUES[..., None], "y": CLASSES}, "--steps 3", "x has 1 steps; --steps and --encode are for values"),
        ({"x": VALUES[..., None], "y": CLASSES}, "", "data.npz: sample 0: inputs (float64) are not whole numbers"),
        ({"x": 4 * VALUES[..., None], "y": CLASSES}, "", "data.npz: sample 0: holds 2, but without an input layer"),
        (
            {"x": VALUES[0], "y": CLASSES},
            "--steps 3",
            "data.npz: x is float64 of shape (6,); it takes numbers (samples",
        ),
        ({"x": np.array([None]), "y": CLASSES}, "--steps 3", "data.npz: not a whole .npz file of numbers"),
        (
            {"x": VALUES, "y": CLASSES},
            "--steps 3 --encode current",
            "flat.net: has no input layer that takes a current",
        ),
        ({"x": VALUES, "y": CLASSES}, "--steps 3 --name a --name b", "2 names for 1 networks"),
        ({"x": VALUES, "y": CLASSES}, "--steps 3 --json data.npz", "data.npz: is input"),
        ({"x": VALUES, "y": CLASSES}, "--steps 3 --json .", ".: is a folder; name a file to write"),
        ({"x": VALUES, "y": CLASSES}, "--steps 3 convolution.net", "convolution.net: layer 0: the file has no shape"),
        ({"x": VALUES, "y": CLASSES}, "--steps 3 other/flat.net", "two networks are called 'flat'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(folder, arrays, options, message):
    np.savez("data.npz", **arrays)
    assert message in refusal("evaluate", "flat.net", "--data", "data.npz", *options.split())


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def archive(*members, claimed=None):
    """A zip file of members (name, content), the first of which claims to be of another size."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as whole:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content in members:
            whole.writestr(name, content)
        whole.filelist[0].file_size = claimed or whole.filelist[0].file_size
    return file.getvalue()


class Payload:
    def __reduce__(self):
        return Path.mkdir, (Path("unpickled"),)


X, Y = ("x.npy", npy(VALUES)), ("y.npy", npy(CLASSES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(VALUES), "not a whole .npz file of numbers (File is not a zip file)"),
        (pickle.dumps(Payload()), "not a whole .npz file of numbers (File is not a zip file)"),
        (archive(X, Y)[:-1], "not a whole .npz file of numbers"),
        (archive(X, Y).replace(b"PK\1\2", b"PK\1\3"), "not a whole .npz file of numbers"),
        (archive(("x", pickle.dumps(Payload())), Y), "not a whole .npz file of numbers (the magic string"),
        (archive(X, ("y.npy", npy(np.array([Payload()] * 4)))), "not a whole .npz file of numbers (Object arrays"),
        (archive(X, ("y.npy", b"")), "not a whole .npz file of numbers (EOF"),
        (archive(("x.npy", X[1].replace(b"(4, 6)", b"(9**9,")), Y), "not a whole .npz file of numbers"),
        (
            archive(("x.npy", X[1].replace(b"(4, 6), }   ", b"(4, 6000), }")), Y),
            "not a whole .npz file of numbers (EOF",
        ),
        (archive(("x.npy", X[1].replace(b"(4, 6), } ", b"(-4, 6), }")), Y), "not a whole .npz file of numbers"),
        (archive(("x.npy", X[1].replace(b"(4, 6), }" + b" " * 14, b"(4, 99999999999999), }")), Y), "not a whole .npz"),
        (archive(X, Y, claimed=2**45), "x takes 35,184 GB of memory, this machine has"),
        (archive(X, Y, X), "holds 2 arrays x"),
        (archive(X, Y, ("y", Y[1])), "holds 2 arrays y"),
        (archive(("x.npy", npy(VALUES[:0])), ("y.npy", npy(CLASSES[:0]))), "x is float64 of shape (0, 6)"),
        (archive(("x.npy", npy(VALUES[..., :0])), Y), "x is float64 of shape (4, 0)"),
        (archive(X, ("y.npy", npy(np.full(4, 2**64 - 1, np.uint64)))), "y holds 18446744073709551615"),
        (archive(("x.npy", npy(np.array(VALUES, complex))), Y), "x is complex128 of shape (4, 6)"),
        (archive(("x.npy", npy(np.full((4, 6), -np.inf))), Y), "sample 0: holds -inf"),
    ],
)
def test_hostile_archives_are_refused_in_one_line_and_nothing_in_them_is_run(folder, content, message):
    Path("data.npz").write_bytes(content)
    assert f"evaluate: data.npz: {message}" in refusal("evaluate", "flat.net", "--data", "data.npz", "--steps", 3)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("kind", ["f2", ">f4", "g", ">i2", "u8", "bool", "fortran"])
def test_numbers_count_as_such_in_any_type_and_order(folder, kind):
    own = {"type": "input", "shape": [6], "neuron": LIVELY, "weight": np.int64(70_000), "bias": np.int64(-60_000)}
    write_layers("input.net", own, dense(weights(np.random.default_rng(7), (3, 6)), LIVELY))
    values = np.random.default_rng(8).random((SAMPLES, 6)) > 0.5
    np.savez("samples.npz", x=values.astype(float), y=np.arange(SAMPLES) % 3)
    classes = (np.arange(SAMPLES) % 3).astype(">u8")
    np.savez("other.npz", x=np.asfortranarray(values * 1.0) if kind == "fortran" else values.astype(kind), y=classes)
    arguments = ("flat.net", "input.net", "--data")
    assert (
        judged(*arguments, "other.npz", "--steps", 3)[0]["networks"]
        == judged(*arguments, "samples.npz", "--steps", 3)[0]["networks"]
    )


def test_currents_beyond_32_bits_are_refused(folder):
    own = {"type": "input", "shape": [6], "neuron": LIVELY, "weight": np.int64(2**40)}
    write_layers("input.net", own, dense(weights(np.random.default_rng(7), (3, 6)), LIVELY))
    np.savez("data.npz", x=VALUES, y=CLASSES)
    line = refusal("evaluate", "input.net", "--data", "data.npz", "--steps", 3)
    assert "data.npz: sample 0: inputs from 549755813888.0 to 549755813888.0 do not fit 32 bits" in line


def test_too_little_memory_is_told_in_one_line(folder):
    write_layers("wide.net", dense(np.ones((3, 3000), int), LIVELY))
    write("wide.npz", np.zeros((1, 3000)))
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, before[1]))
    try:
        line = refusal("evaluate", "wide.net", "--data", "wide.npz", "--steps", 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert line.startswith("spandex evaluate: out of memory: Unable to allocate 2.24 GiB")
    line = refusal("evaluate", "wide.net", "--data", "wide.npz", "--steps", 10**30, status=2)
    assert "'--steps': Input should be less than or equal to 100000" in line


def test_a_network_is_needed(folder):
    assert refusal("evaluate", "--data", "flat.npz", "--steps", 3).endswith("no network to judge")


def test_voltages_that_are_not_there_and_files_that_are_none_are_refused(folder):
    random = np.random.default_rng(6)
    own = {"type": "input", "shape": [6], "neuron": SIGMA_DELTA}
    write_layers("sigma.net", own, dense(weights(random, (3, 6)), SIGMA_DELTA))
    voltage = ("--data", "flat.npz", "--steps", 3, "--read", "voltage")
    assert refusal("evaluate", "sigma.net", *voltage).endswith(
        "sigma.net: layer 1: no integrators, so there is no voltage to read"
    )
    assert "nix.npz: No such file" in refusal("evaluate", "flat.net", "--data", "nix.npz", "--steps", 3)
    Path("broken.npz").write_bytes(Path("flat.npz").read_bytes()[:300])
    assert "broken.npz: not a whole .npz" in refusal("evaluate", "flat.net", "--data", "broken.npz", "--steps", 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data flat.npz --steps 3 --no-mos", "--mos/--no-mos is for clips, not for --data"),
        ("--data flat.npz --steps 3 --noisy a", "--noisy is for clips, not for --data"),
        ("--data flat.npz --steps 3 --float", "--float is for clips, not for --data"),
        ("--noisy a --clean b --json c.json --steps 3", "--steps is for --data, not for clips"),
        ("--noisy a --clean b --json c.json --read voltage", "--read is for --data, not for clips"),
        ("--noisy a --clean b", "--noisy, --clean and --json are needed, or --data"),
    ],
)
def test_options_of_the_other_kind_are_refused(folder, options, message):
    assert message in refusal("evaluate", "flat.net", *options.split(), status=2)
