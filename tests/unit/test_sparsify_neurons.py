import copy
import io

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lava.lib.dl import slayer
from tests.chains import (
    ALIF,
    CUBA,
    RF,
    SDNN_NEURON,
    Chain,
    complex_rf,
    convolutional_sdnn,
    exported,
    pooled_cuba,
    recurrent_cuba,
)

from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.networks import SDNN
from spandex.sparsify import Cubic, Linear, NeuronPruner, OneShot, Pruner, make_schedule, shrink, sparsity
from spandex.sparsify.weights import SynapseWeight

sigma_delta, cuba, alif, rf = (getattr(slayer.block, kind) for kind in ("sigma_delta", "cuba", "alif", "rf"))
OWN_CUBA = CUBA | {"shared_param": False}


def sdnn(**options):
    return Chain(
        sigma_delta.Dense(SDNN_NEURON, 12, 16, delay=True, delay_shift=True, **options),
        sigma_delta.Dense(SDNN_NEURON, 16, 14, delay=True, **options),
        sigma_delta.Output(SDNN_NEURON, 14, 5, **options),
    )


def sdnn_of_its_own(**options):
    """A threshold a neuron, mean-only batch normalisation and a mask of lava-dl's own."""
    own = SDNN_NEURON | {"shared_param": False, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}
    mask = torch.rand(16, 12) > 0.2
    return Chain(
        sigma_delta.Dense(own, 12, 16, delay=True, mask=mask, **options),
        sigma_delta.Dense(own, 16, 14, delay_shift=True, **options),
        sigma_delta.Output(SDNN_NEURON, 14, 5, **options),
    )


def biased_sdnn(**options):
    network = sdnn(**options)
    for block in network.blocks[:2]:
        block.neuron.set_bias(torch.rand(block.synapse.out_channels))
    return network


def spiking(**options):
    return Chain(
        cuba.Dense(OWN_CUBA, 12, 16, weight_scale=5, delay=True, **options),
        cuba.Dense(CUBA, 16, 14, weight_scale=5, **options),
        cuba.Affine(CUBA, 14, 5, **options),
    )


def convolutional(**options):
    return Chain(
        sigma_delta.Conv(SDNN_NEURON, 2, 8, 3, padding=1, delay=True, **options),
        sigma_delta.Pool(SDNN_NEURON, 2, delay=True),
        sigma_delta.ConvT(SDNN_NEURON, 8, 6, 2, stride=2, delay=True, **options),
        sigma_delta.Conv(SDNN_NEURON, 6, 8, 3, stride=2, **options),
        sigma_delta.Flatten(),
        sigma_delta.Dense(SDNN_NEURON, 32, 9, delay=True, **options),
        sigma_delta.Dense(SDNN_NEURON, 9, 5, **options),
    )


def adaptive(**options):
    return Chain(
        alif.Recurrent(dict(ALIF), 12, 16, weight_scale=5, delay=True, **options),
        alif.Dense(ALIF, 16, 14, weight_scale=5, **options),
        alif.Dense(ALIF, 14, 5, weight_scale=5, **options),
    )


def resonating(**options):
    return Chain(
        rf.Conv(RF, 2, 8, 3, padding=1, weight_scale=5, **options),
        rf.Pool(RF | {"threshold": 0.1}, 2),
        rf.Flatten(),
        slayer.block.rf_iz.Dense(RF, 72, 9, weight_scale=5, **options),
        rf.Dense(RF, 9, 5, weight_scale=5, **options),
    )


NETWORKS = {
    "sdnn": (sdnn, (12,)),
    "sdnn of its own": (sdnn_of_its_own, (12,)),
    "biased sdnn": (biased_sdnn, (12,)),
    "spiking": (spiking, (12,)),
    "convolutional": (convolutional, (2, 6, 6)),
    "pooled": (pooled_cuba, (2, 6, 6)),
    "recurrent": (recurrent_cuba, (12,)),
    "adaptive": (adaptive, (12,)),
    "complex": (complex_rf, (12,)),
    "resonating": (resonating, (2, 6, 6)),
}


