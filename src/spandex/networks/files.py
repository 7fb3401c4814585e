"""Networks as files: the state dict (``network.pt``) and lava-dl's HDF5 (``network.net``).

Both are written so that equal networks give equal bytes, and read without running anything in them.
"""

import copy
import io
import math
import os
import pickle
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from spandex.errors import SpandexError, prefixed
from spandex.files import atomic_path
from spandex.networks.hdf5 import check_encoding, network_layers, numbers
from spandex.networks.scaling import framing
from spandex.networks.sdnn import MaskNetwork, sigma_delta_blocks, sigma_delta_neuron

ORIGINAL, MASK = "_orig", "_mask"  # what torch.nn.utils.prune adds to the name of a pruned parameter


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
    """Read a state dict into ``network``; one that torch's pruning wrote is read as the weights that it stands for.

    Raises:
        SpandexError: the file is missing, holds no state dict, or its entries do not fit the network.
    """
    _apply_state(network, _read_state(path, network.state_dict()), path)


def export_hdf5(network: torch.nn.Module, path: str | os.PathLike) -> None:
    """Write lava-dl's HDF5 of ``network.blocks``, as lava's netx reads it; equal networks give equal bytes.

    The format is lava-dl's own (each block writes itself): weights times 64, delays rounded down to steps.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        layers = file.create_group("layer")
        for i, block in enumerate(network.blocks):
            _plain(block).export_hdf5(layers.create_group(str(i)))


def _plain(block: torch.nn.Module) -> torch.nn.Module:
    """The block, or a copy with plain weights of one that normalises them: some write those of their last forward."""
    normalised = [module for module in block.modules() if getattr(module, "weight_norm_enabled", False)]
    if not normalised:
        return block
    for module in normalised:
        if hasattr(module, "weight"):  # a complex synapse has two, which are normalised themselves
            # torch copies no tensor with a graph; the next forward makes it anew
            module.weight = module.weight.detach()
    copied = copy.deepcopy(block)
    for module in copied.modules():
        if getattr(module, "weight_norm_enabled", False):
            if hasattr(module, "weight"):
                module.disable_weight_norm()
            module.weight_norm_enabled = False
    return copied


def load_network(path: str | os.PathLike, hop: int | None = None) -> MaskNetwork:
    """The mask network of a state dict (``network.pt``) or of an HDF5 (``network.net``).

    Any number and width of dense layers will do, with delays or not: the challenge's baseline and the pruned networks
    of SPANDEX, and those that lost neurons. A state dict's neurons are the challenge's, but for their thresholds; it
    may hold weights as torch's pruning does (``weight_orig`` and ``weight_mask``).

    Args:
        path: of the file.
        hop: samples a step; a quarter of a frame if None.

    Raises:
        SpandexError: the file is missing or is not such a network, or its frames are no multiple of the hop.
    """
    if Path(path).is_file() and h5py.is_hdf5(path):
        return from_hdf5(path, hop)
    state = _read_state(path)
    shapes = {}
    while (key := f"blocks.{len(shapes) + 1}.synapse.weight") in state:
        shapes[key] = tuple(state[key].shape)
    if not shapes:
        raise SpandexError(f"{path}: not a state dict of a mask network: {key} is missing")
    for key, shape in shapes.items():
        if len(shape) != 5 or 0 in shape:
            raise SpandexError(f"{path}: not a state dict of a mask network: {key} has shape {shape}")
    widths = [next(iter(shapes.values()))[1], *(shape[0] for shape in shapes.values())]
    delays = {i: state[f"blocks.{i}.delay.delay"] for i in range(1, len(shapes)) if f"blocks.{i}.delay.delay" in state}
    for i, delay in delays.items():
        if not delay.numel():
            raise SpandexError(f"{path}: not a state dict of a mask network: blocks.{i}.delay.delay is empty")
    network = _mask_network(path, widths, delays, hop)
    _apply_state(network, state, path)
    return network


def from_hdf5(path: str | os.PathLike, hop: int | None = None) -> MaskNetwork:
    """The mask network of an HDF5 written by lava-dl: weights, delays and thresholds as exported, hence quantised.

    Args:
        path, hop: see ``load_network``.

    Raises:
        SpandexError: as there; the file is no network that Lava could run, or no mask network: dense sigma-delta
            layers after an input layer, without bias, that end with as many neurons as they begin with.
    """
    found = network_layers(path)  # refuses what cannot be right
    types = [layer.type for layer in found]
    if len(found) < 2 or types != ["input", *["dense"] * (len(found) - 1)]:
        raise SpandexError(f"{path}: no mask network: expected an input layer and dense ones, not {', '.join(types)}")
    for layer in found:
        if layer.neuron not in ("SDNN", None) or layer.neurons is None:
            raise SpandexError(f"{path}: no mask network: layer/{layer.index} has {layer.neuron} neurons")
    check_encoding(path)
    with h5py.File(path) as file:
        layers = file["layer"]
        biased = [name for name in layers if "bias" in layers[name] and np.any(layers[name]["bias"][()])]
        if biased:
            raise SpandexError(f"{path}: no mask network: layer/{biased[0]} has a bias")
        hidden = range(1, len(found) - 1)
        delays = {i: numbers(layers[str(i)], "delay") for i in hidden if "delay" in layers[str(i)]}
        widths = [layer.neurons for layer in found]
        network = _mask_network(path, widths, delays, hop)
        state = {}
        for i, block in enumerate(network.blocks):
            scale = block.neuron.w_scale
            with prefixed(f"{path}: layer/{i}: "):
                threshold = np.atleast_1d(numbers(layers[str(i)], "neuron/vThMant")) / scale
            state |= {f"blocks.{i}.neuron.bias": np.zeros(1), f"blocks.{i}.neuron.delta.threshold": threshold}
            if i > 0:
                weight = numbers(layers[str(i)], "weight") / scale
                state[f"blocks.{i}.synapse.weight"] = weight.reshape(*weight.shape, 1, 1, 1)
            if i in delays:
                state[f"blocks.{i}.delay.delay"] = delays[i]
    _apply_state(network, {key: torch.from_numpy(np.asarray(v, np.float32)) for key, v in state.items()}, path)
    return network


def _mask_network(
    path: str | os.PathLike, widths: Sequence[int], delays: Mapping[int, np.ndarray | torch.Tensor], hop: int | None
) -> MaskNetwork:
    """A network of these widths, whose hidden layers with ``delays``, by number, can hold them."""
    frame = framing(widths[0], widths[-1], path, hop)
    delayed = [layer in delays for layer in range(1, len(widths) - 1)]
    # 64 is the challenge's limit; a network trained with a higher one keeps its delays.
    longest = max([64, *(math.ceil(delay.max()) for delay in delays.values())])
    blocks = sigma_delta_blocks(widths, delayed, sigma_delta_neuron(), longest)
    return MaskNetwork(blocks, *frame)


def _read_state(path: str | os.PathLike, own: Container[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, pruned ones merged but for those that the network calls the same, its ``own``."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        reason = "it is HDF5, as lava-dl exports networks" if h5py.is_hdf5(path) else "it holds more than tensors"
        raise SpandexError(f"{path}: not a state dict written by torch ({reason})") from None
    except Exception as error:  # whatever the restricted unpickler stumbles over
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise SpandexError(f"{path}: not a state dict written by torch ({reason})") from None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise SpandexError(f"{path}: not a state dict: expected names mapped to tensors")
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise SpandexError(f"{path}: {key} is no plain tensor")
        wrong = tensor[~torch.isfinite(tensor)]
        if len(wrong):
            raise SpandexError(f"{path}: {key} holds {wrong[0].item()} in {len(wrong)} of {tensor.numel()} places")
    return _merge_pruned(state, own, path)


def _merge_pruned(
    state: Mapping[str, torch.Tensor], own: Container[str], path: str | os.PathLike
) -> dict[str, torch.Tensor]:
    """``name_orig`` times ``name_mask`` under their name, as torch.nn.utils.prune computes it.

    So does SPANDEX's training write its networks (Michaeljurado42/SPANDEX, train_sdnn_custom.py, prune_utils.py).
    """
    merged = dict(state)
    for key in state:
        if not key.endswith(ORIGINAL) or key in own:
            continue
        name = key.removesuffix(ORIGINAL)
        original, mask = merged.pop(key), merged.pop(name + MASK, None)
        if mask is None:
            raise SpandexError(f"{path}: {key} is pruned, but its mask {name + MASK} is missing")
        if mask.shape != original.shape:
            raise SpandexError(f"{path}: {key} has shape {tuple(original.shape)}, its mask {tuple(mask.shape)}")
        merged[name] = original * mask
    return merged


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
