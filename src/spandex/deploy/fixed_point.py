"""A network of Lava processes as integers: what its fixed-point models would compute with.

What the processes hold is taken as it is; weights are clipped and truncated by Lava's own functions, as its models
do at their first step.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

from spandex.deploy.layers import Connections, KernelConnections, Layer, flat_order, integrators
from spandex.deploy.neurons import INPUT_SHIFT, LOIHI_MAX_DELAY, Integrators, Neurons, Resonators
from spandex.deploy.neurons import Delta as InputNeurons
from spandex.deploy.neurons import SigmaDelta as HiddenNeurons
from spandex.deploy.unrolled import Unrolled
from spandex.errors import SpandexError, prefixed
from spandex.networks.hdf5 import DECAY_UNIT, MOST_IN_8_BITS, Kernels, Shape

WIDEST_SHIFT = 31  # bits; more would shift everything out, as Lava does
SYNAPSES = ("synapse", "synapse_rec", "real_synapse", "imag_synapse")  # that a block of netx may have

Synapse = AbstractProcess | Sequence[AbstractProcess] | None


def fixed_point_layers(network: hdf5.Network) -> list[Layer]:
    """The layers of a netx network.

    Raises:
        SpandexError: see ``process_layers``.
    """
    pairs = [
        ([getattr(block, name) for name in SYNAPSES if hasattr(block, name)], block.neuron) for block in network.layers
    ]
    with prefixed(f"{network.filename}: "):
        layers = process_layers(pairs)
    for number, block in enumerate(network.layers[:-1]):
        if len(block.shape) == 3:
            layers[number + 1] = _behind_flatten(layers[number + 1], block.shape)
    return layers


def _behind_flatten(layer: Layer, shape: Shape) -> Layer:
    """The layer with its inputs in the order of the neurons before it, of that shape; netx transposes them."""
    place = flat_order(shape)
    moved = [
        replace(connections, weights=connections.weights[:, place], delays=connections.delays[:, place])
        if isinstance(connections, Connections) and not connections.recurrent
        else connections
        for connections in layer.connections
    ]
    return replace(layer, connections=tuple(moved))


def process_layers(processes: Iterable[tuple[Synapse, AbstractProcess]]) -> list[Layer]:
    """Layers from Lava processes built directly.

    Args:
        processes: synapse and neurons of each layer, in order; None for the synapse of a first layer that has none,
            two synapses for resonators, real and imaginary, and for other neurons with recurrence, which comes second.
            Fully connected synapses behind neurons of more than one dimension take them in C order.

    Raises:
        SpandexError: a process, or an option of one, that the executor cannot run exactly.
    """
    layers: list[Layer] = []
    for number, (synapse, neurons) in enumerate(processes):
        synapses = [] if synapse is None else [synapse] if isinstance(synapse, AbstractProcess) else list(synapse)
        with prefixed(f"layer {number}: "):
            layers.append(_layer(str(number), synapses, neurons, layers[-1].shape if layers else None))
    if not layers:
        raise SpandexError("no layers")
    return layers


def _layer(name: str, synapses: list[AbstractProcess], neurons: AbstractProcess, before: Shape | None) -> Layer:
    constants = _neurons(neurons)
    shape = tuple(map(int, neurons.s_out.shape))
    resonates = isinstance(constants, Resonators)
    fitting = (2,) if resonates else (0,) if isinstance(constants, InputNeurons) else (1, 2)
    if before is None and isinstance(constants, Integrators):
        fitting = (0, 1, 2)
    if len(synapses) not in fitting or (before is not None and not synapses):
        raise SpandexError(
            f"{type(neurons).__name__} with {len(synapses)} synapses; the first layer's Delta has none and its LIF may "
            "have none, RF and RF_IZ have two, others one or, with recurrence, two"
        )
    connections = []
    for number, synapse in enumerate(synapses):
        second = {"imaginary" if resonates else "recurrent": True} if number else {}
        connections.append(_connections(synapse, len(synapses) > 1, **second))
        arriving = shape if "recurrent" in second else before
        for port, around in ((synapse.s_in, arriving), (synapse.a_out, shape)):
            if around is not None and tuple(port.shape) not in (around, (math.prod(around),)):
                raise SpandexError(f"synapse of shape {tuple(map(int, port.shape))} between neurons of shape {around}")
    if len({part.graded for part in connections}) > 1:
        raise SpandexError("two synapses, of which only one takes messages with a value")
    if len(connections) == 2 and isinstance(constants, HiddenNeurons) and not connections[1].graded:
        raise SpandexError("sigma-delta neurons with recurrent synapses that take no messages with a value")
    return Layer(name, shape, tuple(connections), constants)


def _connections(synapse: AbstractProcess, paired: bool, **place: bool) -> Connections | KernelConnections:
    kind = type(synapse)
    if kind in (Conv, Unrolled) and not paired:
        kernels = synapse.kernels if kind is Unrolled else _kernels(synapse)
        return KernelConnections(kernels, bool(synapse.num_message_bits.init > 0))
    if kind not in (Dense, DelayDense, Sparse, DelaySparse):
        raise SpandexError(f"synapse {kind.__name__} cannot be run exactly" + " in a pair" * paired)
    parameters = synapse.proc_params
    weights = _matrix(synapse.weights).astype(np.int32)
    mode = parameters.get("sign_mode") or determine_sign_mode(weights)
    weights = truncate_weights(clip_weights(weights, mode, num_bits=8), mode, parameters.get("num_weight_bits", 8))
    longest, delays = 0, np.broadcast_to(np.int32(0), weights.shape)
    if kind in (DelayDense, DelaySparse):
        longest = synapse.a_buff.shape[1] - 1
        delays = np.broadcast_to(_matrix(synapse.delays).astype(np.int32), weights.shape)
        used = delays[weights != 0]
        if used.size and (used.min() < 0 or used.max() > min(longest, LOIHI_MAX_DELAY)):
            raise SpandexError(f"delays from {used.min()} to {used.max()} in a buffer for 0 to {longest}")
    exponent, graded = int(parameters.get("weight_exp", 0)), bool(parameters["num_message_bits"] > 0)
    return Connections(weights, delays, exponent, longest, graded, wraps_late=kind is DelayDense, **place)


def _kernels(synapse: Conv) -> Kernels:
    """Those of a convolution, which Lava turns by half a turn; its exponent and bits of weights it does not read."""
    weights = _matrix(synapse.weight).astype(np.int32)
    stride, padding, dilation = (
        tuple(map(int, variable.init)) for variable in (synapse.stride, synapse.padding, synapse.dilation)
    )
    groups = int(synapse.groups.init)
    sizes = (*weights.shape[1:3], *stride, *padding, *dilation, groups)
    if max(sizes) > MOST_IN_8_BITS or min(*stride, *dilation) < 1 or min(padding) < 0:
        raise SpandexError(
            f"stride {stride}, padding {padding}, dilation {dilation}, {groups} groups or kernels of shape "
            f"{weights.shape} do not fit the 8 bits of Lava's convolution"
        )
    if np.any(beyond := weights[weights != weights.astype(np.int16)]):
        raise SpandexError(f"weight {beyond[0]} of a convolution does not fit 16 bits")
    shapes = (tuple(map(int, shape)) for shape in (synapse.input_shape, synapse.output_shape))
    return Kernels(weights[:, ::-1, ::-1], stride, padding, dilation, groups, *shapes)


def _neurons(process: AbstractProcess) -> Neurons:
    kind = type(process)
    if kind in (LIF, LIFReset):
        return _integrators(process)
    if kind in (RF, RF_IZ):
        return _resonators(process)
    if kind not in (Delta, SigmaDelta, Sigma):
        raise SpandexError(f"neurons {kind.__name__} cannot be run exactly")
    bias = np.zeros(math.prod(process.shape), np.int32)
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


def _integrators(process: LIF) -> Integrators:
    for variable in (process.u, process.v):
        if np.any(variable.init):
            raise SpandexError(f"{variable.name} is not 0 at the start")
    threshold, current_decay, voltage_decay = map(_whole, (process.vth, process.du, process.dv))
    decays = current_decay.astype(int) + 1, voltage_decay.astype(int)  # Lava adds 1 to the first
    if wrong := [decay for part in decays for decay in part.flat if not 0 <= decay <= DECAY_UNIT]:
        raise SpandexError(f"decay {wrong[0]} is not between 0 and {DECAY_UNIT}")
    bias, exponent = (np.asarray(part.init).astype(np.int16) for part in (process.bias_mant, process.bias_exp))
    bias = bias.astype(np.int32)
    bias = np.where(exponent >= 0, np.left_shift(bias, exponent), np.right_shift(bias, -exponent))
    interval = process.proc_params.get("reset_interval") or 0
    return integrators(
        process.s_out.shape, threshold, decays, bias, interval, process.proc_params.get("reset_offset", 0)
    )


def _resonators(process: RF) -> Resonators:
    bits, state_exp, threshold = map(_scalar, (process.decay_bits, process.state_exp, process.vth))
    if state_exp != INPUT_SHIFT or bits < 1:
        raise SpandexError(f"state_exp {state_exp} and decay_bits {bits}; the executor takes {INPUT_SHIFT} and from 1")
    cosine, sine = (_scalar(variable) / (1 << bits) for variable in (process.cos_decay, process.sin_decay))
    return Resonators(cosine, sine, threshold, type(process) is RF_IZ)


def _matrix(variable: Var) -> np.ndarray:
    value = variable.init
    return value.toarray() if hasattr(value, "toarray") else np.asarray(value)


def _scalar(variable: Var) -> int:
    """A variable that all neurons share, as Lava's models hold it: int32, fractions cut off."""
    values = np.asarray(variable.init).astype(np.int32)
    if values.size != 1:
        raise SpandexError(f"{variable.name} has {values.size} values; the executor takes one for all neurons")
    return int(values.flat[0])


def _whole(variable: Var) -> np.ndarray:
    """A variable that Lava's models shift as it is, so that it must be whole numbers."""
    values = np.asarray(variable.init)
    if values.dtype.kind not in "iu":
        raise SpandexError(f"{variable.name} {values.flat[0]} ({values.dtype}) is no whole number")
    return values
