import json

import h5py
import numpy as np
import pytest

from network_files import INTEGRATOR, SIGMA_DELTA, convolution, image, write_layers
from spandex.deploy import Executor
from spandex.errors import SpandexError
from spandex.metrics import network_size
from spandex.steps.info import describe, info


@pytest.fixture
def path(tmp_path):
    """Input of 3; a hidden layer of 2 with one delay of 5 and one of 70; an output of 2, a quarter of it empty."""
    path = tmp_path / "network.net"
    with h5py.File(path, "w") as file:
        for index, (kind, size) in enumerate([("input", 3), ("dense", 2), ("dense", 2)]):
            group = file.create_group(f"layer/{index}")
            group["type"] = np.array([kind.encode()])
            group["shape"] = np.array([size])
            group["neuron/type"] = "SDNN"
            group["neuron/vThMant"] = 6
        file["layer/1/weight"] = np.array([[0, 2, -4], [6, 0, 0]], np.float32)
        file["layer/1/delay"] = np.array([5.0, 70.0])
        file["layer/2/weight"] = np.array([[2, 2], [2, 0]], np.float32)
        file["layer/2/neuron/sigma_output"] = True
    return path


def printed(capsys, *args, **options):
    with pytest.warns(UserWarning, match="clamped"):
        info(*args, **options)
    return capsys.readouterr().out


def test_json_holds_the_numbers_of_a_small_network(path, tmp_path, capsys):
    assert printed(capsys, path, tmp_path / "info.json") == printed(capsys, path)
    found = json.loads((tmp_path / "info.json").read_text())
    # 8 bits for each of 3 weights, 6 for 3 delays of at most 62; 7 for each of 3 weights of 128
    size_kb = (3 * 8 + 3 * 6 + 3 * 7) / 8 / 1024
    totals = {"nonzero_weights": 6, "nonzero_delays": 3, "parameters": 9, "size_kb": size_kb, "deployed_sparsity": 0.4}
    assert {key: found[key] for key in totals} == pytest.approx(totals)
    assert (found["clamped_delays"], found["uncounted_layers"]) == (1, [])
    assert found["sparsity_map"] == {"1": True, "2": True}
    first, hidden, output = found["layers"]
    assert (first["type"], first["shape"], first["nonzero_weights"], first["sparse"]) == ("input", [3], 0, None)
    assert hidden == {
        "index": 1,
        "type": "dense",
        "neuron": "SDNN",
        "shape": [2],
        "neurons": 2,
        "threshold": 6,
        "inputs": 3,
        "weights": 6,
        "nonzero_weights": 3,
        "zero_weights": 3,
        "nonzero_delays": 3,
        "max_delay": 62,
        "deployed_sparsity": 0.5,
        "weight_bits": 3,  # -4, -2, ..., 6 in steps of 2
        "weight_exponent": -5,
        "size_weight_bits": 8,
        "size_delay_bits": 6,
        "unrolled": 3,
        "sparse": True,
        "netx": None,
        "executor": None,
        "largest_sum": 6 * 2**15,  # of a row, with messages of 16 bits
        "largest_sum_bits": 19,
        "fits_24_bits": True,
        "fits_32_bits": True,
    }
    assert first["largest_sum"] is None
    assert (output["threshold"], output["max_delay"], output["deployed_sparsity"], output["sparse"]) == (
        None,
        0,
        0.25,
        True,
    )


def test_table_has_a_row_for_each_layer_and_the_totals(path, capsys):
    lines = printed(capsys, path, sparsity_map="2:sparse").splitlines()
    assert lines[0].split()[:4] == ["layer", "type", "neuron", "shape"]
    assert lines[1].split()[:3] == ["0", "input", "SDNN"]
    assert lines[2].split() == [
        "1",
        "dense",
        "SDNN",
        "2",
        "3",
        "6",
        "3",
        "50.0%",
        "3",
        "62",
        "3",
        "-5",
        "3",
        "dense",
        "19",
    ]
    assert lines[3].split() == ["2", "dense", "SDNN", "2", "2", "3", "25.0%", "0", "0", "1", "-6", "3", "sparse", "19"]
    assert lines[5] == "6 non-zero weights + 3 non-zero delays = 9 parameters, 0.01 KB, deployed sparsity 40.0%"