def make(kind="sdnn", seed=0, **options):
    torch.manual_seed(seed)
    build, shape = NETWORKS[kind]
    network = build(**options)
    network(torch.zeros(1, *shape, 1))
    with torch.no_grad():
        for block in network.blocks:
            if getattr(block, "delay", None) is not None:
                block.delay.delay.copy_(torch.rand_like(block.delay.delay) * 5)
            if kind == "sdnn of its own" and block is not network.blocks[-1]:
                block.neuron.delta.threshold.copy_(torch.rand_like(block.neuron.delta.threshold) / 4 + 0.05)
        for module in network.modules():
            if isinstance(module, (slayer.synapse.Dense, slayer.synapse.Conv, slayer.synapse.ConvTranspose)):
                (module.weight_g if options.get("weight_norm") else module.weight).mul_(2)
                SynapseWeight(module).refresh()  # lava-dl's own does not reach recurrent weights
    return network, shape


def inputs(shape, steps=20, batch=3, seed=0):
    return (torch.rand(batch, *shape, steps, generator=torch.Generator().manual_seed(seed)) > 0.6).float()


def train(network, shape, pruner, iterations, make_optimizer=None):
    make_optimizer = make_optimizer or (lambda p: torch.optim.RAdam(p, lr=0.01, weight_decay=0.01))
    optimizer = make_optimizer(network.parameters())
    for iteration in range(iterations):
        optimizer.zero_grad()
        network(inputs(shape, seed=iteration)).sub(0.3).square().mean().backward()
        optimizer.step()
        pruner.step()


def pruned(kind, **options):
    """A network with pruned neurons, which of them are kept by layer, and the shape of its input."""
    network, shape = make(kind, **options)
    pruner = NeuronPruner(network, Linear(0.4, steps=5, frequency=2), scope="layer")
    if kind == "sdnn of its own":  # lava-dl's backward does not know thresholds a neuron
        for iteration in range(7):
            network(inputs(shape, seed=iteration))
            pruner.step()
    else:
        train(network, shape, pruner, 7)
    keep = {name: mask.clone() for name, mask in pruner.neurons.items()}
    pruner.remove()
    return network.eval(), keep, shape


