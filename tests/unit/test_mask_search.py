"""Masks that are learnt on a sigma-delta network, and what is left of it."""

import copy
import math

import pytest
import torch
from lava.lib.dl import slayer
from tests.chains import (
    SDNN_NEURON,
    Chain,
    complex_rf,
    convolutional_sdnn,
    dense_sdnn,
    exported,
    pooled_cuba,
    recurrent_cuba,
)

import training
from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.kernels.blocks import FusedDense
from spandex.sparsify import shrink, sparsity
from spandex.sparsify.mask_search import START, MaskSearch
from spandex.sparsify.weights import synapse_weights
from spandex.train import fit

sigma_delta = slayer.block.sigma_delta
PLAIN_AND_FUSED = pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])


def inputs(steps=20, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 12, steps, generator=generator)


def make(seed=0, build=dense_sdnn):
    torch.manual_seed(seed)
    network = build()
    with torch.no_grad():
        network(inputs())
    return network


def train(network, search, steps, optimizer=None, weight_decay=0.01):
    """On a target that another network gives; every step is the same whatever was before it."""
    target = make(seed=5)(inputs()).detach()
    optimizer = optimizer or torch.optim.Adam(network.parameters(), 0.01, weight_decay=weight_decay)
    network.train()
    for _ in range(steps):
        loss = (network(inputs()) - target).square().mean()
        penalty = search.penalty()
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        search.step()
    return optimizer


def output(network):
    network.eval()
    with torch.no_grad():
        return network(inputs(seed=3))


