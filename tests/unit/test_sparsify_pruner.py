import copy
import functools
import io

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lava.lib.dl import slayer
from tests.chains import (
    complex_rf,
    convolutional_cuba,
    convolutional_sdnn,
    dense_sdnn,
    exported,
    recurrent_alif,
    recurrent_cuba,
)

from spandex.errors import SpandexError
from spandex.sparsify import SCHEDULES, Cubic, Iterative, Linear, OneShot, Pruner, magnitude, make_schedule, sparsity

VECTOR, IMAGE = (12,), (2, 6, 6)
NETWORKS = {
    "dense sdnn": (dense_sdnn, VECTOR),
    "convolutional sdnn": (convolutional_sdnn, IMAGE),
    "convolutional cuba": (convolutional_cuba, IMAGE),
    "recurrent alif": (recurrent_alif, VECTOR),
    "recurrent cuba": (recurrent_cuba, VECTOR),
    "complex rf": (complex_rf, VECTOR),
}
OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": functools.partial(torch.optim.Adam, lr=0.01, weight_decay=0.1),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "radam": functools.partial(torch.optim.RAdam, lr=0.01, weight_decay=0.1),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=0.001, momentum=0.9, weight_decay=0.1),
}


def make(kind="dense sdnn", seed=0, **options):
    torch.manual_seed(seed)
    build, shape = NETWORKS[kind]
    network = build(**options)
    network(torch.zeros(1, *shape, 1))  # fixes shapes and draws delays
    return network, shape


def synapses(network):
    return {
        name: module
        for name, module in network.named_modules()
        if type(module) in (slayer.synapse.Dense, slayer.synapse.Conv, slayer.synapse.ConvTranspose)
    }


def used_weights(network):
    """Weights as the forward pass computes them, by an independent formula where they are normalised."""
    weights = {}
    for name, module in synapses(network).items():
        if hasattr(module, "weight_v"):
            v, g = module.weight_v.detach(), module.weight_g.detach()
            weights[name] = v * (g / v.flatten(1).norm(dim=1).reshape(g.shape))
        else:
            weights[name] = module.weight.detach().clone()
    return weights


def backward(network, shape, generator, batch=3, steps=8):
    x = (torch.rand(batch, *shape, steps, generator=generator) > 0.5).float()
    loss = network(x).sub(0.3).square().mean()
    loss.backward()
    return loss


def train(network, shape, optimizer, pruner, iterations):
    generator = torch.Generator().manual_seed(1)
    for _ in range(iterations):
        optimizer.zero_grad()
        assert torch.isfinite(backward(network, shape, generator))
        optimizer.step()
        pruner.step()
        yield


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_any_network_trains_to_the_exact_sparsity_with_zeros_that_stay(kind, weight_norm):
    network, shape = make(kind, weight_norm=weight_norm)
    pruner = Pruner(network, Cubic(0.8, steps=9, frequency=2))
    assert set(pruner.masks) == set(synapses(network))
    start = used_weights(network)
    dead = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in start.items()}
    for _ in train(network, shape, OPTIMIZERS["sgd"](network.parameters()), pruner, 14):
        weights = used_weights(network)
        for name, weight in weights.items():
            assert torch.isfinite(weight).all()
            assert (weight[dead[name]] == 0).all()
            # The attribute agrees at once, not only after the next forward.
            torch.testing.assert_close(synapses(network)[name].weight.detach(), weight, rtol=1e-5, atol=0)
            dead[name] = weight == 0
    size = sum(weight.numel() for weight in weights.values())
    zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
    assert sum(zeros.values()) == round(0.8 * size)
    report = sparsity(network)
    assert report.total == sum(zeros.values()) / size
    assert report.layers == {name: zeros[name] / weights[name].numel() for name in weights}
    kept = torch.cat([(weights[name] - start[name])[~dead[name]].flatten() for name in weights])
    assert (kept != 0).any()


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_zeros_hold_under_any_optimizer_with_accumulated_and_clipped_gradients(optimizer, weight_norm):
    network, shape = make(weight_norm=weight_norm)
    pruner = Pruner(network, OneShot(0.7, steps=5), scope="layer")
    optimizer = OPTIMIZERS[optimizer](network.parameters())
    generator = torch.Generator().manual_seed(2)
    for iteration in range(15):
        optimizer.zero_grad()
        for _ in range(2):
            backward(network, shape, generator)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        pruner.step()
        if iteration >= 5:
            for name, weight in used_weights(network).items():
                assert (weight == 0).sum() == round(0.7 * weight.numel())
                assert (weight[~pruner.masks[name]] == 0).all()


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_pruned_weights_do_not_count_in_the_gradient_norm(weight_norm):
    network, shape = make(weight_norm=weight_norm)
    pruner = Pruner(network, OneShot(0.7, steps=0))
    pruner.step()
    backward(network, shape, torch.Generator().manual_seed(0))
    for name, module in synapses(network).items():
        parameter = module.weight_v if weight_norm else module.weight
        assert (parameter.grad[~pruner.masks[name]] == 0).all()
    assert any((p.grad != 0).any() for p in network.parameters() if p.grad is not None)


