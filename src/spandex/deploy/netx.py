"""Networks exported by lava-dl as Lava processes, with sparse or dense synapses chosen layer by layer.

Released lava-dl (0.6) converts either every fully connected layer to sparse synapses or none (``sparse_fc_layer``).
"""

import os
from typing import Any
from unittest import mock

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks import process as blocks
from lava.lib.dl.netx.blocks.models import AbstractPyBlockModel
from lava.lib.dl.netx.blocks.process import Conv, Dense
from lava.lib.dl.netx.utils import NetDict
from lava.magma.core.decorator import implements
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spandex.deploy.layers import NetxOptions, check_input
from spandex.deploy.sparsity_map import SparsityMap, chosen_layers
from spandex.deploy.unrolled import Unrolled
from spandex.errors import SpandexError, one_line
from spandex.networks.hdf5 import DeployedLayer, network_layers, unbuilt_pool
from spandex.params.section import DENSITY_THRESHOLD

MOST_UNROLLED = 2**25  # weights of a convolution, zeros too; while Lava unrolls them, each takes some 60 bytes


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
        unroll: simulate convolutions as ``Unrolled`` synapses, in less time, with the same bits, in more memory. Sums
            beyond 32 bits, for which Lava's convolution has no defined result, end the run.
        options: those of ``NetxOptions``. What arrives at a network without an input layer are spikes if
            input_message_bits is None, which is refused for sigma-delta neurons.

    Attributes:
        dense_layers: {number of the layer in the file: ``DeployedLayer``}, of the fully connected layers but for
            recurrent ones and those with complex weights.
        sparse_layers: {number of the layer in the file: sparse}, of those that are not skipped.
        unrolled_layers: {number of the layer in the file: synapses}, likewise, of convolutions that are unrolled.
        net_config: the stock network's view of the file; closed once the layers exist.

    Raises:
        SpandexError: the file is missing, truncated, no lava-dl network or holds a layer Lava cannot
            run, the map does not fit it, or the width of its input messages is unknown.
    """

    _runtime = None  # what Lava's destructor looks at, also when the arguments were refused

    def __init__(
        self,
        path: str | os.PathLike,
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = DENSITY_THRESHOLD,
        unroll: bool = False,
        **options: Any,
    ):
        if "sparse_fc_layer" in options:
            raise SpandexError("use sparsity_map in place of sparse_fc_layer")
        chosen = NetxOptions(**options)
        layers = network_layers(path, chosen.num_layers, chosen.input_shape)
        check_input(path, layers, chosen)
        for layer in layers:
            if layer.type == "pool":
                raise SpandexError(f"{path}: layer {layer.index}: {unbuilt_pool(layer.shape[0])}")
        options["input_message_bits"] = chosen.input_message_bits or 0  # spikes
        self.dense_layers = {layer.index: layer.synapses for layer in layers if layer.synapses}
        generated = {layer.index: layer.connected for layer in layers[chosen.skip_layers :] if layer.connected}
        self.unrolled_layers = {}
        for layer in layers[chosen.skip_layers :]:
            if unroll and layer.kernels:
                weights = layer.neurons * layer.kernels.weights[0].size
                if weights > MOST_UNROLLED:
                    raise SpandexError(
                        f"{path}: layer {layer.index}: {weights:,} weights when unrolled; at most {MOST_UNROLLED:,}"
                    )
                self.unrolled_layers[layer.index] = layer.unrolled
        self.sparse_layers = chosen_layers(path, sparsity_map, generated, density_threshold)
        try:
            super().__init__(os.fspath(path), **options)
        except SpandexError:
            raise
        except Exception as error:  # what netx and Lava raise has no kind in common
            raise SpandexError(f"{path}: netx cannot build the network ({one_line(error)})") from error
        self.net_config.f.close()

    def create_dense(self, layer_config: NetDict, **options: Any) -> tuple[Dense, str]:
        """The stock block of a fully connected layer, with the synapse that the sparsity map asks for."""
        index = int(layer_config.f.name.rsplit("/", 1)[-1])
        options["sparse_synapse"] = self.sparse_layers.get(index, False)  # netx builds skipped layers too
        synapses = self.dense_layers.get(index)
        if synapses is None:
            return hdf5.Network.create_dense(layer_config, **options)
        with np.errstate(divide="ignore"):  # stock netx divides by the largest weight of one sign, which may be 0
            block, description = hdf5.Network.create_dense(_Layer(layer_config, synapses), **options)
        if not synapses.nonzero_weights:
            block.synapse.weights.init = block.synapse.weights.init * 0
        return block, description

    def create_conv(self, *arguments: Any, **options: Any) -> tuple[Conv, str]:
        """The stock block of a convolution, whose synapses are unrolled if that is asked for."""
        with mock.patch.object(blocks, "ConvSynapse", Unrolled if self.unrolled_layers else blocks.ConvSynapse):
            return hdf5.Network.create_conv(*arguments, **options)


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
