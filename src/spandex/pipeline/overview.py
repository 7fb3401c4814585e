"""The networks that the parameters declare: what each is made from, what is there, and what the rest would take."""

from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from spandex.params import Network, Params
from spandex.pipeline.recipes import is_made
from spandex.report.origin import times

STEPS = ("fine_tune_", "export_", "evaluate_")  # how the names of their measured times begin


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
        Line(network.name, ", ".join(_reports(params, network)), _origin(network), _words(weights, scores))
        for network, weights, scores in found
    ]
    missing = [network for network, weights, scores in found if network.is_trained and not (weights and scores)]
    measured = {time.job: time.wall_s for time in times(Path("reports", params.profile))}
    taken = [[seconds for job, seconds in measured.items() if job.startswith(step) and seconds] for step in STEPS]
    if not all(taken):
        return lines, None if missing else 0.0
    return lines, len(missing) * sum(map(mean, taken))


def _there(params: Params, network: Network) -> tuple[bool, bool]:
    models, reports = Path("models", params.profile), Path("reports", params.profile)
    weights = network.audio is None and is_made(models / network.weights)
    return weights, is_made(reports / "evaluate" / f"{network.name}.json")


def _reports(params: Params, network: Network) -> Iterator[str]:
    if network in params.table:
        yield "table"
    yield from (name for name, seeds in params.comparable.items() if any(network in seed for seed in seeds))


def _origin(network: Network) -> str:
    if network.audio or network.file:
        return f"audio {network.audio}" if network.audio else f"file {network.file}"
    methods = "; ".join(
        f"{name} {', '.join(f'{key} {value}' for key, value in settings.items())}"
        for name, settings in network.methods.items()
    )
    return ", ".join(filter(None, [f"from {network.start}" if network.start else "model and train", methods]))


def _words(weights: bool, scores: bool) -> str:
    return ", ".join(word for word, there in (("weights", weights), ("scores", scores)) if there) or "-"