def test_a_row_that_loses_all_its_normalised_weights_is_zero_and_not_nan():
    network, shape = make(weight_norm=True)
    rows = torch.arange(16) < 5

    def rows_first(weights, masks, sparsity):
        return {
            name: ~rows.reshape(-1, 1, 1, 1, 1).expand_as(mask) if name == "blocks.0.synapse" else mask
            for name, mask in masks.items()
        }

    pruner = Pruner(network, OneShot(0.1, steps=0), source=rows_first)
    for _ in train(network, shape, OPTIMIZERS["adam"](network.parameters()), pruner, 5):
        weight = used_weights(network)["blocks.0.synapse"]
        assert (weight[rows] == 0).all()
        assert (weight[~rows] != 0).any()
    pruner.remove()
    network.blocks[0].synapse.disable_weight_norm()
    assert (network.blocks[0].synapse.weight[rows] == 0).all()
    assert torch.isfinite(network.blocks[0].synapse.weight).all()


def test_normalised_weights_are_chosen_by_what_they_are_in_use():
    network, _ = make(weight_norm=True)
    with torch.no_grad():  # large v, small w: normalisation takes the scale of v away
        network.blocks[1].synapse.weight_v.mul_(1000)
        network.blocks[1].synapse.weight_g.mul_(1e-3)
    pruner = Pruner(network, OneShot(0.3, steps=0))
    before = used_weights(network)
    pruner.step()
    flat = torch.cat([weight.abs().flatten() for weight in before.values()])
    mask = torch.cat([mask.flatten() for mask in pruner.masks.values()])
    assert flat[~mask].max() <= flat[mask].min()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 0.97), st.integers(6, 40), st.sampled_from(["global", "layer"]))
def test_counts_are_exact_and_masks_only_grow_on_any_schedule(name, target, steps, scope):
    network, _ = make()
    schedule = make_schedule(name, target, steps, frequency=4, rounds=3)
    pruner = Pruner(network, schedule, scope=scope)
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    for t in range(steps + 2):
        assert pruner.done == (t > steps)
        pruner.step()
        weights = used_weights(network)
        zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
        sizes = {name: weight.numel() for name, weight in weights.items()}
        if scope == "layer":
            assert zeros == {name: round(schedule(t) * size) for name, size in sizes.items()}
        else:
            assert sum(zeros.values()) == round(schedule(t) * sum(sizes.values()))
        for name, mask in pruner.masks.items():
            assert not (mask & ~before[name]).any()
        before = pruner.masks


def test_scope_decides_whether_scales_of_layers_are_compared():
    layers = {}
    for scope in ("global", "layer"):
        network, _ = make()
        with torch.no_grad():
            network.blocks[1].synapse.weight.mul_(10)
        pruner = Pruner(network, OneShot(0.5, steps=0), scope=scope)
        pruner.step()
        layers[scope] = sparsity(network).layers
    assert layers["global"]["blocks.1.synapse"] < 0.2
    assert set(layers["layer"].values()) == {0.5}


def test_a_users_own_source_decides():
    """Random pruning, in three lines."""

    def at_random(weights, masks, sparsity):
        scores = {name: torch.rand(weight.shape, generator=generator) for name, weight in weights.items()}
        return magnitude(scores, masks, sparsity)

    generator = torch.Generator().manual_seed(0)
    network, _ = make()
    before = used_weights(network)
    pruner = Pruner(network, Linear(0.5, steps=10, frequency=5), source=at_random)
    for _ in range(11):
        pruner.step()
    assert sparsity(network).total == pytest.approx(0.5, abs=1e-3)
    size = torch.cat([weight.abs().flatten() for weight in before.values()])
    kept = torch.cat([mask.flatten() for mask in pruner.masks.values()])
    assert size[~kept].max() > size[kept].median()
    assert "at_random" in repr(pruner)


