"""What several steps need."""

from pathlib import Path

import torch

from spandex.errors import SpandexError, prefixed
from spandex.networks import SDNN, MaskNetwork, from_factory, load_network, load_state
from spandex.params import Params


def new_network(params: Params) -> MaskNetwork:
    """The network of the parameters, its weights drawn with the seed."""
    torch.manual_seed(params.seed)
    model = params.model
    if model.factory is None:
        return SDNN(**model.model_dump(exclude={"factory", "arguments", "pretrained"}))
    with prefixed("model.factory: "):
        return from_factory(model.factory, model.arguments, model.n_fft, model.hop)


def stored_network(params: Params, name: str, path: Path) -> MaskNetwork:
    """A network of the parameters with the weights of a file; where a file of others began it, in the shape of that.

    Its lookahead is that of its entry.

    Args:
        params: of the build.
        name: of the network.
        path: state dict, or HDF5.

    Raises:
        SpandexError: the file is missing or is no such network.
    """
    if params.origin(name).file is not None and params.model.factory is None:
        network = load_network(path, params.model.hop)
        if network.n_fft != params.model.n_fft:
            raise SpandexError(
                f"{path}: for frames of {network.n_fft} samples; those of model.n_fft are {params.model.n_fft}"
            )
    else:
        network = new_network(params)
        load_state(network, path)
    network.lookahead = params.network(name).lookahead
    return network
