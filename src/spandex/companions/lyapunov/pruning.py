"""The steps of Lyapunov noise pruning: synapses, neurons, localised eigenvectors, time constants."""

import networkx
import numpy as np
import optuna
import torch

from spandex.companions.lyapunov.network import THRESHOLD, Activity, Recurrent, jacobians, noise_driven
from spandex.companions.lyapunov.spectrum import Spectrum, map_spectrum
from spandex.params.companions.lyapunov import Pruning
from spandex.sparsify import noise_rule

STABILITY = 0.1  # of the mean leak, how far the noise-driven linear network is kept from instability
RANGE = 2.0  # time constants and shapes are searched between those before over this and times this
LEVELS = np.linspace(0, 1, 51)  # at which two spectra are compared


def observe(
    network: Recurrent, settings: Pruning, seed: int, device: torch.device | str = "cpu"
) -> tuple[Activity, Spectrum]:
    """A run on white noise, without any task, and the exponents (1 / step) of its tangent dynamics."""
    activity = noise_driven(network, settings.noise, settings.settle + settings.steps, seed, settings.settle)
    tangent = jacobians(network, activity, device)
    return activity, map_spectrum(tangent, settle=settings.settle, every=settings.orthonormal_every)


def neighbour_means(weights: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Harmonic mean of exp(exponent) over i, j and all neighbours of either, for every pair, (neurons, neurons).

    Exponents have either sign, and a harmonic mean needs positive numbers: exp(exponent) is the factor by which
    differences grow or shrink in a step. Two neurons are neighbours if a synapse leads from one to the other.
    """
    near = (weights != 0) | (weights != 0).T | np.eye(len(weights), dtype=bool)
    near = near.astype(np.float64)
    inverse = np.exp(-exponents)

    def over_union(values: np.ndarray) -> np.ndarray:
        alone = near @ values
        return alone[:, None] + alone[None, :] - (near * values) @ near.T

    return over_union(np.ones(len(weights))) / over_union(inverse)


def linearised(network: Recurrent, gains: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The noise-driven linear network, A (neurons, neurons), 1 / step.

    Leaks are those of the mean Jacobian, 1 - b_i + g_i; couplings w_ij g_j are weighted by the pair's harmonic mean of
    Lyapunov factors over its average for all synapses. All leaks grow by the same amount where the linear network were
    unstable or close to it.

    Args:
        network: as it is now.
        gains: mean surrogate derivatives (neurons,).
        exponents: the local ones of the neurons (neurons,).
    """
    means = neighbour_means(network.weights, exponents)
    means = means / means[network.weights != 0].mean()
    leak = 1 - network.decay + THRESHOLD * gains
    matrix = network.weights * gains[None, :] * means - np.diag(leak)
    growth = float(np.linalg.eigvals(matrix).real.max()) + STABILITY * float(leak.mean())
    return matrix - max(growth, 0.0) * np.eye(len(matrix))


def synapse_probabilities(matrix: np.ndarray, kept: int) -> np.ndarray:
    """Keep probabilities (neurons, neurons) of the couplings of a linear network, adding up to ``kept``."""
    covariance = noise_rule.covariance(matrix)
    variance = np.diag(covariance)
    couplings = matrix - np.diag(np.diag(matrix))
    scores = noise_rule.importance(couplings, variance, variance, covariance)
    return noise_rule.keep_probabilities(scores, kept)


def betweenness(network: Recurrent, pivots: int, seed: int) -> np.ndarray:
    """How many shortest paths lead over each neuron (neurons,), counted in synapses, from sampled starts."""
    graph = networkx.from_numpy_array((network.weights != 0).T, create_using=networkx.DiGraph)
    central = networkx.betweenness_centrality(graph, k=min(pivots, network.neurons), seed=seed)
    return np.array([central[neuron] for neuron in range(network.neurons)])


def without_least_central(network: Recurrent, share: float, pivots: int, seed: int) -> Recurrent:
    """The network without the share of neurons over which the fewest shortest paths lead."""
    removed = round(share * network.neurons)
    keep = np.ones(network.neurons, bool)
    keep[np.argsort(betweenness(network, pivots, seed), kind="stable")[:removed]] = False
    return network.only(keep)


def localisation(matrix: np.ndarray) -> float:
    """Inverse participation ratio sum |v_i|^4 of the unit eigenvectors, mean over them, times the dimension.

    About 1 for plane waves, 2 for random complex vectors, and the dimension if each lives on one neuron alone.
    """
    vectors = np.linalg.eig(matrix)[1]  # of unit length
    return float(len(matrix) * np.mean(np.sum(np.abs(vectors) ** 4, axis=0)))


def distance(one: Spectrum, other: Spectrum) -> float:
    """Root mean square difference of two spectra's quantiles, 1 / step; they may differ in size."""
    quantiles = [np.quantile(each.exponents, LEVELS) for each in (one, other)]
    return float(np.sqrt(np.mean((quantiles[0] - quantiles[1]) ** 2)))


def match_time_constants(
    network: Recurrent,
    target: Spectrum,
    mean: float,
    shape: float | None,
    settings: Pruning,
    seed: int,
    device: torch.device | str = "cpu",
) -> tuple[Recurrent, float, float | None]:
    """The network with the time constants whose spectrum is closest to a target, and their mean and shape.

    Args:
        network: to change; its ranks stay.
        target: the spectrum of the unpruned network.
        mean, shape: of the gamma distribution, where the search begins, and its middle; shape None: all are the mean.
        settings: how long to observe, how many trials; the first is the beginning.
        seed: of the search and of the noise.
        device: where spectra are computed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({"mean": mean} if shape is None else {"mean": mean, "shape": shape})

    def objective(trial: optuna.Trial) -> float:
        candidate = network.with_tau(
            trial.suggest_float("mean", mean / RANGE, mean * RANGE, log=True),
            None if shape is None else trial.suggest_float("shape", shape / RANGE, shape * RANGE, log=True),
        )
        return distance(observe(candidate, settings, seed, device)[1], target)

    study.optimize(objective, n_trials=settings.trials)
    best = study.best_params
    return network.with_tau(best["mean"], best.get("shape")), best["mean"], best.get("shape")
