"""Small networks of many kinds of lava-dl blocks, one block after the other."""

from pathlib import Path

import h5py
import torch
from lava.lib.dl import slayer
from tests.networks import hdf5_content

SDNN_NEURON = {"threshold": 0.1, "activation": torch.relu}
CUBA = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
ALIF = CUBA | {"threshold_step": 0.5, "threshold_decay": 0.25, "refractory_decay": 0.25}
RF = {"threshold": 1.0, "period": 10, "decay": 0.1}


class Chain(torch.nn.Module):
    """Blocks one after the other."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def dense_sdnn(**options):
    block = slayer.block.sigma_delta
    return Chain(
        block.Dense(SDNN_NEURON, 12, 16, delay=True, **options),
        block.Dense(SDNN_NEURON, 16, 14, **options),
        block.Output(SDNN_NEURON, 14, 5, **options),
    )


def convolutional_sdnn(**options):
    block = slayer.block.sigma_delta
    return Chain(
        block.Conv(SDNN_NEURON, 2, 4, 3, padding=1, delay=True, **options),
        block.Pool(SDNN_NEURON, 2),
        block.Conv(SDNN_NEURON, 4, 6, 3, groups=2, stride=2, padding=1, **options),
        block.ConvT(SDNN_NEURON, 6, 3, 2, **options),
        block.Flatten(),
        block.Dense(SDNN_NEURON, 27, 5, **options),
    )


def convolutional_cuba(**options):
    block = slayer.block.cuba
    return Chain(
        block.Conv(CUBA, 2, 4, 3, weight_scale=5, **options),
        block.Flatten(),
        block.Dense(CUBA, 64, 5, weight_scale=5, **options),
    )


def recurrent_alif(**options):
    block = slayer.block.alif
    return Chain(
        block.Dense(ALIF, 12, 9, weight_scale=5, **options),
        block.Recurrent(dict(ALIF), 9, 5, weight_scale=5, **options),  # it changes its argument
    )


def pooled_cuba(**options):
    block, options = slayer.block.cuba, {"weight_scale": 5, **options}
    return Chain(
        block.Conv(CUBA, 2, 8, 3, padding=1, **options),
        block.Pool(CUBA | {"threshold": 0.3}, 2),
        block.Conv(CUBA, 8, 6, 2, **options),
        block.Flatten(),
        block.Dense(CUBA, 24, 9, **options),
        block.Dense(CUBA, 9, 5, **options),
    )


def recurrent_cuba(**options):
    block, options = slayer.block.cuba, {"weight_scale": 5, **options}
    return Chain(
        block.Dense(CUBA, 12, 16, **options),
        block.Recurrent(dict(CUBA), 16, 14, **options),
        block.Recurrent(dict(CUBA), 14, 9, **options),
        block.Dense(CUBA, 9, 5, **options),
    )


def complex_rf(**options):
    block = slayer.block.rf
    return Chain(block.Dense(RF, 12, 9, weight_scale=5, **options), block.Dense(RF, 9, 5, weight_scale=5, **options))


def exported(network: Chain, path: Path) -> dict[str, tuple | None]:
    """Content of the HDF5 that the blocks write."""
    with h5py.File(path, "w") as file:
        for i, block in enumerate(network.blocks):
            block.export_hdf5(file.create_group(f"layer/{i}"))
    return hdf5_content(path)
