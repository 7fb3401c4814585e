"""The pruned network of a seed, the same for every task: made before any training, from noise alone."""

import zlib

import numpy as np
import torch

from spandex.companions.lyapunov import pruning
from spandex.companions.lyapunov.network import Activity, Recurrent, make_network
from spandex.companions.lyapunov.spectrum import Spectrum
from spandex.params.companions.lyapunov import Lyapunov, Pruning
from spandex.sparsify import noise_rule

NOISE, SEARCH, DRAWS = 1, 2, 3  # offsets of seeds


def dense_network(settings: Lyapunov, seed: int, heterogeneous: bool) -> Recurrent:
    """The network before pruning."""
    return make_network(settings.network, 1000 * seed, heterogeneous)


def pruned_network(
    settings: Lyapunov, seed: int, heterogeneous: bool, device: torch.device | str = "cpu"
) -> tuple[Recurrent, list[dict[str, float]]]:
    """The network after all iterations of Lyapunov noise pruning, and how it came about.

    Equal on one kind of device; spectra, which ``device`` computes, differ elsewhere by rounding.

    Returns:
        The network, and for the unpruned one and after each iteration: neurons, synapses, synaptic operations in a step
        on noise, largest Lyapunov exponent (1 / step), distance of the spectrum to the unpruned one (1 / step),
        localisation of the eigenvectors, draws that it took, mean (steps) and shape of the time constants.
    """
    s = settings.pruning
    rng = np.random.default_rng([seed, DRAWS])
    noise, search = 1000 * seed + NOISE, 1000 * seed + SEARCH
    network = dense_network(settings, seed, heterogeneous)
    mean, shape = settings.network.time_constant, settings.network.shape if heterogeneous else None
    activity, spectrum = pruning.observe(network, s, noise, device)
    dense = spectrum
    local = pruning.localisation(network.weights)

    def record(draws: int) -> dict[str, float]:
        found = {
            "neurons": network.neurons,
            "synapses": network.synapses,
            "operations": activity.operations,
            "exponent": spectrum.largest,
            "distance": pruning.distance(spectrum, dense),
            "localisation": local,
            "draws": draws,
            "time_constant": mean,
        }
        return found if shape is None else found | {"shape": shape}

    history = [record(draws=0)]
    for iteration in range(s.iterations):
        limit = s.localisation * local
        network, local, draws = _prune_once(network, activity, spectrum, s, limit, rng, search + iteration)
        network, mean, shape = pruning.match_time_constants(network, dense, mean, shape, s, search + iteration, device)
        activity, spectrum = pruning.observe(network, s, noise, device)
        history.append(record(draws))
    return network, history


def digest(network: Recurrent) -> int:
    """A number that tells networks apart."""
    return zlib.crc32(network.weights.tobytes() + network.tau.tobytes() + network.origin.tobytes())


def _prune_once(
    network: Recurrent,
    activity: Activity,
    spectrum: Spectrum,
    settings: Pruning,
    limit: float,
    rng: np.random.Generator,
    seed: int,
) -> tuple[Recurrent, float, int]:
    """Fewer synapses, then fewer neurons; drawn again while eigenvectors are more localised than the limit.

    Returns:
        The least localised network so far, its localisation, and how many draws it took.
    """
    matrix = pruning.linearised(network, activity.gains().mean(axis=0), spectrum.local)
    probabilities = pruning.synapse_probabilities(matrix, round(settings.synapses_kept * network.synapses))
    found: list[tuple[float, Recurrent]] = []
    for _ in range(settings.draws):
        sparse = network.with_weights(noise_rule.prune(network.weights, probabilities, rng))
        smaller = pruning.without_least_central(sparse, settings.neurons_removed, settings.pivots, seed)
        found.append((pruning.localisation(smaller.weights), smaller))
        if found[-1][0] <= limit:
            break
    local, best = min(found, key=lambda pair: pair[0])
    return best, local, len(found)
