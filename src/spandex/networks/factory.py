"""A user's own lava-dl network in the place of the SDNN."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lava.lib.dl.slayer.block import sigma_delta

from spandex.errors import SpandexError, one_line
from spandex.networks.files import export_hdf5
from spandex.networks.hdf5 import network_layers
from spandex.networks.references import resolve
from spandex.networks.sdnn import MaskNetwork


def from_factory(name: str, arguments: Mapping[str, Any], n_fft: int, hop: int) -> MaskNetwork:
    """The mask network around the lava-dl blocks that a callable makes.

    The callable returns sigma-delta blocks as a sequence, or a module whose ``blocks`` they are: Input, Dense with
    ``delay_shift=True`` as often as wanted, Output. The first takes n_fft / 2 + 1 values, the last gives as many.

    Args:
        name: ``package.module:callable``.
        arguments: of the callable, by keyword.
        n_fft, hop: samples of a frame and of a step.

    Raises:
        SpandexError: there is no such callable, it fails, or what it returns is not such a network.
    """
    factory = resolve(name)
    try:
        made = factory(**arguments)
        blocks = list(getattr(made, "blocks", made))
    except Exception as error:  # whatever the user's code raises
        raise SpandexError(f"{name}: {type(error).__name__}: {one_line(error)}") from None
    _check(name, blocks)
    size = n_fft // 2 + 1
    for end, found in (("takes", blocks[1].synapse.in_channels), ("gives", blocks[-1].synapse.out_channels)):
        if found != size:
            raise SpandexError(f"{name}: it {end} {found} values, a spectrum of {n_fft} samples has {size}")
    try:
        network = MaskNetwork(blocks, n_fft, hop)
        _check_deployable(network)
    except Exception as error:  # whatever lava-dl raises of these blocks
        raise SpandexError(f"{name}: {one_line(error)}") from None
    return network


def _check(name: str, blocks: list[Any]) -> None:
    kinds = [sigma_delta.Input, *[sigma_delta.Dense] * (len(blocks) - 2), sigma_delta.Output]
    if len(blocks) < 2 or not all(map(isinstance, blocks, kinds)):
        found = ", ".join(type(block).__name__ for block in blocks)
        raise SpandexError(
            f"{name}: expected the sigma-delta blocks Input, Dense, ..., Output, not {found or 'nothing'}"
        )
    logging = [str(number) for number, block in enumerate(blocks) if getattr(block, "count_log", False)]
    if logging:
        raise SpandexError(f"{name}: block {logging[0]} logs its events (count_log) and returns them beside its output")
    persistent = [
        str(number) for number, block in enumerate(blocks) if getattr(block.neuron, "persistent_state", False)
    ]
    if persistent:
        raise SpandexError(f"{name}: block {persistent[0]} has persistent_state; every batch begins at rest")
    transform = [part for part in ("weight", "bias") if getattr(blocks[0], part) is not None]
    if transform:
        raise SpandexError(f"{name}: block 0 has a {transform[0]}, which the encoder of a mask network does not apply")
    for number, block in enumerate(blocks[1:-1], start=1):
        if block.neuron.delta.cum_error or not block.neuron.delta.shared_param:
            kind = "cumulative error" if block.neuron.delta.cum_error else "a threshold for every neuron"
            raise SpandexError(f"{name}: block {number} has {kind}, which lava-dl's export leaves out")
        if block.delay_shift is not True:
            raise SpandexError(
                f"{name}: block {number} has no delay_shift, the step that Lava takes from layer to layer"
            )
        if block.neuron.activation not in (torch.relu, torch.nn.functional.relu):
            activation = getattr(block.neuron.activation, "__name__", block.neuron.activation)
            raise SpandexError(f"{name}: block {number} has the activation {activation}; Lava runs relu")


def _check_deployable(network: MaskNetwork) -> None:
    """Export once and read it, so that what cannot be deployed is refused before it is trained."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.net"
        export_hdf5(network, path)
        try:
            network_layers(path)
        except SpandexError as error:
            raise SpandexError(str(error).removeprefix(f"{path}: ")) from None
