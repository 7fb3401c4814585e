"""Network files as lava-dl exports them, read here alone and without Lava; refused where Lava would run something else.

Released lava-dl (0.6) converts many a damaged or unsuitable file without a word: it cuts off fractions, wraps numbers
that are too large and ignores what it does not know. Here each of these is an error that names file, layer and value.
"""

import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spandex.deploy.storage import check_storage
from spandex.errors import SpandexError

MAX_DELAY = 62  # steps; lava-dl's netx clamps to it, since Loihi 2 has 6 bits for a delay
RUNNABLE_LAYERS = ("input", "flatten", "dense", "conv")  # those lava-dl 0.6 has a process and a model for
MOST_NEURONS = 2**22  # of a layer: four times what a Loihi 2 chip has
STATE_SCALE = 1 << 12  # thresholds and biases of sigma-delta neurons are multiplied by it (netx's spike_exp, state_exp)
# what h5py raises for a damaged file, or Python for an entry of another kind
UNREADABLE = (LookupError, OSError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError)
IGNORED_EXPONENTS = ("wgtExp", "weight_exp")  # of a neuron; lava-dl exports them, netx does not read them


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
class NetworkLayer:
    """A layer of a network file.

    Attributes:
        index: its number in the file.
        type: ``"input"``, ``"flatten"``, ``"dense"`` or ``"conv"``.
        shape: of its neurons, as in the file: channels, height, width where there are three; None where not given.
        neuron: lava-dl's name of the neuron, such as ``"SDNN"``; None where the layer has none.
        threshold: in the units of the weights, one for all neurons or one each; None where nothing is compared to it.
        synapses: of a fully connected layer, else None.
        bias: of a fully connected layer, in the units of the weights, one for all neurons or one each; None without.
    """

    index: int
    type: str
    shape: tuple[int, ...] | None
    neuron: str | None = None
    threshold: float | list[float] | None = None
    synapses: DeployedLayer | None = None
    bias: np.ndarray | None = None

    @property
    def neurons(self) -> int | None:
        """Number of neurons; None where the file does not say."""
        return None if self.shape is None else int(np.prod(self.shape))


def network_layers(path: str | os.PathLike, count: int | None = None) -> list[NetworkLayer]:
    """The first ``count`` layers (None: all) of a network file.

    Raises:
        SpandexError: the file is missing, truncated, no lava-dl network, or Lava would not run what it holds.
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
        except SpandexError as error:
            raise SpandexError(f"{path}: {error}") from None
        except UNREADABLE as error:
            raise SpandexError(f"{path}: its layers cannot be read ({_first_line(error)})") from None
        if not complete:
            raise SpandexError(f"{path}: no lava-dl network; expected groups layer/0, layer/1, ...")
        layers: list[NetworkLayer] = []
        inputs = None
        for index in range(len(group))[:count]:
            try:
                layers.append(_read(index, group[str(index)], inputs))
            except SpandexError as error:
                raise SpandexError(f"{path}: layer {index}: {error}") from None
            except UNREADABLE as error:
                raise SpandexError(f"{path}: layer {index} cannot be read ({_first_line(error)})") from None
            if layers[-1].type != "flatten":
                inputs = layers[-1].neurons
    return layers


def deployed_weights(path: str | os.PathLike) -> list[DeployedLayer]:
    """The fully connected layers of a network file, as Lava holds them.

    Raises:
        SpandexError: as ``network_layers``.
    """
    return [layer.synapses for layer in network_layers(path) if layer.synapses is not None]


def _read(index: int, layer: h5py.Group, inputs: int | None) -> NetworkLayer:
    """The layer on ``inputs`` neurons (None: unknown); SpandexError unless Lava runs it as the file says."""
    if "type" not in layer:
        raise SpandexError("type is missing")
    kind = _text(layer["type"])
    if kind not in RUNNABLE_LAYERS:
        raise SpandexError(f"Lava cannot run type {kind!r}; it runs {', '.join(RUNNABLE_LAYERS)}")
    shape = _shape(layer)
    if kind == "flatten":
        return NetworkLayer(index, kind, shape)
    if shape is None and (kind != "input" or "neuron" in layer):
        raise SpandexError("shape is missing")
    if "weight" in layer and isinstance(layer["weight"], h5py.Group):
        raise SpandexError("Lava cannot run complex weights")
    synapses = None
    if kind == "input":
        for key in ("weight", "bias"):
            if key in layer and _whole(layer, key).size != 1:
                raise SpandexError(f"{key} of shape {layer[key].shape}; an input layer takes one number")
    elif kind == "dense":
        synapses = _synapses(index, layer, int(np.prod(shape)), inputs)
        shape_in_lava = synapses.weights.shape[:1]
        _check_bias(layer, ((), (1,), shape_in_lava))
    else:
        _check_range(_weights(layer), 255)
        if "delay" in layer and np.any(_whole(layer, "delay")):
            raise SpandexError("delays, which netx leaves out of a convolution")
        _check_bias(layer, (shape[:1], shape[::-1]))
    if "neuron" not in layer:  # netx has an integrator for dense layers, no neuron for the input
        if kind == "conv":
            raise SpandexError("neuron is missing")
        return NetworkLayer(index, kind, shape, synapses=synapses)
    _check_neuron(layer, shape_in_lava if kind == "dense" else shape[::-1])
    is_output = "sigma_output" in layer["neuron"]
    threshold = None if is_output else _numbers(layer, "neuron/vThMant").tolist()
    bias = _whole(layer, "bias") if kind == "dense" and "bias" in layer else None
    return NetworkLayer(index, kind, shape, _neuron_type(layer), threshold, synapses, bias)


def _synapses(index: int, layer: h5py.Group, outputs: int, inputs: int | None) -> DeployedLayer:
    raw = _weights(layer)
    if raw.size % outputs or (raw.ndim > 1 and len(raw) != outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {outputs} neurons")
    if inputs not in (None, raw.size // outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {inputs} inputs")
    weights, exponent, bits = held_weights(raw.reshape(outputs, -1))
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


def _spread(delays: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Delays of the shape of the weights, as netx spreads them: a vector is one per output, else one per input."""
    given = delays.shape
    if delays.shape == shape[:1]:
        delays = delays[:, np.newaxis]
    if delays.ndim > 2 or any(own not in (1, full) for own, full in zip(delays.shape[::-1], shape[::-1], strict=False)):
        raise SpandexError(f"delays of shape {given} do not fit weights of shape {shape}")
    return np.broadcast_to(delays, shape)


