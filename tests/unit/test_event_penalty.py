"""The penalty on events: its value by hand, its gradient through lava-dl's neurons, what it does, and side by side."""

import copy

import numpy as np
import pytest
import torch
from lava.lib.dl import slayer
from tests.chains import (
    CUBA,
    SDNN_NEURON,
    Chain,
    complex_rf,
    convolutional_cuba,
    convolutional_sdnn,
    dense_sdnn,
    recurrent_cuba,
)

from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.sparsify import GradualMagnitude, sparsity
from spandex.sparsify.activity import EPSILON, PSI, EventPenalty, Hoyer, Lp
from spandex.sparsify.together import Together

STEPS = 12


def make(seed=0):
    torch.manual_seed(seed)
    network = dense_sdnn()
    network(torch.zeros(1, 12, 1))  # fixes shapes and draws delays
    return network.train()


def walk(batch=3, steps=STEPS, seed=1):
    """Inputs that change at every step."""
    return torch.randn(batch, 12, steps, generator=torch.Generator().manual_seed(seed))


def outputs(network, x):
    """Of every block."""
    found = []
    for block in network.blocks:
        x = block(x)
        found.append(x)
    return found


@pytest.mark.parametrize(
    ("psi", "formula"),
    [
        ("l1", lambda x: np.abs(x).sum()),
        ("l2", lambda x: (x**2).sum()),
        ("l0.5", lambda x: np.sqrt(np.abs(x)).sum()),
        ("l0.1", lambda x: sum(abs(v) ** 0.1 for v in x if v)),
        ("l0.01", lambda x: sum(abs(v) ** 0.01 for v in x if v)),
        ("hoyer", lambda x: np.abs(x).sum() / np.linalg.norm(x)),
        ("hoyer-square", lambda x: np.abs(x).sum() ** 2 / (x**2).sum()),
    ],
)
def test_psi_is_its_formula(psi, formula):
    rows = np.array([[3.0, 0, -4, 0.5], [0, 0, 2, 0], [1, 1, 1, -1]])
    found = PSI[psi](torch.from_numpy(rows))
    # Half a thousandth: what epsilon adds to sqrt(0.5) is EPSILON / (2 sqrt(0.5)) = 7e-4 of it.
    np.testing.assert_allclose(found, [formula(row) for row in rows], rtol=1e-3)


@pytest.mark.parametrize("psi", PSI.values(), ids=PSI)
def test_psi_and_its_gradient_are_zero_for_silence_and_finite_everywhere(psi):
    x = torch.tensor([[0.0, 0, 0], [0, 1e-30, -1e30]], dtype=torch.float64, requires_grad=True)
    values = psi(x)
    assert values[0] == 0
    values.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[0] == 0).all()
    assert x.grad[1, 0] == 0


@pytest.mark.parametrize("p", [0.5, 0.1, 0.01])
def test_the_steepest_slope_of_a_small_power_is_bounded_as_stated(p):
    x = torch.tensor([[1e-20]], dtype=torch.float64, requires_grad=True)
    Lp(p)(x).sum().backward()
    assert float(x.grad) == pytest.approx(p * EPSILON ** (p - 1), rel=1e-9)