def test_long_delays_are_warned_of_once(path):
    with pytest.warns(UserWarning) as warned:
        describe(path)
    assert [str(warning.message) for warning in warned] == [f"{path}: 1 delay above 62 steps, up to 70, clamped to 62"]


@pytest.mark.filterwarnings("ignore:.*clamped")
def test_layers_whose_sums_may_leave_a_width_are_named(path, capsys):
    with h5py.File(path, "r+") as file:
        file["layer/1/weight"][0] = [250, -128, 2]  # 380 * 2**15 needs 25 bits with its sign
    hidden = describe(path)["layers"][1]
    assert (hidden["largest_sum"], hidden["fits_24_bits"], hidden["fits_32_bits"]) == (380 * 2**15, False, True)
    info(path)
    assert "sums may leave the 24 bits of Loihi 2's neurons in layer 1; " in capsys.readouterr().out
    with h5py.File(path, "r+") as file:
        file["layer/0/neuron/type"][...] = "CUBA"  # sends 1 or nothing
        file["layer/0/neuron/iDecay"] = file["layer/0/neuron/vDecay"] = 0
    assert describe(path)["layers"][1]["largest_sum"] == 380


@pytest.mark.parametrize("sparsity_map", ["1,0,1", "0:true", "maybe"])
def test_map_that_does_not_fit_names_the_file(path, sparsity_map):
    with pytest.raises(SpandexError, match=f"{path}: sparsity map"):
        info(path, sparsity_map=sparsity_map)


def test_kernels_are_counted_once_and_as_the_synapses_that_they_unroll_to(tmp_path, capsys):
    weight = np.ones((2, 1, 3, 3), int)
    weight[0, 0, 0] = 0
    first = convolution(weight, (5, 4, 1), SIGMA_DELTA, padding=(1, 1), stride=(1, 2))
    pool = {**convolution(np.full((1, 1, 2, 1), 64), (3, 4, 1), SIGMA_DELTA, stride=(2, 1)), "type": "pool"}
    pool["shape"][0] = 2
    path = write_layers(tmp_path / "network.net", image(5, 4, 1), first, pool)
    found = describe(path)
    _, shown, pooled = found["layers"]
    assert (shown["shape"], shown["weights"], shown["zero_weights"]) == ([2, 4, 3], 18, 3)
    # rows of the kernel meet 3, 4 and 3 rows of outputs, its columns 2, 3 and 2 columns
    assert shown["unrolled"] == (3 + 4 + 3) * (2 + 3 + 2) + (4 + 3) * (2 + 3 + 2)
    assert (pooled["nonzero_weights"], pooled["unrolled"]) == (2, 2 * 2 * 2 * 3)
    assert (found["nonzero_weights"], found["uncounted_layers"]) == (15 + 2, [])
    assert (shown["netx"], pooled["executor"]) == (None, None)
    info(path)
    assert (
        "layer 2: type 'pool', which netx cannot build; spandex convert writes it as a convolution; "
        "run by the executor, not stock netx\n" in capsys.readouterr().out
    )


def test_convolution_without_input_says_the_smallest_that_fits(tmp_path, capsys):
    layer = convolution(np.ones((2, 3, 3, 5), int), (9, 6, 3), INTEGRATOR, stride=(2, 1))
    path = write_layers(tmp_path / "network.net", layer)
    info(path)
    assert "the smallest x,y,channels is 9,5,3: spandex run needs --input-shape\n" in capsys.readouterr().out
    with pytest.raises(SpandexError, match=r"network\.net: layer 0: .* is 9,5,3; spandex run takes --input-shape"):
        Executor(path)
    for shape, fits in (
        ((9, 6, 3), True),
        ((9, 7, 3), False),
        ((9, 5, 3), True),
        ((10, 5, 3), False),
        ((9, 5, 2), False),
    ):
        if fits:
            assert Executor(path, input_shape=shape).layers[0].shape == (5, 2, 2)
        else:
            with pytest.raises(SpandexError, match="make no 2x2x5 neurons from an input of shape"):
                Executor(path, input_shape=shape)


