from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import solve_continuous_lyapunov
from tests.chains import Chain, complex_rf, convolutional_sdnn, dense_sdnn, exported, recurrent_cuba

from spandex.errors import SpandexError
from spandex.sparsify import noise_rule
from spandex.sparsify.noise import NoisePruner, chain_covariance, chain_importance
from spandex.sparsify.weights import sparsity


def make(seed=0, **options):
    torch.manual_seed(seed)
    network = dense_sdnn(**options)
    network(torch.zeros(1, 12, 1))  # fixes shapes and draws delays
    return network


def weights(network) -> dict[str, torch.Tensor]:
    """As the forward pass computes them."""
    network(torch.zeros(1, 12, 1))
    return {
        name: module.weight.detach().clone() for name, module in network.named_modules() if name.endswith(".synapse")
    }


def train(network, pruner, iterations, seed=1):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        x = (torch.rand(3, 12, 8, generator=generator) > 0.5).float()
        network(x).sub(0.3).square().mean().backward()
        optimizer.step()
        pruner.step()


def test_chain_covariance_solves_the_lyapunov_equation_of_the_whole_network():
    rng = np.random.default_rng(0)
    sizes = (5, 7, 4, 3)
    layers = [rng.normal(0, 1, (n, m)) for m, n in pairwise(sizes)]
    matrix = -np.eye(sum(sizes))
    starts = np.cumsum([0, *sizes])
    for k, layer in enumerate(layers):
        matrix[starts[k + 1] : starts[k + 2], starts[k] : starts[k + 1]] = layer
    expected = solve_continuous_lyapunov(matrix, -np.eye(len(matrix)))
    found = chain_covariance(layers)
    for (k, m), block in found.items():
        np.testing.assert_allclose(block, expected[starts[k] : starts[k + 1], starts[m] : starts[m + 1]], atol=1e-12)
    assert len(found) == 10


def test_one_weight_between_two_nodes_has_the_importance_of_the_closed_form():
    # C_jj = 1/2, C_ij = w/4, C_ii = 1/2 + w^2/4, so that in units of the deviations w becomes w / r and the
    # correlation w / (2 r), with r^2 = 1 + w^2 / 2.
    for w in (0.7, -0.7):
        score = chain_importance([np.array([[w]])])[0]
        r = np.sqrt(1 + w**2 / 2)
        assert score == pytest.approx(abs(w) / r * (2 - abs(w) / r))


def test_units_of_hidden_neurons_that_noise_hardly_reaches_do_not_change_importance():
    rng = np.random.default_rng(0)
    first, second = 100 * rng.normal(0, 1, (6, 5)), rng.normal(0, 1, (4, 6))
    units = rng.uniform(1, 9, 6)  # noise of their own is small beside what the first layer brings
    before = chain_importance([first, second])
    after = chain_importance([first * units[:, None], second / units])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_first_step_keeps_an_exact_count_and_divides_by_probabilities(weight_norm):
    network = make(weight_norm=weight_norm)
    before = weights(network)
    flat = [weight.flatten(1).double().numpy() for weight in before.values()]
    total = sum(weight.size for weight in flat)
    scores = np.concatenate([score.ravel() for score in chain_importance(flat)])
    probabilities = noise_rule.keep_probabilities(scores, total - round(0.6 * total))
    NoisePruner(network, 0.6, gain_limit=1e9, seed=3).step()
    after = weights(network)
    old, new = (torch.cat([weight.flatten() for weight in each.values()]).numpy() for each in (before, after))
    assert (new == 0).sum() == round(0.6 * total)
    assert sparsity(network).total == round(0.6 * total) / total
    kept = new != 0
    np.testing.assert_allclose(new[kept], (old / np.where(kept, probabilities, 1))[kept], rtol=1e-4)


