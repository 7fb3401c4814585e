"""Networks as files: the state dict (``network.pt``) and lava-dl's HDF5 (``network.net``).

Both are written so that equal networks give equal bytes, and read without running anything in them.
"""

import io
import math
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import torch

from spandex.errors import SpandexError
from spandex.files import atomic_path
from spandex.models.sdnn import SDNN


def save_state(network: torch.nn.Module, path: str | os.PathLike) -> None:
    """Write the state dict; equal weights give equal bytes, whatever the path."""
    state = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in network.state_dict().items()
    }
    # Given a path, torch.save writes the path's name into the file; given a stream it does not.
    stream = io.BytesIO()
    torch.save(state, stream)
    with atomic_path(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def load_state(network: torch.nn.Module, path: str | os.PathLike) -> None:
    """Read a state dict into ``network``.

    Raises:
        SpandexError: the file is missing, holds no state dict, or its entries do not fit the network.
    """
    _apply_state(network, _read_state(path), path)


def export_hdf5(network: torch.nn.Module, path: str | os.PathLike) -> None:
    """Write lava-dl's HDF5 of ``network.blocks``, as lava's netx reads it; equal networks give equal bytes.

    The format is lava-dl's own (each block writes itself): weights times 64, delays rounded down to steps.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        layers = file.create_group("layer")
        for i, block in enumerate(network.blocks):
            block.export_hdf5(layers.create_group(str(i)))


def load_published(path: str | os.PathLike) -> SDNN:
    """The network of a published file: a state dict (``network.pt``) or an HDF5 (``network.net``).

    Both of the challenge's baseline and the pruned ones of SPANDEX load; the hidden width is the file's.

    Raises:
        SpandexError: the file is missing or is not such a network.
    """
    if Path(path).is_file() and h5py.is_hdf5(path):
        return from_hdf5(path)
    state = _read_state(path)
    key = "blocks.2.synapse.weight"
    if key not in state or state[key].ndim != 5:
        raise SpandexError(f"{path}: not a state dict of the SDNN: {key} is missing or has the wrong shape")
    network = SDNN(hidden=state[key].shape[0])
    _apply_state(network, state, path)
    return network


def from_hdf5(path: str | os.PathLike) -> SDNN:
    """The SDNN of an HDF5 written by lava-dl: weights, delays and thresholds as exported, hence quantised.

    Raises:
        SpandexError: the file is missing, is no network that Lava could run, or is not the SDNN: four layers, no bias.
    """
    from spandex.deploy.network_file import network_layers  # deploy needs this package

    network_layers(path)  # refuses what cannot be right
    with h5py.File(path) as file:
        layers = file.get("layer")
        if not isinstance(layers, h5py.Group) or sorted(layers) != ["0", "1", "2", "3"]:
            raise SpandexError(f"{path}: not the SDNN: expected the groups layer/0 to layer/3")
        biased = [index for index in sorted(layers) if "bias" in layers[index] and np.any(layers[index]["bias"][()])]
        if biased:
            raise SpandexError(f"{path}: not the SDNN: layer/{biased[0]} has a bias")
        bins, hidden = (int(_dataset(layers, name, path).flat[0]) for name in ("0/shape", "1/shape"))
        if bins < 2 or hidden < 1:
            raise SpandexError(f"{path}: not the SDNN: layer/0 has {bins} neurons and layer/1 has {hidden}")
        longest = max(math.ceil(_dataset(layers, f"{i}/delay", path).max()) for i in (1, 2))
        # 64 is the challenge's limit; a network trained with a higher one keeps its delays.
        network = SDNN(n_fft=2 * (bins - 1), hop=(bins - 1) // 2, hidden=hidden, max_delay=max(64, longest))
        state = {}
        for i, block in enumerate(network.blocks):
            scale = block.neuron.w_scale
            state[f"blocks.{i}.neuron.bias"] = np.zeros(1)
            state[f"blocks.{i}.neuron.delta.threshold"] = (
                np.atleast_1d(_dataset(layers, f"{i}/neuron/vThMant", path)) / scale
            )
            if i > 0:
                weight = _dataset(layers, f"{i}/weight", path) / scale
                state[f"blocks.{i}.synapse.weight"] = weight.reshape(*weight.shape, 1, 1, 1)
            if i in (1, 2):
                state[f"blocks.{i}.delay.delay"] = _dataset(layers, f"{i}/delay", path)
    _apply_state(network, {key: torch.from_numpy(np.asarray(v, np.float32)) for key, v in state.items()}, path)
    return network


def _dataset(layers: h5py.Group, name: str, path: str | os.PathLike) -> np.ndarray:
    dataset = layers.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf" or dataset.size == 0:
        raise SpandexError(f"{path}: layer/{name} is missing or not numeric")
    return np.asarray(dataset[()])


def _read_state(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise SpandexError(f"{path}: not a state dict written by torch (it holds more than tensors)") from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise SpandexError(f"{path}: not a state dict written by torch ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SpandexError(f"{path}: not a state dict: expected names mapped to tensors")
    return state


def _apply_state(network: torch.nn.Module, state: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    own = network.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, the network {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if problems:
        raise SpandexError(f"{path}: does not fit the network: {'; '.join(problems)}")
    network.load_state_dict(state)
