"""How long the rest of a build takes, from how long its steps took before."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from spandex.pipeline.build import TARGETS

TIMELESS = {*TARGETS} - {"report"}  # rules that only name what a build is for


def seconds_by_rule(folder: Path) -> dict[str, float]:
    """Mean time of a rule's jobs in earlier builds.

    Args:
        folder: that all benchmark files lie below, which Snakemake wrote with ``--benchmark-extended``; may be missing.
    """
    found = defaultdict(list)
    for path in folder.rglob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                try:
                    found[row["rule_name"]].append(float(row["s"]))
                except (KeyError, TypeError, ValueError):
                    continue  # written without the rule's name, or torn
    return {rule: sum(seconds) / len(seconds) for rule, seconds in found.items()}


class Remaining(NamedTuple):
    """What is left of a build.

    Attributes:
        seconds: to its end, as far as that is known.
        is_whole: whether something is known of all jobs that are left.
    """

    seconds: float
    is_whole: bool


def remaining(
    to_do: Mapping[str, int],
    done: Mapping[str, Iterable[float]],
    running: Iterable[tuple[str, float]],
    before: Mapping[str, float],
    elapsed_s: float,
) -> Remaining | None:
    """How long the rest of the build takes; None if nothing tells.

    A rule takes what its jobs took in this build, else in the one before; jobs of other rules are left out. As many
    jobs run at a time as did so far.

    Args:
        to_do: number of all jobs of this build by rule, finished and running ones included.
        done: seconds of every finished job by rule.
        running: rule of every running job, and for how many seconds it has run.
        before: seconds of a job by rule, from an earlier build.
        elapsed_s: since the first job started.
    """
    finished = {rule: list(seconds) for rule, seconds in done.items()}
    known = {rule: before[rule] for rule in to_do if rule in before}
    known |= {rule: sum(seconds) / len(seconds) for rule, seconds in finished.items() if seconds}
    if not known:
        return None
    running = list(running)
    waiting = Counter(to_do)
    waiting.subtract({rule: len(seconds) for rule, seconds in finished.items()})
    waiting.subtract(rule for rule, _ in running)
    ahead = sum(known.get(rule, 0.0) * max(0, count) for rule, count in waiting.items())
    ahead += sum(max(0.0, known.get(rule, 0.0) - seconds) for rule, seconds in running)
    behind = sum(map(sum, finished.values())) + sum(seconds for _, seconds in running)
    at_a_time = max(1.0, behind / elapsed_s) if elapsed_s else 1.0
    return Remaining(ahead / at_a_time, to_do.keys() <= known.keys() | TIMELESS)
