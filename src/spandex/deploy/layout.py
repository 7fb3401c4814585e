"""Layers in fixed point, arranged for the executor's loops."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spandex.deploy.event_loops import Neurons, Synapses
from spandex.deploy.layers import Connections, Layer

LISTED_BELOW = 0.06  # density under which listing an input's synapses is faster than adding its whole column


class ArrangedLayer(NamedTuple):
    """A layer whose neurons stand in another order.

    Neurons with the same delay stand side by side, so that a step's sums go to few places in memory.

    Attributes:
        order: (neurons,), which neuron of the layer stands at each place.
        neurons: constants, in that order.
        synapses: to the neurons in that order, from those of the layer before in its order; None without synapses.
    """

    order: np.ndarray
    neurons: Neurons
    synapses: Synapses | None


def arrange(layers: Sequence[Layer]) -> list[ArrangedLayer]:
    """All layers of a network; the last keeps its order."""
    arranged: list[ArrangedLayer] = []
    for layer in layers:
        order = np.arange(layer.size)
        synapses = None
        if layer.connections is not None:
            delays = delay_of_each_neuron(layer.connections)
            if delays is not None and layer is not layers[-1]:
                order = np.argsort(delays, kind="stable")
            inputs = arranged[-1].order if arranged else np.arange(layer.connections.weights.shape[1])
            synapses = _synapses(layer.connections, order, inputs)
        arranged.append(ArrangedLayer(order, layer.neurons._replace(bias=layer.neurons.bias[order]), synapses))
    return arranged


def delay_of_each_neuron(connections: Connections) -> np.ndarray | None:
    """The delay that all synapses of a neuron share, (neurons,); None if those of some neuron differ."""
    exists = connections.weights != 0
    longest = np.where(exists, connections.delays, 0).max(axis=1, initial=0)
    return longest if np.all((connections.delays == longest[:, np.newaxis]) | ~exists) else None


def _synapses(connections: Connections, order: np.ndarray, inputs: np.ndarray) -> Synapses:
    neuron_delays = delay_of_each_neuron(connections)
    weights = connections.weights[np.ix_(order, inputs)].T  # (inputs, neurons): those of an input side by side
    exists = weights != 0
    target = np.nonzero(exists)[1]
    if neuron_delays is not None:
        slots, ends = target, np.flatnonzero(np.diff(neuron_delays[order])) + 1
        blocks = np.concatenate([[0], ends, [len(order)]])
        firsts, delays = blocks[:-1], neuron_delays[order][blocks[:-1]]
    else:
        delays, place = np.unique(connections.delays[np.ix_(order, inputs)].T[exists], return_inverse=True)
        slots = place * len(order) + target
        blocks, firsts = np.arange(len(delays) + 1) * len(order), np.zeros(len(delays), int)
    listed = neuron_delays is None or exists.mean() < LISTED_BELOW
    fan_out = exists.sum(axis=1, dtype=np.int64)
    return Synapses(
        columns=np.ascontiguousarray(weights[:0] if listed else weights, np.int16),
        starts=np.concatenate([[0], fan_out.cumsum()]),
        slots=(slots if listed else slots[:0]).astype(np.int32),
        weights=(weights[exists] if listed else slots[:0]).astype(np.int16),
        fan_out=fan_out,
        blocks=blocks.astype(np.int64),
        firsts=firsts.astype(np.int64),
        delays=delays.astype(np.int64),
        largest=int(np.abs(weights).max(initial=0)),
        left=min(max(connections.exponent, 0), 32),
        right=min(max(-connections.exponent, 0), 63),
        wraps_late=connections.wraps_late,
    )
