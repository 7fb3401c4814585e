"""Learnable masks on a convolutional spiking network: what is counted, what is learnt, and what is said of it."""

import json
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

import companion_sizes
from image_mirror import image_mirror
from spandex.companions.masks import cifar10, claims
from spandex.companions.masks.connections import costs, living_connections, operations
from spandex.companions.masks.network import SpikingConvNet
from spandex.companions.masks.search import Search, magnitude_pruning
from spandex.companions.work import Work
from spandex.files.results import ResultLog
from spandex.params.companions.masks import Masks
from spandex.report.claims import Verdict

TOY = Masks(**companion_sizes.TOY["masks"])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SpikingConvNet(TOY)


def pixels(count=6):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def some_masks(network):
    """Masks by chance on every weight and every convolutional neuron."""
    generator = torch.Generator().manual_seed(2)
    for layer in network.layers:
        layer.weights.keep = torch.rand(layer.weights.shape, generator=generator) > 0.4
        if len(layer.neurons.shape) == 3:
            layer.neurons.keep = torch.rand(layer.neurons.shape, generator=generator) > 0.5


def connections_by_hand(network):
    """Of every layer: (sender, receiver) of its living connections, one entry each, by loops."""
    found = []
    senders = [(c, y, x) for c in range(3) for y in range(8) for x in range(8)]
    for layer in network.layers:
        keep = layer.weights.alive(torch.ones(()))
        receivers = layer.neurons.alive(torch.ones(()))
        own = []
        for place, sender in enumerate(senders):
            if sender is None:
                continue
            for o in range(receivers.shape[0]):
                if keep.ndim == 2:
                    own += [(place, o)] * int(keep[o, place])
                    continue
                c, y, x = sender
                for dy in range(3):
                    for dx in range(3):
                        to = o, y + 1 - dy, x + 1 - dx
                        if min(to[1:]) >= 0 and max(to[1:]) < receivers.shape[1] and receivers[to]:
                            own += [(place, to)] * int(keep[o, c, dy, dx])
        found.append(own)
        senders = list(range(receivers.shape[0]))
        if receivers.ndim == 3:
            side = receivers.shape[1] // 2
            squares = [(c, y, x) for c in range(len(receivers)) for y in range(side) for x in range(side)]
            alive = [receivers[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].any() for c, y, x in squares]
            senders = [square if lives else None for square, lives in zip(squares, alive, strict=True)]
    return found


def test_connections_of_one_convolution_counted_by_hand():
    """8 x 8 positions: a weight in the middle is used at 64, at an edge at 56, in a corner at 49."""
    cost = costs(SpikingConvNet(TOY))
    assert torch.equal(cost.weights[0][0, 0], torch.tensor([[49, 56, 49], [56, 64, 56], [49, 56, 49]]).double())
    # A neuron of the first layer is pooled to one of 4 x 4 positions, whose 3 x 3 receivers have 4 channels each.
    corner, edge, middle = 4 * 4, 4 * 6, 4 * 9
    rows = [[corner, edge, edge, corner], [edge, middle, middle, edge]]
    pooled = torch.tensor([rows[0], rows[1], rows[1], rows[0]]).double()
    assert torch.equal(cost.neurons[0][0], pooled.repeat_interleave(2, 0).repeat_interleave(2, 1))
    # One of the second is pooled to one of 2 x 2, and goes to each of 8 dense neurons; those to 10 classes of 2 voters.
    assert cost.neurons[1].eq(8).all() and cost.neurons[2].eq(20).all() and cost.neurons[3].eq(0).all()
    assert cost.connections == 484 * 3 * 4 + 100 * 4 * 4 + 16 * 8 + 8 * 20


@pytest.mark.parametrize("masked", [False, True])
def test_connections_are_those_of_loops_over_positions(network, masked):
    if masked:
        some_masks(network)
    expected = sum(map(len, connections_by_hand(network)))
    assert living_connections(network) == expected
    assert masked == (expected < costs(network).connections)


