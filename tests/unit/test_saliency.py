"""Weights and neurons pruned by what they do to the loss for an operation."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from lava.lib.dl import slayer
from lava.lib.dl.slayer.block import base
from tests.chains import SDNN_NEURON, Chain, complex_rf, convolutional_sdnn, dense_sdnn, recurrent_alif

import training
from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.sparsify import Cubic, OneShot, Pruner, SaliencyPruner, shrink, sparsity
from spandex.sparsify.event_counts import events_met
from spandex.sparsify.saliency import LEAST, MEMORY
from spandex.train import fit

sigma_delta = slayer.block.sigma_delta
NOTHING = OneShot(0.0, steps=0)


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 12, 20, generator=generator)


def images(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 8, 8, 6, generator=generator)


def make(build=dense_sdnn, data=inputs):
    torch.manual_seed(0)
    network = build()
    with torch.no_grad():
        network(data())
    return network.train()


def convolutional():
    return Chain(
        sigma_delta.Conv(SDNN_NEURON, 2, 4, 3, padding=1, stride=2),
        sigma_delta.Pool(SDNN_NEURON, 2),
        sigma_delta.ConvT(SDNN_NEURON, 4, 3, 2),
        sigma_delta.Flatten(),
        sigma_delta.Dense(SDNN_NEURON, 27, 5),
    )


def train(network, pruner, steps, data=inputs, first=0):
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    for seed in range(first, first + steps):
        optimizer.zero_grad()
        network(data(seed)).sub(0.3).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        pruner.step()


def by_hand(exponent=0.5, neurons=False):
    """Layers 3 - 2 - 2 after a batch of two samples of two steps: rates of 1, 0.5 and 0 events, and of 1 and 0.5, since
    the first neuron takes the first input alone, and the second the second."""
    network = Chain(sigma_delta.Dense(SDNN_NEURON, 3, 2), sigma_delta.Output(SDNN_NEURON, 2, 2)).train()
    pruner = SaliencyPruner(network, OneShot(0.9, steps=9), exponent=exponent, neurons=neurons)
    first, second = (block.synapse.weight for block in network.blocks)
    with torch.no_grad():
        first.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]).reshape(first.shape))
        second.copy_(torch.tensor([[1.0, 0.5], [0.25, 2]]).reshape(second.shape))
    network(torch.tensor([[[1.0, 1], [0, 1], [0, 0]], [[1.0, 1], [1, 0], [0, 0]]]))
    first.grad = torch.tensor([[2.0, 7, 7], [7, 1.2, 7]]).reshape(first.shape)
    second.grad = torch.tensor([[3.0, 0.1], [4, 0.02]]).reshape(second.shape)
    pruner.step()
    return pruner


def flat(tensors):
    return [tensor.flatten(1).tolist() for tensor in tensors.values()]


@pytest.mark.parametrize("exponent", [0.5, 0.75, 1.0])
def test_score_is_the_loss_for_an_operation(exponent):
    first, second = flat(by_hand(exponent).scores())
    root = 0.5 / exponent
    assert first == [pytest.approx([4**root / 1, 0, 0]), pytest.approx([0, 1.44**root / 0.5, 0])]
    assert second == [pytest.approx([9**root, 0.0025**root / 0.5]), pytest.approx([1**root, 0.0016**root / 0.5])]


def test_weights_of_the_lowest_saliency_go_over_all_layers():
    # of loss squared, the first layer has 4 and 2.88 for an operation; of loss, 2 and 2.4
    assert flat(by_hand(0.5).choose(0.8)) == [[[True, False, False], [False] * 3], [[True, False], [False] * 2]]
    assert flat(by_hand(1.0).choose(0.8)) == [[[False] * 3, [False, True, False]], [[True, False], [False] * 2]]


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_neuron_counts_with_all_that_it_costs(exponent):
    pruner = by_hand(exponent, neurons=True)
    root = 0.5 / exponent
    # 10 for the update; what it sends to two weights; what it receives at three, of 1, 0.5 and no events
    second = (0.0025**root + 0.0016**root) / (10 + 2 * 0.5 + 1 + 0.5 + LEAST)
    hidden, output = flat(pruner.scores())
    assert hidden == [pytest.approx([4**root, 0, 0]), pytest.approx([0, second, 0])]  # the last neuron stays
    assert output == [pytest.approx([9**root, second]), pytest.approx([1**root, second])]
    assert flat(pruner.choose(0.7)) == [[[True, False, False], [False] * 3], [[True, False], [True, False]]]


def test_running_means_take_in_what_each_batch_showed():
    network = make()
    pruner = SaliencyPruner(network, NOTHING)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    squares, rates = 0.0, 0.0
    for number in range(1, 41):
        weight = network.blocks[0].synapse.weight.detach().clone()
        train_on = inputs(number) * (torch.rand(4, 12, 20) < 0.3)
        optimizer.zero_grad()
        network(train_on).sub(0.3).square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        assert norm > 0.01
        optimizer.step()
        shown = (weight * network.blocks[0].synapse.weight.grad).square(), (train_on != 0).float().mean((0, 2))
        share = max(1 - MEMORY, 1 / number)
        squares, rates = squares + share * (shown[0] - squares), rates + share * (shown[1] - rates)
        network.eval()
        network(inputs(99))  # validation counts for nothing
        network.train()
        pruner.step()
    state = pruner.state_dict()
    torch.testing.assert_close(state["squares"]["blocks.0.synapse"], squares, rtol=1e-4, atol=0)
    torch.testing.assert_close(state["rates"]["blocks.0.synapse"].flatten(), rates)
    assert state["batches"] == 40


def test_skipped_batch_changes_nothing_but_the_iteration():
    network, other = make(), make()
    pruner, others = SaliencyPruner(network, NOTHING), SaliencyPruner(other, NOTHING)
    train(network, pruner, 2)
    train(other, others, 2)
    network(inputs(7))
    network.zero_grad()
    pruner.step()
    assert pruner.iteration == 3
    train(network, pruner, 1, first=2)
    train(other, others, 1, first=2)
    for mean in ("squares", "rates"):
        for name, value in others.state_dict()[mean].items():
            assert torch.equal(pruner.state_dict()[mean][name], value)


@pytest.mark.parametrize("place", [0, 2, 4], ids=["convolution", "transposed convolution", "dense"])
def test_events_are_counted_at_all_positions_where_a_weight_is_used(place):
    network = make(convolutional, images)
    block, met = network.blocks[place], []
    block.register_forward_pre_hook(lambda block, x: met.append(x[0]))
    network(images() * (images(2) > 0))
    found, events = events_met(block.synapse, met[0]), (met[0] != 0).float()
    assert 0 < events.mean() < 1
    synapse = block.synapse
    synapse.pre_hook_fx = None
    with torch.no_grad():
        for position in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
            synapse.weight.zero_()
            synapse.weight[tuple(position)] = 1  # what a neuron receives is what this weight met
            assert synapse(events).sum() == found[tuple(position)]


def test_neurons_of_a_convolution_are_updated_at_every_position():
    network = Chain(sigma_delta.Conv(SDNN_NEURON, 1, 2, 1), sigma_delta.Conv(SDNN_NEURON, 2, 2, 1)).train()
    pruner = SaliencyPruner(network, NOTHING, exponent=0.5, neurons=True)
    with torch.no_grad():
        for block in network.blocks:
            block.synapse.weight.fill_(1.0)
    network(torch.tensor([[1.0, 0, 1], [1, 1, 0]]).reshape(1, 1, 2, 3, 1))  # 4 events at 6 positions
    for block, gradient in zip(network.blocks, ([[3.0], [3]], [[30.0, 3], [30, 3]]), strict=True):
        block.synapse.weight.grad = torch.tensor(gradient).reshape(block.synapse.weight.shape)
    pruner.step()
    second = pytest.approx((9 + 9) / (10 * 6 + 2 * 4 + 4))
    assert flat(pruner.scores()) == [[[9 / 4], [second]], [[900 / 4, second], [900 / 4, second]]]


@pytest.mark.parametrize("build, data", [(dense_sdnn, inputs), (convolutional, images)], ids=["dense", "convolution"])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_neurons_go_whole_and_the_share_is_exact(build, data, exponent, share):
    network = make(build, data)
    pruner = SaliencyPruner(network, NOTHING, exponent=exponent, neurons=True)
    train(network, pruner, 5, data)
    masks = pruner.choose(share)
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(share * total)
    for link, following in pairwise(pruner._links):
        assert torch.equal(link.per_neuron(masks).any(1), link.per_sender(masks, following).any(1))


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_neurons_go_that_give_less_than_the_last_weight_for_an_operation(exponent):
    network = make()
    pruner = SaliencyPruner(network, NOTHING, exponent=exponent, neurons=True)
    train(network, pruner, 5)
    state, masks = pruner.state_dict(), [mask.flatten(1) for mask in pruner.choose(0.6).values()]
    gives = [squares.flatten(1) ** (0.5 / exponent) for squares in state["squares"].values()]
    costs = [rates.flatten().clamp(min=LEAST) for rates in state["rates"].values()]
    of_neurons = [gives[i + 1].sum(0) / (10 + costs[i + 1] * len(gives[i + 1]) + costs[i].sum()) for i in range(2)]
    for scores in of_neurons:
        scores[scores.argmax()] = torch.inf  # one stays
    ends = [torch.full((12,), torch.inf), *of_neurons, torch.full((5,), torch.inf)]
    limit = 0.0
    for i, mask in enumerate(masks):
        own = gives[i] / costs[i]
        lowest = torch.minimum(ends[i + 1][:, None], ends[i])
        limit = max(limit, own[~mask & (own < lowest)].max())
    for mask, following, scores in zip(masks, masks[1:], of_neurons, strict=False):
        alive = mask.any(1) & following.any(0)
        assert 0 < alive.sum() < len(alive)
        assert (scores[alive] >= limit).all()


def test_pruned_neurons_leave_the_network():
    network = make()
    for block in network.blocks[:2]:
        block.neuron.set_bias(torch.rand(block.synapse.out_channels))
    pruner = SaliencyPruner(network, Cubic(0.8, steps=20, frequency=2), neurons=True)
    train(network, pruner, 25)
    total = 12 * 16 + 16 * 14 + 14 * 5
    assert sparsity(network).total == round(0.8 * total) / total
    small = shrink(network)
    widths = [block.synapse.out_channels for block in small.blocks]
    assert widths[0] < 16 and widths[1] < 14
    for block, before in zip(small.blocks[:2], network.blocks, strict=False):
        assert int((before.neuron.bias != 0).sum()) == block.synapse.out_channels
    network.eval(), small.eval()
    torch.testing.assert_close(small(inputs(3)), network(inputs(3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("neurons", [True, False])
def test_sparsity_that_cuts_the_network_is_refused(neurons):
    network = make()
    pruner = SaliencyPruner(network, Cubic(0.995, steps=9, frequency=1), neurons=neurons)
    with pytest.raises(SpandexError, match=r"saliency: at a sparsity of 0\.9\d* blocks\.\d\.?\w* has no living neuron"):
        train(network, pruner, 10)


def test_fused_kernels_stay_on(monkeypatch):
    network = accelerate(make())
    pruner = SaliencyPruner(network, Cubic(0.5, steps=3, frequency=1), neurons=True)

    def stock(*_):
        raise AssertionError("lava-dl's own forward")

    monkeypatch.setattr(base.AbstractDense, "forward", stock)
    monkeypatch.setattr(sigma_delta.Output, "forward", stock)
    train(network, pruner, 4)
    assert pruner.batches == 4 and sparsity(network).total == pytest.approx(0.5, abs=2e-3)


def test_removed_pruner_leaves_no_hook():
    network = make()
    pruner = SaliencyPruner(network, Cubic(0.5, steps=3, frequency=1), neurons=True)
    train(network, pruner, 4)
    pruner.remove()
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert not any(parameter._backward_hooks for parameter in network.parameters())


def test_repr_names_all_that_decides():
    assert repr(SaliencyPruner(make(), Cubic(0.5, steps=3), exponent=0.5, neurons=True)) == (
        "SaliencyPruner(Cubic(target=0.5, steps=3, initial=0.0, frequency=30), exponent=0.5, neurons=True, "
        "scope=global, memory=0.97, least=0.001, neuronop=10, "
        "layers=['blocks.0.synapse', 'blocks.1.synapse', 'blocks.2.synapse'])"
    )


def frozen():
    network = dense_sdnn()
    network.blocks[1].synapse.weight.requires_grad = False
    return network


@pytest.mark.parametrize(
    "build, message",
    [
        (recurrent_alif, "blocks.1.input_synapse: saliency takes no complex or recurrent layers"),
        (complex_rf, "blocks.0.synapse: saliency takes no complex"),
        (convolutional_sdnn, "blocks.2.synapse: .* grouped convolution"),
        (lambda: dense_sdnn(weight_norm=True), "blocks.0.synapse: saliency .* without weight normalisation"),
        (frozen, "blocks.1.synapse: saliency takes weights that train"),
    ],
    ids=["recurrent", "complex", "grouped", "weight norm", "frozen"],
)
def test_layers_that_it_cannot_judge_are_refused_by_name(build, message):
    with pytest.raises(SpandexError, match=message):
        SaliencyPruner(build(), NOTHING)


@pytest.mark.parametrize("exponent", [0.4, 1.1, float("nan")])
def test_exponent_out_of_range_is_refused(exponent):
    with pytest.raises(SpandexError, match="exponent"):
        SaliencyPruner(make(), NOTHING, exponent=exponent)


def test_pruning_without_a_gradient_is_refused():
    network = make()
    pruner = SaliencyPruner(network, Cubic(0.5, steps=5, frequency=2))
    with pytest.raises(SpandexError, match="no gradient in 3 steps"):
        for _ in range(3):
            network(inputs()).square().mean().backward()
            network.zero_grad()
            pruner.step()


def test_state_of_another_method_is_refused():
    network = make()
    plain = Pruner(make(), NOTHING).state_dict()
    with pytest.raises(SpandexError, match="not the state of a SaliencyPruner: it holds iteration, initial, masks"):
        SaliencyPruner(network, NOTHING).load_state_dict(plain)


def fitted(directory, batches, **settings):
    network = training.network()
    pruner = SaliencyPruner(network, Cubic(0.6, steps=19, frequency=3), neurons=True)
    settings = dataclasses.replace(training.SETTINGS, **settings)
    result = fit(
        accelerate(network), batches, training.VALIDATION, settings, directory, pruner=pruner, log=lambda line: None
    )
    return network, pruner, result


def test_killed_training_goes_on_to_the_same_bytes(tmp_path):
    class KilledError(Exception):
        pass

    def kill(number):
        if number == 14:  # within the second epoch, between two pruning steps
            raise KilledError

    whole, pruner, result = fitted(tmp_path / "whole", training.Tones())
    assert result.sparsity == pytest.approx(0.6, abs=1e-4)
    with pytest.raises(KilledError):
        fitted(tmp_path / "killed", training.Tones(on_batch=kill))
    continued, again, _ = fitted(tmp_path / "killed", training.Tones())
    assert all(torch.equal(tensor, continued.state_dict()[key]) for key, tensor in whole.state_dict().items())
    for mean in ("squares", "rates", "masks"):
        for name, value in pruner.state_dict()[mean].items():
            assert torch.equal(again.state_dict()[mean][name], value)


def test_training_loop_shows_nothing_of_a_skipped_batch(tmp_path):
    _, pruner, result = fitted(tmp_path, training.Broken(), skip_nonfinite=1)
    assert (result.skipped, pruner.iteration, pruner.batches) == (1, 30, 29)
    assert all(mean.isfinite().all() for mean in pruner.state_dict()["squares"].values())
    assert result.sparsity == pytest.approx(0.6, abs=1e-4)
