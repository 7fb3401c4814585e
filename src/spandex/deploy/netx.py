"""Networks exported by lava-dl as Lava processes, with sparse or dense synapses chosen layer by layer.

Released lava-dl (0.6) converts either every fully connected layer to sparse synapses or none (``sparse_fc_layer``).
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks.models import AbstractPyBlockModel
from lava.lib.dl.netx.blocks.process import Dense
from lava.lib.dl.netx.utils import NetDict, optimize_weight_bits
from lava.magma.core.decorator import implements
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spandex.errors import SpandexError

MAX_DELAY = 62  # steps; lava-dl's netx clamps to it, since Loihi 2 has 6 bits for a delay
RUNNABLE_LAYERS = ("input", "flatten", "dense", "conv")  # those lava-dl 0.6 has a process and a model for

SparsityMap = bool | str | Sequence[bool] | Mapping[int, bool]


@dataclass(frozen=True)
class DeployedLayer:
    """A fully connected layer as Lava deploys it.

    Attributes:
        index: the layer's number in the file.
        weights: integers (outputs, inputs), after netx moved them up to fill 8 bits. What a synapse
            contributes is ``weights * 2**weight_exponent``.
        delays: steps (outputs, inputs), read-only.
        weight_exponent: at most 0.
        num_weight_bits: bits of a weight.
    """

    index: int
    weights: np.ndarray
    delays: np.ndarray
    weight_exponent: int
    num_weight_bits: int

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


def deployed_weights(path: str | os.PathLike) -> list[DeployedLayer]:
    """The fully connected layers of a network file, as netx deploys them.

    Raises:
        SpandexError: the file is missing, truncated, no lava-dl network, or holds a layer Lava cannot run.
    """
    with _network_file(path) as layers:
        return [_deployed(layer) for layer in layers if layer["type"] == "dense"]


def resolve_sparsity_map(
    sparsity_map: SparsityMap, densities: Mapping[int, float], density_threshold: float
) -> dict[int, bool]:
    """Which fully connected layers become sparse: {layer index: sparse}.

    Args:
        sparsity_map: see ``Network``.
        densities: {layer index: fraction of deployed weights that are not zero}, in the order of the layers.
        density_threshold: largest density that ``"auto"`` makes sparse.

    Raises:
        SpandexError: the map has a wrong length, key or value, or the threshold lies outside 0 to 1.
    """
    layers = list(densities)
    if isinstance(sparsity_map, str):
        if sparsity_map != "auto":
            raise SpandexError(f'sparsity map {sparsity_map!r} is none of True, False, "auto", a list, a dict')
        if not 0 <= density_threshold <= 1:
            raise SpandexError(f"density threshold {density_threshold} is not between 0 and 1")
        return {index: density <= density_threshold for index, density in densities.items()}
    if isinstance(sparsity_map, bool | np.bool_):
        return dict.fromkeys(layers, bool(sparsity_map))
    if isinstance(sparsity_map, Mapping):
        unknown = [key for key in sparsity_map if key not in layers]
        if unknown:
            raise SpandexError(f"sparsity map names layer {unknown[0]!r}; the fully connected layers are {layers}")
        chosen = {index: sparsity_map.get(index, False) for index in layers}
    elif isinstance(sparsity_map, Sequence | np.ndarray):
        if len(sparsity_map) != len(layers):
            raise SpandexError(
                f"sparsity map has {len(sparsity_map)} entries for the {len(layers)} fully connected layers {layers}"
            )
        chosen = dict(zip(layers, sparsity_map, strict=True))
    else:
        raise SpandexError(f'sparsity map {sparsity_map!r} is none of True, False, "auto", a list, a dict')
    for index, sparse in chosen.items():
        if not isinstance(sparse, bool | np.bool_):
            raise SpandexError(f"sparsity map says {sparse!r} for layer {index}; it must be True or False")
    return {index: bool(sparse) for index, sparse in chosen.items()}


class Network(hdf5.Network):
    """lava-dl's netx network whose fully connected layers are each sparse or dense.

    A sparse layer gets Lava's ``Sparse`` or ``DelaySparse`` synapse, a dense one ``Dense`` or ``DelayDense``;
    both compute the same as long as no sum leaves 32 bits. As in stock netx, drive ``in_layer.neuron.a_in``
    with the fixed-point input and read ``out``.

    Args:
        path: HDF5 network (``network.net``) as lava-dl exports it.
        sparsity_map: True or False for all layers; a list with one bool per fully connected layer, in
            order; a dict {number of the layer in the file: bool}, where layers not named stay dense; or
            ``"auto"``: sparse where the fraction of deployed non-zero weights is at most ``density_threshold``.
        density_threshold: for ``"auto"``.
        options: the other options of the stock network (num_layers, skip_layers, input_message_bits, input_shape,
            reset_interval, reset_offset, spike_exp).

    Attributes:
        sparse_layers: {number of the layer in the file: sparse}, of the fully connected layers.
        net_config: the stock network's view of the file; closed once the layers exist.

    Raises:
        SpandexError: the file is missing, truncated, no lava-dl network or holds a layer Lava cannot
            run, or the map does not fit it.
    """

    _runtime = None  # what Lava's destructor looks at, also when the arguments were refused

    def __init__(
        self,
        path: str | os.PathLike,
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = 0.5,
        **options: Any,
    ):
        if "sparse_fc_layer" in options:
            raise SpandexError("use sparsity_map in place of sparse_fc_layer")
        first, count = options.get("skip_layers", 0), options.get("num_layers")
        with _network_file(path) as layers:
            generated = layers[first:count]
            densities = {_index(layer): _deployed(layer).density for layer in generated if layer["type"] == "dense"}
            clamped = [delays for layer in generated if (delays := _delays_above_limit(layer)).size]
        try:
            self.sparse_layers = resolve_sparsity_map(sparsity_map, densities, density_threshold)
        except SpandexError as error:
            raise SpandexError(f"{path}: {error}") from None
        if clamped:
            delays = np.concatenate(clamped)
            warnings.warn(
                f"{path}: {delays.size} delays above {MAX_DELAY} steps, up to {delays.max():.0f}, "
                f"clamped to {MAX_DELAY}",
                stacklevel=3,  # past the metaclass that calls every Lava process
            )
        super().__init__(os.fspath(path), **options)
        self.net_config.f.close()

    def create_dense(self, layer_config: NetDict, **options: Any) -> tuple[Dense, str]:
        """The stock block of a fully connected layer, with the synapse that the sparsity map asks for."""
        layer = _Layer(f=layer_config.f)
        options["sparse_synapse"] = self.sparse_layers.get(_index(layer), False)
        with np.errstate(divide="ignore"):  # stock netx divides by the largest weight of one sign, which may be 0
            block, description = hdf5.Network.create_dense(layer, **options)
        if layer.is_empty:
            block.synapse.weights.init = block.synapse.weights.init * 0
        return block, description


@implements(proc=Network, protocol=LoihiProtocol)
class PyNetworkModel(AbstractPyBlockModel):
    """Lava looks for the model of exactly this class, so the stock model does not serve the subclass."""


class _Layer(NetDict):
    """A fully connected layer as stock netx can take it: delays within Loihi 2's limit, weights not all zero."""

    @property
    def is_empty(self) -> bool:
        return not super().__getitem__("weight").any()

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if key == "delay":
            return np.clip(value, 0, MAX_DELAY)
        if key == "weight" and not value.any():
            # Stock netx fails without any weight; the placeholder becomes zero again once the block exists.
            value.flat[0] = 1
        return value


