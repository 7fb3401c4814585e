"""Layers in fixed point, arranged for the executor's loops."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from spandex.deploy.layers import Connections, KernelConnections, Layer
from spandex.deploy.neurons import Delta, Neurons, Resonators, SigmaDelta
from spandex.deploy.synapses import Convolution, Synapses
from spandex.networks.hdf5 import Kernels

LISTED_BELOW = 0.06  # density under which listing an input's synapses is faster than adding its whole column


class ArrangedLayer(NamedTuple):
    """A layer whose neurons stand in another order.

    Neurons with the same delay stand side by side, so that a step's sums go to few places in memory.

    Attributes:
        order: (neurons,), which neuron of the layer stands at each place; all in their own as a slice.
        neurons: constants, in that order.
        synapses: to the neurons in that order, from those of the layer before in its order, or from the layer itself.
        recurrent: for each, whether they are from the layer itself.
        as_ones: whether spikes that arrive have a value, but each counts as 1.
    """

    order: np.ndarray | slice
    neurons: Neurons
    synapses: tuple[Synapses, ...] | tuple[Convolution]
    recurrent: tuple[bool, ...]
    as_ones: bool


def arrange(layers: Sequence[Layer]) -> list[ArrangedLayer]:
    """All layers of a network; the last, and one before a convolution, keep their order."""
    arranged: list[ArrangedLayer] = []
    for layer, behind in zip(layers, [*layers[1:], None], strict=True):
        order = slice(None)
        neurons = layer.neurons
        # kernels take the neurons as they lie in the image
        movable = behind is not None and not any(isinstance(part, KernelConnections) for part in behind.connections)
        if isinstance(neurons, SigmaDelta) and movable and layer.connections[0].longest_delay:
            delays = delay_of_each_neuron(layer.connections[0])
            if delays is not None:
                order = np.argsort(delays, kind="stable")
                neurons = neurons._replace(bias=neurons.bias[order])
        synapses = []
        for connections in layer.connections:
            inputs = order if connections.recurrent else arranged[-1].order if arranged else slice(None)
            if isinstance(connections, KernelConnections):
                synapses.append(_convolution(connections.kernels))
            else:
                synapses.append(_synapses(connections, order, inputs, layer))
        if len(synapses) > 1:
            synapses = _equally_wide(synapses)
        if isinstance(neurons, Resonators):
            synapses = _side_by_side(*synapses)
        recurrent = tuple(connections.recurrent for connections in layer.connections)[: len(synapses)]
        valued = arranged and isinstance(arranged[-1].neurons, Delta | SigmaDelta)
        as_ones = bool(valued) and not all(connections.graded for connections in layer.connections)
        arranged.append(ArrangedLayer(order, neurons, tuple(synapses), recurrent, as_ones))
    return arranged


def delay_of_each_neuron(connections: Connections) -> np.ndarray | None:
    """The delay that all synapses of a neuron share, (neurons,); None if those of some neuron differ."""
    exists = connections.weights != 0
    longest = np.where(exists, connections.delays, 0).max(axis=1, initial=0)
    return longest if np.all((connections.delays == longest[:, np.newaxis]) | ~exists) else None


def _synapses(
    connections: Connections, order: np.ndarray | slice, inputs: np.ndarray | slice, layer: Layer
) -> Synapses:
    neuron_delays = delay_of_each_neuron(connections)
    # (inputs, neurons): those of an input side by side
    weights, shift = _in_few_bits(connections.weights[order][:, inputs].T)
    exists = weights != 0
    target = np.nonzero(exists)[1]
    if neuron_delays is not None:
        slots, ends = target, np.flatnonzero(np.diff(neuron_delays[order])) + 1
        blocks = np.concatenate([[0], ends, [layer.size]])
        firsts, delays = blocks[:-1], neuron_delays[order][blocks[:-1]]
    else:
        delays, place = np.unique(connections.delays[order][:, inputs].T[exists], return_inverse=True)
        slots = place * layer.size + target
        blocks, firsts = np.arange(len(delays) + 1) * layer.size, np.zeros(len(delays), int)
    listed = neuron_delays is None or exists.mean() < LISTED_BELOW
    fan_out = exists.sum(axis=1, dtype=np.int64)
    return Synapses(
        columns=np.ascontiguousarray(weights[:0] if listed else weights),
        starts=np.concatenate([[0], fan_out.cumsum()]) if listed else fan_out[:0],
        slots=(slots if listed else slots[:0]).astype(np.int32),
        weights=weights[exists] if listed else weights[0, :0],
        shift=shift,
        fan_out=fan_out,
        blocks=blocks.astype(np.int64),
        firsts=firsts.astype(np.int64) + connections.imaginary * layer.size,
        delays=delays.astype(np.int64),
        largest=int(np.abs(weights.astype(np.int32)).max(initial=0)),
        left=min(max(connections.exponent, 0), 32),
        right=min(max(-connections.exponent, 0), 63),
        wraps_late=connections.wraps_late,
        alone=neuron_delays is not None and not any(one.recurrent for one in layer.connections),
    )


def _equally_wide(parts: Sequence[Synapses]) -> list[Synapses]:
    """Synapses with weights of as many bits each, since the loops take parts of one type."""
    widest = np.result_type(*(part.weights for part in parts))
    return [part._replace(columns=part.columns.astype(widest), weights=part.weights.astype(widest)) for part in parts]


def _side_by_side(real: Synapses, imaginary: Synapses) -> list[Synapses]:
    """Synapses to both inputs of resonators as one, if weights are whole columns and sums move and arrive alike."""
    parts = real, imaginary
    alike = {
        (part.columns.size, part.shift, part.left, part.right, part.wraps_late, *part.delays.tolist()) for part in parts
    }
    if len(alike) > 1 or not real.columns.size or real.delays.size > 1:
        return list(parts)
    columns = np.hstack([part.columns for part in parts])
    return [
        real._replace(
            columns=columns,
            fan_out=real.fan_out + imaginary.fan_out,
            blocks=np.array([0, columns.shape[1]]),
            largest=max(real.largest, imaginary.largest),
        )
    ]


def _in_few_bits(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Weights in 8 bits if no bit is lost, else in 16, and by how many bits they were moved down for it."""
    for shift in range(8):
        moved = weights >> shift
        narrow = moved.astype(np.int8)
        if np.array_equal(narrow, moved) and np.array_equal(moved << shift, weights):
            return narrow, shift
    return weights.astype(np.int16), 0