def outputs_of_blocks(network, x):
    found = []
    with torch.no_grad():
        for block in network.blocks:
            x = block(x)
            found.append(x)
    return found


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_smaller_network_does_what_the_masked_one_did(kind, weight_norm):
    network, keep, shape = pruned(kind, weight_norm=weight_norm)
    small = shrink(network)
    # Weights are steps of 1/32 and graded events steps of 1/4096: all sums here are exact in any order.
    x = inputs(shape, 60, batch=2)  # not the last one's batch, so that recurrent neurons start from rest
    whole, less = outputs_of_blocks(network, x), outputs_of_blocks(small, x)
    kept = torch.ones(shape[0], dtype=torch.bool)
    for i, (block, before, after) in enumerate(zip(network.blocks, whole, less, strict=True)):
        pruned_here = [neurons for name, neurons in keep.items() if name.startswith(f"blocks.{i}.")]
        if pruned_here:
            (kept,) = pruned_here
            assert 0 < kept.sum() < kept.numel()
            assert after.shape[1] == kept.sum()
        elif block is network.blocks[-1]:
            kept = torch.ones(before.shape[1], dtype=torch.bool)
        elif isinstance(block, slayer.block.base.AbstractFlatten):
            kept = kept.repeat_interleave(before.shape[1] // kept.numel())
        assert torch.equal(after, before[:, kept])
        # The neurons that went were silent.
        assert not before[:, ~kept].any()
    assert whole[-1].any() and whole[0].any()
    assert less[-1].shape == whole[-1].shape


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("kind", ["sdnn", "biased sdnn", "convolutional", "pooled", "recurrent", "adaptive"])
def test_hdf5_layers_are_those_of_the_masked_network_less_its_neurons(kind, weight_norm, tmp_path):
    network, keep, _ = pruned(kind, weight_norm=weight_norm)
    exported(shrink(network), tmp_path / "small.net")
    exported(network, tmp_path / "whole.net")
    with h5py.File(tmp_path / "small.net") as small, h5py.File(tmp_path / "whole.net") as whole:
        columns = None
        for i in range(len(network.blocks)):
            before, after = whole[f"layer/{i}"], small[f"layer/{i}"]
            rows = keep.get(f"blocks.{i}.synapse", keep.get(f"blocks.{i}.input_synapse"))
            if before["type"][0] == b"flatten":
                columns = columns.repeat_interleave(int(before["shape"][0]) // columns.numel())
                assert after["shape"][0] == columns.sum()
                continue
            if rows is None and before["type"][0] == b"pool":
                rows = columns
            if rows is None:
                rows = torch.ones(int(before["shape"][0]), dtype=torch.bool)
            assert after["shape"][0] == rows.sum() and list(after["shape"][1:]) == list(before["shape"][1:])
            if "delay" in before:
                np.testing.assert_array_equal(after["delay"][()], before["delay"][()][rows])
            if before["type"][0] != b"pool":
                weight = before["weight"][()]
                if before["type"][0] == b"convT":
                    weight = weight.swapaxes(0, 1)
                weight = weight[rows.numpy()][:, slice(None) if columns is None else columns.numpy()]
                if before["type"][0] == b"convT":
                    weight = weight.swapaxes(0, 1)
                np.testing.assert_array_equal(after["weight"][()], weight)
                assert after["weight"].size < before["weight"].size
            if "weight_rec" in before:
                np.testing.assert_array_equal(after["weight_rec"][()], before["weight_rec"][()][rows][:, rows])
            columns = rows


def test_shrinking_changes_nothing_in_the_network_given():
    network, _, shape = pruned("sdnn", weight_norm=True)
    state = copy.deepcopy(network.state_dict())
    output = network(inputs(shape))
    small = shrink(network)
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert torch.equal(network(inputs(shape)), output)
    assert list(small.state_dict()) == list(state)
    assert sum(p.numel() for p in small.parameters()) < 0.6 * sum(p.numel() for p in network.parameters())


def test_the_smaller_network_trains_and_is_pruned_on():
    network, _, shape = pruned("sdnn")
    small = shrink(network)
    before = copy.deepcopy(small.state_dict())
    pruner = Pruner(small, Cubic(0.5, steps=5, frequency=2))
    train(small, shape, pruner, 7)
    assert sparsity(small).total == pytest.approx(0.5, abs=0.01)
    changed = [key for key, tensor in small.state_dict().items() if not torch.equal(tensor, before[key])]
    assert {f"blocks.{i}.synapse.weight" for i in range(3)} <= set(changed)
    assert {"blocks.0.delay.delay", "blocks.1.delay.delay"} <= set(changed)


def test_an_accelerated_network_shrinks_to_the_same():
    torch.manual_seed(0)
    network = SDNN(n_fft=32, hop=8, hidden=24)
    pruner = NeuronPruner(network, OneShot(0.5, steps=0))
    pruner.step()
    small = shrink(network)
    fast = shrink(accelerate(network))
    assert type(fast.blocks[1]) is type(network.blocks[1]) is not type(small.blocks[1])
    x = torch.rand(2, 17, 50)
    torch.testing.assert_close(fast(x), small(x))
    assert sum(len(block.delay.delay) for block in fast.blocks[1:3]) == 24


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["sdnn", "convolutional", "recurrent", "complex"]),
    st.sampled_from(["cubic", "one-shot", "iterative"]),
    st.floats(0, 0.85),
    st.sampled_from(["global", "layer"]),
)
def test_shares_of_neurons_are_exact_and_only_fall(kind, schedule, target, scope):
    network, _ = make(kind)
    pruner = NeuronPruner(network, make_schedule(schedule, target, 12, frequency=3, rounds=3), scope=scope)
    sizes = {name: len(neurons) for name, neurons in pruner.neurons.items()}
    before = pruner.neurons
    for t in range(14):
        pruner.step()
        now = pruner.neurons
        gone = {name: int((~neurons).sum()) for name, neurons in now.items()}
        if scope == "layer":
            assert gone == {name: round(pruner.schedule(t) * size) for name, size in sizes.items()}
        else:
            assert sum(gone.values()) == round(pruner.schedule(t) * sum(sizes.values()))
        assert all(neurons.any() for neurons in now.values())
        assert not any((now[name] & ~before[name]).any() for name in now)
        before = now
    weights = [module.weight for name, module in network.named_modules() if f"{name}" in pruner.masks]
    for weight, mask in zip(weights, pruner.masks.values(), strict=True):
        assert (weight[~mask] == 0).all() and (weight[mask] != 0).all()


