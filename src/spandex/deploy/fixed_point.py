"""A network of Lava processes as integers: what its fixed-point models would compute with.

What the processes hold is taken as it is; weights are clipped and truncated by Lava's own functions, as its models
do at their first step.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks.process import Dense as DenseBlock
from lava.lib.dl.netx.blocks.process import Input as InputBlock
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

from spandex.deploy.layers import Connections, Layer, flat_order
from spandex.deploy.neurons import Delta as InputNeurons
from spandex.deploy.neurons import SigmaDelta as HiddenNeurons
from spandex.errors import SpandexError, prefixed

MAX_DELAY = 63  # steps; Lava's synapse models take no more
EXECUTED = "of a network that is built already, fully connected layers of sigma-delta neurons are run; give its file"
WIDEST_SHIFT = 31  # bits; more would shift everything out, as Lava does


def fixed_point_layers(network: hdf5.Network) -> list[Layer]:
    """The layers of a netx network.

    Raises:
        SpandexError: a block is neither input nor fully connected, or see ``process_layers``.
    """
    pairs = []
    for number, block in enumerate(network.layers):
        if not isinstance(block, InputBlock | DenseBlock):
            raise SpandexError(f"{network.filename}: block {number} is {type(block).__name__!r}; {EXECUTED}")
        pairs.append((getattr(block, "synapse", None), block.neuron))
    with prefixed(f"{network.filename}: "):
        layers = process_layers(pairs)
    for number, block in enumerate(network.layers[:-1]):
        if len(block.shape) == 3:
            layers[number + 1] = _behind_flatten(layers[number + 1], block.shape)
    return layers


def _behind_flatten(layer: Layer, shape: tuple[int, ...]) -> Layer:
    """The layer with its inputs in the order of the neurons before it, of that shape; netx transposes them."""
    place = flat_order(shape)
    (connections,) = layer.connections
    moved = replace(connections, weights=connections.weights[:, place], delays=connections.delays[:, place])
    return replace(layer, connections=(moved,))


def process_layers(processes: Iterable[tuple[AbstractProcess | None, AbstractProcess]]) -> list[Layer]:
    """Layers from Lava processes built directly.

    Args:
        processes: synapse (None for the first layer if it has none) and neurons of each layer, in order.

    Raises:
        SpandexError: a process, or an option of one, that the executor cannot run exactly.
    """
    layers: list[Layer] = []
    for number, (synapse, neurons) in enumerate(processes):
        try:
            if (synapse is None) != isinstance(neurons, Delta) or (synapse is None and number > 0):
                having = "without" if synapse is None else "with"
                raise SpandexError(
                    f"{type(neurons).__name__} {having} synapse; Delta in the first layer, and nothing else, has none"
                )
            constants = _neurons(neurons)
            layer = Layer(str(number), (int(np.prod(neurons.shape)),), _connections(synapse), constants)
            _check_fit(layer, layers)
        except SpandexError as error:
            raise SpandexError(f"layer {number}: {error}") from None
        layers.append(layer)
    if not layers:
        raise SpandexError("no layers")
    return layers


def _check_fit(layer: Layer, before: list[Layer]) -> None:
    for connections in layer.connections:
        outputs, inputs = connections.weights.shape
        if outputs != layer.size or (before and inputs != before[-1].size):
            raise SpandexError(f"weights of shape {(outputs, inputs)} do not fit the neurons around them")


def _connections(synapse: AbstractProcess | None) -> tuple[Connections, ...]:
    if synapse is None:
        return ()
    kind = type(synapse)
    if kind not in (Dense, DelayDense, Sparse, DelaySparse):
        raise SpandexError(f"synapse {kind.__name__} cannot be run exactly")
    parameters = synapse.proc_params
    weights = _matrix(synapse.weights).astype(np.int32)
    mode = parameters.get("sign_mode") or determine_sign_mode(weights)
    weights = truncate_weights(clip_weights(weights, mode, num_bits=8), mode, parameters.get("num_weight_bits", 8))
    longest, delays = 0, np.broadcast_to(np.int32(0), weights.shape)
    if kind in (DelayDense, DelaySparse):
        longest = synapse.a_buff.shape[1] - 1
        delays = np.broadcast_to(_matrix(synapse.delays).astype(np.int32), weights.shape)
        used = delays[weights != 0]
        if used.size and (used.min() < 0 or used.max() > min(longest, MAX_DELAY)):
            raise SpandexError(f"delays from {used.min()} to {used.max()} in a buffer for 0 to {longest}")
    exponent, graded = int(parameters.get("weight_exp", 0)), bool(parameters["num_message_bits"] > 0)
    return (Connections(weights, delays, exponent, longest, graded, wraps_late=kind is DelayDense),)


def _neurons(process: AbstractProcess) -> InputNeurons | HiddenNeurons:
    kind = type(process)
    if kind not in (Delta, SigmaDelta, Sigma):
        raise SpandexError(f"neurons {kind.__name__}; {EXECUTED}")
    bias = np.zeros(int(np.prod(process.shape)), np.int32)
    if kind is Sigma:
        return HiddenNeurons(bias, 0, False, False, False, 0)
    if kind is SigmaDelta:
        bias[:] = np.asarray(process.bias.init).astype(np.int32).reshape(-1)
        mode = process.proc_params["act_mode"]
        if mode not in (ActivationMode.UNIT, ActivationMode.RELU):
            raise SpandexError(f"activation {mode!r} cannot be run exactly")
    threshold, spike_exp, state_exp = (
        _scalar(variable) for variable in (process.vth, process.spike_exp, process.state_exp)
    )
    threshold = max(threshold, 0)  # below 0 everything is sent, as at 0
    cumulative, spike_shift = bool(_scalar(process.cum_error)), min(state_exp, WIDEST_SHIFT)
    if kind is Delta:
        return InputNeurons(threshold, cumulative, min(spike_exp + state_exp, 32), spike_shift)
    return HiddenNeurons(bias, threshold, mode == ActivationMode.RELU, True, cumulative, spike_shift)


def _matrix(variable: Var) -> np.ndarray:
    value = variable.init
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


def _scalar(variable: Var) -> int:
    """A variable that all neurons share, as Lava's models hold it: int32, fractions cut off."""
    values = np.asarray(variable.init).astype(np.int32)
    if values.size != 1:
        raise SpandexError(f"{variable.name} has {values.size} values; the executor takes one for all neurons")
    return int(values.flat[0])
