"""Pools of lava-dl as the convolutions that they are, which netx can build."""

import os
import shutil

import h5py
import numpy as np

from spandex.errors import SpandexError
from spandex.files import atomic_path
from spandex.networks.hdf5 import MOST_IN_8_BITS, network_layers, unbuilt_pool


def pools_as_convolutions(path: str | os.PathLike, output: str | os.PathLike) -> list[int]:
    """Write a network file again, with a convolution of each channel by itself in the place of every pool.

    lava-dl writes one weight for all channels of a pool, and its netx (0.6) builds none. Stock netx and Lava compute
    with the written file what ``spandex.deploy.Executor`` computes with either.

    Returns:
        The numbers of the layers that were pools.

    Raises:
        SpandexError: as ``network_layers``, or a pool has more channels than Lava's convolution can have groups.
    """
    pools = [layer for layer in network_layers(path) if layer.type == "pool"]
    for layer in pools:
        if layer.shape[0] > MOST_IN_8_BITS:
            raise SpandexError(f"{path}: layer {layer.index}: {unbuilt_pool(layer.shape[0])}")
    with atomic_path(output) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            for layer in pools:
                group, channels = file[f"layer/{layer.index}"], layer.shape[0]
                weight = np.broadcast_to(group["weight"], (channels, *group["weight"].shape[1:]))
                for key, value in {"type": np.array([b"conv"]), "weight": weight, "groups": channels}.items():
                    group.pop(key, None)
                    group[key] = value
    return [layer.index for layer in pools]