def test_the_neurons_with_the_smallest_incoming_weights_go():
    network, _ = make("sdnn")
    norms = {
        f"blocks.{i}.synapse": block.synapse.weight.detach().flatten(1).square().sum(1).sqrt()
        for i, block in enumerate(network.blocks[:2])
    }
    pruner = NeuronPruner(network, OneShot(0.5, steps=0), scope="layer")
    pruner.step()
    for name, norm in norms.items():
        keep = pruner.neurons[name]
        assert norm[~keep].max() < norm[keep].min()


@pytest.mark.parametrize("kind, parts", [("recurrent", ("input_synapse", "recurrent_synapse")), ("complex", None)])
def test_recurrent_and_imaginary_weights_count_in_the_norm_of_a_neuron(kind, parts):
    network, _ = make(kind)
    block = network.blocks[1 if parts else 0]
    synapses = [getattr(block, part) for part in parts] if parts else [block.synapse.real, block.synapse.imag]
    norm = sum(synapse.weight.detach().flatten(1).square().sum(1) for synapse in synapses)
    pruner = NeuronPruner(network, OneShot(0.5, steps=0), scope="layer")
    pruner.step()
    keep = list(pruner.neurons.values())[1 if parts else 0]
    assert norm[~keep].max() < norm[keep].min()


def test_layers_of_other_scales_are_compared_fairly():
    counts = []
    for factor in (1.0, 100.0):
        network, _ = make("sdnn")
        with torch.no_grad():
            network.blocks[0].synapse.weight.mul_(factor)
        pruner = NeuronPruner(network, OneShot(0.5, steps=0))
        pruner.step()
        counts.append([neurons.tolist() for neurons in pruner.neurons.values()])
    assert counts[0] == counts[1]


def test_a_users_own_score_decides():
    def loudest(incoming, outgoing):
        assert incoming.shape in ((16, 12), (14, 16)) and outgoing.shape in ((16, 14), (14, 5))
        return outgoing.abs().sum(1)

    network, _ = make("sdnn")
    sums = network.blocks[1].synapse.weight.detach().abs().sum(0).flatten()
    pruner = NeuronPruner(network, OneShot(0.5, steps=0), score=loudest, layers="blocks.0")
    pruner.step()
    keep = pruner.neurons["blocks.0.synapse"]
    assert sums[~keep].max() < sums[keep].min()
    assert pruner.neurons["blocks.1.synapse"].all()
    assert "loudest" in repr(pruner) and "blocks.1" not in repr(pruner)


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ],
    ids=["sgd", "adamw"],
)
def test_pruned_neurons_stay_silent_while_all_else_trains(make_optimizer):
    network, shape = make("biased sdnn")
    for block in network.blocks[:2]:
        block.neuron.bias.requires_grad_(True)
    pruner = NeuronPruner(network, OneShot(0.5, steps=1))
    train(network, shape, pruner, 12, make_optimizer)
    for i, block in enumerate(network.blocks[:2]):
        keep = pruner.neurons[f"blocks.{i}.synapse"]
        assert not block.synapse.weight[~keep].any() and not network.blocks[i + 1].synapse.weight[:, ~keep].any()
        assert not block.neuron.bias[~keep].any() and block.neuron.bias[keep].all()


