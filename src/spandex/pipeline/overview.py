"""The networks that the parameters declare: what each is made from, what is there, what the rest would take, and what
to try next."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spandex.params import Network, Params, flatten
from spandex.params.networks import ROOT
from spandex.pipeline.estimate import seconds_by_rule
from spandex.pipeline.phases import exported, scores
from spandex.pipeline.recipes import is_made

RULES = ("fine_tune", "export_network", "evaluate_network")  # what makes a network and its scores


class Line(NamedTuple):
    """A network, in words.

    Attributes:
        network: its name.
        shown: in which reports.
        origin: what it is made from, and how.
        exists: which of its weights, scores are there.
    """

    network: str
    shown: str
    origin: str
    exists: str


def overview(params: Params) -> tuple[list[Line], float | None]:
    """A line for each network, and about how many seconds the missing ones would take on this machine, one by one.

    Returns:
        The lines, and the time: by what the same steps took here for other networks; None where none has run.
    """
    found = [(network, *_there(params, network)) for network in params.every]
    lines = [
        Line(network.name, ", ".join(_reports(params, network)), _origin(params, network), _words(weights, scores))
        for network, weights, scores in found
    ]
    missing = [network for network, weights, scores in found if network.is_trained and not (weights and scores)]
    taken = seconds_by_rule(params.folder("reports") / "times")
    if not all(rule in taken for rule in RULES):
        return lines, None if missing else 0.0
    return lines, len(missing) * sum(taken[rule] for rule in RULES)


def next_to_try(params: Params, in_file: Params) -> str:
    """A command that runs as it stands: change a network, then real audio, then prune at once.

    Args:
        params: of a build that is done.
        in_file: those that params.yaml gives the same profile.
    """
    pruned = next(
        (network for network in reversed(params.table) if network.methods.get("magnitude", {}).get("target")), None
    )
    if params.data.is_synthetic and params.digest() == in_file.digest() and pruned:
        target = (1 + pruned.methods["magnitude"]["target"]) / 2
        return f'make SET="networks.{pruned.name}.magnitude.target={target:g}"'
    if params.data.is_synthetic and not is_made(Path("reports/mini/table.csv")):
        return "make PROFILE=mini"
    network = exported(params, ROOT)
    return f".venv/bin/spandex prune --network {network} \\\n    --target 0.8 --output build/pruned"


def _there(params: Params, network: Network) -> tuple[bool, bool]:
    weights = network.audio is None and is_made(params.folder("models") / network.weights)
    return weights, is_made(scores(params, network.name))


def _reports(params: Params, network: Network) -> Iterator[str]:
    if network in [*params.table, *params.beside]:
        yield "table"
    yield from (name for name, seeds in params.comparable.items() if any(network in seed for seed in seeds))


def _origin(params: Params, network: Network) -> str:
    if network.audio or network.file:
        return f"audio {network.audio}" if network.audio else f"file {network.file}"
    shared = params.sparsify.fine_tuning
    own = {key: value for key, value in network.fine_tuning.items() if value != shared.get(key)}
    methods = "; ".join(f"{name} {_listed(settings)}" for name, settings in network.methods.items())
    how = [word for word in ("dynamic_mixing", "augmentation", "shrink", "lookahead") if getattr(network, word)]
    start = f"from {network.start}" if network.start else "model and train"
    return ", ".join(filter(None, [start, _listed(flatten(own)), methods, *how]))


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _words(weights: bool, scores: bool) -> str:
    return ", ".join(word for word, there in (("weights", weights), ("scores", scores)) if there) or "-"
