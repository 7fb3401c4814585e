"""What a build found out about its networks."""

from pathlib import Path
from typing import Any

from spandex.files.text import read_json
from spandex.networks import load_state
from spandex.params import Params
from spandex.sparsify import sparsity
from spandex.steps.common import new_network


def noisy_scores(reports: Path) -> dict[str, Any]:
    """Scores of the noisy input."""
    return read_json(reports / "evaluate" / "noisy.json")["noisy"] | {"model": "noisy"}


def network_scores(params: Params, models: Path, reports: Path, model: str) -> dict[str, Any]:
    """Scores of a network, with the sparsity of its float weights and what produced it."""
    content = read_json(reports / "evaluate" / f"{model}.json")
    network = new_network(params)
    load_state(network, models / params.network(model).folder / "network.pt")
    about = {"model": model, "sparsity": sparsity(network).total, "produced_by": content["produced_by"]}
    return content["networks"][model] | about