def put(path, **content):
    """Replace entries of the hidden layer; None takes them away."""
    with h5py.File(path, "r+") as file:
        for key, value in content.items():
            name = f"layer/1/{key.replace('__', '/')}"
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value


@pytest.mark.filterwarnings("ignore:.*clamped")
@pytest.mark.parametrize(
    ("content", "shown", "reason"),
    [
        (
            {"type": np.array([b"lstm"])},
            {"type": "lstm", "zero_weights": 3},
            "type 'lstm', which lava-dl does not know",
        ),
        ({"type": np.array([b"a\nb\x1b[2J"])}, {"type": "a\nb\x1b[2J"}, r"type 'a\nb\x1b[2J', which lava-dl"),
        (
            {"type": np.array([b"average"])},
            {"type": "average", "weights": 6},
            "type 'average', which netx cannot build",
        ),
        ({"type": None}, {"type": None, "weights": 6, "neuron": "SDNN"}, "type is missing"),
        ({"type": np.array([b"\xff"])}, {"type": None, "weights": 6}, "cannot be read ('ascii' codec can't decode"),
        ({"weight": np.full((2, 3), 0.5)}, {"zero_weights": 0, "max_delay": 70}, "6 weights are not whole numbers"),
        ({"weight": np.full((2, 3), np.nan)}, {"weights": None, "threshold": 6}, "weight is nan"),
        ({"weight": None}, {"weights": None, "shape": [2]}, "weight is missing"),
        ({"weight": "text"}, {"weights": None, "shape": [2]}, "weight holds no numbers"),
        ({"shape": np.array([2**40])}, {"neurons": 2**40, "zero_weights": 3}, "1,099,511,627,776 neurons; at most"),
        ({"shape": np.array([0])}, {"neurons": None, "zero_weights": 3}, "impossible shape [0]"),
        ({"neuron__type": "ALIF"}, {"neuron": "ALIF", "zero_weights": 3}, "neuron type 'ALIF'; netx runs SDNN"),
        ({"neuron__type": None}, {"neuron": None, "zero_weights": 3}, "cannot be read ("),
        ({"neuron__vThMant": np.nan}, {"threshold": None, "zero_weights": 3}, "neuron/vThMant is nan"),
        ({"delay": np.array([0, 1.5])}, {"nonzero_delays": 1, "max_delay": 1.5}, "delay 1.5 is not a whole number"),
    ],
)
def test_layer_that_nothing_runs_is_shown_with_the_reason(path, capsys, content, shown, reason):
    put(path, **content)
    found = describe(path)
    layer = found["layers"][1]
    assert {key: layer[key] for key in shown} == shown
    assert layer["netx"] == layer["executor"] and reason in layer["netx"]
    assert found["layers"][2]["nonzero_weights"] == 3
    info(path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
    (line,) = (line for line in lines if line.startswith("layer 1: "))
    assert reason in line and line.endswith("; run by neither the executor nor stock netx")
    assert "\x1b" not in "".join(lines)


def test_layer_that_cannot_be_exported_is_shown(path, capsys):
    with h5py.File(path, "r+") as file:
        del file["layer/1"]
        file.create_group("layer/1")
    info(path)
    assert "layer 1: is empty, as lava-dl leaves a layer that it cannot export (KWTA); " in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*clamped")
def test_network_whose_message_bits_are_unknown_says_so(path, capsys):
    assert describe(path)["input_message_bits_missing"] is False
    with h5py.File(path, "r+") as file:
        del file["layer/0/neuron"]
    assert describe(path)["input_message_bits_missing"] is True
    info(path)
    assert "spandex run needs --input-message-bits" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*clamped")
def test_published_network_has_its_published_size(mirror):
    path = mirror / "ndns/prune50/network.net"
    found = describe(path)
    assert (found["nonzero_weights"], found["nonzero_delays"], found["parameters"]) == (215_125, 129_267, 344_392)
    assert round(found["size_kb"], 2) == 304.76
    assert found["size_kb"] == network_size(path).size_kb
    assert found["sparsity_map"] == {"1": True, "2": True, "3": True}