def test_a_continued_run_prunes_the_same_neurons():
    whole, shape = make("sdnn")
    pruner = NeuronPruner(whole, Cubic(0.6, steps=9, frequency=2))
    train(whole, shape, pruner, 5)
    stream = io.BytesIO()
    torch.save([whole.state_dict(), pruner.state_dict()], stream)
    train(whole, shape, pruner, 6)
    stream.seek(0)
    network_state, pruner_state = torch.load(stream, weights_only=True)
    other, _ = make("sdnn")
    continued = NeuronPruner(other, Cubic(0.6, steps=9, frequency=2))
    other.load_state_dict(network_state)
    continued.load_state_dict(pruner_state)
    train(other, shape, continued, 6)
    assert continued.done
    assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in whole.state_dict().items())


def test_neurons_that_lead_only_to_unheard_ones_go_too():
    network, shape = make("sdnn")
    with torch.no_grad():
        network.blocks[2].synapse.weight[:, 4:] = 0  # only 0 to 3 of the second layer are heard
        network.blocks[1].synapse.weight[:4, 6:] = 0  # and they hear 0 to 5 of the first
    small = shrink(network)
    assert [tuple(block.synapse.weight.shape[:2]) for block in small.blocks] == [(6, 12), (4, 6), (5, 4)]
    assert torch.equal(small(inputs(shape)), network(inputs(shape)))


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_neurons_that_are_heard_by_way_of_recurrent_weights_stay(weight_norm):
    def little(weights, masks, sparsity):
        kept = {name: torch.ones_like(mask) for name, mask in masks.items()}
        kept["blocks.2.input_synapse"][:, torch.arange(14) != 4] = False  # 4 alone is heard
        recurrent = kept["blocks.1.recurrent_synapse"]
        recurrent.fill_(False)
        for receiver, sender in ((4, 9), (9, 2), (2, 4), (7, 7), (7, 8), (8, 7), (3, 4)):
            recurrent[receiver, sender] = True
        return kept

    network, shape = make("recurrent", weight_norm=weight_norm)
    Pruner(network, OneShot(0.1, steps=0), source=little).step()
    small, block, left = shrink(network), network.blocks[1], [2, 4, 9]
    assert torch.equal(small.blocks[1].recurrent_synapse.weight, block.recurrent_synapse.weight[left][:, left])
    torch.testing.assert_close(small.blocks[1].input_synapse.weight, block.input_synapse.weight[left])
    assert small.blocks[2].input_synapse.weight.shape[:2] == (9, 3)
    x = inputs(shape, 60)
    assert torch.equal(small(x), network(x)) and network(x).any()


@pytest.mark.parametrize("part", ["real", "imag"])
def test_a_neuron_that_one_part_of_a_complex_weight_hears_stays(part):
    network, shape = make("complex")
    with torch.no_grad():
        for synapse in (network.blocks[1].synapse.real, network.blocks[1].synapse.imag):
            synapse.weight[:, 3:] = 0
        getattr(network.blocks[1].synapse, part).weight[2, 5] = 1
    small = shrink(network)
    for synapse in (small.blocks[0].synapse, small.blocks[0].synapse.real, small.blocks[0].synapse.imag):
        assert synapse.out_channels == 4
    x = inputs(shape, 60)
    assert torch.equal(small(x), network(x)) and network(x).any()


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_neurons_that_only_lost_their_outgoing_weights_go_without_a_trace(weight_norm):
    """The rows of a transposed convolution that are cut share their norms with those that stay."""

    def outgoing(weights, masks, sparsity):
        (mask,) = (mask.clone() for mask in masks.values())
        mask[:, 2:] = False
        return dict.fromkeys(masks, mask)

    network, shape = make("convolutional", weight_norm=weight_norm)
    Pruner(network, OneShot(0.6, steps=0), source=outgoing, layers="blocks.3").step()
    assert network.blocks[2].synapse.weight.all()
    small = shrink(network)
    assert small.blocks[2].synapse.weight.shape[1] == 2
    torch.testing.assert_close(small.blocks[2].synapse.weight, network.blocks[2].synapse.weight[:, :2])
    assert torch.equal(small(inputs(shape)), network(inputs(shape)))