@contextmanager
def _network_file(path: str | os.PathLike) -> Iterator[list[NetDict]]:
    """The checked layers of a network file, open while the context lasts."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except OSError as error:
        raise SpandexError(f"{path}: not a whole HDF5 file ({error})") from None
    with file:
        group = file.get("layer")
        if not isinstance(group, h5py.Group) or not len(group) or set(group) != set(map(str, range(len(group)))):
            raise SpandexError(f"{path}: no lava-dl network; expected groups layer/0, layer/1, ...")
        layers = [NetDict(f=group[str(index)]) for index in range(len(group))]
        inputs = None
        for index, layer in enumerate(layers):
            try:
                inputs = _check(layer, inputs)
            except SpandexError as error:
                raise SpandexError(f"{path}: layer {index}: {error}") from None
            except (KeyError, OSError, AttributeError, TypeError, ValueError) as error:
                raise SpandexError(f"{path}: layer {index} cannot be read ({error})") from None
        yield layers


def _check(layer: NetDict, inputs: int | None) -> int | None:
    """Raise SpandexError unless Lava can run the layer on ``inputs`` neurons (None: unknown); give its own number."""
    kind = layer["type"]
    if kind not in RUNNABLE_LAYERS:
        raise SpandexError(f"Lava cannot run type {kind!r}; it runs {', '.join(RUNNABLE_LAYERS)}")
    if kind != "dense":
        return int(np.prod(layer["shape"])) if kind == "input" and "shape" in layer.f else None
    outputs = int(np.prod(layer["shape"]))
    raw = layer.f["weight"][()]
    if not np.array_equal(raw, np.trunc(raw)):
        raise SpandexError("weights are not whole numbers; export the network with lava-dl's quantisation")
    if raw.size % outputs or (raw.ndim > 1 and len(raw) != outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {outputs} neurons")
    if inputs not in (None, raw.size // outputs):
        raise SpandexError(f"weights of shape {raw.shape} do not fit {inputs} inputs")
    if "delay" in layer.f:
        if np.any(layer["delay"] < 0):
            raise SpandexError(f"negative delay {np.min(layer['delay'])}")
        _delays(layer, (outputs, raw.size // outputs))
    return outputs


def _index(layer: NetDict) -> int:
    return int(layer.f.name.rsplit("/", 1)[-1])


def _delays_above_limit(layer: NetDict) -> np.ndarray:
    delays = np.atleast_1d(layer["delay"]) if "delay" in layer.f else np.zeros(0)
    return delays[delays > MAX_DELAY]


def _delays(layer: NetDict, shape: tuple[int, int]) -> np.ndarray:
    """Delays spread over the synapses as netx does: a vector is one per output, else one per input."""
    if "delay" not in layer.f:
        return np.broadcast_to(0, shape)
    delays = np.clip(layer["delay"], 0, MAX_DELAY).astype(int)
    if delays.shape == shape[:1]:
        delays = delays[:, np.newaxis]
    if delays.ndim > 2 or any(own not in (1, full) for own, full in zip(delays.shape[::-1], shape[::-1], strict=False)):
        raise SpandexError(f"delays of shape {delays.shape} do not fit weights of shape {shape}")
    return np.broadcast_to(delays, shape)


def _deployed(layer: NetDict) -> DeployedLayer:
    raw = layer["weight"].reshape(int(np.prod(layer["shape"])), -1)
    with np.errstate(divide="ignore"):
        weights, bits, exponent, _ = optimize_weight_bits(raw) if raw.any() else (raw, 0, 0, None)
    return DeployedLayer(_index(layer), weights, _delays(layer, weights.shape), exponent, bits)
