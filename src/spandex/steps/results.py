"""What a build found out about its networks."""

from typing import Any

from spandex.files.text import read_json
from spandex.params import Params
from spandex.pipeline.phases import NOISY, scores
from spandex.sparsify import sparsity
from spandex.steps.common import stored_network


def noisy_scores(params: Params) -> dict[str, Any]:
    """Scores of the noisy input."""
    return read_json(scores(params, NOISY))[NOISY] | {"model": NOISY}


def network_scores(params: Params, name: str) -> dict[str, Any]:
    """Scores of a network, with the sparsity of its float weights, where they are known, and what produced it."""
    content = read_json(scores(params, name))
    about = {"model": name, "produced_by": content["produced_by"]}
    network = params.network(name)
    if network.has_float:
        about["sparsity"] = sparsity(stored_network(params, name, params.folder("models") / network.weights)).total
    return content["networks"][name] | about