def array_bytes(held: Any) -> int:
    """Of all arrays within tuples, lists and dictionaries."""
    if isinstance(held, np.ndarray):
        return held.size * held.itemsize
    if isinstance(held, dict):
        held = list(held.values())
    return sum(map(array_bytes, held)) if isinstance(held, list | tuple) else 0


def unscaled(synapses: Synapses | Convolution) -> Synapses | Convolution:
    """The same synapses with weights moved down by what their sums are; those that are not moved up are whole."""
    if isinstance(synapses, Convolution):
        return synapses
    shift = max(synapses.shift - synapses.right, 0)
    right = synapses.right - synapses.shift + shift
    columns, weights = synapses.columns >> right, synapses.weights >> right
    return synapses._replace(columns=columns, weights=weights, shift=shift, largest=synapses.largest >> right, right=0)


def _convolution(kernels: Kernels) -> Convolution:
    # (groups, output channels of a group, columns, rows, input channels of a group)
    weights = kernels.weights.reshape(kernels.groups, -1, *kernels.weights.shape[1:])
    nonzero = np.count_nonzero(weights, axis=1)
    kinds, of_columns = np.unique(_reaches(kernels, 0), axis=0, return_inverse=True)
    fan_out = np.einsum("xi,yj,gijc->xygc", kinds, _reaches(kernels, 1), nonzero)
    columns, rows, channels = weights.shape[2:]
    apart = channels == weights.shape[1] == 1
    laid_out = weights.transpose(1, 2, 3, 4, 0) if apart else weights.transpose(0, 2, 3, 4, 1)
    return Convolution(
        weights=np.ascontiguousarray(laid_out, np.int16).reshape(laid_out.shape[0], columns, rows * channels, -1),
        apart=apart,
        fan_out=fan_out.reshape(len(kinds), -1).astype(np.int32),
        columns=of_columns.ravel(),
        rows=rows,
        channels=channels,
        channels_out=kernels.outputs[2],
        shape_in=kernels.inputs[:2],
        shape_out=kernels.outputs[:2],
        stride=kernels.stride,
        padding=kernels.padding,
        dilation=kernels.dilation,
        largest=int(np.abs(kernels.weights).sum(axis=(1, 2, 3)).max()),
    )


def _reaches(kernels: Kernels, axis: int) -> np.ndarray:
    """Whether each column (axis 0) or row (1) of the input meets each of the kernel's at some output, as 0 and 1."""
    moved = np.arange(kernels.inputs[axis])[:, np.newaxis] + kernels.padding[axis]
    moved = moved - kernels.dilation[axis] * np.arange(kernels.weights.shape[1 + axis])
    output, phase = np.divmod(moved, kernels.stride[axis])
    return ((phase == 0) & (output >= 0) & (output < kernels.outputs[axis])).astype(np.int64)
