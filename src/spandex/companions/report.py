"""What the companion papers came to, as files: verdicts, tables, figures, and one summary of all that have run."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError
from spandex.files import write_json, write_text
from spandex.files.text import read_json
from spandex.metrics.bootstrap import Interval
from spandex.report.claims import Finding, Verdict
from spandex.report.papers import SCOPE, Section
from spandex.report.tabular import Cell, Table, to_markdown, write_table

VERDICTS = "verdicts.json"


def write_paper_report(
    title: str, findings: Iterable[Finding], tables: Sequence[Table], figures: Sequence[Path], folder: str | Path
) -> list[Path]:
    """Write what a paper's runs came to; equal runs give equal bytes.

    Args:
        title: of the paper, for people.
        findings: its claims, judged.
        tables: gives NAME.csv, NAME.md and NAME.tex each.
        figures: files in ``folder``, written already.
        folder: gets the tables, and verdicts.json, written last.

    Returns:
        all files, the figures too.
    """
    folder = Path(folder)
    written = [path for table in tables for path in write_table(table, folder)]
    content = {
        "title": title,
        "findings": [asdict(finding) for finding in findings],
        "tables": [{**asdict(table), "rows": [list(map(_to_json, row)) for row in table.rows]} for table in tables],
        "figures": [path.relative_to(folder).as_posix() for path in figures if path.suffix == ".png"],
    }
    write_json(folder / VERDICTS, content)
    return [*written, *figures, folder / VERDICTS]


def companion_sections(folders: Iterable[Path]) -> list[Section]:
    """What came of papers and comparisons, from those of the folders that hold verdicts.

    Raises:
        SpandexError: a verdicts.json is not what ``write_paper_report`` writes, or a figure is missing.
    """
    return [_section(folder / VERDICTS) for folder in folders if (folder / VERDICTS).is_file()]


def write_summary(sections: Iterable[Section], path: Path) -> None:
    """Write verdicts and tables of sections as Markdown."""
    parts = ["# Companion papers", SCOPE]
    for section in sections:
        verdicts = [[finding.claim, finding.verdict.value, finding.here] for finding in section.findings]
        parts += [f"## {section.title}", to_markdown(Table("verdicts", "", ["claim", "verdict", "here"], verdicts))]
        for table in section.tables:
            parts += [f"{table.caption}:", to_markdown(table)]
    write_text(path, "\n\n".join(part.rstrip("\n") for part in parts) + "\n")


def _section(path: Path) -> Section:
    content = read_json(path)
    try:
        section = Section(
            path.parent.name,
            content["title"],
            [Finding(**{**fields, "verdict": Verdict(fields["verdict"])}) for fields in content["findings"]],
            [
                Table(**{**fields, "rows": [list(map(_to_cell, row)) for row in fields["rows"]]})
                for fields in content["tables"]
            ],
            [path.parent / name for name in content["figures"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpandexError(f"{path}: not the verdicts of a companion paper ({error})") from None
    for figure in section.figures:
        if not figure.is_file():
            raise SpandexError(f"{figure}: no such file; delete {path}, and make companions makes both again")
    return section


def _to_json(cell: Cell) -> Any:
    """An interval as three numbers, of which those that are not known are null."""
    return [value if isfinite(value) else None for value in cell] if isinstance(cell, Interval) else cell


def _to_cell(content: Any) -> Cell:
    if not isinstance(content, list):
        return content
    mean, low, high = content
    return Interval(mean, -inf if low is None else low, inf if high is None else high)
