"""Operations counted by hand, conversion against closed forms and an SNN library, and both experiments at toy size."""

import json
import re

import matplotlib.image
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from image_mirror import image_mirror
from spandex.companions.activity import cifar10, claims, mnist
from spandex.companions.activity.conversion import normalised, simulate
from spandex.companions.activity.experiment import measure_spiking, penalty, pull
from spandex.companions.activity.networks import ReluNetwork, relu_network, weighted
from spandex.companions.activity.operations import fan_out, operations, spike_fan_outs
from spandex.companions.training import Labelled
from spandex.companions.work import Work
from spandex.files.results import ResultLog
from spandex.params.companions.activity import Activity
from spandex.report.claims import Verdict
from spandex.sparsify.activity import PSI


def small_network(seed=0):
    torch.manual_seed(seed)
    return relu_network((2, 13, 13), [3, 4], [6])


def images(count=5, seed=1):
    """Half of the pixels are black."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 2, 13, 13, generator=generator)
    return pixels * (torch.rand(pixels.shape, generator=generator) > 0.5)


def test_lenet_has_its_shapes():
    lenet = relu_network((3, 32, 32), [6, 16], [120, 84])
    inputs = [tuple(shape) for _, shape in weighted(lenet, (3, 32, 32))]
    assert inputs == [(3, 32, 32), (6, 14, 14), (16 * 5 * 5,), (120,), (84,)]
    assert lenet(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 2, 1]),  # 3 positions
        ({"stride": 2}, [1, 1, 2, 1, 1]),
        ({"padding": 1}, [2, 3, 3, 3, 2]),  # 5 positions, the padding is no input
        ({"dilation": 2}, [1, 0, 1, 0, 1]),
    ],
)
def test_fan_out_in_a_convolution_counts_the_positions_in_use(options, expected):
    layer = nn.Conv2d(1, 4, (1, 3), **({k: (0, v) if k == "padding" else (1, v) for k, v in options.items()}))
    assert fan_out(layer, (1, 1, 5)).flatten().tolist() == [4 * count for count in expected]


def test_fan_out_counts_weights_that_are_not_zero():
    layer = nn.Conv2d(2, 2, (1, 2))
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0] = -1.0  # the left tap from channel 0
        layer.weight[1, 1, 0, :] = 2.0  # both taps from channel 1
    assert fan_out(layer, (2, 1, 3)).tolist() == [[[1, 1, 0]], [[1, 2, 1]]]
    dense = nn.Linear(3, 2)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor([[1.0, 0, 2], [3, 0, 0]]))
    assert fan_out(dense, (3,)).tolist() == [2, 0, 1]


def effective_by_loops(network, image):
    """Products of two non-zero factors, counted one by one, and biases."""
    count, x = 0, image[None]
    for layer in network:
        y = layer(x)
        if isinstance(layer, nn.Linear):
            count += sum(1 for w in layer.weight for a, b in zip(w, x[0], strict=True) if a != 0 and b != 0)
            count += int((layer.bias != 0).sum())
        elif isinstance(layer, nn.Conv2d):
            (sy, sx), (ky, kx) = layer.stride, layer.kernel_size
            for row in range(y.shape[2]):
                for column in range(y.shape[3]):
                    patch = x[0, :, row * sy : row * sy + ky, column * sx : column * sx + kx]
                    count += int(((layer.weight != 0) & (patch != 0)).sum()) + int((layer.bias != 0).sum())
        x = y
    return count


@torch.no_grad()
def test_effective_operations_are_those_counted_one_by_one():
    network = small_network()
    for layer in network:
        if hasattr(layer, "weight"):
            layer.weight[torch.rand_like(layer.weight) < 0.3] = 0
            layer.bias[0] = 0
    expected = np.mean([effective_by_loops(network, image) for image in images()])
    assert operations(network, images()).effective == expected


def test_effective_operations_of_a_dense_layer_are_the_product_of_counts_over_its_inputs():
    """Without zero weights: phi(W) phi(A) counts each active input once for every weight, of which it meets one row."""
    torch.manual_seed(0)
    network = ReluNetwork(nn.Flatten(), nn.Linear(7, 4, bias=False))
    network[1].bias = nn.Parameter(torch.zeros(4))
    found = operations(network, torch.tensor([1.0, 0, 0, 2, 3, 0, 0]).reshape(1, 1, 1, 7))
    assert found.product == 28 * 3
    assert found.effective == found.product / 7 == 4 * 3


def test_product_of_counts_is_the_formula():
    network = ReluNetwork(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.copy_(torch.tensor([0.5, -100.0]))  # the second channel is silent
        network[3].bias.copy_(torch.tensor([0.0, 1, 2]))
    found = operations(network, torch.ones(1, 1, 3, 3))
    assert found.product == (8 * 9 + 2) + (24 * 4 + 2)
    assert found.effective == (2 * 4 * 4 + 2 * 4) + (4 * 3 + 2)


def test_normalised_network_has_the_same_scores_and_activations_of_about_one():
    network = small_network()
    found = normalised(network, images(), 100.0)
    expected = network(images())
    torch.testing.assert_close(found(images()), expected)
    assert [float(layer.detach().max()) for layer in found.activations] == pytest.approx([1.0, 1.0, 1.0])


def test_percentile_is_that_of_activations_that_are_not_zero():
    network = ReluNetwork(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 10))
    with torch.no_grad():
        network[1].weight.fill_(1.0)
        network[1].bias.zero_()
    values = torch.tensor([-1.0, -1, -1, 0, 1, 2, 3, 4, 5]).reshape(9, 1, 1, 1)
    found = normalised(network, values, 50.0)
    assert found[1].weight.item() == pytest.approx(1 / 3)
    silent = normalised(network, -values.abs(), 50.0)
    assert silent[1].weight.item() == 1.0


def one_neuron(weight):
    network = ReluNetwork(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        network[1].weight.fill_(weight)
        network[1].bias.zero_()
        network[3].weight.copy_(torch.tensor([[1.0], [-2.0]]))
        network[3].bias.copy_(torch.tensor([0.25, 0.0]))
    return network


@pytest.mark.parametrize(("current", "rate"), [(0.25, 0.25), (0.7, 0.7), (1.0, 1.0), (1.5, 1.0), (-0.5, 0.0)])
def test_rate_of_a_neuron_is_its_activation_up_to_one(current, rate):
    steps = 40
    spikes = [float(layer) for _, (layer,) in simulate(one_neuron(current), torch.ones(1, 1, 1, 1), steps)]
    assert sum(spikes) == pytest.approx(rate * steps, abs=1)


def test_potential_left_above_the_threshold_spikes_again_and_scores_are_means_of_currents():
    network = ReluNetwork(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        for layer, weight in zip((network[1], network[3], network[5]), (0.5, 2.5, 1.0), strict=True):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    steps = list(simulate(network, torch.ones(1, 1, 1, 1), 4))
    assert [float(first) for _, (first, _) in steps] == [0, 1, 0, 1]
    assert [float(second) for _, (_, second) in steps] == [0, 1, 1, 1]  # 2.5 at the second step: 1.5 and 0.5 are left
    assert [float(scores) for scores, _ in steps] == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])


def test_neurons_are_those_of_an_snn_library_while_no_potential_is_left_above_the_threshold():
    """There such a rest is lost unless the next input is large: the reset comes before the spike is counted."""
    torch.manual_seed(0)
    network = ReluNetwork(nn.Flatten(), nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))
    pixels = torch.rand(4, 1, 3, 3)
    with torch.no_grad():
        network[3].weight.mul_(0.3)
    neurons = [snntorch.Leaky(beta=1.0, reset_mechanism="subtract", reset_delay=False) for _ in range(2)]
    total, fired = 0.0, 0
    with torch.no_grad():
        for step, (scores, spikes) in enumerate(simulate(network, pixels, 50), start=1):
            first, rest = neurons[0](network[1](pixels.flatten(1)))
            second, other = neurons[1](network[3](first))
            assert max(rest.max(), other.max()) < 1
            assert torch.equal(spikes[0], first)
            assert torch.equal(spikes[1], second)
            total = total + network[5](second)
            torch.testing.assert_close(scores, total / step)
            fired += int(second.sum())
    assert fired > 100


def test_spiking_scores_approach_those_of_the_relus():
    network = normalised(small_network(), images(), 100.0)
    expected = network(images())
    errors = []
    for step, (scores, _) in enumerate(simulate(network, images(), 400), start=1):
        if step in (25, 400):
            errors.append((scores - expected).abs().max().item())
    assert errors[1] < errors[0] / 5
    assert errors[1] < 0.02


def test_synops_are_fan_out_times_spikes_counted_one_by_one():
    network = normalised(small_network(), images(), 100.0)
    labels = torch.zeros(5, dtype=torch.int64)
    found = measure_spiking(network, Labelled(images(), labels), [3, 8])
    counts, total = {}, 0
    for step, (_, spikes) in enumerate(simulate(network, images(), 8), start=1):
        for image in range(5):
            total += 4 * int(spikes[0][image].sum())  # one position for each of four kernels
            total += 6 * int(spikes[1][image].sum()) + 10 * int(spikes[2][image].sum())
        counts[step] = total
    assert total > 0
    assert found["synops"] == [counts[3] / 5, counts[8] / 5]


def test_fan_outs_are_of_the_hidden_layers():
    fan_outs = spike_fan_outs(small_network(), (2, 13, 13))
    assert [len(layer) for layer in fan_outs] == [75, 4, 6]
    assert [int(layer.sum()) for layer in fan_outs] == [75 * 4, 4 * 6, 6 * 10]


def test_penalty_is_the_mean_over_images_of_psi_of_every_hidden_layer():
    network = small_network()
    network(images())
    expected = np.mean(
        [sum(float(PSI["hoyer"](layer[i].detach().flatten())) for layer in network.activations) for i in range(5)]
    )
    assert penalty(network, PSI["hoyer"], 0.5)().item() == pytest.approx(0.5 * expected, rel=1e-5)


TOY = {
    "psi": ["l1", "l0.5", "l0.1", "l0.01", "hoyer"],
    "strengths": [0.1, 3.0],
    "percentile": 99.9,
    "calibration_images": 40,
    "steps": [1, 4, 16],
    "mnist": {
        "channels": [],
        "hidden": [16, 12],
        "train_images": 80,
        "validation_images": 20,
        "test_images": 40,
        "pretrain_epochs": 6,
        "epochs": 4,
        "batch_size": 10,
        "lr": 0.005,
    },
}
TOY["cifar10"] = TOY["mnist"] | {"channels": [3, 4]}


@pytest.fixture(scope="module")
def settings():
    return Activity(**TOY)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    return image_mirror(tmp_path_factory.mktemp("mirror"))


def run_once(module, settings, folder, mirror, seed):
    work = Work(seed, torch.device("cpu"), folder, str(mirror), ResultLog(folder / "log"))
    found = module.run(settings, work)
    work.log.close()
    return found


@pytest.fixture(scope="module")
def runs(settings, mirror, tmp_path_factory):
    return {
        name: [run_once(module, settings, tmp_path_factory.mktemp(name), mirror, seed) for seed in (1, 2)]
        for name, module in (("mnist", mnist), ("cifar10", cifar10))
    }


def test_an_experiment_gives_finite_numbers_for_every_psi_and_strength(runs):
    for own in runs.values():
        for run in own:
            json.dumps(run, allow_nan=False)
            assert [(v["psi"], v["strength"]) for v in run["variants"]] == [
                (p, s) for p in TOY["psi"] for s in (0.1, 3.0)
            ]
            assert run["plain"]["accuracy"] > 0.3
            assert run["plain"]["synops"] == sorted(run["plain"]["synops"])


def test_a_penalty_makes_the_toy_network_send_less(runs):
    for run in runs["mnist"]:
        for psi in ("l1", "l0.5"):
            weak, strong = (v for v in run["variants"] if v["psi"] == psi)
            assert strong["synops"][-1] < weak["synops"][-1]
            assert strong["effective_operations"] < run["plain"]["effective_operations"]


def test_lambda_is_the_strength_in_units_of_its_psi(runs):
    plain = runs["mnist"][0]["plain"]
    weights = {v["psi"]: v["lambda"] for v in runs["mnist"][0]["variants"] if v["strength"] == 0.1}
    assert weights == pytest.approx({psi: 0.1 * unit for psi, unit in plain["unit"].items()})
    assert weights["l0.5"] != pytest.approx(weights["l1"], rel=0.01)


def test_a_stopped_run_ends_in_the_same_numbers(settings, mirror, runs, tmp_path):
    kept = runs["mnist"][0]
    log = ResultLog(tmp_path / "log")
    log.add("plain", kept["plain"])
    for variant in kept["variants"][:-1]:
        log.add(f"{variant['psi']} {variant['strength']:g}", variant)
    log.close()
    assert run_once(mnist, settings, tmp_path, mirror, 1) == kept


def test_every_claim_has_a_verdict_for_each_network(runs, settings):
    found = claims.findings(runs, settings)
    assert len(found) == 10
    for finding in found:
        assert finding.rule
        assert finding.reason
        assert "inf" not in finding.here
    for finding in claims.findings({name: own[:1] for name, own in runs.items()}, settings):
        assert finding.verdict is Verdict.NOT_TESTABLE
        assert not re.search(r"\binf\b|nan", finding.here + finding.reason)


def test_tables_and_figures_show_every_network(runs, tmp_path):
    found = claims.tables(runs)
    assert len({table.name for table in found}) == len(found) == 6
    for table in found:
        assert all(len(row) == len(table.headings) for row in table.rows)
    assert len(found[0].rows) == 1 + 2 * len(TOY["psi"])
    pictures = [path for path in claims.figures(runs, tmp_path) if path.suffix == ".png"]
    assert len(set(pictures)) == 3
    for picture in pictures:
        assert matplotlib.image.imread(picture).std() > 0


def network_result(accuracy, synops, effective=1000.0, **head):
    return head | {
        "accuracy": accuracy,
        "spiking_accuracy": [accuracy],
        "validation_spiking_accuracy": accuracy,
        "validation_synops": synops,
        "synops": [synops],
        "effective_operations": effective,
        "product_of_counts": 1.0,
        "active": [0.5],
    }


def made_up_run(seed, **effects):
    """Accuracy lost and share of SynOps at the weak and the strong end of each psi."""
    jitter = 0.0005 * seed
    variants = []
    for place, psi in enumerate(PSI):
        for strength, (lost, share) in zip((0.1, 1.0), effects.get(psi, [(0.0, 0.5), (0.005, 0.25)]), strict=True):
            # EFLOPS in no order that goes with the SynOps
            effective = 1000.0 + (place * 7 + 3 * (strength == 1.0)) % 5
            result = network_result(
                0.9 - lost - jitter, share * 1e5 * (1 + jitter), effective, psi=psi, strength=strength
            )
            variants.append(result)
    return {"steps": [64], "plain": network_result(0.9 + jitter, 1e5), "variants": variants}


def verdicts(settings, **effects):
    runs = {"mnist": [made_up_run(seed, **effects) for seed in (1, 2, 3)]}
    return [finding.verdict for finding in claims.findings(runs, settings)]


def test_verdicts_follow_the_rules(settings):
    yes, no = Verdict.REPRODUCED, Verdict.NOT_REPRODUCED
    nothing = {psi: [(0.0, 0.95), (0.0, 0.9)] for psi in PSI}
    assert verdicts(settings)[:3] == [yes, yes, no]
    assert verdicts(settings, **nothing)[0] == no
    assert verdicts(settings, hoyer=[(0.0, 0.9), (0.3, 0.1)])[2] == yes
    harsh = {"l0.01": [(0.05, 0.3), (0.7, 0.01)]}
    assert verdicts(settings, **harsh)[4] == yes
    assert verdicts(settings, **harsh, l1=harsh["l0.01"])[4] == no
    assert verdicts(settings)[4] == no


def test_a_penalty_whose_mildest_strength_costs_too_much_is_not_compared(settings):
    assert verdicts(settings, hoyer=[(0.05, 0.5), (0.3, 0.1)])[2] == Verdict.NOT_TESTABLE


def test_the_chosen_network_sends_least_of_those_that_lose_little(settings):
    run = made_up_run(0, l1=[(0.0, 0.4), (0.02, 0.05)], hoyer=[(0.5, 0.1), (0.5, 0.1)])
    assert claims.chosen(run)["synops"] == [0.25e5]
    assert claims.chosen(run, "l1")["strength"] == 0.1
    assert claims.chosen(run, "hoyer") is run["plain"]


def test_correlation_is_of_ranks_and_leaves_out_broken_networks():
    run = made_up_run(0)
    for place, variant in enumerate(run["variants"]):
        variant["synops"], variant["effective_operations"] = [2.0**place], 5.0 + place
    run["plain"]["effective_operations"] = 100.0
    assert claims.rank_correlation(run) == pytest.approx(1.0)
    run["variants"][0] |= {"validation_spiking_accuracy": 0.1, "effective_operations": 1e9}
    assert claims.rank_correlation(run) == pytest.approx(1.0)


def test_pull_is_the_sum_of_the_magnitudes_of_derivatives_by_active_units():
    """Of L1 on the last hidden layer by hand: 1 for each active unit, and by earlier layers through the weights."""
    network = ReluNetwork(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 10))
    torch.manual_seed(0)
    data = Labelled(torch.rand(6, 1, 1, 2), torch.zeros(6, dtype=torch.int64))
    with torch.no_grad():
        first = torch.relu(network[1](data.images.flatten(1)))
        second = torch.relu(network[3](first))
        by_first = 1 + (second > 0).float() @ network[3].weight
    expected = float(by_first.abs()[first > 0].sum() + (second > 0).sum()) / 6
    assert pull(network, data, penalty(network, PSI["l1"])) == pytest.approx(expected, rel=1e-5)