@torch.no_grad()
def test_operations_are_spikes_times_their_living_connections(network):
    some_masks(network)
    spikes = network.spikes(pixels())
    expected = 0
    for sent, connections in zip(spikes, connections_by_hand(network)[1:], strict=False):
        by_sender = sent.sum((0, 1)).flatten()
        expected += sum(float(by_sender[place]) for place, _ in connections)
    assert expected > 0
    assert operations(network, spikes) == expected


def test_layer_fires_as_its_equation_says(network):
    layer = network.layers[2]
    x = torch.rand(3, 5, 16, generator=torch.Generator().manual_seed(3)) * 4
    sent = layer(x, 3)
    potential = torch.zeros(5, 8)
    for step in range(3):
        potential = 0.5 * potential + F.linear(x[step], layer.synapse.weight)
        fires = potential > 1
        potential = torch.where(fires, 0.0, potential)
        assert torch.equal(sent[step], fires.float())
    assert 0 < sent.mean() < 1


def test_first_layer_sees_the_same_image_at_every_step(network):
    network.eval()
    repeated = network.layers[0](pixels()[None].expand(3, -1, -1, -1, -1), 3)
    assert torch.equal(network.layers[0](pixels()[None], 3), repeated)


def test_penalty_is_the_share_of_connections_that_scores_leave(network):
    search = Search(network, 0.7, (5.0, 1000.0), 10)
    cost = costs(network)
    generator = torch.Generator().manual_seed(4)
    expected = 0.0
    with torch.no_grad():
        for layer, by_weight, by_neuron in zip(network.layers, cost.weights, cost.neurons, strict=True):
            for mask, c in ((layer.weights, by_weight), (layer.neurons, by_neuron)):
                if mask.scores is None:
                    continue
                mask.scores.copy_(torch.randn(mask.shape, generator=generator))
                expected += float((c / (1 + (-5.0 * mask.scores.double()).exp())).sum())
    assert search.penalty().item() == pytest.approx(0.7 * expected / cost.connections, rel=1e-5)


def test_search_multiplies_weights_and_spikes_by_steeper_and_steeper_sigmoids(network):
    search = Search(network, 0.1, (5.0, 80.0), 4)
    betas = []
    for done in range(6):
        search.step(done)
        betas.append(network.layers[0].weights.beta)
    assert betas == pytest.approx([5, 10, 20, 40, 80, 80])
    layer = network.layers[2]
    with torch.no_grad():
        layer.weights.scores.normal_(generator=torch.Generator().manual_seed(5))
    x = torch.rand(1, 5, 16)
    used = layer.synapse.weight * torch.sigmoid(80 * layer.weights.scores)
    assert torch.equal(layer(x, 1)[0], (F.linear(x[0], used) > 1).float())
    first = network.layers[0]
    assert torch.equal(first.neurons(torch.ones(first.neurons.shape)), torch.full(first.neurons.shape, 0.5))