@pytest.mark.parametrize(
    "answer",
    [
        lambda weights, masks, sparsity: None,
        lambda weights, masks, sparsity: {},
        lambda weights, masks, sparsity: {name: mask.float() for name, mask in masks.items()},
        lambda weights, masks, sparsity: {name: mask[0] for name, mask in masks.items()},
    ],
    ids=["nothing", "missing", "not boolean", "another shape"],
)
def test_masks_that_do_not_fit_are_refused(answer):
    network, _ = make()
    with pytest.raises(SpandexError, match=r"blocks.0.synapse: the mask source gave no boolean mask of its shape"):
        Pruner(network, OneShot(0.5, steps=0), source=answer).step()


@pytest.mark.parametrize(
    "layers, pruned",
    [
        ("blocks.1", ["blocks.1.synapse"]),
        (["blocks.2.synapse", "blocks.0"], ["blocks.0.synapse", "blocks.2.synapse"]),
        (lambda name: name != "blocks.0.synapse", ["blocks.1.synapse", "blocks.2.synapse"]),
    ],
    ids=["one name", "names", "predicate"],
)
def test_only_the_chosen_layers_are_pruned(layers, pruned):
    network, shape = make()
    pruner = Pruner(network, OneShot(0.5, steps=0), layers=layers)
    assert list(pruner.masks) == pruned
    for _ in train(network, shape, OPTIMIZERS["adamw"](network.parameters()), pruner, 3):
        pass
    assert {name for name, share in sparsity(network).layers.items() if share > 0} == set(pruned)
    assert sparsity(network, layers).total == pytest.approx(0.5, abs=0.01)


def test_layers_that_are_not_there_are_refused_with_those_that_are():
    network, _ = make()
    there = "there are blocks.0.synapse, blocks.1.synapse, blocks.2.synapse"
    with pytest.raises(SpandexError, match=f"layer blocks.7: no synapse to prune; {there}"):
        Pruner(network, OneShot(0.5, steps=0), layers=["blocks.0", "blocks.7"])
    with pytest.raises(SpandexError, match=f"layer block: no synapse to prune; {there}"):
        Pruner(network, OneShot(0.5, steps=0), layers="block")
    with pytest.raises(SpandexError, match=f"no layer chosen to prune; {there}"):
        Pruner(network, OneShot(0.5, steps=0), layers=lambda name: False)


def test_an_unknown_scope_is_refused():
    with pytest.raises(SpandexError, match="scope 'local': there are global, layer"):
        Pruner(make()[0], OneShot(0.5, steps=0), scope="local")


def test_a_layer_that_is_sparser_than_the_target_is_named():
    network, _ = make()
    with torch.no_grad():
        network.blocks[2].synapse.weight[:4] = 0
    Pruner(network, OneShot(0.5, steps=0))
    with pytest.raises(SpandexError, match=r"target sparsity 0.5: blocks.2.synapse is already at 0.8"):
        Pruner(network, OneShot(0.5, steps=0), scope="layer")


def test_parametrised_weights_are_refused_by_name():
    network, _ = make()
    torch.nn.utils.parametrizations.weight_norm(network.blocks[1].synapse, "weight")
    with pytest.raises(SpandexError, match=r"blocks.1.synapse: its weights are parametrised"):
        Pruner(network, OneShot(0.5, steps=0))
    Pruner(network, OneShot(0.5, steps=0), layers="blocks.0")


