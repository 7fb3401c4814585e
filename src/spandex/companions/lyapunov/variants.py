"""The networks that are compared on a task: dense, pruned by noise, and the peers of the same size."""

from functools import cache
from typing import Any, Protocol

import numpy as np

from spandex.companions.lyapunov.network import Recurrent
from spandex.companions.lyapunov.pruned_network import dense_network, digest, pruned_network
from spandex.companions.work import Work
from spandex.params.companions.lyapunov import Lyapunov
from spandex.sparsify import noise_rule

RANDOM = 4  # offset of the seed
KINDS = {"heterogeneous": True, "homogeneous": False}
PRUNED, ACTIVITY, RANDOM_PEER = "noise-pruned", "activity-pruned", "randomly pruned"
VARIANTS = (
    *(f"{way}, {kind}" for kind in KINDS for way in ("dense", PRUNED)),
    f"{ACTIVITY}, heterogeneous",
    f"{RANDOM_PEER}, heterogeneous",
)


class Task(Protocol):
    """What a network is trained and tested on."""

    def score(self, network: Recurrent) -> dict[str, float]:
        """Metrics of the network with a readout trained for this task."""

    def rates(self, network: Recurrent) -> np.ndarray:
        """Spikes of each neuron in a step (neurons,) on the training data."""


def run_variants(settings: Lyapunov, work: Work, task: Task) -> dict[str, Any]:
    """Score every variant on a task.

    Returns:
        seed; network: a number that tells pruned networks apart, by kind; iterations: the course of pruning, by kind;
        variants: neurons, synapses and the task's metrics by variant.
    """
    pruned = cache(lambda kind: pruned_network(settings, work.seed, KINDS[kind], work.device))

    def course(kind: str) -> dict[str, Any]:
        network, history = pruned(kind)
        return {"network": digest(network), "iterations": history}

    def network(variant: str) -> Recurrent:
        way, kind = variant.split(", ")
        dense = dense_network(settings, work.seed, KINDS[kind])
        if way == "dense":
            return dense
        sparse = pruned(kind)[0]
        if way == PRUNED:
            return sparse
        if way == ACTIVITY:
            return most_active(dense, task.rates(dense), sparse.neurons, sparse.synapses)
        return any_of(dense, sparse.neurons, sparse.synapses, np.random.default_rng([work.seed, RANDOM]))

    def score(variant: str) -> dict[str, float]:
        chosen = network(variant)
        return {"neurons": chosen.neurons, "synapses": chosen.synapses} | task.score(chosen)

    courses = {kind: work.part(f"pruning, {kind}", lambda kind=kind: course(kind)) for kind in KINDS}
    return {
        "seed": work.seed,
        "network": {kind: found["network"] for kind, found in courses.items()},
        "iterations": {kind: found["iterations"] for kind, found in courses.items()},
        "variants": {name: work.part(name, lambda name=name: score(name)) for name in VARIANTS},
    }


def most_active(network: Recurrent, rates: np.ndarray, neurons: int, synapses: int) -> Recurrent:
    """Activity pruning: the neurons that fire most on a task's training data, and of the synapses among them those that
    deliver most, |w_ij| times the rate of j. Weights stay as they are.

    Args:
        network: dense.
        rates: spikes of each neuron in a step (neurons,).
        neurons, synapses: how many to keep; fewer synapses if there are no more.
    """
    keep = np.zeros(network.neurons, bool)
    keep[np.argsort(-rates, kind="stable")[:neurons]] = True
    small = network.only(keep)
    delivered = (np.abs(small.weights) * rates[keep][None, :]).ravel()
    # A synapse of a silent neuron delivers nothing, but is there.
    delivered[(small.weights != 0).ravel() & (delivered == 0)] = np.finfo(np.float64).tiny
    mask = np.zeros(delivered.size, bool)
    mask[np.argsort(-delivered, kind="stable")[:synapses]] = True
    return small.with_weights(np.where(mask.reshape(small.weights.shape), small.weights, 0.0))


def any_of(network: Recurrent, neurons: int, synapses: int, rng: np.random.Generator) -> Recurrent:
    """Random pruning: neurons and then synapses among them with equal probability, kept weights divided by it, as the
    noise rule does it with its own probabilities.

    Args:
        network: dense.
        neurons, synapses: how many to keep; fewer synapses if there are no more.
        rng: draws them.
    """
    keep = np.zeros(network.neurons, bool)
    keep[rng.choice(network.neurons, neurons, replace=False)] = True
    small = network.only(keep)
    there = (small.weights != 0).astype(np.float64)
    probabilities = noise_rule.keep_probabilities(there, min(synapses, small.synapses))
    return small.with_weights(noise_rule.prune(small.weights, probabilities, rng))
