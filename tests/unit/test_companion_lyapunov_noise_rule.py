import numpy as np
import pytest
from scipy.linalg import eigh

from spandex.errors import SpandexError
from spandex.sparsify import noise_rule


def clustered_network(rng, clusters=4, size=25, leak=0.01):
    """A symmetric diagonally dominant A: dense clusters that few connections hold together, as a graph's Laplacian."""
    n = clusters * size
    weights = np.triu(rng.random((n, n)), 1)
    place = np.arange(n) // size
    apart = place[:, None] != place[None, :]
    bridges = np.zeros((n, n), bool)
    for one in range(clusters):
        other = (one + 1) % clusters
        bridges[one * size + rng.integers(size), other * size + rng.integers(size)] = True
    weights[apart] = 0.0
    weights[np.triu(bridges | bridges.T, 1)] = 0.3
    weights = weights + weights.T
    return weights - np.diag(weights.sum(axis=1) + leak)


def symmetric_prune(matrix, scores, count, rng):
    """The rule on pairs, so that the pruned matrix is symmetric as well; leaks are matched."""
    upper = np.triu(np.ones_like(matrix, dtype=bool), 1) & (matrix != 0)
    probabilities = noise_rule.keep_probabilities(np.where(upper, scores, 0), count)
    kept = noise_rule.draw(probabilities, rng)
    sparse = np.divide(matrix, probabilities, out=np.zeros_like(matrix), where=kept)
    sparse = sparse + sparse.T
    off = np.abs(matrix - np.diag(np.diag(matrix))).sum(axis=1)
    return sparse + np.diag(np.diag(matrix) - (np.abs(sparse).sum(axis=1) - off))


def test_covariance_of_two_neurons_is_the_closed_form():
    # One way, w from the first to the second: C_11 = s/2, C_12 = w s/4, C_22 = s/2 + w^2 s/4.
    w, s = 0.6, 3.0
    one_way = noise_rule.covariance(np.array([[-1.0, 0.0], [w, -1.0]]), s)
    np.testing.assert_allclose(one_way, s * np.array([[1 / 2, w / 4], [w / 4, 1 / 2 + w**2 / 4]]), rtol=1e-12)
    # Both ways: eigenvalues -1 + w and -1 - w along (1, 1) and (1, -1).
    both_ways = noise_rule.covariance(np.array([[-1.0, w], [w, -1.0]]), s)
    np.testing.assert_allclose(both_ways, s / (2 * (1 - w**2)) * np.array([[1, w], [w, 1]]), rtol=1e-12)


def test_importance_of_two_neurons_is_the_closed_form():
    w = 0.6
    for sign in (1, -1):
        covariance = noise_rule.covariance(np.array([[-1.0, sign * w], [sign * w, -1.0]]))
        variance = np.diag(covariance)
        weights = np.array([[0.0, sign * w], [sign * w, 0.0]])
        scores = noise_rule.importance(weights, variance, variance, covariance)
        # The variance of x1 - x2, or of x1 + x2 if they inhibit each other: 1 / (1 + w).
        np.testing.assert_allclose(scores, [[0, w / (1 + w)], [w / (1 + w), 0]], rtol=1e-12)


def test_importance_in_a_graph_is_weight_times_effective_resistance():
    # Two resistors of conductance 1 and 3 in parallel to one of 2 in series: a triangle.
    conductance = {(0, 1): 2.0, (1, 2): 3.0, (0, 2): 1.0}
    weights = np.zeros((3, 3))
    for (i, j), value in conductance.items():
        weights[i, j] = weights[j, i] = value
    matrix = weights - np.diag(weights.sum(axis=1) + 1e-6)
    covariance = noise_rule.covariance(matrix)
    scores = noise_rule.importance(weights, np.diag(covariance), np.diag(covariance), covariance)
    # Over 0-1: 2 beside 1 and 3 in series (3/4); C = (-A)^-1 / 2.
    assert scores[0, 1] == pytest.approx(2 / (2 + 3 / 4) / 2, rel=1e-4)
    assert scores[1, 2] == pytest.approx(3 / (3 + 2 / 3) / 2, rel=1e-4)