def test_hoyer_knows_no_scale():
    x = torch.rand(5, 30, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(Hoyer()(x), Hoyer()(7 * x))


@pytest.mark.parametrize("fused", [False, True], ids=["stock", "fused"])
@pytest.mark.parametrize("psi", PSI)
def test_penalty_is_psi_of_each_hidden_layer_and_step(psi, fused):
    network = make()
    hidden = [events.detach().numpy() for events in outputs(network, walk())[:2]]
    if fused:
        accelerate(network)
    events = EventPenalty(network, PSI[psi], weight=0.3)
    network(walk())
    expected = 0.3 * sum(
        np.mean([float(PSI[psi](torch.tensor(layer[b, :, t]))) for b in range(3) for t in range(STEPS)])
        for layer in hidden
    )
    assert expected > 0
    assert events.penalty().item() == pytest.approx(expected, rel=1e-5)


def test_the_weight_means_the_same_for_other_batches_and_segments():
    network = make()
    events = EventPenalty(network, PSI["l0.01"], weight=1.0)
    values = []
    for batch, repeats in ((1, 1), (4, 1)):
        network(walk(1).repeat(batch, 1, repeats))
        values.append(events.penalty().item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    noise = []
    for steps in (200, 800):
        network(walk(2, steps))
        noise.append(events.penalty().item())
    assert noise[0] == pytest.approx(noise[1], rel=0.1)


def stock_surrogate_gradient(network, x, weight):
    """Gradient of the L1 penalty on all blocks but the last, by lava-dl's own forward without any hook."""
    hidden = outputs(network, x)[:2]
    total = weight * sum(events.abs().sum(dim=1).mean() for events in hidden)
    parameters = [block.synapse.weight for block in network.blocks[:2]]
    return torch.autograd.grad(total, parameters)


@pytest.mark.parametrize("fused", [False, True], ids=["stock", "fused"])
def test_gradient_reaches_the_weights_through_the_surrogate_of_stock_blocks(fused):
    network = make()
    stock = copy.deepcopy(network)
    if fused:
        accelerate(network)
    events = EventPenalty(network, PSI["l1"], weight=0.7)
    network(walk())
    events.penalty().backward()
    expected = stock_surrogate_gradient(stock, walk(), 0.7)
    for block, gradient in zip(network.blocks[:2], expected, strict=True):
        assert float(gradient.abs().max()) > 1e-3
        torch.testing.assert_close(block.synapse.weight.grad, gradient, rtol=1e-4, atol=1e-6)
    assert network.blocks[2].synapse.weight.grad is None


def train(network, sparsifier, iterations=40, seed=3):
    """Against a fixed target; returns hidden events a step and the error at the end."""
    x = walk(4, 40, seed)
    target = torch.randn(4, 5, 40, generator=torch.Generator().manual_seed(seed)).cumsum(2) / 6
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(iterations):
        loss = (network(x) - target).square().mean()
        penalty = None if sparsifier is None else sparsifier.penalty()
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        if sparsifier is not None:
            sparsifier.step()
    with torch.no_grad():
        found = outputs(network.eval(), x)
    return float(sum((events != 0).sum() for events in found[:2])) / (4 * 40)


@pytest.mark.parametrize("psi", ["l1", "l0.5", "hoyer-square"])
def test_events_fall_as_the_weight_grows(psi):
    scale = {"l1": 1.0, "l0.5": 1.0, "hoyer-square": 0.3}[psi]
    rates = []
    for weight in (0.0, 0.02, 0.2):
        network = accelerate(make())
        rates.append(train(network, EventPenalty(network, PSI[psi], scale * weight)))
    assert rates[0] > 1.05 * rates[1] > 1.05**2 * rates[2]


def test_no_weight_changes_nothing():
    with_penalty, without = make(), make()
    train(with_penalty, EventPenalty(with_penalty, PSI["l1"], 0.0), iterations=3)
    train(without, None, iterations=3)
    for ours, theirs in zip(with_penalty.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_events_are_kept_in_training_mode_alone_and_asked_for_once():
    network = make()
    events = EventPenalty(network, PSI["l1"], 1.0)
    with pytest.raises(SpandexError, match="forward pass in training mode"):
        events.penalty()
    network.eval()(walk())
    with pytest.raises(SpandexError, match="forward pass in training mode"):
        events.penalty()
    network.train()(walk())
    assert events.penalty().requires_grad
    with pytest.raises(SpandexError, match="forward pass in training mode"):
        events.penalty()


@pytest.mark.parametrize(
    ("kind", "shape", "hidden"),
    [
        (convolutional_cuba, (2, 6, 6), [0]),
        (convolutional_sdnn, (2, 6, 6), [0, 2, 3]),  # grouped; pools and flattening have no weights
        (recurrent_cuba, (12,), [0, 1, 2]),
        (complex_rf, (12,), [0]),
    ],
)
def test_hidden_layers_of_any_kind_count_and_learn(kind, shape, hidden):
    torch.manual_seed(0)
    network = kind().train()
    x = (torch.rand(2, *shape, 30, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    network(torch.zeros(1, *shape, 1))
    sent = [outputs(copy.deepcopy(network), x)[i] for i in hidden]
    events = EventPenalty(network, Lp(1), 1.0)
    network(x)
    penalty = events.penalty()
    assert penalty.item() == pytest.approx(sum(float(layer.detach().abs().sum()) for layer in sent) / 60, rel=1e-5)
    penalty.backward()
    learn = [any(p.grad is not None and p.grad.any() for p in block.parameters()) for block in network.blocks]
    assert [i for i, does in enumerate(learn) if does] == hidden


def test_after_remove_the_network_has_no_hooks_and_computes_the_same():
    network = make()
    expected = network(walk())
    events = EventPenalty(network, PSI["l1"], 1.0)
    network(walk())
    events.remove()
    assert not any(module._forward_hooks for module in network.modules())
    torch.testing.assert_close(network(walk()), expected, rtol=0, atol=0)


def test_repr_tells_settings_apart():
    network = make()
    texts = {repr(EventPenalty(network, psi, weight)) for psi in PSI.values() for weight in (0.1, 0.2)}
    assert len(texts) == 2 * len(PSI)
    assert "EventPenalty(psi=Lp(p=0.5), weight=0.1, layers=['blocks.0.synapse', 'blocks.1.synapse'])" in texts


@pytest.mark.parametrize(
    ("network", "weight", "message"),
    [
        (make, -1.0, "weight -1.0"),
        (make, float("nan"), "weight nan"),
        (lambda: Chain(slayer.block.sigma_delta.Output(SDNN_NEURON, 4, 2)), 1.0, "no hidden layer"),
        (
            lambda: Chain(slayer.block.cuba.Dense(CUBA, 4, 6), slayer.block.cuba.KWTA(dict(CUBA), 6, 5, 2)),
            1.0,
            "blocks.1.synapse: neurons are known in",
        ),
    ],
)
def test_what_cannot_be_penalised_is_named(network, weight, message):
    with pytest.raises(SpandexError, match=message):
        EventPenalty(network(), PSI["l1"], weight)


def test_state_of_something_else_is_refused():
    events = EventPenalty(make(), PSI["l1"], 1.0)
    events.load_state_dict(events.state_dict())
    with pytest.raises(SpandexError, match="iteration"):
        events.load_state_dict({"iteration": 1})


def both(network, steps=20):
    return Together(GradualMagnitude(network, 0.5, steps, frequency=5), EventPenalty(network, PSI["l1"], 0.1))


def test_together_prunes_and_penalises():
    network = accelerate(make())
    sparsifier = both(network)
    assert sparsifier.steps == 20
    assert not sparsifier.done
    events = train(network, sparsifier)
    assert sparsifier.done
    assert sparsity(network).total == 0.5
    pruned = accelerate(make())
    assert events < 0.9 * train(pruned, GradualMagnitude(pruned, 0.5, 20, frequency=5))
    sparsifier.remove()
    assert sparsity(network).total == 0.5
    assert not any(module._forward_hooks for module in network.modules())


def test_together_goes_on_from_its_state():
    network, other = make(), make()
    first, second = both(network), both(other)
    train(network, first, iterations=7)
    other.load_state_dict(network.state_dict())
    second.load_state_dict(first.state_dict())
    assert first.state_dict().keys() == {"0", "1"}
    for sparsifier, own in ((first, network), (second, other)):
        own.train()
        train(own, sparsifier, iterations=16, seed=5)
        assert sparsifier.done
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_together_adds_penalties_and_has_none_if_none_has():
    network = make()
    pruner = GradualMagnitude(network, 0.5, 5)
    parts = [EventPenalty(network, PSI["l1"], weight) for weight in (0.1, 0.2)]
    network(walk())
    total = Together(*parts, pruner).penalty().item()
    network(walk())
    assert total == pytest.approx(sum(part.penalty().item() for part in parts))
    assert Together(pruner).penalty() is None


def test_together_refuses_nothing_and_the_state_of_others():
    with pytest.raises(SpandexError, match="no sparsifiers"):
        Together()
    network = make()
    state = GradualMagnitude(network, 0.5, 5).state_dict()
    with pytest.raises(SpandexError, match="not the state of 2 sparsifiers: it holds iteration"):
        both(network).load_state_dict(state)


def test_together_tells_its_parts():
    text = repr(both(make()))
    assert text.startswith("Together(GradualMagnitude(")
    assert "EventPenalty(psi=Lp(p=1), weight=0.1" in text
