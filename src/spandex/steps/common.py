"""What several steps need."""

import torch

from spandex.models import SDNN
from spandex.params import Params


def new_network(params: Params) -> SDNN:
    """The SDNN of the parameters, its weights drawn with the seed."""
    torch.manual_seed(params.seed)
    return SDNN(**params.model.model_dump(exclude={"pretrained"}))
