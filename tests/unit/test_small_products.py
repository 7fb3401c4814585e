"""Training at the size of what masks leave: the same as at full size, with smaller products."""

import copy

import pytest
import torch
from lava.lib.dl import slayer
from tests.chains import CUBA, SDNN_NEURON, Chain

from spandex.kernels import accelerate, blocks
from spandex.sparsify import (
    PSI,
    Cubic,
    EventPenalty,
    KeptZeros,
    MaskSearch,
    NeuronPruner,
    OneShot,
    PowerBudget,
    Pruner,
    SaliencyPruner,
    Together,
)
from spandex.sparsify.chain import chain

sigma_delta, cuba = slayer.block.sigma_delta, slayer.block.cuba
AT_ONCE = OneShot(0.9, steps=0)


def power(network):
    """1 M-Ops/s for each weight that is not zero."""
    return float(sum((block.synapse.weight != 0).sum() for block in network.blocks[1:]))


def saliency(network):
    return SaliencyPruner(network, Cubic(0.9, steps=4, frequency=2), neurons=True)


def kept_zeros(network):
    pruner = NeuronPruner(network, OneShot(0.5, steps=0))
    pruner.step()
    pruner.remove()
    return Together(KeptZeros(network), EventPenalty(network, PSI["l1"], 0.1))


METHODS = {
    "saliency with neurons": saliency,
    "neurons": lambda network: NeuronPruner(network, OneShot(0.5, steps=0)),
    "magnitude": lambda network: Together(Pruner(network, AT_ONCE), EventPenalty(network, PSI["l1"], 0.1)),
    "mask search": lambda network: MaskSearch(network, 1.0, 2, target=0.9),
    "kept zeros": kept_zeros,
    "power budget": lambda network: PowerBudget(
        network, lambda zeros: Pruner(network, OneShot(zeros, 0)), 120.0, 3, power, schedule="one-shot"
    ),
}


def inputs(seed=1):
    """In steps of 1/64, as weights are, so that sums of events are exact in any order."""
    return torch.round(64 * torch.randn(4, 12, 20, generator=torch.Generator().manual_seed(seed))) / 64


def sdnn(biased=False, **options):
    torch.manual_seed(0)
    dense = {"weight_scale": 3, "delay": True, "delay_shift": True, **options}
    network = Chain(
        sigma_delta.Input(SDNN_NEURON),
        sigma_delta.Dense(SDNN_NEURON | {"shared_param": False, "requires_grad": True}, 12, 24, **dense),
        sigma_delta.Dense(SDNN_NEURON, 24, 24, **dense),
        sigma_delta.Output(SDNN_NEURON, 24, 5, weight_scale=3, **options),
    )
    network.hop = 128
    network(inputs())
    for block in network.blocks[1:3] if biased else ():
        block.neuron.set_bias(torch.rand(24))
    return accelerate(network.train())


def spiking():
    torch.manual_seed(0)
    network = Chain(cuba.Dense(CUBA, 12, 24, weight_scale=5), cuba.Dense(CUBA, 24, 24, weight_scale=5))
    network(inputs())
    return accelerate(network.train())


def trained(network, sparsifier, steps=8):
    """Losses, all gradients and the network and sparsifier's states at the end."""
    optimizer = torch.optim.RAdam(network.parameters(), lr=0.003, weight_decay=0.01)
    found = {}
    for step in range(steps):
        optimizer.zero_grad()
        loss, penalty = network(inputs(step)).sub(0.3).square().mean(), sparsifier.penalty()
        (loss if penalty is None else loss + penalty).backward()
        found[f"loss {step}"] = loss.detach()
        found |= {f"{name} {step}": p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        optimizer.step()
        sparsifier.step()
        if step == 3:
            sparsifier.end_epoch()
    return found | network.state_dict(), sparsifier.state_dict()


@pytest.fixture
def shapes(monkeypatch):
    """(neurons, inputs) of every product."""
    seen = []
    apply = blocks.Synapse.apply

    def record(x, weight, dtype):
        seen.append(tuple(weight.shape))
        return apply(x, weight, dtype)

    monkeypatch.setattr(blocks.Synapse, "apply", record)
    return seen


def products(shapes):
    """Multiplications a step."""
    return sum(neurons * inputs for neurons, inputs in shapes)


def at_full_size(monkeypatch):
    monkeypatch.setattr(blocks, "_used", lambda *_: None)


@pytest.mark.parametrize(
    ("method", "make"),
    [
        *((method, sdnn) for method in METHODS),
        ("saliency with neurons", lambda: sdnn(biased=True)),
        ("magnitude", lambda: sdnn(biased=True)),
        ("magnitude", lambda: sdnn(weight_norm=True)),
        ("neurons", lambda: sdnn(weight_norm=True)),
        ("neurons", spiking),
    ],
)
def test_training_is_that_of_full_size(method, make, shapes, monkeypatch):
    network = make()
    full = [tuple(link.synapse.weight.shape[:2]) for link in chain(network)]
    small, state = trained(network, METHODS[method](network))
    assert products(shapes[-len(full) :]) < 0.8 * products(full)
    at_full_size(monkeypatch)
    network = make()
    whole, other = trained(network, METHODS[method](network))
    assert shapes[-len(full) :] == full
    torch.testing.assert_close(small, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.get("rates"), other.get("rates"), rtol=0, atol=0)


def pruned_from_the_output(network):
    """Nothing listens to the first 20 neurons of the second layer, which go on sending."""
    with torch.no_grad():
        network.blocks[3].synapse.weight[:, :20] = 0.0
    return KeptZeros(network)


def test_zeros_without_a_mask_are_trained(shapes):
    network = sdnn()
    pruner = pruned_from_the_output(network)
    network(inputs())
    assert shapes[-1] == (5, 4)
    copied = accelerate(copy.deepcopy(network))  # without the hooks on its parameters
    pruner.remove()
    for free in (copied, network):
        free(inputs()).square().mean().backward()
        assert shapes[-1] == (5, 24)
        assert free.blocks[3].synapse.weight.grad[:, :20].any()


def test_weights_that_are_loaded_under_a_mask_count(shapes):
    network, dense = sdnn(), sdnn()
    pruned_from_the_output(network)
    network.load_state_dict(dense.state_dict())
    assert torch.equal(network(inputs()), dense(inputs()))
    assert shapes[-1] == (5, 24)
