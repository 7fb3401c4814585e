"""Network files as lava-dl exports them, read here alone and without Lava; refused where Lava would run something else.

Released lava-dl (0.6) converts many a damaged or unsuitable file without a word: it cuts off fractions, wraps numbers
that are too large and ignores what it does not know. Here each of these is an error that names file, layer and value.
``survey`` alone refuses no layer: it tells what the file holds and what is wrong with it.
"""

import functools
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spandex.errors import SpandexError, prefixed
from spandex.networks.scaling import INPUT_GAIN
from spandex.networks.storage import check_storage

MAX_DELAY = 62  # steps; lava-dl's netx clamps to it, since Loihi 2 has 6 bits for a delay
RUNNABLE_LAYERS = ("input", "flatten", "dense", "dense_rec", "conv", "pool")  # netx of lava-dl 0.6 builds all but pools
UNBUILT_LAYERS = ("unpool", "convT", "average", "concat", "dense_comp")  # that lava-dl knows and netx fails on
CONNECTED = ("dense", "dense_rec")  # whose weights netx takes as a matrix
MOST_IN_8_BITS = 127  # Lava's convolution holds strides, padding, dilation, groups and kernel sizes in 8 bits
INTEGRATORS = ("LOIHI", "CUBA")  # both run as Lava's LIF
RESONATORS = ("RF_PHASE", "RF_IZHIKEVICH")  # with complex weights
MOST_SPREAD = 2**27  # weights of a layer's kernels, with the zeros between dilated ones
MOST_NEURONS = 2**22  # of a layer: four times what a Loihi 2 chip has
DECAY_UNIT = 1 << 12  # of integrators' and resonators' decays
STATE_SCALE = 1 << 12  # thresholds and biases of sigma-delta neurons are multiplied by it (netx's spike_exp, state_exp)
# what h5py raises for a damaged file, or Python for an entry of another kind
UNREADABLE = (LookupError, OSError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError)
IGNORED_EXPONENTS = ("wgtExp", "weight_exp")  # of a neuron; lava-dl exports them, netx does not read them

Shape = tuple[int, ...]  # of a layer's neurons


@dataclass(frozen=True)
class DeployedLayer:
    """The synapses of a fully connected layer as Lava holds them.

    Attributes:
        index: the layer's number in the file.
        weights: integers (outputs, inputs), after netx moved them up to fill 8 bits and Lava's synapse clipped and
            truncated them. What a synapse contributes is ``weights * 2**weight_exponent``, the weight in the file.
        delays: steps (outputs, inputs), read-only, at most ``MAX_DELAY``.
        weight_exponent: at most 0.
        num_weight_bits: bits of a weight; 9 where weights of both signs beyond 127 are odd, which Lava's simulation
            takes and Loihi 2 does not have.
        clamped_delays: number of delays in the file above ``MAX_DELAY``.
        longest_delay: steps, before clamping.
        delayed: whether the file gives delays, be they all zero.
    """

    index: int
    weights: np.ndarray
    delays: np.ndarray
    weight_exponent: int
    num_weight_bits: int
    clamped_delays: int = 0
    longest_delay: int = 0
    delayed: bool = False

    @property
    def nonzero_weights(self) -> int:
        """Number of synapses that exist."""
        return int(np.count_nonzero(self.weights))

    @property
    def nonzero_delays(self) -> int:
        """Number of synapses that exist and are delayed."""
        return int(np.count_nonzero(self.delays[self.weights != 0]))

    @property
    def density(self) -> float:
        """Fraction of weights that are not zero."""
        return self.nonzero_weights / self.weights.size


@dataclass(frozen=True)
class Kernels:
    """The synapses of a convolution; pairs are along x and y.

    Attributes:
        weights: integers (output channels, columns, rows, input channels of a group), as the file has them.
        stride, padding, dilation: of the kernels.
        groups: that channels are in.
        inputs, outputs: x, y, channels; None for inputs of unknown shape.
    """

    weights: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    inputs: tuple[int, int, int] | None
    outputs: tuple[int, int, int]

    @property
    def smallest_inputs(self) -> tuple[int, int, int]:
        """The smallest input that makes these outputs."""
        _, *sizes, channels = self.weights.shape
        x, y = (
            (self.outputs[k] - 1) * self.stride[k] + self.dilation[k] * (sizes[k] - 1) + 1 - 2 * self.padding[k]
            for k in range(2)
        )
        return x, y, channels * self.groups


