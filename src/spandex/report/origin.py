"""What produced a build: times of its rules, digests of its files, its parameters line by line."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spandex.files import sha256
from spandex.files.usage import Usage

DIGITS = 16  # of a digest that people compare


@dataclass(frozen=True)
class Time:
    """What a job took; None where that is not known.

    Attributes:
        job: rule and wildcards.
        wall_s: seconds, as Snakemake measured them.
        cpu_s, memory_mb: see ``Usage``.
    """

    job: str
    wall_s: float | None
    cpu_s: float | None
    memory_mb: float | None


def times(reports: Path) -> list[Time]:
    """Of every job of the build whose results lie in ``reports``, longest first, but for the report that tells them."""
    found = []
    for file in sorted((reports / "times").rglob("*.tsv")):
        if file == reports / "times" / "report.tsv":
            continue  # of the time before
        with file.open(encoding="utf-8", newline="") as opened:
            row = next(csv.DictReader(opened, delimiter="\t"), {})
        job = file.relative_to(reports / "times").with_suffix("").as_posix()
        found.append(Time(job, _number(row.get("s")), *Usage.read(reports / "logs" / f"{job}.log")))
    return sorted(found, key=lambda time: -(time.wall_s or 0))


def digests(files: Iterable[Path]) -> dict[str, str]:
    """The first digits of the SHA-256 of files that exist, by path."""
    return {file.as_posix(): sha256(file)[:DIGITS] for file in files if file.is_file()}


def as_yaml(sections: Mapping[str, Any]) -> str:
    """Parameters as they would stand in params.yaml."""
    return yaml.safe_dump(dict(sections), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # Snakemake writes NA or - for what it did not see
        return None
