"""Networks exported by lava-dl as Lava processes, with sparse or dense synapses chosen layer by layer.

Released lava-dl (0.6) converts either every fully connected layer to sparse synapses or none (``sparse_fc_layer``).
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks.models import AbstractPyBlockModel
from lava.lib.dl.netx.blocks.process import Dense
from lava.lib.dl.netx.utils import NetDict
from lava.magma.core.decorator import implements
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spandex.deploy.network_file import MAX_DELAY, DeployedLayer, deployed_weights, network_layers
from spandex.errors import SpandexError

__all__ = [
    "MAX_DELAY",
    "DeployedLayer",
    "Network",
    "SparsityMap",
    "deployed_weights",
    "parse_sparsity_map",
    "resolve_sparsity_map",
    "warn_of_clamped_delays",
]

SparsityMap = bool | str | Sequence[bool] | Mapping[int, bool]

SPARSITY_WORDS = {"1": True, "true": True, "sparse": True, "0": False, "false": False, "dense": False}


def parse_sparsity_map(text: str) -> SparsityMap:
    """A sparsity map as typed: ``auto``, ``sparse``, ``dense``, a list ``1,0,1`` or ``true,false,true``, or pairs
    ``1:true,3:false`` of layer number and choice.

    Raises:
        SpandexError: the text is none of these.
    """
    text = text.strip().lower()
    if text == "auto":
        return text
    if text in SPARSITY_WORDS:
        return SPARSITY_WORDS[text]
    entries = [entry.strip() for entry in text.split(",")]
    try:
        if ":" not in text:
            return [SPARSITY_WORDS[entry] for entry in entries]
        pairs = [entry.split(":") for entry in entries]
        chosen = {int(layer): SPARSITY_WORDS[choice.strip()] for layer, choice in pairs}
    except (KeyError, ValueError):
        raise SpandexError(
            f"sparsity map {text!r} is none of auto, sparse, dense, a list such as 1,0,1, pairs such as 1:true,3:false"
        ) from None
    if len(chosen) < len(pairs):
        raise SpandexError(f"sparsity map {text!r} names a layer twice")
    return chosen


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


def warn_of_clamped_delays(path: str | os.PathLike, layers: Sequence[DeployedLayer], stacklevel: int = 2) -> None:
    """One warning for all delays of a network that are longer than Loihi 2 can hold."""
    count = sum(layer.clamped_delays for layer in layers)
    if count:
        longest = max(layer.longest_delay for layer in layers)
        delays = "delay" if count == 1 else "delays"
        warnings.warn(
            f"{path}: {count} {delays} above {MAX_DELAY} steps, up to {longest}, clamped to {MAX_DELAY}",
            stacklevel=stacklevel,
        )


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
        dense_layers: {number of the layer in the file: ``DeployedLayer``}, of the fully connected layers.
        sparse_layers: {number of the layer in the file: sparse}, of those that are not skipped.
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
        self.dense_layers = {layer.index: layer.synapses for layer in network_layers(path, count) if layer.synapses}
        generated = [synapses for index, synapses in self.dense_layers.items() if index >= first]
        densities = {synapses.index: synapses.density for synapses in generated}
        try:
            self.sparse_layers = resolve_sparsity_map(sparsity_map, densities, density_threshold)
        except SpandexError as error:
            raise SpandexError(f"{path}: {error}") from None
        warn_of_clamped_delays(path, generated, stacklevel=4)  # past the metaclass that calls every Lava process
        try:
            super().__init__(os.fspath(path), **options)
        except (RuntimeError, ValueError, LookupError) as error:
            raise SpandexError(f"{path}: netx cannot build the network ({error})") from error
        self.net_config.f.close()

    def create_dense(self, layer_config: NetDict, **options: Any) -> tuple[Dense, str]:
        """The stock block of a fully connected layer, with the synapse that the sparsity map asks for."""
        synapses = self.dense_layers[int(layer_config.f.name.rsplit("/", 1)[-1])]
        options["sparse_synapse"] = self.sparse_layers.get(synapses.index, False)  # netx builds skipped layers too
        with np.errstate(divide="ignore"):  # stock netx divides by the largest weight of one sign, which may be 0
            block, description = hdf5.Network.create_dense(_Layer(layer_config, synapses), **options)
        if not synapses.nonzero_weights:
            block.synapse.weights.init = block.synapse.weights.init * 0
        return block, description


@implements(proc=Network, protocol=LoihiProtocol)
class PyNetworkModel(AbstractPyBlockModel):
    """Lava looks for the model of exactly this class, so the stock model does not serve the subclass."""


class _Layer(NetDict):
    """A fully connected layer as stock netx can take it: a delay for every synapse, a weight that is not zero."""

    def __init__(self, layer: NetDict, synapses: DeployedLayer):
        super().__init__(f=layer.f)
        self.synapses = synapses

    def __getitem__(self, key: str) -> Any:
        if key == "delay":
            return self.synapses.delays.copy()
        value = super().__getitem__(key)
        if key == "weight":
            value = value.reshape(self.synapses.weights.shape)
            if not self.synapses.nonzero_weights:
                value.flat[0] = 1  # stock netx fails without any weight; zero again once the block exists
        return value