@dataclass(frozen=True)
class NetworkLayer:
    """A layer of a network file.

    Attributes:
        index: its number in the file.
        type: one of ``RUNNABLE_LAYERS``.
        shape: of its neurons, as in the file: channels, height, width where there are three; None where not given.
        neuron: lava-dl's name of the neuron, such as ``"SDNN"``; None where the layer has none.
        threshold: in the units of the weights, one for all neurons or one each; None where nothing is compared to it.
        connections: of a fully connected layer; with recurrence its own come second, complex weights are two.
        kernels: of a convolution or a pool.
        bias: in the units of the weights, one for all neurons, one each, or one a channel; None without.
        decays: of integrators, of their current and voltage, or of resonators, cosine and sine; in units of 2**-12.
    """

    index: int
    type: str
    shape: Shape | None
    neuron: str | None = None
    threshold: float | list[float] | None = None
    connections: tuple[DeployedLayer, ...] = ()
    kernels: Kernels | None = None
    bias: np.ndarray | None = None
    decays: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def neurons(self) -> int | None:
        """Number of neurons; None where the file does not say."""
        return None if self.shape is None else int(np.prod(self.shape))

    @property
    def has_neurons(self) -> bool:
        """Whether it sends something: not a flattening, nor an input layer that only gives the shape."""
        return self.type != "flatten" and (self.type != "input" or self.neuron is not None)

    @property
    def synapses(self) -> DeployedLayer | None:
        """Those of a fully connected layer with real weights and without recurrence."""
        return self.connections[0] if len(self.connections) == 1 else None

    @property
    def connected(self) -> DeployedLayer | None:
        """All weights of a fully connected layer, recurrent and complex ones too, which may be sparse in Lava."""
        return self.held if self.connections else None

    @functools.cached_property
    def held(self) -> DeployedLayer | None:
        """All weights as one matrix: beside recurrent ones, real above imaginary ones, or a row a kernel."""
        if self.kernels is not None:
            weights = self.kernels.weights[: 1 if self.type == "pool" else None]
            return _undelayed(self.index, weights.reshape(len(weights), -1), 0, 8)
        if len(self.connections) < 2:
            return self.synapses
        first, second = self.connections
        together = np.hstack if self.type == "dense_rec" else np.vstack
        exponent = max(first.weight_exponent, second.weight_exponent)
        bits = max(first.num_weight_bits, second.num_weight_bits)
        return _undelayed(self.index, together([first.weights, second.weights]), exponent, bits)

    @property
    def unrolled(self) -> int | None:
        """Number of non-zero synapses between neurons, which kernels share; None without any, or where not known."""
        kernels, met = self.kernels, []
        if kernels is None:
            return self.held and self.held.nonzero_weights
        if kernels.inputs is None:
            return None
        for axis in range(2):  # for each column or row of a kernel, the outputs for which it lies on the input
            at = np.arange(kernels.outputs[axis]) * kernels.stride[axis] - kernels.padding[axis]
            place = at + np.arange(kernels.weights.shape[1 + axis])[:, np.newaxis] * kernels.dilation[axis]
            met.append(((place >= 0) & (place < kernels.inputs[axis])).sum(axis=1))
        return int((np.count_nonzero(kernels.weights, axis=(0, 3)) * np.outer(*met)).sum())


def network_layers(
    path: str | os.PathLike, count: int | None = None, input_shape: Shape | None = None
) -> list[NetworkLayer]:
    """The first ``count`` layers (None: all) of a network file.

    Args:
        input_shape: x, y, channels of what arrives, where no input layer tells it.

    Raises:
        SpandexError: the file is missing, truncated, no lava-dl network, or Lava would not run what it holds.
    """
    layers: list[NetworkLayer] = []
    before = input_shape and tuple(input_shape)[::-1]
    with layer_groups(path) as groups:
        for index, group in enumerate(groups[:count]):
            with prefixed(f"{path}: layer {index}: "):
                layers.append(read_layer(index, group, before))
            before = shape_behind(layers[-1].type, layers[-1].shape, before)
    return layers


