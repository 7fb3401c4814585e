import io

import numpy as np
import pytest
import torch
from lava.lib.dl import slayer

from spandex.errors import SpandexError
from spandex.sparsify import Cubic, GradualMagnitude, magnitude, sparsity

NEURON = {"threshold": 0.1, "activation": torch.relu}


class Network(torch.nn.Module):
    """Three dense synapses of unequal size and scale."""

    def __init__(self, seed: int = 0, **options):
        super().__init__()
        torch.manual_seed(seed)
        block = slayer.block.sigma_delta
        self.blocks = torch.nn.ModuleList(
            [
                block.Input(NEURON),
                block.Dense(NEURON, 20, 30, delay=True, **options),
                block.Dense(NEURON, 30, 25, **options),
                block.Output(NEURON, 25, 10, **options),
            ]
        )
        with torch.no_grad():
            self.blocks[2].synapse.weight.mul_(3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    @property
    def weights(self):
        return [block.synapse.weight for block in self.blocks[1:]]


def flat(tensors) -> np.ndarray:
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


def train(network, optimizer, pruner, iterations):
    generator = torch.Generator().manual_seed(1)
    for _ in range(iterations):
        optimizer.zero_grad()
        network(torch.randn(4, 20, 6, generator=generator)).sub(0.3).square().mean().backward()
        optimizer.step()
        pruner.step()
        yield


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01, weight_decay=0.1),
}


def test_the_smallest_weights_of_all_layers_together_go():
    network = Network()
    before = flat(network.weights)
    pruner = GradualMagnitude(network, 0.6, steps=1, frequency=1)
    pruner.step()
    pruner.step()
    after = flat(network.weights)
    removed = np.argsort(np.abs(before))[: round(0.6 * before.size)]
    expected = before.copy()
    expected[removed] = 0
    np.testing.assert_array_equal(after, expected)
    # The layer that was scaled up keeps more: the threshold is one for all.
    layers = sparsity(network).layers
    assert layers["blocks.2.synapse"] < min(layers["blocks.1.synapse"], layers["blocks.3.synapse"])


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_sparsity_is_on_schedule_and_pruned_weights_stay_zero(make_optimizer):
    network = Network()
    pruner = GradualMagnitude(network, 0.75, steps=30, frequency=7)
    schedule = Cubic(0.75, 30, frequency=1)
    dead = np.zeros(flat(network.weights).size, dtype=bool)
    last_step = 0
    for t, _ in enumerate(train(network, make_optimizer(network.parameters()), pruner, 45)):
        if t == 30 or (t < 30 and t % 7 == 0):
            last_step = t
        weights = flat(network.weights)
        assert (weights[dead] == 0).all()
        dead = weights == 0
        assert dead.mean() == sparsity(network).total
        assert abs(dead.mean() - schedule(last_step)) <= 0.001
        assert pruner.done == (t >= 30)
    assert dead.sum() == round(0.75 * dead.size)


def test_pruned_weights_receive_no_gradient():
    network = Network()
    pruner = GradualMagnitude(network, 0.5, steps=1, frequency=1)
    pruner.step()
    pruner.step()
    network(torch.randn(4, 20, 12)).sum().backward()
    for weight in network.weights:
        assert (weight.grad[weight == 0] == 0).all()
    assert any((weight.grad != 0).any() for weight in network.weights)


def test_equal_magnitudes_are_removed_to_the_exact_count_in_order():
    weights = {"a": torch.tensor([1.0, -1.0, 1.0]), "b": torch.tensor([[-1.0, 1.0], [0.5, -1.0]])}
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    masks = magnitude(weights, masks, 4 / 7)
    assert masks["a"].tolist() == [False, False, False]
    assert masks["b"].tolist() == [[True, True], [False, True]]


def test_masks_only_grow():
    weights = {"a": torch.tensor([0.1, 0.2, 0.3, 0.4])}
    first = magnitude(weights, {"a": torch.tensor([True, True, True, False])}, 0.5)
    assert first["a"].tolist() == [False, True, True, False]
    assert magnitude(weights, first, 0.25)["a"].tolist() == [False, True, True, False]


