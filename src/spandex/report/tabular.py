"""Tables as text: for people in Markdown and LaTeX, for programs in CSV. Equal tables give equal bytes."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, isfinite, log10
from pathlib import Path

from spandex.files import write_text
from spandex.metrics.bootstrap import Interval
from spandex.report.tex import escape
from spandex.report.wording import MOST_DECIMALS, number

DIGITS = 3  # significant ones for people
CSV_DIGITS = 9  # more than people see, fewer than the last bits that an order of summation decides

Cell = str | float | Interval | None


@dataclass(frozen=True)
class Table:
    """A table for people, and as CSV.

    Attributes:
        name: of its file, without suffix.
        caption: one line.
        headings: of the columns, with units; the first is text.
        rows: text or numbers, or None for what is not known.
        decimals: that people see of the numbers of each column; of none given, as many as its size asks for.
    """

    name: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str | float | Interval | None]]
    decimals: Sequence[int | None] = field(default_factory=list)


def cell_parts(cell: Cell, decimals: int | None = None) -> tuple[str, str]:
    """A cell for people, and the bounds if it is an interval that has some; at least three significant digits, unless
    the number of decimals is given."""
    if cell is None:
        return "", ""
    if isinstance(cell, str):
        return cell, ""
    values = cell if isinstance(cell, Interval) else (cell,)
    shown = values if all(map(isfinite, values)) else values[:1]
    decimals = _decimals(max(shown, key=abs)) if decimals is None else decimals
    mean, *bounds = (number(value, decimals) for value in shown)
    return mean, " to ".join(bounds)


def cell_text(cell: Cell, decimals: int | None = None) -> str:
    """A cell in one line, bounds in brackets."""
    text, bounds = cell_parts(cell, decimals)
    return f"{text} ({bounds})" if bounds else text


def cell_value(cell: Cell) -> float | None:
    """The number by which a cell is sorted; None for text and what is not known."""
    return None if cell is None or isinstance(cell, str) else cell.mean if isinstance(cell, Interval) else cell


def numeric_columns(table: Table) -> list[bool]:
    """Whether each column holds numbers."""
    return [
        any(cell_value(row[column]) is not None for row in table.rows) and column > 0
        for column in range(len(table.headings))
    ]


def to_csv(table: Table) -> str:
    """Comma-separated values; a column with intervals is three: mean, low and high. What is not known is empty."""
    spread = [any(isinstance(row[column], Interval) for row in table.rows) for column in range(len(table.headings))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        name
        for heading, three in zip(table.headings, spread, strict=True)
        for name in ([heading, f"{heading} low", f"{heading} high"] if three else [heading])
    )
    for row in table.rows:
        writer.writerow(
            value for cell, three in zip(row, spread, strict=True) for value in _csv_values(cell, 3 if three else 1)
        )
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """A Markdown table."""
    return markdown(_lines(table), numeric_columns(table))


def markdown(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A Markdown table, padded so that it also reads well as plain text.

    Args:
        lines: cells, the headings first.
        right: whether each column is aligned to the right.
    """
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(right))]
    rule = ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)]
    padded = [
        " | ".join(text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True))
        for line in [lines[0], rule, *lines[1:]]
    ]
    return "".join(f"| {line} |\n" for line in padded)


def to_latex(table: Table) -> str:
    """A LaTeX tabular for the package booktabs."""
    heading, *rows = (" & ".join(map(escape, line)) + " \\\\" for line in _lines(table))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            f"\\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric_columns(table))}}}",
            "\\toprule",
            heading,
            "\\midrule",
            *rows,
            "\\bottomrule",
            "\\end{tabular}\n",
        ]
    )


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write NAME.csv, NAME.md and NAME.tex into ``folder``; return their paths."""
    texts = {"csv": to_csv(table), "md": to_markdown(table), "tex": to_latex(table)}
    for suffix, text in texts.items():
        write_text(folder / f"{table.name}.{suffix}", text)
    return [folder / f"{table.name}.{suffix}" for suffix in texts]


def _lines(table: Table) -> list[list[str]]:
    decimals = table.decimals or [None] * len(table.headings)
    return [list(table.headings), *([*map(cell_text, row, decimals)] for row in table.rows)]


def _csv_values(cell: Cell, columns: int) -> Sequence[str]:
    if isinstance(cell, str):
        values = [cell]
    else:
        numbers = cell if isinstance(cell, Interval) else [] if cell is None else [cell]
        values = [f"{value:.{CSV_DIGITS}g}" if isfinite(value) else "" for value in numbers]
    return [*values, *[""] * (columns - len(values))]


def _decimals(value: float) -> int:
    if value == round(value):
        return 0
    return min(max(0, DIGITS - 1 - floor(log10(abs(value)))), MOST_DECIMALS)