@contextmanager
def layer_groups(path: str | os.PathLike) -> Iterator[list[h5py.Group]]:
    """The groups of a network file that hold its layers, in order, while it is open.

    Raises:
        SpandexError: the file is missing, truncated or no lava-dl network, or asks for more than ``check_storage``
            lets it.
    """
    if Path(path).is_dir():
        raise SpandexError(f"{path}: is a folder, not a network file")
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except OSError as error:
        if zipfile.is_zipfile(path):  # as torch.save writes
            raise SpandexError(
                f"{path}: is a state dict of torch, not lava-dl's HDF5; spandex denoise takes it with --backend torch, "
                "spandex train and prune write both"
            ) from None
        raise SpandexError(f"{path}: not a whole HDF5 file ({_first_line(error)})") from None
    with file:
        try:
            check_storage(file)
            group = file.get("layer")
            complete = isinstance(group, h5py.Group) and len(group) and set(group) == set(map(str, range(len(group))))
            groups = [group[str(index)] for index in range(len(group))] if complete else []
        except SpandexError as error:
            raise SpandexError(f"{path}: {error}") from None
        except UNREADABLE as error:
            raise SpandexError(f"{path}: its layers cannot be read ({_first_line(error)})") from None
        if not groups:
            raise SpandexError(f"{path}: no lava-dl network; expected groups layer/0, layer/1, ...")
        yield groups


def deployed_weights(path: str | os.PathLike) -> list[DeployedLayer]:
    """The fully connected layers of a network file, as Lava holds them.

    Raises:
        SpandexError: as ``network_layers``.
    """
    return [layer.synapses for layer in network_layers(path) if layer.synapses is not None]


def without_message_bits(layers: Sequence[NetworkLayer]) -> int | None:
    """The first layer, where its sigma-delta neurons get messages of a width that the file does not tell; else None.

    The neurons of an input layer tell it. Without them netx takes what arrives for spikes, and computes zeros.
    """
    for layer in layers:
        if layer.has_neurons:
            return layer.index if layer.type != "input" and layer.neuron == "SDNN" else None
    return None


def input_transform(path: str | os.PathLike) -> tuple[int, int]:
    """Weight and bias that make what the neurons of an input layer take of a value, as netx reads them."""
    with layer_groups(path) as (layer, *_):
        defaults = {"weight": 64, "bias": 0}
        return tuple(_whole(layer, key).item() if key in layer else value for key, value in defaults.items())


def check_encoding(path: str | os.PathLike) -> None:
    """Raise SpandexError unless the input layer of a mask network takes magnitudes as its encoder makes them."""
    weight, bias = input_transform(path)
    if (weight, bias) != (INPUT_GAIN, 0):
        raise SpandexError(
            f"{path}: no mask network: layer/0 has weight {weight} and bias {bias}; the encoder computes with "
            f"{INPUT_GAIN} and 0"
        )


def unbuilt_pool(channels: int) -> str:
    """Why stock netx does not run a pool, and what does."""
    if channels > MOST_IN_8_BITS:
        return (
            f"type 'pool', which netx cannot build; a convolution of Lava takes {MOST_IN_8_BITS} groups, not {channels}"
        )
    return "type 'pool', which netx cannot build; spandex convert writes it as a convolution"


def missing_input_shape(layers: Sequence[NetworkLayer]) -> str | None:
    """What is known of the input of a convolution whose shape no input layer tells; None if there is none."""
    for layer in layers:
        if layer.kernels is not None and layer.kernels.inputs is None:
            smallest = ",".join(str(max(size, 1)) for size in layer.kernels.smallest_inputs)
            return f"layer {layer.index}: the file has no shape of its input; the smallest x,y,channels is {smallest}"
    return None


def shape_behind(kind: str | None, shape: Shape | None, before: Shape | None) -> Shape | None:
    """Shape of what a layer sends, given that of what it gets; None where unknown."""
    if kind == "flatten":
        return before and (math.prod(before),)
    if kind in CONNECTED:
        return shape and (math.prod(shape),)
    return shape or before


