"""Which fully connected layers of a network get sparse synapses in Lava."""

import os
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from spandex.errors import SpandexError, prefixed
from spandex.networks.hdf5 import MAX_DELAY, DeployedLayer

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


def chosen_layers(
    path: str | os.PathLike,
    sparsity_map: SparsityMap,
    layers: Mapping[int, DeployedLayer],
    density_threshold: float,
) -> dict[int, bool]:
    """Which fully connected layers of a network file become sparse: {layer index: sparse}. Warns of clamped delays.

    Raises:
        SpandexError: see ``resolve_sparsity_map``; with the file's name.
    """
    densities = {index: layer.density for index, layer in layers.items()}
    with prefixed(f"{path}: "):
        chosen = resolve_sparsity_map(sparsity_map, densities, density_threshold)
    warn_of_clamped_delays(path, list(layers.values()), stacklevel=5)  # past the metaclass that calls Lava's processes
    return chosen


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
