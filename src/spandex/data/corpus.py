"""The manifest of a corpus: a CSV file that lists its audio files."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError
from spandex.files import atomic_path
from spandex.files.text import numbered_rows

KINDS = ("speech", "noise")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Entry:
    """One audio file; ``path`` is relative to the manifest's folder, or absolute."""

    path: str
    kind: str  # speech or noise
    split: str  # train, validation or test
    group: str  # speaker, or kind or recording of noise
    sample_rate_hz: int
    duration_s: float
    sha256: str


def read_manifest(path: str | Path) -> list[Entry]:
    """The entries of a manifest.

    Raises:
        SpandexError: the file is missing, lacks a column, or holds an impossible value.
    """
    names = [field.name for field in fields(Entry)]
    entries = []
    for line, cells in numbered_rows(path, names):
        row: dict[str, Any] = {name: cells[name] for name in names}
        try:
            row["sample_rate_hz"], row["duration_s"] = int(row["sample_rate_hz"]), float(row["duration_s"])
        except ValueError as error:
            raise SpandexError(f"{path}, line {line}: {error}") from None
        entry = Entry(**row)
        if entry.kind not in KINDS or entry.split not in SPLITS:
            raise SpandexError(f"{path}, line {line}: kind {entry.kind!r}, split {entry.split!r}")
        entries.append(entry)
    return entries


def write_manifest(path: str | Path, entries: Iterable[Entry]) -> Path:
    """Write a manifest, sorted by path."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Entry)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in sorted(entries, key=lambda entry: entry.path))
    return Path(path)