def read_layer(index: int, layer: h5py.Group, before: Shape | None) -> NetworkLayer:
    """A layer that gets values of a shape (None: unknown).

    Raises:
        SpandexError: netx cannot build it, or Lava would not run it as the file says.
    """
    try:
        found = _read(index, layer, before)
    except UNREADABLE as error:
        raise SpandexError(f"cannot be read ({_first_line(error)})") from None
    _check_order(found.type, before)
    return found


def _read(index: int, layer: h5py.Group, before: Shape | None) -> NetworkLayer:
    """The layer on neurons of a shape (None: unknown)."""
    kind = _checked_type(layer)
    shape = _shape(layer)
    if kind == "flatten":
        return NetworkLayer(index, kind, shape)
    if shape is None and (kind != "input" or "neuron" in layer):
        raise SpandexError("shape is missing")
    if kind == "input" and None not in (shape, before) and shape != before:
        told, given = (",".join(map(str, one[::-1])) for one in (shape, before))
        raise SpandexError(f"takes inputs of {told}, not of {given}")
    if kind == "input" and index:
        raise SpandexError("an input layer behind others, which netx connects to nothing")
    if _is_complex(layer) and (kind != "dense" or "RF" not in (neuron_of(layer) or "")):
        raise SpandexError("complex weights without resonate-and-fire neurons, on which netx fails")
    connections, kernels = (), None
    in_lava = () if shape is None else shape[::-1]  # the neurons' shape
    if kind == "input":
        for key in ("weight", "bias"):
            if key in layer and _whole(layer, key).size != 1:
                raise SpandexError(f"{key} of shape {layer[key].shape}; an input layer takes one number")
    elif kind in ("conv", "pool"):
        kernels = _kernels(kind, layer, shape, before)
        _check_bias(layer, (shape[:1], in_lava))
    else:
        in_lava = (math.prod(shape),)
        connections = _connections(index, kind, layer, *in_lava, before and math.prod(before))
        if not _is_complex(layer):
            _check_bias(layer, ((), (1,), in_lava))
    if "neuron" not in layer:  # netx has an integrator for dense layers, no neuron for the input
        if kernels:
            raise SpandexError("neuron is missing")
        return NetworkLayer(index, kind, shape, connections=connections, bias=_bias(kind, layer))
    _check_neuron(layer, in_lava)
    return NetworkLayer(
        index,
        kind,
        shape,
        neuron_of(layer),
        threshold_of(layer),
        connections,
        kernels,
        _bias(kind, layer),
        _decays(layer),
    )


def _bias(kind: str, layer: h5py.Group) -> np.ndarray | None:
    return _whole(layer, "bias") if kind != "input" and "bias" in layer else None


def _connections(
    index: int, kind: str, layer: h5py.Group, outputs: int, inputs: int | None
) -> tuple[DeployedLayer, ...]:
    if _is_complex(layer):
        return _complex(index, layer, outputs, inputs)
    if kind == "dense_rec":
        return _recurrent(index, layer, outputs, inputs)
    return (_synapses(index, layer, outputs, inputs),)