def held_weights(weights: np.ndarray) -> tuple[np.ndarray, int, int]:
    """What Lava's synapse holds of a layer's weights, integers (outputs, inputs); its exponent and its number of bits.

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
    held = _cut_to_bits(weights.astype(np.int32) << left, bits).astype(int)
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
    if _neuron_type(layer) == "SDNN":
        _check_state(bias, "bias")


def _check_neuron(layer: h5py.Group, shape: tuple[int, ...]) -> None:
    kind, neuron = _neuron_type(layer), layer["neuron"]
    if "messageBits" in neuron:
        raise SpandexError("neuron/messageBits, with which netx fails")
    for key in IGNORED_EXPONENTS:
        if key in neuron and np.any(_numbers(layer, f"neuron/{key}")):
            raise SpandexError(f"neuron/{key} {neuron[key][()]}, which netx ignores")
    if kind in ("LOIHI", "CUBA"):
        for key in ("vThMant", "iDecay", "vDecay"):
            if (found := _whole(layer, f"neuron/{key}").shape) not in ((), (1,), shape):
                raise SpandexError(f"neuron/{key} of shape {found} does not fit neurons of shape {shape}")
    elif kind == "SDNN":
        if "sigma_output" in neuron:
            return
        threshold = _numbers(layer, "neuron/vThMant")
        if threshold.size != 1:
            raise SpandexError(f"{threshold.size} thresholds; Lava's sigma-delta neurons of a layer share one")
        _check_state(threshold, "threshold")
        activation = neuron["activation"].asstr()[()] if "activation" in neuron else "relu"
        if _text(layer["type"]) != "input" and activation != "relu":
            raise SpandexError(f"activation {activation!r}; netx would run 'relu' in its place")
    else:
        raise SpandexError(f"Lava cannot run neuron type {kind!r} here; it runs SDNN, CUBA, LOIHI")


def _check_state(values: np.ndarray, name: str) -> None:
    """Raise SpandexError unless the values are what they were in units of the fixed-point state of 32 bits."""
    scaled = values * float(STATE_SCALE)
    wrong = (scaled != np.trunc(scaled)) | (np.abs(scaled) >= 2**31)
    if wrong.any():
        raise SpandexError(
            f"{name} {values[wrong].flat[0]}; Lava takes multiples of 1/{STATE_SCALE} below {2**31 // STATE_SCALE}"
        )


def _shape(layer: h5py.Group) -> tuple[int, ...] | None:
    if "shape" not in layer:
        return None
    shape = np.atleast_1d(_whole(layer, "shape"))
    if shape.ndim != 1 or shape.min() < 1:
        raise SpandexError(f"impossible shape {shape.tolist()}")
    if (neurons := math.prod(shape.tolist())) > MOST_NEURONS:
        raise SpandexError(f"{neurons:,} neurons; at most {MOST_NEURONS:,} are run")
    return tuple(shape.tolist())


def _neuron_type(layer: h5py.Group) -> str | None:
    return _text(layer["neuron/type"]) if "neuron" in layer else None


def _text(dataset: h5py.Dataset) -> str:
    """The one string of a dataset, or the first of several, as lava-dl writes it."""
    return np.atleast_1d(dataset[()])[0].decode("ascii")


def _weights(layer: h5py.Group) -> np.ndarray:
    raw = _numbers(layer, "weight")
    fractional = raw[raw != np.trunc(raw)]
    if fractional.size:
        raise SpandexError(
            f"{fractional.size} weights are not whole numbers, such as {fractional[0]}; "
            "export the network with lava-dl's quantisation"
        )
    return raw.astype(int)


def _whole(layer: h5py.Group, key: str) -> np.ndarray:
    numbers = _numbers(layer, key)
    fractional = numbers[numbers != np.trunc(numbers)]
    if fractional.size:
        raise SpandexError(f"{key} {fractional[0]} is not a whole number")
    return numbers.astype(int)


def _numbers(layer: h5py.Group, key: str) -> np.ndarray:
    """A dataset of finite numbers; none of them so large that it is not the same as an integer of 64 bits."""
    if key not in layer:
        raise SpandexError(f"{key} is missing")
    numbers = np.asarray(layer[key][()])
    if numbers.dtype.kind not in "iufb" or not numbers.size:
        raise SpandexError(f"{key} holds no numbers")
    wrong = numbers[~(np.abs(numbers.astype(float)) < 2.0**53)]
    if wrong.size:
        raise SpandexError(f"{key} is {wrong[0]}")
    return numbers


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