def test_schedule_starts_at_the_sparsity_there_is():
    network = Network()
    with torch.no_grad():
        network.blocks[1].synapse.weight[:15] = 1e-10  # zero by definition, if not exactly
    assert sparsity(network).total == 300 / 1600
    pruner = GradualMagnitude(network, 0.75, steps=10)
    assert pruner.schedule.initial == 300 / 1600
    pruner.step()
    assert sparsity(network).total == 300 / 1600
    assert (network.blocks[1].synapse.weight[:15] == 0).all()


@pytest.mark.parametrize("small", [1e-6, 1e-9, 1e-10, 1e-12])
def test_the_target_is_exact_whatever_is_small_from_the_start(small):
    network = Network()
    with torch.no_grad():
        network.blocks[1].synapse.weight[:15] = small
    pruner = GradualMagnitude(network, 0.6, steps=3, frequency=1)
    assert pruner.schedule.initial == sparsity(network).total == (300 / 1600 if small <= 1e-10 else 0)
    for _ in range(4):
        pruner.step()
    assert sparsity(network).total == 0.6
    assert (flat(network.weights) == 0).sum() == round(0.6 * 1600)


def test_a_target_already_passed_is_refused():
    network = Network()
    with torch.no_grad():
        network.blocks[1].synapse.weight.zero_()
    with pytest.raises(SpandexError, match=r"target sparsity 0.2: the network is already at 0.375"):
        GradualMagnitude(network, 0.2, steps=10)


def test_continuing_from_a_saved_state_changes_nothing():
    whole = Network()
    pruner = GradualMagnitude(whole, 0.7, steps=30, frequency=4)
    optimizer = OPTIMIZERS["radam"](whole.parameters())
    run = train(whole, optimizer, pruner, 40)
    for _ in range(17):
        next(run)
    stream = io.BytesIO()
    torch.save([whole.state_dict(), pruner.state_dict()], stream)
    stream.seek(0)
    network_state, pruner_state = torch.load(stream, weights_only=True)

    other = Network(seed=5)
    other(torch.zeros(1, 20, 1))
    continued = GradualMagnitude(other, 0.7, steps=30, frequency=4)
    other.load_state_dict(network_state)
    continued.load_state_dict(pruner_state)
    for _ in range(20):  # weights that no longer train: only the schedule goes on
        pruner.step()
        continued.step()
    np.testing.assert_array_equal(flat(other.weights), flat(whole.weights))
    assert continued.state_dict()["iteration"] == pruner.state_dict()["iteration"] == 37
    assert sparsity(other).total == pytest.approx(0.7, abs=1e-3)


def test_masks_of_another_network_are_refused():
    state = GradualMagnitude(Network(), 0.5, steps=10).state_dict()
    small = torch.nn.Sequential(slayer.synapse.Dense(4, 3))
    with pytest.raises(SpandexError, match=r"masks of blocks.1.synapse.* do not fit a network with 0"):
        GradualMagnitude(small, 0.5, steps=10).load_state_dict(state)


def test_removing_leaves_plain_weights_with_their_zeros():
    network = Network()
    names = set(network.state_dict())
    pruner = GradualMagnitude(network, 0.5, steps=1, frequency=1)
    pruner.step()
    pruner.step()
    pruner.remove()
    assert set(network.state_dict()) == names
    assert sparsity(network).total == 0.5
    network(torch.randn(4, 20, 12)).sum().backward()
    weight = network.blocks[3].synapse.weight
    assert (weight.grad[weight == 0] != 0).any()


def test_a_network_without_synapses_is_refused():
    with pytest.raises(SpandexError, match="Linear: no dense or convolutional synapse of lava-dl"):
        GradualMagnitude(torch.nn.Linear(3, 2), 0.5, steps=10)
