"""Which connections of a network matter, told by how noise spreads in it, and pruning that keeps its spectrum.

A network dx/dt = A x + noise, with leaks on the diagonal of A and weights w off it, has the stationary covariance C of

    A C + C A' + s I = 0                                                       (s: variance of the noise in a unit time)

A connection from j to i is kept with a probability proportional to

    |w_ij| (C_ii + C_jj - 2 C_ij)  where w_ij > 0,    |w_ij| (C_ii + C_jj + 2 C_ij)  where w_ij < 0

and what is kept is divided by its probability, so that the pruned matrix is the original one on average. For symmetric,
diagonally dominant A this samples the edges of a graph by their effective resistance, which preserves the spectrum.

Source: Moore and Chaudhuri, "Using noise to probe recurrent neural network structure and prune synapses", NeurIPS 2020.
"""

import numpy as np
from scipy import linalg

from spandex.errors import SpandexError


def covariance(matrix: np.ndarray, noise: float = 1.0) -> np.ndarray:
    """Stationary covariance (neurons, neurons) of dx/dt = A x + white noise.

    Args:
        matrix: A (neurons, neurons), row: to, column: from.
        noise: variance of each neuron's independent noise in a unit time.

    Raises:
        SpandexError: A is not stable, so that there is no stationary state.
    """
    growth = float(linalg.eigvals(matrix).real.max())
    if growth >= 0:
        raise SpandexError(f"no stationary covariance: an eigenvalue has the real part {growth:.3g}")
    return linalg.solve_continuous_lyapunov(matrix, -noise * np.eye(len(matrix)))


def importance(
    weights: np.ndarray, variance_to: np.ndarray, variance_from: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """What the keep probabilities are proportional to, (to, from); at least 0.

    Args:
        weights: (to, from); positive ones are excitatory.
        variance_to, variance_from: C_ii (to,) and C_jj (from,).
        covariances: C_ij (to, from).
    """
    spread = variance_to[:, None] + variance_from[None, :] - 2 * np.sign(weights) * covariances
    return np.abs(weights) * np.maximum(spread, 0)  # a difference of equals may round to below 0


def keep_probabilities(scores: np.ndarray, count: int) -> np.ndarray:
    """Probabilities min(1, c score) of the shape of ``scores``, with the c for which they add up to ``count``.

    Raises:
        SpandexError: fewer than ``count`` scores are above zero.
    """
    flat = scores.ravel()
    positive = int(np.count_nonzero(flat))
    if not 0 <= count <= positive:
        raise SpandexError(f"{count} connections cannot be kept of {positive} that carry anything")
    order = np.argsort(flat)[::-1]
    falling = flat[order]
    rest = np.cumsum(falling[::-1])[::-1]  # of this score and the lower ones
    # Those that are certain come first: as many as would still have a probability above 1 without them.
    sure = np.arange(len(falling))
    fits = (count - sure) * falling <= rest
    certain = int(np.argmax(fits)) if fits.any() else count
    probabilities = np.zeros(len(flat))
    probabilities[order[:certain]] = 1.0
    if certain < count:
        probabilities[order[certain:]] = (count - certain) * falling[certain:] / rest[certain]
    return np.minimum(probabilities, 1.0).reshape(scores.shape)


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A boolean sample in which each element is True with its probability, and as many as the probabilities add up to.

    Systematic sampling in random order: the probabilities lie side by side on a line, and what contains one of the
    equally spaced points x, x + 1, x + 2, ..., x drawn uniformly below 1, is taken.

    Source: Madow, "On the theory of systematic sampling, II", 1949.

    Args:
        probabilities: of any shape, each 0 to 1, whose sum is a whole number up to rounding.
        rng: draws the order and x.
    """
    flat = probabilities.ravel()
    order = rng.permutation(len(flat))
    ends = np.cumsum(flat[order])
    count = round(float(ends[-1])) if len(flat) else 0
    taken = np.zeros(len(flat), bool)
    if count:
        points = (rng.random() + np.arange(count)) * (ends[-1] / count)
        taken[order[np.searchsorted(ends, points, side="right")]] = True
    return taken.reshape(probabilities.shape)


def prune(matrix: np.ndarray, probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sparse copy of a matrix whose expectation is the matrix.

    Args:
        matrix: (neurons, neurons), row: to, column: from.
        probabilities: of keeping each element, (neurons, neurons); the diagonal, which holds the leaks, stays.
        rng: draws what is kept; exactly as many as the probabilities add up to.
    """
    off = matrix - np.diag(np.diag(matrix))
    probabilities = np.where(off != 0, probabilities, 0.0)
    kept = draw(probabilities, rng)
    sparse = np.divide(off, probabilities, out=np.zeros_like(off), where=kept)
    return sparse + np.diag(np.diag(matrix))
