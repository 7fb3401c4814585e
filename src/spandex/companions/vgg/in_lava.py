"""The exported network as Lava processes, against lava-dl."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spandex.companions.vgg.network import SpikingVgg, encode
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.lava_run import run_in_lava
from spandex.deploy.netx import Network


@dataclass(frozen=True)
class InLava:
    """What Lava made of a network file.

    Attributes:
        sparse_layers: dense layers with Lava's sparse synapses.
        sparse_synapses: synapses in them.
        spikes: of the output neurons, 0 or 1, (neurons, steps).
    """

    sparse_layers: int
    sparse_synapses: int
    spikes: np.ndarray


def run_image(path: str | Path, network: SpikingVgg, image: torch.Tensor) -> InLava:
    """Run the network of a file in Lava's simulation of Loihi 2, dense layers with sparse synapses, on one image.

    Every synapse in Lava hands on what it received one step later, so the output is that of lava-dl after as many
    steps as there are layers; these are left out here.

    Args:
        path: HDF5 network.
        network: whose file it is.
        image: standardised (channels, height, width).

    Raises:
        SpandexError: the file is none that Lava can run, or Lava failed.
    """
    spikes = encode(image.cpu()[np.newaxis], network.steps)[0].numpy().astype(np.int32)
    late = len(network.layers)
    inputs = np.pad(spikes.transpose(2, 1, 0, 3).reshape(-1, network.steps), ((0, 0), (0, late)))
    with processes_forgotten():
        deployed = Network(path, sparsity_map=True)
        layers = deployed.dense_layers.values()
        outputs = run_in_lava(deployed, inputs)
    return InLava(
        sparse_layers=sum(deployed.sparse_layers.values()),
        sparse_synapses=sum(layer.nonzero_weights for layer in layers),
        spikes=outputs[:, late:],
    )