def test_frozen_weights_are_pruned_too():
    network, _ = make()
    network.blocks[0].synapse.weight.requires_grad_(False)
    Pruner(network, OneShot(0.5, steps=0)).step()
    assert sparsity(network).layers["blocks.0.synapse"] > 0


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_the_next_step_restores_zeros_after_another_state_is_loaded(weight_norm):
    network, _ = make(weight_norm=weight_norm)
    dense = copy.deepcopy(network.state_dict())
    pruner = Pruner(network, OneShot(0.5, steps=0))
    pruner.step()
    network.load_state_dict(dense)
    assert sparsity(network).total == 0
    pruner.step()
    assert all((weight[~pruner.masks[name]] == 0).all() for name, weight in used_weights(network).items())
    assert sparsity(network).total == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_continued_run_ends_in_the_same_weights(name):
    def run(network, shape, pruner, optimizer, iterations, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(iterations):
            optimizer.zero_grad()
            backward(network, shape, generator)
            optimizer.step()
            pruner.step()

    def start(seed):
        network, shape = make(seed=seed, weight_norm=True)
        return network, shape, Pruner(network, make_schedule(name, 0.9, 12, frequency=2, rounds=3), scope="layer")

    def optimizer(network):
        return torch.optim.SGD(network.parameters(), lr=0.1)

    whole, shape, pruner = start(0)
    run(whole, shape, pruner, optimizer(whole), 7, seed=1)
    stream = io.BytesIO()
    torch.save([whole.state_dict(), pruner.state_dict()], stream)
    run(whole, shape, pruner, optimizer(whole), 8, seed=2)

    stream.seek(0)
    network_state, pruner_state = torch.load(stream, weights_only=True)
    other, shape, continued = start(0)
    other.load_state_dict(network_state)
    continued.load_state_dict(pruner_state)
    run(other, shape, continued, optimizer(other), 8, seed=2)
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key
    assert continued.done and repr(continued) == repr(pruner)


def test_what_is_no_state_is_refused():
    with pytest.raises(SpandexError, match=r"not the state of a Pruner: it holds nothing"):
        Pruner(make()[0], OneShot(0.5, steps=0)).load_state_dict({})


def test_masks_of_other_layers_are_refused():
    state = Pruner(make()[0], OneShot(0.5, steps=0), layers="blocks.1").state_dict()
    with pytest.raises(SpandexError, match=r"masks of blocks.1.synapse do not fit a network with blocks.0.synapse"):
        Pruner(make()[0], OneShot(0.5, steps=0)).load_state_dict(state)


def test_the_name_of_a_pruner_tells_runs_apart():
    network, _ = make()
    names = {
        repr(Pruner(network, schedule, **options))
        for schedule in (Cubic(0.5, 10), Linear(0.5, 10), Iterative(0.5, 10, rounds=2), Iterative(0.5, 10, rounds=3))
        for options in ({}, {"scope": "layer"}, {"layers": "blocks.1"}, {"source": lambda w, m, s: m})
    }
    assert len(names) == 16
    assert not any(" at 0x" in name for name in names)


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_nothing_is_left_after_removal(weight_norm, tmp_path):
    network, shape = make(weight_norm=weight_norm)
    stock, _ = make(weight_norm=weight_norm, seed=1)
    modules = {name: type(module) for name, module in network.named_modules()}
    pruner = Pruner(network, OneShot(0.5, steps=1))
    for _ in train(network, shape, OPTIMIZERS["radam"](network.parameters()), pruner, 4):
        pass
    pruner.remove()
    pruner.remove()
    assert {name: type(module) for name, module in network.named_modules()} == modules
    state = network.state_dict()
    assert list(state) == list(stock.state_dict())
    assert [name for name, _ in network.named_buffers()] == [name for name, _ in stock.named_buffers()]
    assert not any(parameter._backward_hooks for parameter in network.parameters())
    # A stock network with these weights is the same network, in its output and in its file.
    stock.load_state_dict(state)
    x = (torch.rand(2, *shape, 9) > 0.5).float()
    assert torch.equal(stock(x), network(x))
    assert exported(network, tmp_path / "pruned.net") == exported(stock, tmp_path / "stock.net")
    zero = {name: weight == 0 for name, weight in used_weights(network).items()}
    for _ in range(2):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
        backward(network, shape, torch.Generator().manual_seed(3))
        optimizer.step()
    assert any((weight[zero[name]] != 0).any() for name, weight in used_weights(network).items())


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("kind", ["dense sdnn", "recurrent cuba", "complex rf"])
def test_zeros_of_weights_are_zeros_of_the_file(kind, weight_norm, tmp_path):
    network, shape = make(kind, weight_norm=weight_norm)
    pruner = Pruner(network, OneShot(0.9, steps=0), scope="layer")
    for _ in train(network, shape, OPTIMIZERS["adam"](network.parameters()), pruner, 3):
        pass
    masks = pruner.masks
    pruner.remove()
    exported(network, tmp_path / "network.net")
    with h5py.File(tmp_path / "network.net") as file:
        for name, mask in masks.items():
            block, synapse = name.removeprefix("blocks.").split(".", 1)
            dataset = {
                "recurrent_synapse": "weight_rec",
                "synapse.real": "weight/real",
                "synapse.imag": "weight/imag",
            }.get(synapse, "weight")
            weight = file[f"layer/{block}/{dataset}"][()]
            assert np.count_nonzero(weight[~mask.numpy().reshape(weight.shape)]) == 0
            assert np.count_nonzero(weight) > 0


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.95), st.booleans())
def test_pruning_leaves_kept_weights_as_they_are(target, weight_norm):
    network, _ = make("convolutional sdnn", weight_norm=weight_norm)
    before = used_weights(network)
    pruner = Pruner(network, OneShot(target, steps=0))
    pruner.step()
    pruner.step()
    for name, weight in used_weights(network).items():
        torch.testing.assert_close(weight, before[name].masked_fill(~pruner.masks[name], 0.0), rtol=1e-5, atol=0)
