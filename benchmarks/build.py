"""Where the time of the last build went: what each kind of step took, how many cores it kept busy, and what waited.

Reads what the build in this folder left in reports/PROFILE: the time of each step and, in its log, the processor time
and when it ended, since a build that goes on marks all times as new. A step's kind is its rule. Steps that
were there before are those of the build that made them, so measure a build that began with nothing.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from spandex.errors import SpandexError
from spandex.files import write_json
from spandex.files.text import read_text
from spandex.files.usage import Usage
from spandex.steps.bench import benchmark_parser

Interval = tuple[float, float]


@dataclass(frozen=True)
class Step:
    """A step of a build.

    Attributes:
        kind: the rule of the workflow.
        start, end: seconds since the epoch.
        processor_s: of all its threads.
    """

    kind: str
    start: float
    end: float
    processor_s: float


def steps(reports: Path) -> list[Step]:
    """The steps of a build, from the files that Snakemake timed them in and from their logs.

    Raises:
        SpandexError: there are none, or they lack something.
    """
    found = []
    for path in sorted((reports / "times").glob("**/*.tsv")):
        name = path.relative_to(reports / "times").with_suffix("")
        log = reports / "logs" / f"{name}.log"
        row = next(csv.DictReader(read_text(path).splitlines(), delimiter="\t"), {})
        if not {"rule_name", "s"} <= row.keys() or not log.is_file():
            raise SpandexError(f"{path}: no rule and time, or no log {log}; the build of another version left it")
        end = log.stat().st_mtime
        found.append(Step(row["rule_name"], end - float(row["s"]), end, Usage.read(log).cpu_s or 0.0))
    if not found:
        raise SpandexError(f"{reports / 'times'}: no build has left its times there")
    return found


def measure(found: Sequence[Step], cores: int) -> dict[str, dict[str, float]]:
    """By kind, and of the whole build: steps, seconds that pass, processor seconds, cores busy on average, and core
    seconds that nothing used while steps of this kind ran, shared among those that ran at a time."""
    start, end = min(step.start for step in found), max(step.end for step in found)
    whole = Step("the whole build", start, end, sum(step.processor_s for step in found))
    idle = _idle(found, cores)
    kinds = dict.fromkeys(step.kind for step in found)
    rows = {kind: [step for step in found if step.kind == kind] for kind in kinds} | {whole.kind: [whole]}
    figures = {}
    for kind, part in rows.items():
        wall_s = sum(step.end - step.start for step in part)
        used_s = sum(step.processor_s for step in part)
        figures[kind] = {
            "steps": len(found) if part == [whole] else len(part),
            "wall_s": wall_s,
            "processor_s": used_s,
            "cores_busy": used_s / wall_s if wall_s else 0.0,
            "idle_core_s": sum(idle.values()) if part == [whole] else idle[kind],
        }
    return figures


def _idle(found: Sequence[Step], cores: int) -> dict[str, float]:
    """Unused core seconds by kind."""
    edges = sorted({edge for step in found for edge in (step.start, step.end)})
    idle = dict.fromkeys((step.kind for step in found), 0.0)
    for start, end in pairwise(edges):
        running = [step for step in found if step.start <= start and end <= step.end]
        busy = sum(step.processor_s / (step.end - step.start) for step in running)
        for step in running:
            idle[step.kind] += max(cores - busy, 0.0) * (end - start) / len(running)
    return idle


def main(arguments: Sequence[str] | None = None) -> None:
    parser = benchmark_parser("build", __doc__)
    parser.add_argument("--reports", type=Path, default=Path("reports/synthetic"), help="folder of the profile")
    parser.add_argument("--workers", type=int, default=2, help="that the build had")
    options = parser.parse_args(arguments)
    figures = measure(steps(options.reports), options.workers)
    print("| step | steps | s | processor s | cores busy | idle core s |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, row in figures.items():
        numbers = (row[key] for key in ("wall_s", "processor_s"))
        cells = [kind, str(row["steps"]), *(f"{value:.0f}" for value in numbers)]
        print("| " + " | ".join([*cells, f"{row['cores_busy']:.2f}", f"{row['idle_core_s']:.0f}"]) + " |")
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
