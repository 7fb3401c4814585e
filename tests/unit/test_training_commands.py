"""``spandex train`` and ``spandex prune`` on folders of real files."""

import csv
import re

import numpy as np
import pytest
import soundfile
import torch

from commands import refusal, spandex
from spandex.data import NoisySpeech
from spandex.deploy.power import DeployedPower
from spandex.networks import SDNN, denoise, load_network, save_state
from spandex.networks.hdf5 import deployed_weights

SHORT = ["--batch-size", 2, "--segment-s", 0.5, "--threads", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folders train and validation: tones in noise, a second long."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("validation", 1)):
        for kind in ("noisy", "clean"):
            (folder / split / kind).mkdir(parents=True)
        for i in range(count):
            clean = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 900) * np.arange(16000) / 16000)
            noisy = clean + 0.1 * rng.standard_normal(16000)
            soundfile.write(folder / split / "clean" / f"clean_fileid_{i}.wav", clean, 16000)
            soundfile.write(folder / split / "noisy" / f"noisy_fileid_{i}.wav", noisy, 16000)
    return folder


@pytest.fixture
def data(clips):
    return ["--data", clips / "train", "--validation", clips / "validation"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "network.pt"
    save_state(SDNN(hidden=12, max_delay=4), path)
    return path


def test_network_of_a_factory_is_trained_and_exported(tmp_path, data):
    output = tmp_path / "trained"
    factory = ["--factory", "own_network:two_layers", "--arguments", "{hidden: 6}"]
    done = spandex("train", *data, "--output", output, *factory, "--epochs", 2, *SHORT)
    assert done.exit_code == 0, done.output
    assert "layers of 6 - 257 neurons" in done.stdout
    with (output / "epochs.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert not (output / ".checkpoints").exists()
    magnitude = torch.rand(1, 257, 30)
    before, after = (load_network(output / f"network.{kind}") for kind in ("pt", "net"))
    with torch.no_grad():
        assert torch.allclose(before(magnitude), after(magnitude), atol=1e-5)


def test_pruning_while_fine_tuning_reaches_the_target_exactly(tmp_path, data, network):
    output = tmp_path / "pruned"
    rules = ["--target", 0.75, "--schedule", "iterative", "--rounds", 2, "--epochs", 3, "--pruning-epochs", 2]
    done = spandex("prune", "--network", network, *rules, *data, "--output", output, *SHORT)
    assert done.exit_code == 0, done.output
    weights = [block.synapse.weight for block in load_network(output / "network.pt").blocks[1:]]
    total = sum(weight.numel() for weight in weights)
    assert sum(int((weight == 0).sum()) for weight in weights) == round(0.75 * total)


@pytest.mark.parametrize(
    "command", [["train"], ["prune", "--target", 0.1, "--pruning-epochs", 1]], ids=["train", "prune"]
)
def test_distilled_network_stays_close_to_the_one_that_it_starts_from(tmp_path, data, network, command):
    noisy = torch.from_numpy(soundfile.read(data[1] / "noisy/noisy_fileid_0.wav", dtype="float32")[0])[None]
    start = denoise(load_network(network), noisy)

    def distance(*more):
        options = ["--network", network, *data, "--output", tmp_path, "--epochs", 3, *SHORT, *more]
        done = spandex(*command, *options)
        assert done.exit_code == 0, done.output
        return (denoise(load_network(tmp_path / "network.pt"), noisy) - start).norm().item()

    assert distance("--distill", 1e5) < 0.5 * distance()


def test_distillation_without_a_teacher_is_refused(tmp_path, data, network):
    output = ["--output", tmp_path / "trained", "--distill", 50]
    assert "--distill WEIGHT needs --network" in refusal("train", *data, *output, status=2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--distill", 50], "--distill is of training, which needs --data and --validation"),
        (["--epochs", 5], "--epochs is of training"),
        (["--schedule", "iterative"], "--schedule is of training"),
        (["--with-neurons"], "--with-neurons is a setting of --method saliency"),
        (["--exponent", 1], "--exponent is a setting of --method saliency"),
    ],
)
def test_option_that_would_change_nothing_is_refused(tmp_path, network, options, reason):
    prune = ["prune", "--network", network, "--target", 0.5, "--output", tmp_path / "pruned", *options]
    assert reason in refusal(*prune, status=2)


def test_option_of_another_schedule_is_refused(tmp_path, data, network):
    prune = ["prune", "--network", network, "--target", 0.5, "--output", tmp_path / "pruned", *data]
    assert "--rounds is of --schedule iterative" in refusal(*prune, "--rounds", 3, status=2)
    once = ["--schedule", "one-shot", "--frequency", 3]
    assert "--frequency is of --schedule cubic and linear" in refusal(*prune, *once, status=2)


def test_pruning_without_clips_keeps_the_largest_weights(tmp_path, network):
    done = spandex("prune", "--network", network, "--target", 0.5, "--scope", "layer", "--output", tmp_path / "pruned")
    assert done.exit_code == 0, done.output
    before, after = load_network(network), load_network(tmp_path / "pruned/network.pt")
    for old, new in zip(before.blocks[1:], after.blocks[1:], strict=True):
        old, new = old.synapse.weight.flatten(), new.synapse.weight.flatten()
        kept = new != 0
        assert int((~kept).sum()) == round(0.5 * len(old))
        assert torch.equal(new[kept], old[kept])
        assert old[~kept].abs().max() <= old[kept].abs().min()


def test_training_a_pruned_network_warns_that_its_zeros_will_not_stay(tmp_path, data, network):
    pruned, trained = tmp_path / "pruned", tmp_path / "trained"
    assert spandex("prune", "--network", network, "--target", 0.502, "--output", pruned).exit_code == 0
    for net, warned in ((pruned / "network.pt", True), (network, False)):
        done = spandex("train", "--network", net, *data, "--output", trained, "--epochs", 1, *SHORT)
        assert done.exit_code == 0, done.output
        assert ("50.2% of the weights are zero, and training gives them values again" in done.stderr) == warned
        if warned:
            (target,) = re.findall(r"spandex prune with\s+--target ([\d.]+)", done.stderr)
    again = spandex("prune", "--network", pruned / "network.pt", "--target", target, "--output", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_pruned_neurons_leave_the_exported_network(tmp_path, data, network):
    output = tmp_path / "smaller"
    rules = ["--neurons", 0.5, "--frequency", 1, "--epochs", 2, "--pruning-epochs", 1]
    done = spandex("prune", "--network", network, *rules, *data, "--output", output, *SHORT)
    assert done.exit_code == 0, done.output
    shapes = [layer.weights.shape for layer in deployed_weights(output / "network.net")]
    assert shapes[0][1] == shapes[-1][0] == 257
    assert shapes[0][0] + shapes[1][0] == 12
    again = spandex("prune", "--network", output / "network.pt", "--target", 0.5, "--output", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_pruning_by_saliency_takes_neurons_along(tmp_path, data, network):
    output = tmp_path / "quiet"
    rules = ["--target", 0.75, "--method", "saliency", "--with-neurons", "--epochs", 3, "--pruning-epochs", 2]
    done = spandex("prune", "--network", network, *rules, *data, "--output", output, *SHORT)
    assert done.exit_code == 0, done.output
    blocks = load_network(output / "network.pt").blocks[1:]
    assert all(block.synapse.out_channels < 12 for block in blocks[:-1])
    alone = ["prune", "--network", network, *rules[:4], "--output", tmp_path / "alone"]
    assert "--method saliency needs --data and --validation" in refusal(*alone, status=2)


@pytest.mark.parametrize("method", ["magnitude", "saliency"])
def test_pruning_to_a_power_writes_the_network_that_costs_no_more(tmp_path, data, network, method):
    power = DeployedPower(NoisySpeech(data[3]))
    aim = round(0.7 * power(load_network(network)), 3)
    rules = ["--method", method, "--frequency", 1, "--epochs", 3, "--pruning-epochs", 2]
    prune = ["prune", "--network", network, *rules, *data, *SHORT]
    done = spandex(*prune, "--power-mops", aim, "--output", tmp_path / "quiet")
    assert done.exit_code == 0, done.output
    assert 0.98 * aim <= power(load_network(tmp_path / "quiet/network.net")) <= aim
    more = refusal(*prune, "--power-mops", 1.5 * aim, "--output", tmp_path / "more")
    assert f"power_mops {1.5 * aim:g}: the network costs" in more


def test_power_without_clips_or_beside_a_target_is_refused(tmp_path, data, network):
    prune = ["prune", "--network", network, "--output", tmp_path / "pruned", "--power-mops", 4]
    assert "--power-mops 4 needs --data and --validation" in refusal(*prune, status=2)
    for other in ("--target", "--neurons"):
        assert "one of them" in refusal(*prune, *data, other, 0.5, status=2)


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--target", 1.5], "1.5"),
        (["--target", -0.5], "-0.5"),
        (["--target", 0.5, "--network", "missing.net"], "missing.net: no such file"),
        (["--target", 0.5, "--factory", "own_network:missing"], "own_network has no callable missing"),
        (["--target", 0.5, "--factory", "own_network:two_layers", "--arguments", "[1"], "--arguments '[1'"),
        (["--target", 0.5, "--factory", "own_network:two_layers"], "does not fit the network"),
    ],
)
def test_what_cannot_be_pruned_is_one_line_and_leaves_nothing(tmp_path, network, options, reason):
    assert reason in refusal("prune", "--network", network, *options, "--output", tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()


def test_clips_for_training_alone_are_refused(tmp_path, data, network):
    command = ["prune", "--network", network, "--target", 0.5, "--output", tmp_path / "pruned"]
    assert "--data and --validation go together" in refusal(*command, *data[:2], status=2)
    more = [*data, "--epochs", 1, "--pruning-epochs", 2]
    assert "2 pruning epochs are more than 1 epochs" in refusal(*command, *more)