def test_scores_above_zero_survive_and_dense_neurons_are_never_searched(network):
    search = Search(network, 0.1, (5.0, 80.0), 4)
    assert [layer.neurons.scores is not None for layer in network.layers] == [True, True, False, False]
    with torch.no_grad():
        network.layers[0].neurons.scores.fill_(1.0)[0] = 0.0
        network.layers[1].weights.scores.fill_(-1.0)[2] = 1.0
    search.end()
    assert not any(isinstance(p, torch.nn.Parameter) and "scores" in n for n, p in network.named_parameters())
    alive = network.layers[0].neurons.keep
    assert not alive[0].any() and alive[1:].all()
    assert network.spikes(pixels())[0][:, :, 0].eq(0).all()
    assert network.layers[1].weights.keep.flatten(1).any(1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("weights, neurons", [(True, False), (False, True)])
def test_either_kind_is_searched_alone(network, weights, neurons):
    Search(network, 0.1, (5.0, 80.0), 4, weights, neurons)
    assert (network.layers[0].weights.scores is not None) == weights
    assert (network.layers[0].neurons.scores is not None) == neurons


def test_gradients_reach_scores_of_weights_and_neurons(network):
    search = Search(network, 0.1, (5.0, 80.0), 4)
    (network(pixels()).square().sum() + search.penalty()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in network.named_parameters() if "scores" in n)


def test_magnitude_pruning_follows_the_cubic_and_ends_at_the_smallest(network):
    size = torch.cat([layer.synapse.weight.detach().abs().flatten() for layer in network.layers])
    prune = magnitude_pruning(network, 0.8, 4)
    for done in range(1, 7):
        prune(done)
        kept = sum(layer.weights.living for layer in network.layers)
        assert len(size) - kept == round(0.8 * (1 - (1 - min(done, 4) / 4) ** 3) * len(size))
    keep = torch.cat([layer.weights.keep.flatten() for layer in network.layers])
    assert size[~keep].max() <= size[keep].min()


def point(accuracy, sops):
    return {"accuracy": accuracy, "sops": sops}


def test_equal_accuracy_is_read_from_the_frontier_of_the_other():
    other = [point(0.5, 100.0), point(0.6, 1000.0), point(0.55, 5000.0)]  # the last is no better for more
    assert claims.equal_accuracy([point(0.55, 100.0)], other) == pytest.approx(-0.5 * math.log(10))
    assert claims.equal_accuracy([point(0.7, 500.0)], other) == pytest.approx(-math.log(2))
    assert claims.equal_accuracy([point(0.4, 1.0), point(0.5, 200.0)], other) == pytest.approx(math.log(2))
    assert claims.equal_accuracy([point(0.4, 1.0)], other) is None
    # worse in both counts against the search, however inaccurate it is
    assert claims.equal_accuracy([point(0.5, 100.0), point(0.2, 1e4)], other) == pytest.approx(math.log(100) / 2)


def work(folder, mirror, seed):
    folder.mkdir(exist_ok=True)
    return Work(seed, torch.device("cpu"), folder, str(mirror), ResultLog(folder / "log.jsonl"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    mirror = image_mirror(folder / "mirror")
    return folder, mirror, [cifar10.run(TOY, work(folder / str(seed), mirror, seed)) for seed in (1, 2)]


def test_runs_are_judged_and_shown(runs, tmp_path):
    _, _, found = runs
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for run in found:
        assert run["dense"]["connections_percent"] == 100 and run["dense"]["sops"] > 0
        assert run["magnitude"][0]["weights_percent"] == pytest.approx(50, abs=0.1)
        assert run["both"][0]["connections_percent"] < 100
        assert run["weights"][0]["neurons_percent"] == run["neurons"][0]["weights_percent"] == 100
        assert run["dense"]["energy_nj"] == pytest.approx(77e-6 * run["dense"]["sops"])
    by_name = {"cifar10": found}
    judged = claims.findings(by_name, TOY)
    assert len(judged) == 7
    assert [finding.verdict for finding in judged[:4]] == [Verdict.NOT_TESTABLE] * 4
    assert "width 4 instead of 256" in judged[0].reason
    assert all(finding.here for finding in judged[:4])
    (table,) = claims.tables(by_name)
    assert len(table.rows) == 5 and {len(row) for row in table.rows} == {len(table.headings)}
    assert all(path.stat().st_size for path in claims.figures(by_name, tmp_path))
    assert not any("inf" in finding.here for finding in claims.findings({"cifar10": found[:1]}, TOY))


def test_stopped_run_comes_to_the_same(runs):
    folder, mirror, found = runs
    lines = (folder / "1/log.jsonl").read_text().splitlines(keepends=True)
    (folder / "again").mkdir()
    (folder / "again/log.jsonl").write_text("".join(lines[:2]))
    assert cifar10.run(TOY, work(folder / "again", mirror, 1)) == found[0]