def test_a_network_that_grows_has_no_covariance():
    with pytest.raises(SpandexError, match="real part 1"):
        noise_rule.covariance(np.array([[0.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize("count", [0, 1, 7, 60, 99, 100])
def test_keep_probabilities_are_proportional_up_to_certainty_and_add_up(count):
    scores = np.random.default_rng(0).lognormal(0, 2, (10, 12))
    scores.ravel()[:20] = 0
    found = noise_rule.keep_probabilities(scores, count)
    assert found.sum() == pytest.approx(count)
    assert (found[scores == 0] == 0).all()
    below = (found < 1) & (found > 0)
    if below.any():
        rate = (found / np.where(scores > 0, scores, 1))[below]
        np.testing.assert_allclose(rate, rate[0], rtol=1e-9)
        assert (rate[0] * scores[found == 1] >= 1 - 1e-9).all()


def test_more_than_there_is_cannot_be_kept():
    with pytest.raises(SpandexError, match="3 connections cannot be kept of 2"):
        noise_rule.keep_probabilities(np.array([1.0, 2.0, 0.0]), 3)


def test_draws_have_an_exact_count_and_the_given_probabilities():
    rng = np.random.default_rng(1)
    probabilities = noise_rule.keep_probabilities(rng.lognormal(0, 1, (8, 8)), 20)
    taken = np.array([noise_rule.draw(probabilities, rng) for _ in range(4000)])
    assert (taken.sum(axis=(1, 2)) == 20).all()
    deviation = np.sqrt(probabilities * (1 - probabilities) / len(taken))
    assert (np.abs(taken.mean(axis=0) - probabilities) <= 4.5 * deviation + 1e-12).all()


def test_the_pruned_matrix_is_the_original_on_average():
    rng = np.random.default_rng(2)
    n = 12
    matrix = rng.normal(0, 0.3, (n, n)) - 4 * np.eye(n)
    covariance = noise_rule.covariance(matrix)
    off = matrix - np.diag(np.diag(matrix))
    scores = noise_rule.importance(off, np.diag(covariance), np.diag(covariance), covariance)
    probabilities = noise_rule.keep_probabilities(scores, 66)
    draws = np.array([noise_rule.prune(matrix, probabilities, rng) for _ in range(3000)])
    assert ((draws != 0).sum(axis=(1, 2)) == 66 + n).all()
    error = draws.mean(axis=0) - matrix
    assert (np.abs(error) <= 5 * draws.std(axis=0) / np.sqrt(len(draws)) + 1e-9).all()
    assert (np.diagonal(draws, axis1=1, axis2=2) == np.diag(matrix)).all()


def test_noise_pruning_keeps_a_spectrum_that_uniform_and_magnitude_pruning_lose():
    rng = np.random.default_rng(3)
    errors = {"noise": [], "uniform": [], "magnitude": []}
    for _ in range(5):
        matrix = clustered_network(rng)
        off = matrix - np.diag(np.diag(matrix))
        covariance = noise_rule.covariance(matrix)
        scores = noise_rule.importance(off, np.diag(covariance), np.diag(covariance), covariance)
        count = np.count_nonzero(np.triu(off)) // 2
        expected = np.linalg.eigvalsh(-matrix)
        largest = np.where(np.triu(off) >= np.sort(np.triu(off).ravel())[-count], off, 0)
        largest = largest + largest.T
        pruned = {
            "noise": symmetric_prune(matrix, scores, count, rng),
            "uniform": symmetric_prune(matrix, (off != 0).astype(float), count, rng),
            "magnitude": largest + np.diag(np.diag(matrix) + (off - largest).sum(axis=1)),
        }
        for way, sparse in pruned.items():
            assert np.count_nonzero(np.triu(sparse, 1)) == count
            found = np.linalg.eigvalsh(-sparse)
            errors[way].append(np.abs(np.log(np.maximum(found, 1e-9) / expected)).mean())
            if way == "noise":  # what the paper bounds: x'(-A)x changes by a small factor for every x
                factors = eigh(-sparse, -matrix, eigvals_only=True)
                assert factors.min() > 0.3 and factors.max() < 2.0
    means = {way: np.mean(found) for way, found in errors.items()}
    assert means["noise"] < 0.15
    assert means["noise"] < 0.7 * means["uniform"]
    assert means["noise"] < 0.7 * means["magnitude"]