def _kernels(kind: str, layer: h5py.Group, shape: Shape, before: Shape | None) -> Kernels:
    """The kernels on an input of a shape (None: unknown)."""
    if len(shape) != 3:
        raise SpandexError(f"neurons of shape {shape}, where channels, height and width belong")
    weights = _weights(layer)
    _check_range(weights, 255)
    if "delay" in layer and np.any(_whole(layer, "delay")):
        raise SpandexError("delays, which netx leaves out of a convolution")
    stride, padding, dilation = (_pair(layer, key) for key in ("stride", "padding", "dilation"))
    groups = shape[0] if kind == "pool" else _whole(layer, "groups").item()
    if weights.ndim == 5 and weights.shape[4] == 1:
        weights = weights[..., 0]
    if kind == "pool":
        weights = np.broadcast_to(weights, (shape[0], *weights.shape[1:]))
    if weights.ndim != 4 or len(weights) != shape[0] or min(groups, *stride, *dilation) < 1 or min(padding) < 0:
        raise SpandexError(
            f"weights of shape {weights.shape} with stride {stride}, padding {padding}, dilation {dilation} and "
            f"{groups} groups do not make neurons of shape {shape}"
        )
    kernel = weights.shape[:1:-1]
    for name, values in {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}.items():
        if max(values) > MOST_IN_8_BITS:
            raise SpandexError(f"{name} {max(values)}; Lava's convolution takes at most {MOST_IN_8_BITS}")
    if kind == "conv" and groups > MOST_IN_8_BITS:
        raise SpandexError(f"{groups} groups; Lava's convolution takes at most {MOST_IN_8_BITS}")
    spread = len(weights) * weights.shape[1] * math.prod(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    if spread > MOST_SPREAD:
        raise SpandexError(
            f"kernels of {spread:,} weights with what dilation {dilation} puts between them; at most {MOST_SPREAD:,}"
        )
    inputs = before[::-1] if before is not None and len(before) == 3 else None  # any other order is refused
    kernels = Kernels(weights.transpose(0, 3, 2, 1), stride, padding, dilation, groups, inputs, shape[::-1])
    smallest = kernels.smallest_inputs
    beyond = inputs and [inputs[k] - smallest[k] for k in range(3)]
    if shape[0] % groups or (beyond and (beyond[2] or any(not 0 <= beyond[k] < stride[k] for k in range(2)))):
        raise SpandexError(
            f"weights of shape {weights.shape} in {groups} groups with stride {stride}, padding {padding} and dilation "
            f"{dilation} make no {'x'.join(map(str, shape))} neurons"
            + (f" from an input of shape {'x'.join(map(str, before))}" if inputs else "")
        )
    return kernels


def _pair(layer: h5py.Group, key: str) -> tuple[int, int]:
    """Along x and y; lava-dl writes y and x, or one number for both."""
    values = np.atleast_1d(_whole(layer, key))
    if values.shape not in ((1,), (2,)):
        raise SpandexError(f"{key} of shape {values.shape}")
    return tuple(np.broadcast_to(values[::-1], 2).tolist())


def _decays(layer: h5py.Group) -> tuple[np.ndarray, np.ndarray] | None:
    kind = neuron_of(layer)
    if kind in INTEGRATORS:
        return _whole(layer, "neuron/iDecay"), _whole(layer, "neuron/vDecay")
    if kind in RESONATORS:
        return numbers(layer, "neuron/cosDecay"), numbers(layer, "neuron/sinDecay")
    return None


def _check_order(kind: str, before: Shape | None) -> None:
    """Check that netx can connect a layer to what it gets."""
    if before is None or kind == "input":
        return
    if (len(before) == 3) != (kind in ("flatten", "conv", "pool")):
        found = "x".join(map(str, before))
        raise SpandexError(f"type {kind!r} behind a layer of shape {found}, which netx cannot connect")


def _checked_type(layer: h5py.Group) -> str:
    if isinstance(layer, h5py.Group) and not len(layer):
        raise SpandexError("is empty, as lava-dl leaves a layer that it cannot export (KWTA)")
    if "type" not in layer:
        raise SpandexError("type is missing")
    kind = text(layer["type"])
    if kind in UNBUILT_LAYERS:
        raise SpandexError(f"type {kind!r}, which netx cannot build")
    if kind not in RUNNABLE_LAYERS:
        raise SpandexError(f"type {kind!r}, which lava-dl does not know; netx would leave the layer out")
    return kind


def threshold_of(layer: h5py.Group) -> float | list[float] | None:
    """In the units of the weights, one for all neurons or one each; None for neurons that send whatever they have."""
    return None if "sigma_output" in layer["neuron"] else numbers(layer, "neuron/vThMant").tolist()


def _is_complex(layer: h5py.Group) -> bool:
    return "weight" in layer and isinstance(layer["weight"], h5py.Group)


def _complex(index: int, layer: h5py.Group, outputs: int, inputs: int | None) -> tuple[DeployedLayer, DeployedLayer]:
    parts = []
    for key in ("weight/real", "weight/imag"):
        weights = _matrix(layer, key, outputs, inputs)
        if not weights.any():
            raise SpandexError(f"{key} is zero, on which netx fails")
        parts.append(_undelayed(index, *held_weights(weights)))
    for key in ("delay", "bias"):
        if key in layer and np.any(_whole(layer, key)):
            raise SpandexError(f"{key}{'s' * (key == 'delay')}, which netx leaves out of a layer with complex weights")
    return tuple(parts)


def _recurrent(index: int, layer: h5py.Group, outputs: int, inputs: int | None) -> tuple[DeployedLayer, DeployedLayer]:
    weights = np.hstack([_matrix(layer, "weight", outputs, inputs), _matrix(layer, "weight_rec", outputs, outputs)])
    if not weights.any():
        raise SpandexError("all weights are zero, on which netx fails")
    held, exponent, bits = held_weights(weights, recurrent=outputs)
    if "delay" in layer:
        raise SpandexError("delays in a recurrent layer, with which netx leaves out the exponent of its weights")
    if neuron_of(layer) == "SDNN":
        raise SpandexError("sigma-delta neurons in a recurrent layer, whose messages netx takes for the input's")
    return tuple(_undelayed(index, part, exponent, bits) for part in np.hsplit(held, [-outputs]))


def _undelayed(index: int, weights: np.ndarray, exponent: int, bits: int) -> DeployedLayer:
    return DeployedLayer(index, weights, np.broadcast_to(0, weights.shape), exponent, bits)


def _synapses(index: int, layer: h5py.Group, outputs: int, inputs: int | None) -> DeployedLayer:
    weights, exponent, bits = held_weights(_matrix(layer, "weight", outputs, inputs))
    delays = _whole(layer, "delay") if "delay" in layer else np.asarray(0)
    if np.any(delays < 0):
        raise SpandexError(f"negative delay {np.min(delays)}")
    return DeployedLayer(
        index,
        weights,
        _spread(np.minimum(delays, MAX_DELAY), weights.shape),
        exponent,
        bits,
        clamped_delays=int(np.count_nonzero(delays > MAX_DELAY)),
        longest_delay=int(np.max(delays)),
        delayed="delay" in layer,
    )


def _matrix(layer: h5py.Group, key: str, outputs: int, inputs: int | None) -> np.ndarray:
    """Weights (outputs, inputs), as netx takes them."""
    raw = _weights(layer, key)
    if raw.size % outputs or (raw.ndim > 1 and len(raw) != outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {outputs} neurons")
    if inputs not in (None, raw.size // outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {inputs} inputs")
    return raw.reshape(outputs, -1)


def _spread(delays: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Delays of the shape of the weights, as netx spreads them: a vector is one per output, else one per input."""
    given = delays.shape
    if delays.shape == shape[:1]:
        delays = delays[:, np.newaxis]
    if delays.ndim > 2 or any(own not in (1, full) for own, full in zip(delays.shape[::-1], shape[::-1], strict=False)):
        raise SpandexError(f"delays of shape {given} do not fit weights of shape {shape}")
    return np.broadcast_to(delays, shape)


def held_weights(weights: np.ndarray, recurrent: int = 0) -> tuple[np.ndarray, int, int]:
    """What Lava's synapse holds of a layer's weights, integers (outputs, inputs); its exponent and its number of bits.

    Args:
        weights: the last ``recurrent`` columns are those of the layer's own neurons, which have a synapse of their own.

    Raises:
        SpandexError: that, times two to the exponent, is not the weights in the file. netx and Lava disagree about
            layers without positive weight: a smallest weight of -2**k becomes -256, where Lava stops at -255 and cuts
            off bits; and where there are zeros, odd weights below -128 get 9 bits, of which Lava keeps nothing.
    """
    if not weights.any():
        return weights, 0, 0
    _check_range(weights, 254 if weights.min() < 0 else 255)
    left, bits = _fill_8_bits(weights)
    exponent = -left
    shifted = weights.astype(np.int32) << left
    parts = np.split(shifted, [weights.shape[1] - recurrent], axis=1) if recurrent else [shifted]
    held = np.hstack([_cut_to_bits(part, bits) for part in parts]).astype(int)
    used = held * 2.0**exponent
    changed = used != weights
    if changed.any():
        raise SpandexError(
            f"Lava would change {np.count_nonzero(changed)} of {np.count_nonzero(weights)} weights, such as "
            f"{weights[changed][0]} to {used[changed][0]:g}; its conversion fails on a layer without positive ones"
        )
    return held, exponent, bits


def _fill_8_bits(weights: np.ndarray) -> tuple[int, int]:
    """Bits by which netx moves weights up, and bits of one that then are used (``optimize_weight_bits`` of lava-dl)."""
    lowest, highest = int(weights.min()), int(weights.max())
    mixed = lowest < 0 <= highest
    if mixed:
        scale = min(127 / highest if highest else math.inf, -128 / lowest)
    else:
        scale = -256 / lowest if lowest < 0 else 255 / highest
    left = math.floor(math.log2(scale)) + mixed
    used = int(np.bitwise_or.reduce(weights, axis=None))
    empty = min((used & -used).bit_length() - 1, 8)  # lowest bits that no weight has
    return left, 8 - left - (empty - mixed)


def _cut_to_bits(weights: np.ndarray, bits: int) -> np.ndarray:
    """Int32 weights that Lava's synapse keeps (``clip_weights`` and ``truncate_weights`` of lava-nc)."""
    sign = 1 if weights.max() > 0 else -1
    mixed = weights.min() < 0 < weights.max()
    cut = 8 - bits + mixed
    clipped = np.clip(sign * weights, -256 if mixed else 0, 255)
    return sign * ((clipped >> cut) << cut)


def _check_range(weights: np.ndarray, largest: int) -> None:
    outside = weights[(weights < -256) | (weights > largest)]
    if outside.size:
        raise SpandexError(
            f"{outside.size} weights lie outside 8 bits, such as {outside[0]} "
            "(-256 to 254 with both signs, 0 to 255 without negative ones)"
        )


def _check_bias(layer: h5py.Group, shapes: tuple[tuple[int, ...], ...]) -> None:
    if "bias" not in layer:
        return
    bias = _whole(layer, "bias")
    if bias.shape not in shapes:
        raise SpandexError(f"bias of shape {bias.shape} does not fit {int(np.prod(_shape(layer)))} neurons")
    if "neuron/sigma_output" in layer:
        raise SpandexError("bias on an output layer (sigma_output), whose neurons have none in Lava")
    if neuron_of(layer) == "SDNN":
        _check_state(bias, "bias")


def _check_neuron(layer: h5py.Group, shape: tuple[int, ...]) -> None:
    kind, neuron = neuron_of(layer), layer["neuron"]
    if "messageBits" in neuron:
        raise SpandexError("neuron/messageBits, with which netx fails")
    for key in IGNORED_EXPONENTS:
        if key in neuron and np.any(numbers(layer, f"neuron/{key}")):
            raise SpandexError(f"neuron/{key} {neuron[key][()]}, which netx ignores")
    if "gradedSpike" in neuron and np.any(numbers(layer, "neuron/gradedSpike")):
        raise SpandexError(f"neuron/gradedSpike of {kind} neurons; Lava's send 1 or nothing")
    if "refDelay" in neuron and np.any(numbers(layer, "neuron/refDelay") != 1):
        raise SpandexError(f"neuron/refDelay {neuron['refDelay'][()]}, which netx ignores")
    if kind in INTEGRATORS:
        for key in ("vThMant", "iDecay", "vDecay"):
            if (found := _whole(layer, f"neuron/{key}").shape) not in ((), (1,), shape):
                raise SpandexError(f"neuron/{key} of shape {found} does not fit neurons of shape {shape}")
        _check_decays(layer, 0)
    elif kind == "SDNN":
        if "sigma_output" in neuron:
            return
        threshold = numbers(layer, "neuron/vThMant")
        if threshold.size != 1:
            raise SpandexError(f"{threshold.size} thresholds; Lava's sigma-delta neurons of a layer share one")
        _check_state(threshold, "threshold")
        activation = neuron["activation"].asstr()[()] if "activation" in neuron else "relu"
        if text(layer["type"]) != "input" and activation != "relu":
            raise SpandexError(f"activation {activation!r}; netx would run 'relu' in its place")
    elif kind in RESONATORS:
        if not _is_complex(layer):
            raise SpandexError(f"{kind} neurons without complex weights, on which netx fails")
        for key in ("vThMant", "sinDecay", "cosDecay"):
            if (found := numbers(layer, f"neuron/{key}")).size != 1:
                raise SpandexError(f"{found.size} values of neuron/{key}; Lava's {kind} neurons of a layer share one")
        _check_decays(layer, -DECAY_UNIT)
    elif "RF" in kind:
        raise SpandexError(f"neuron type {kind!r}, which netx would run as RF neurons without adaptation")
    else:
        raise SpandexError(f"neuron type {kind!r}; netx runs SDNN, {', '.join((*INTEGRATORS, *RESONATORS))}")


def _check_decays(layer: h5py.Group, smallest: int) -> None:
    for decay in map(np.ravel, _decays(layer)):
        if np.any(outside := (decay < smallest) | (decay > DECAY_UNIT)):
            raise SpandexError(f"decay {decay[outside][0]} is not between {smallest} and {DECAY_UNIT}")


def _check_state(values: np.ndarray, name: str) -> None:
    """Raise SpandexError unless the values are what they were in units of the fixed-point state of 32 bits."""
    scaled = values * float(STATE_SCALE)
    wrong = (scaled != np.trunc(scaled)) | (np.abs(scaled) >= 2**31)
    if wrong.any():
        raise SpandexError(
            f"{name} {values[wrong].flat[0]}; Lava takes multiples of 1/{STATE_SCALE} below {2**31 // STATE_SCALE}"
        )


def _shape(layer: h5py.Group) -> tuple[int, ...] | None:
    shape = declared_shape(layer)
    if shape is not None and (neurons := math.prod(shape)) > MOST_NEURONS:
        raise SpandexError(f"{neurons:,} neurons; at most {MOST_NEURONS:,} are run")
    return shape


def declared_shape(layer: h5py.Group) -> tuple[int, ...] | None:
    """Shape of the neurons, whatever their number; None where the file does not say; SpandexError if impossible."""
    if "shape" not in layer:
        return None
    shape = np.atleast_1d(_whole(layer, "shape"))
    if shape.ndim != 1 or shape.min() < 1:
        raise SpandexError(f"impossible shape {shape.tolist()}")
    return tuple(shape.tolist())


def neuron_of(layer: h5py.Group) -> str | None:
    """lava-dl's name of the layer's neurons, if it has any."""
    return text(layer["neuron/type"]) if "neuron" in layer else None


def text(dataset: h5py.Dataset) -> str:
    """The one string of a dataset, or the first of several, as lava-dl writes it."""
    return np.atleast_1d(dataset[()])[0].decode("ascii")


def _weights(layer: h5py.Group, key: str = "weight") -> np.ndarray:
    raw = numbers(layer, key)
    fractional = raw[raw != np.trunc(raw)]
    if fractional.size:
        raise SpandexError(
            f"{fractional.size} weights are not whole numbers, such as {fractional[0]}; "
            "export the network with lava-dl's quantisation"
        )
    return raw.astype(int)


def _whole(layer: h5py.Group, key: str) -> np.ndarray:
    found = numbers(layer, key)
    fractional = found[found != np.trunc(found)]
    if fractional.size:
        raise SpandexError(f"{key} {fractional[0]} is not a whole number")
    return found.astype(int)


def numbers(layer: h5py.Group, key: str) -> np.ndarray:
    """A dataset of finite numbers; none of them so large that it is not the same as an integer of 64 bits."""
    if key not in layer:
        raise SpandexError(f"{key} is missing")
    found = np.asarray(layer[key][()] if isinstance(layer[key], h5py.Dataset) else [])
    if found.dtype.kind not in "iufb" or not found.size:
        raise SpandexError(f"{key} holds no numbers")
    wrong = found[~(np.abs(found.astype(float)) < 2.0**53)]
    if wrong.size:
        raise SpandexError(f"{key} is {wrong[0]}")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