def test_a_network_that_hears_nothing_keeps_a_neuron_a_layer():
    network, shape = make("sdnn")
    with torch.no_grad():
        network.blocks[2].synapse.weight.zero_()
    small = shrink(network)
    assert [tuple(block.synapse.weight.shape[:2]) for block in small.blocks] == [(1, 12), (1, 1), (5, 1)]
    assert torch.equal(small(inputs(shape)), network(inputs(shape)))


def test_a_network_without_idle_neurons_is_copied():
    network, _ = make("convolutional")
    small = shrink(network)
    assert small is not network
    assert all(torch.equal(tensor, small.state_dict()[key]) for key, tensor in network.state_dict().items())


def test_persistent_state_goes_on_in_the_smaller_network():
    neuron = SDNN_NEURON | {"persistent_state": True}
    torch.manual_seed(0)
    network = Chain(sigma_delta.Dense(dict(neuron), 12, 16, delay_shift=True), sigma_delta.Output(dict(neuron), 16, 5))
    x = inputs((12,), 40)
    with torch.no_grad():
        network(x[..., :1])
        NeuronPruner(network, OneShot(0.5, steps=0)).step()
        network(x[..., :20])
        small = shrink(network)
        assert torch.equal(small(x[..., 20:]), network(x[..., 20:]))


def test_recurrent_neurons_go_on_from_the_state_of_the_batch_before():
    network, shape = make("recurrent")
    x = inputs(shape, 60)
    with torch.no_grad():
        NeuronPruner(network, OneShot(0.5, steps=0)).step()
        network(x[..., :30])
        small, after = shrink(network), network(x[..., 30:])
        assert torch.equal(small(x[..., 30:]), after)
        assert not torch.equal(small(x[:2, ..., 30:]), after[:2])  # a batch of another size starts from rest


@pytest.mark.parametrize(
    "build, message",
    [
        (convolutional_sdnn, r"blocks.2.synapse: whole neurons cannot be pruned in a grouped convolution"),
        (
            lambda: Chain(cuba.Dense(CUBA, 4, 6), cuba.KWTA(dict(CUBA), 6, 5, 2)),
            r"blocks.1.synapse: neurons are known in lava-dl's dense, recurrent, convolution, affine and output blocks",
        ),
        (lambda: torch.nn.Sequential(slayer.synapse.Dense(3, 2)), r"0: neurons are known in"),
        (
            lambda: Chain(sigma_delta.Dense(SDNN_NEURON, 4, 6), sigma_delta.Dense(SDNN_NEURON, 5, 3)),
            r"blocks.1.synapse takes 5 inputs, but blocks.0.synapse has 6 neurons",
        ),
        (lambda: torch.nn.Linear(3, 2), "Linear: no dense or convolutional synapse"),
    ],
    ids=["groups", "winners", "bare", "widths", "not lava-dl"],
)
def test_networks_whose_neurons_cannot_be_told_are_refused(build, message):
    network = build()
    with pytest.raises(SpandexError, match=message):
        NeuronPruner(network, OneShot(0.5, steps=0))
    with pytest.raises(SpandexError, match=message):
        shrink(network)


def test_impossible_settings_are_refused():
    network, _ = make("sdnn")
    with pytest.raises(SpandexError, match="Chain: no hidden layer"):
        NeuronPruner(Chain(sigma_delta.Dense(SDNN_NEURON, 4, 6)), OneShot(0.5, steps=0))
    with pytest.raises(SpandexError, match=r"target share 0.97 of 30 neurons: each layer of the network keeps one"):
        NeuronPruner(network, OneShot(0.97, steps=0))
    with pytest.raises(SpandexError, match="scope 'neuron'"):
        NeuronPruner(network, OneShot(0.5, steps=0), scope="neuron")
    with pytest.raises(SpandexError, match=r"layer blocks.2: no synapse to prune; there are blocks.0.synapse"):
        NeuronPruner(network, OneShot(0.5, steps=0), layers="blocks.2")
