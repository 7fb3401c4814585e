"""What several steps need."""

import torch

from spandex.errors import SpandexError
from spandex.networks import SDNN, MaskNetwork, from_factory
from spandex.params import Params


def new_network(params: Params) -> MaskNetwork:
    """The network of the parameters, its weights drawn with the seed."""
    torch.manual_seed(params.seed)
    model = params.model
    if model.factory is None:
        return SDNN(**model.model_dump(exclude={"factory", "arguments", "pretrained"}))
    try:
        return from_factory(model.factory, model.arguments, model.n_fft, model.hop)
    except SpandexError as error:
        raise SpandexError(f"model.factory: {error}") from None