def test_pruned_weights_are_the_original_ones_on_average():
    before = torch.cat([weight.flatten() for weight in weights(make()).values()])
    total = torch.zeros_like(before)
    for seed in range(200):
        network = make()
        NoisePruner(network, 0.3, gain_limit=1e9, seed=seed).step()
        total += torch.cat([weight.flatten() for weight in weights(network).values()])
    # Of independent draws with probability p the mean has the variance w^2 (1/p - 1) / 200.
    flat = [weight.flatten(1).double().numpy() for weight in weights(make()).values()]
    scores = np.concatenate([score.ravel() for score in chain_importance(flat)])
    probabilities = noise_rule.keep_probabilities(scores, before.numel() - round(0.3 * before.numel()))
    deviation = np.abs(before.numpy()) * np.sqrt((1 / probabilities - 1) / 200)
    error = (total / 200 - before).numpy()
    assert (error[probabilities == 1] == pytest.approx(0, abs=1e-5)) and (probabilities == 1).any()
    drawn = probabilities < 1
    z = error[drawn] / deviation[drawn]
    assert abs(z.mean()) < 4 / np.sqrt(drawn.sum())
    assert 0.8 < z.std() < 1.2


def test_no_weight_grows_beyond_the_limit():
    network = make()
    before = weights(network)
    NoisePruner(network, 0.9, gain_limit=2).step()
    ratios = torch.cat([(new / before[name])[new != 0].flatten() for name, new in weights(network).items()])
    assert ratios.max() <= 2 + 1e-6
    assert (ratios > 1.99).any()
    assert ratios.min() >= 1 - 1e-6


@pytest.mark.parametrize("weight_norm", [False, True], ids=["plain", "normalised"])
def test_pruned_weights_stay_zero_while_the_others_train(weight_norm):
    network = make(weight_norm=weight_norm)
    pruner = NoisePruner(network, 0.75)
    assert not pruner.done
    train(network, pruner, 1)
    assert pruner.done
    first = weights(network)
    train(network, pruner, 4)
    for name, weight in weights(network).items():
        assert torch.equal(weight == 0, first[name] == 0)
        assert not torch.equal(weight, first[name])
        assert torch.equal(pruner.masks[name], weight != 0)


def test_a_seed_decides_what_is_drawn():
    masks = []
    for seed in (1, 1, 2):
        pruner = NoisePruner(make(), 0.5, seed=seed)
        pruner.step()
        masks.append(torch.cat([mask.flatten() for mask in pruner.masks.values()]))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert repr(NoisePruner(make(), 0.5, seed=1)) != repr(NoisePruner(make(), 0.5, seed=2))


def test_training_continues_from_a_state_dict():
    network = make()
    pruner = NoisePruner(network, 0.75, seed=5)
    train(network, pruner, 2)
    other = make(seed=9)
    resumed = NoisePruner(other, 0.75, seed=6)
    other.load_state_dict(network.state_dict())
    resumed.load_state_dict(pruner.state_dict())
    assert resumed.done
    for each in ((network, pruner), (other, resumed)):
        train(*each, 3, seed=7)
    for name, weight in weights(network).items():
        # Both made a new optimiser, so that what follows is the same.
        assert torch.equal(weights(other)[name], weight)


def test_what_is_left_behind_is_a_plain_network(tmp_path):
    network = make()
    names = set(network.state_dict())
    pruner = NoisePruner(network, 0.75)
    train(network, pruner, 2)
    before = exported(network, tmp_path / "masked.net")
    pruner.remove()
    assert exported(network, tmp_path / "plain.net") == before
    assert set(network.state_dict()) == names
    assert sparsity(network).total == pytest.approx(0.75, abs=0.005)


def test_networks_and_numbers_that_it_cannot_take_are_named():
    torch.manual_seed(0)
    with pytest.raises(SpandexError, match=r"blocks\.0\.synapse: noise pruning takes dense layers"):
        NoisePruner(Chain(convolutional_sdnn().blocks[0]), 0.5)
    for build, name in ((complex_rf, "blocks.0.synapse"), (recurrent_cuba, "blocks.1.input_synapse")):
        with pytest.raises(
            SpandexError, match=f"{name}: noise pruning takes dense layers, neither recurrent or complex"
        ):
            NoisePruner(build(), 0.5)
    with pytest.raises(SpandexError, match=r"gain_limit 0\.5"):
        NoisePruner(make(), 0.5, gain_limit=0.5)
    network = make()
    NoisePruner(network, 0.75).step()
    with pytest.raises(SpandexError, match=r"already at 0\.74"):
        NoisePruner(network, 0.5)
