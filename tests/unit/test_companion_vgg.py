"""Iterative pruning of a convolutional spiking network: encoding, fan-out, Lava, and one run at toy size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lava.lib.dl import slayer

import companion_sizes
from image_mirror import image_mirror
from spandex.companions.report import companion_sections, write_paper_report
from spandex.companions.training import Labelled, prepare
from spandex.companions.vgg import claims, fixed_point
from spandex.companions.vgg.cifar10 import METHODS, run
from spandex.companions.vgg.fan_out import fan_out, mean_fan_outs, synapses
from spandex.companions.vgg.fixed_point import run_images
from spandex.companions.vgg.network import SpikingVgg, encode
from spandex.companions.work import Work
from spandex.errors import SpandexError
from spandex.files.results import ResultLog
from spandex.networks.files import export_hdf5
from spandex.params.companions.vgg import Vgg
from spandex.report.claims import Verdict
from spandex.report.papers import Section

NEURON = companion_sizes.TOY["vgg"]["neuron"]
SETTINGS = Vgg(**companion_sizes.TOY["vgg"])


def network(side: int = 8) -> SpikingVgg:
    torch.manual_seed(3)
    made = SpikingVgg(SETTINGS, (3, side, side)).eval()
    for layer in made.layers:  # some zeros, as pruning leaves them
        layer.synapse.weight.data *= 2 * (torch.rand_like(layer.synapse.weight) > 0.4)
    return made


def pictures(count: int, side: int = 8) -> Labelled:
    generator = torch.Generator().manual_seed(4)
    return Labelled(torch.randn(count, 3, side, side, generator=generator), torch.arange(count) % 10)


def test_pixel_fires_as_often_as_it_is_bright_or_dark():
    trains = encode(torch.tensor([0.0, 0.5, 1.0, -1.0, 2.0, 7.0]).reshape(6, 1, 1, 1), steps=8)
    assert trains.shape == (6, 2, 1, 1, 8)
    assert trains.sum(-1)[:, 0, 0, 0].tolist() == [0, 2, 4, 0, 8, 8]
    assert trains.sum(-1)[:, 1, 0, 0].tolist() == [0, 0, 0, 4, 0, 0]
    assert trains[2, 0, 0, 0].tolist() == [1, 0] * 4  # evenly spread


def test_fan_out_is_the_number_of_outputs_that_a_spike_changes():
    made = network()
    signals = made.spikes(pictures(1).images)[:-1]
    for layer, signal in zip(made.layers, signals, strict=True):
        shape = signal.shape[1:-1]
        counted = fan_out(layer, shape, synapses(layer))
        layer.synapse.weight.data.abs_()  # so that no two synapses cancel
        for place in np.random.default_rng(0).permutation(counted.numel())[:40]:
            one = torch.zeros(1, *shape, 1)
            one.view(-1)[place] = 1
            if isinstance(layer.synapse, slayer.synapse.Dense):
                one = one.reshape(1, -1, 1)
            assert int(layer.synapse(one).count_nonzero()) == counted.flatten()[place]


def test_fan_out_of_a_full_convolution_is_less_at_the_edge():
    layer = slayer.block.cuba.Conv({**NEURON, "current_decay": 1}, 2, 5, 3, stride=2, padding=1)
    counted = fan_out(layer, (2, 4, 4), torch.ones_like(layer.synapse.weight))
    # of 3 x 3 positions at stride 2 and padding 1, rows 0 and 2 are used once, row 1 twice, row 3 once
    per_row = torch.tensor([1.0, 2.0, 1.0, 1.0])
    assert torch.equal(counted, 5 * torch.outer(per_row, per_row).expand(2, 4, 4))


def test_lava_holds_every_weight_of_a_convolution():
    made = network()
    found = mean_fan_outs(made, pictures(1).images)
    assert all(held > counted for held, counted in zip(found["held"][:3], found["fan_out"][:3], strict=True))
    assert found["held"][3:] == found["fan_out"][3:]


def test_fixed_point_has_the_spikes_of_lava_dl_and_the_operations_of_the_synapses_they_reach(tmp_path):
    made, data = network(), pictures(7)
    with torch.no_grad():
        *signals, outputs = made.spikes(data.images)
        export_hdf5(made, tmp_path / "network.net")
        found = run_images(tmp_path / "network.net", data.images, SETTINGS.steps, in_lava={5})
        assert outputs[5].sum() > 5
        assert torch.equal(found.outputs, outputs)
        assert found.spikes == pytest.approx([float(signal.sum()) / 7 for signal in signals])
        for layer, signal, operations in zip(made.layers, signals, found.operations, strict=True):
            layer.synapse.weight.data = synapses(layer)  # every synapse then adds one
            dense = isinstance(layer.synapse, slayer.synapse.Dense)
            total = layer.synapse(signal.reshape(7, -1, SETTINGS.steps) if dense else signal).sum()
            assert operations == pytest.approx(float(total) / 7)


def test_lava_that_differs_from_the_executor_is_an_error_naming_the_image(tmp_path, monkeypatch):
    made, data = network(), pictures(2)
    made(data.images)  # lava-dl's neurons learn their shape
    export_hdf5(made, tmp_path / "network.net")
    run_in_lava = fixed_point.run_in_lava

    def one_spike_more(*arguments):
        outputs = run_in_lava(*arguments)
        outputs[0, 0] += 1  # before anything can have arrived
        return outputs

    monkeypatch.setattr(fixed_point, "run_in_lava", one_spike_more)
    with pytest.raises(SpandexError, match=r"network\.net: image 1: 1 of 180 outputs of Lava are not the executor's"):
        run_images(tmp_path / "network.net", data.images, SETTINGS.steps, in_lava={1})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    mirror = image_mirror(tmp_path_factory.mktemp("mirror"))
    found = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("work")
        work = Work(seed, torch.device("cpu"), folder, str(mirror), ResultLog(folder / "log", "x"))
        found.append(run(SETTINGS, work))
    return {"cifar10": found}


def test_toy_run_prunes_weights_and_neurons_and_learns(runs):
    for result in runs["cifar10"]:
        variants = result["variants"]
        assert tuple(variants) == METHODS
        both, dense = variants["neurons and weights"], variants["dense"]
        assert both["deployed_sparsity"] >= 0.79 > 0.3 > dense["deployed_sparsity"]
        assert both["neurons"] < dense["neurons"]
        assert both["synops"] < dense["synops"]
        assert dense["accuracy"] > 0.3  # chance is 0.1
        for variant in (both, dense):
            assert variant["fixed_point_accuracy"] == variant["accuracy"]
            assert variant["differing_images"] == 0
        assert dense["output_spikes"] > 0


def test_stopped_run_gives_the_same_result(runs, tmp_path):
    first = runs["cifar10"][0]["variants"]
    mirror = image_mirror(tmp_path / "mirror")
    log = ResultLog(tmp_path / "log", "x")
    log.add("neurons and weights", first["neurons and weights"])
    assert run(SETTINGS, Work(1, torch.device("cpu"), tmp_path, str(mirror), log))["variants"] == first


def report(runs, folder: Path) -> Section:
    """What the page shows of these runs."""
    folder.mkdir(parents=True)
    findings, tables = claims.findings(runs, SETTINGS), claims.tables(runs)
    write_paper_report("VGG", findings, tables, claims.figures(runs, folder), folder)
    (section,) = companion_sections([folder])
    return section


def test_claims_are_judged_and_shown(runs, tmp_path):
    section = report(runs, tmp_path / "vgg")
    assert len(section.findings) == 5
    assert all(finding.here and finding.rule for finding in section.findings)
    assert [table.name for table in section.tables] == ["variants", "layers"]
    assert len(section.tables[1].rows) == 5 * len(METHODS)
    assert section.figures == [tmp_path / "vgg/fan_out.png"]
    alone = report({"cifar10": runs["cifar10"][:1]}, tmp_path / "one/vgg")
    *of_intervals, _ = (finding.verdict for finding in alone.findings)
    assert set(of_intervals) == {Verdict.NOT_TESTABLE}


def result_of(sparsity, accuracy, synops, differing, spikes=3):
    variant = {
        "deployed_sparsity": sparsity,
        "accuracy": accuracy,
        "synops": synops,
        "spikes": 10.0,
        "differing_images": differing,
        "output_spikes": spikes,
    }
    dense = {"deployed_sparsity": 0.1, "accuracy": 0.5, "synops": 100.0, "spikes": 10.0}
    return {"variants": {"dense": dense, "neurons and weights": variant}}


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ([(0.951, 0.50, 5.0, 0), (0.9512, 0.495, 6.0, 0), (0.951, 0.50, 5.5, 0)], ["reproduced"] * 5),
        ([(0.9, 0.30, 50.0, 1), (0.9, 0.31, 51.0, 1), (0.9, 0.29, 52.0, 1)], ["not reproduced"] * 5),
    ],
)
def test_rules_tell_a_network_that_holds_from_one_that_does_not(results, verdicts):
    settings = SETTINGS.model_copy(update={"sparsity": 0.95})
    found = claims.findings({"cifar10": [result_of(*result) for result in results]}, settings)
    assert [finding.verdict.value for finding in found] == verdicts


def test_one_image_that_differs_is_enough_and_one_network_without_spikes_is_none():
    good = (0.951, 0.50, 5.0, 0)
    differs = claims.findings({"cifar10": [result_of(*good), result_of(*good[:3], 1)]}, SETTINGS)[-1]
    silent = claims.findings({"cifar10": [result_of(*good), result_of(*good, spikes=0)]}, SETTINGS)[-1]
    assert (differs.verdict, silent.verdict) == (Verdict.NOT_REPRODUCED, Verdict.NOT_TESTABLE)


def test_network_takes_prepared_images(tmp_path):
    from spandex.companions.images import load

    learning, _ = prepare(load("cifar10", str(image_mirror(tmp_path, per_class=1)), 10, 10, seed=0))
    with torch.no_grad():
        assert SpikingVgg(SETTINGS)(learning.images).shape == (10, 10)