@PLAIN_AND_FUSED
def test_search_begins_with_the_network_as_it_was(fused):
    network = make()
    before, weights = output(network), {n: w.value().clone() for n, w in synapse_weights(network).items()}
    if fused:
        accelerate(network)
    MaskSearch(network, 1.0, 10)
    for name, weight in weights.items():
        torch.testing.assert_close(network.get_submodule(name).weight.detach(), weight, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(output(network), before, rtol=1e-4, atol=1e-4)


def test_penalty_is_the_cost_written_out():
    torch.manual_seed(0)
    network = Chain(sigma_delta.Dense(SDNN_NEURON, 3, 2), sigma_delta.Output(SDNN_NEURON, 2, 2))
    network(torch.zeros(1, 3, 4))
    search = MaskSearch(network, 0.5, 100, beta=(4.0, 8.0))
    first, second = search._masks.values()
    with torch.no_grad():
        first.rates.copy_(torch.tensor([0.5, 0.25, 1.0]))
        second.rates.copy_(torch.tensor([0.1, 0.2]))
        first.weight_scores.copy_(torch.linspace(-1, 1, 6).reshape(2, 3, 1, 1, 1))
        second.weight_scores.copy_(torch.tensor([[0.5, -0.5], [0.25, -0.25]]).reshape(2, 2, 1, 1, 1))
        second.neuron_scores.copy_(torch.tensor([0.3, -0.1]))

    def s(x):
        return 1 / (1 + math.exp(-4.0 * x))

    linspace = [-1, -0.6, -0.2, 0.2, 0.6, 1]
    rates = [0.5, 0.25, 1.0] * 2
    by_weight = sum(r * s(a) for r, a in zip(rates, linspace, strict=True))
    by_weight += 0.1 * (s(0.5) + s(0.25)) + 0.2 * (s(-0.5) + s(-0.25))
    by_neuron = (10 + 0.1 * 2) * s(0.3) + (10 + 0.2 * 0) * s(-0.1)
    whole = 2 * (0.5 + 0.25 + 1.0) + 2 * (0.1 + 0.2) + 10 * 5
    assert search.penalty().item() == pytest.approx(0.5 * (by_weight + by_neuron) / whole, rel=1e-5)


def tiled():
    """Kernels that do not overlap: each event meets as many weights, at borders too."""
    return Chain(
        sigma_delta.Conv(SDNN_NEURON, 2, 3, 2, stride=2),
        sigma_delta.ConvT(SDNN_NEURON, 3, 4, 2, stride=2),
        sigma_delta.Flatten(),
        sigma_delta.Dense(SDNN_NEURON, 64, 6),
    )


@pytest.mark.parametrize(
    ("build", "shape", "met", "hidden"),
    [
        (tiled, (2, 4, 4), {"0": 3, "1": 4 * 4, "3": 6}, 3 * 4 + 4 * 16),
        (recurrent_cuba, (12,), {"0": 16, "1": 14, "1 itself": 14, "2": 9, "2 itself": 9, "3": 5}, 16 + 14 + 9),
        (complex_rf, (12,), {"0": 2 * 9, "1": 2 * 5}, 9),
    ],
    ids=["images", "recurrent", "complex"],
)
def test_a_network_of_any_kind_costs_its_operations(build, shape, met, hidden):
    torch.manual_seed(0)
    network = build()
    x = (torch.rand(3, *shape, 20, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    network(torch.zeros(1, *shape, 1))
    events, signal = {}, x
    for i, block in enumerate(copy.deepcopy(network).blocks):
        events[str(i)] = int((signal != 0).sum()) / 60
        signal = block(signal)
        events[f"{i} itself"] = int((signal != 0).sum()) / 60
    search = MaskSearch(network, 2.0, 10)
    network.train()(x)
    assert all(events[name] for name in met)
    of_synapses = sum(events[name] * weights for name, weights in met.items())
    of_hidden = of_synapses - events["0"] * met["0"] + 10 * hidden
    whole = of_synapses + 10 * (math.prod(shape) + hidden)
    assert search.penalty().item() == pytest.approx(2 * 0.95 * (of_synapses + of_hidden) / whole, rel=1e-5)


def test_beta_grows_exponentially_to_its_final_value():
    search = MaskSearch(make(), 1.0, 8, beta=(2.0, 32.0))
    found = []
    for _ in range(9):
        found.append(next(iter(search._masks.values())).beta)
        search.step()
    assert found == pytest.approx([2.0 * 2 ** (k / 2) for k in range(9)])


@PLAIN_AND_FUSED
def test_event_rates_are_those_of_the_training_batches(fused):
    network = make()
    events = []
    hooks = [
        block.register_forward_pre_hook(lambda _, x: events.append((x[0] != 0).float().mean((0, 2))))
        for block in network.blocks
    ]
    search = MaskSearch(network, 1.0, 10)
    if fused:
        accelerate(network)
    network.train()
    for seed in (1, 2):
        network(inputs(seed=seed))
    for hook in hooks:
        hook.remove()
    network.eval()
    network(torch.zeros(4, 12, 20))
    for i, mask in enumerate(search._masks.values()):
        torch.testing.assert_close(mask.rates, (events[i] + events[i + 3]) / 2)


@PLAIN_AND_FUSED
def test_scores_learn_through_the_blocks(fused):
    network = make()
    search = MaskSearch(network, 1.0, 10)
    if fused:
        accelerate(network)
        assert type(network.blocks[0]) is FusedDense
    train(network, search, 1)
    for mask in search._masks.values():
        start = math.log(START / (1 - START)) / 200
        assert (mask.weight_scores != start).any()
        assert mask.neuron_scores is None or (mask.neuron_scores != start).all()


def test_fused_and_plain_blocks_give_scores_the_same_gradient():
    gradients = []
    for fused in (False, True):
        network = make()
        search = MaskSearch(network, 1.0, 10)
        if fused:
            accelerate(network)
        network(inputs()).square().sum().backward()
        gradients.append([p.grad for m in search._masks.values() for p in m.parameters()])
    for plain, fused in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, fused, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("target", [0.3, 0.75, 0.9])
def test_target_is_reached_exactly_and_held_while_fine_tuning(target):
    network = make()
    search = MaskSearch(network, 0.1, 20, target=target)
    optimizer = train(network, search, 20)
    assert not search.done and all(mask.all() for mask in search.masks.values())
    train(network, search, 6, optimizer)
    assert search.done and search.penalty() is None
    total = 12 * 16 + 16 * 14 + 14 * 5
    assert sparsity(network).total == round(target * total) / total
    before = output(network)
    search.remove()
    assert sparsity(network).total == round(target * total) / total
    assert torch.equal(output(network), before)
    assert {name for name, _ in network.named_parameters()} == {name for name, _ in make().named_parameters()}


def test_more_costly_penalty_leaves_less():
    left = []
    for lam in (1e-6, 1e-2, 1.0):
        network = make()
        train(network, MaskSearch(network, lam, 30, beta=(50.0, 500.0)), 31)
        left.append(1 - sparsity(network).total)
    assert left[0] > left[1] > left[2]


def test_weights_with_scores_above_zero_stay_and_rows_go_with_their_neuron():
    network = make()
    search = MaskSearch(network, 1.0, 1)
    first, second, third = search._masks.values()
    with torch.no_grad():
        second.neuron_scores[3] = -1.0
        third.neuron_scores[5] = 0.0
        first.weight_scores[1, 2] = -0.1
        third.weight_scores[4, 6] = -0.1
    for _ in range(2):
        search.step()
    expected = [torch.ones(16, 12), torch.ones(14, 16), torch.ones(5, 14)]
    expected[0][3] = expected[0][1, 2] = 0
    expected[1][:, 3] = expected[1][5] = 0
    expected[2][:, 5] = expected[2][4, 6] = 0
    for mask, wanted in zip(search.masks.values(), expected, strict=True):
        assert torch.equal(mask.flatten(1), wanted.bool())


@pytest.mark.parametrize(
    ("build", "shape", "cut", "left"),
    [
        (pooled_cuba, (2, 6, 6), ("blocks.0.synapse", "blocks.2.synapse"), [(7, 2), (6, 7), (9, 24), (5, 9)]),
        (pooled_cuba, (2, 6, 6), ("blocks.2.synapse", "blocks.4.synapse"), [(8, 2), (5, 8), (9, 20), (5, 9)]),
        (
            recurrent_cuba,
            (12,),
            ("blocks.1.input_synapse", "blocks.1.recurrent_synapse", "blocks.2.input_synapse"),
            [(16, 12), (13, 16), (13, 13), (9, 13), (9, 9), (5, 9)],
        ),
        (
            complex_rf,
            (12,),
            ("blocks.0.synapse.real", "blocks.0.synapse.imag", "blocks.1.synapse.real", "blocks.1.synapse.imag"),
            [(8, 12), (8, 12), (5, 8), (5, 8)],
        ),
    ],
    ids=["pooled", "flattened", "recurrent", "complex"],
)
def test_a_neuron_of_any_kind_goes_with_all_its_weights(build, shape, cut, left):
    torch.manual_seed(0)
    network = build()
    network(torch.zeros(1, *shape, 1))
    search = MaskSearch(network, 1.0, 1)
    with torch.no_grad():
        search._masks[cut[-1]].neuron_scores[3] = -1.0
    search.step()
    search.step()
    assert {name for name, mask in search.masks.items() if not mask.all()} == set(cut)
    search.remove()
    small = shrink(network)
    assert [tuple(weight.value().shape[:2]) for weight in synapse_weights(small).values()] == left
    x = (torch.rand(2, *shape, 40, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    with torch.no_grad():
        whole = network(x)
        assert torch.equal(small(x), whole) and whole.any()


@pytest.mark.parametrize("build", [pooled_cuba, recurrent_cuba, complex_rf])
def test_scores_of_any_kind_learn_and_reach_the_target(build):
    torch.manual_seed(0)
    network = build()
    shape = (2, 6, 6) if build is pooled_cuba else (12,)
    network(torch.zeros(1, *shape, 1))
    search = MaskSearch(network, 0.1, 8, target=0.6)
    start = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for seed in range(10):
        x = (torch.rand(3, *shape, 12, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
        loss, penalty = network(x).sub(0.3).square().mean(), search.penalty()
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        search.step()
    assert all((p != start[name]).any() for name, p in network.named_parameters() if name.endswith("scores"))
    search.remove()
    total = sum(mask.numel() for mask in search.masks.values())
    assert sparsity(network).total == round(0.6 * total) / total


def test_pruned_neurons_leave_the_exported_network(tmp_path):
    network = make()
    for block in network.blocks[:2]:
        block.neuron.set_bias(torch.rand(block.synapse.out_channels))
    search = MaskSearch(network, 1.0, 10, target=0.5)
    with torch.no_grad():
        search._masks["blocks.1.synapse"].neuron_scores[:6] = -1.0
        search._masks["blocks.2.synapse"].neuron_scores[:4] = -1.0
    train(network, search, 15)
    heard = [mask.flatten(1).any(dim=0) for mask in list(search.masks.values())[1:]]
    assert not heard[0][:6].any() and not heard[1][:4].any()
    search.remove()
    for block, kept in zip(network.blocks, heard, strict=False):
        assert torch.equal(block.neuron.bias != 0, kept)
    small = shrink(network)
    first, second = (int(kept.sum()) for kept in heard)
    shapes = [(first, 12), (second, first), (5, second)]
    assert [tuple(block.synapse.weight.shape[:2]) for block in small.blocks] == shapes
    torch.testing.assert_close(output(small), output(network), rtol=1e-4, atol=1e-4)
    content = exported(small, tmp_path / "small.net")
    assert [content[f"layer/{i}/weight"][1][:2] for i in range(3)] == shapes


def test_penalty_grows_while_scores_lag_behind_the_target():
    network = make()
    search = MaskSearch(network, 2.0, 10, target=0.5)
    network(inputs())
    with torch.no_grad():
        search._masks["blocks.2.synapse"].neuron_scores[:7] = -1.0  # 7 rows of 16 weights and 7 columns of 5
    state = search.state_dict() | {"iteration": 3}
    search.load_state_dict(state)
    share = (7 * 16 + 7 * 5) / (12 * 16 + 16 * 14 + 14 * 5)
    behind = search.penalty().item()
    search._strength = search.lam
    assert behind == pytest.approx(math.exp(10 * (0.5 * 3 / 10 - share)) * search.penalty().item(), rel=1e-5)


@pytest.mark.parametrize("stop", [7, 25], ids=["during the search", "after it"])
def test_interrupted_search_ends_as_if_it_was_not(stop):
    whole = make()
    search = MaskSearch(whole, 0.1, 20, target=0.6)
    optimizer = train(whole, search, stop)
    state = copy.deepcopy((whole.state_dict(), optimizer.state_dict(), search.state_dict()))
    train(whole, search, 30 - stop, optimizer)

    network = make(seed=9)
    continued = MaskSearch(network, 0.1, 20, target=0.6)
    optimizer = torch.optim.Adam(network.parameters(), 0.01, weight_decay=0.01)
    network.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    continued.load_state_dict(state[2])
    train(network, continued, 30 - stop, optimizer)
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in whole.state_dict().items())
    assert repr(continued) == repr(search) and continued.done


@pytest.mark.parametrize("weights, neurons", [(True, False), (False, True)])
def test_either_kind_of_score_alone(weights, neurons):
    network = make()
    search = MaskSearch(network, 1.0, 20, target=0.5, weights=weights, neurons=neurons)
    kinds = {name.rsplit(".", 1)[1] for name, _ in network.named_parameters() if name.endswith("scores")}
    assert kinds == ({"weight_scores"} if weights else {"neuron_scores"})
    train(network, search, 22)
    assert sparsity(network).total == 0.5


@pytest.mark.parametrize(
    "make_search, message",
    [
        (lambda n: MaskSearch(n, 0.0, 5), "lam 0, steps 5"),
        (lambda n: MaskSearch(n, 1.0, 0), "steps 0"),
        (lambda n: MaskSearch(n, 1.0, 5, target=1.0), "target sparsity 1 is not between 0 and 1"),
        (lambda n: MaskSearch(n, 1.0, 5, weights=False, neurons=False), "neither weights nor hidden neurons"),
        (lambda n: (MaskSearch(n, 1.0, 5), MaskSearch(n, 1.0, 5)), "blocks.0.synapse: its weights are parametrised"),
        (lambda n: MaskSearch(dense_sdnn(weight_norm=True), 1.0, 5), "blocks.0.synapse: .* without weight norm"),
        (lambda n: MaskSearch(convolutional_sdnn(), 1.0, 5), "blocks.2.synapse: .* grouped"),
        (
            lambda n: MaskSearch(n, 1.0, 5).load_state_dict({"masks": 1}),
            "not the state of a MaskSearch: it holds masks",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(make_search, message):
    with pytest.raises(SpandexError, match=message):
        make_search(make())


def test_training_loop_searches_and_goes_on_where_it_was_stopped(tmp_path):
    class StoppedError(Exception):
        pass

    def interrupt(number):
        if number == 17:  # within the second epoch, masks are soft until 19
            raise StoppedError

    def fitted(directory, batches):
        network = training.network()
        search = MaskSearch(network, 5.0, 19, target=0.6)
        result = fit(network, batches, training.VALIDATION, training.SETTINGS, directory, pruner=search)
        search.remove()
        return network, result

    whole, result = fitted(tmp_path / "whole", training.Tones())
    assert result.sparsity == pytest.approx(0.6, abs=1e-4) and result.epoch == 3
    assert sparsity(whole).total == result.sparsity
    with pytest.raises(StoppedError):
        fitted(tmp_path / "stopped", training.Tones(on_batch=interrupt))
    continued, _ = fitted(tmp_path / "stopped", training.Tones())
    assert all(torch.equal(tensor, continued.state_dict()[key]) for key, tensor in whole.state_dict().items())
