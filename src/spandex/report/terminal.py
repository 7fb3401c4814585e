"""Reports in Markdown, for a terminal: no line too wide, of wide tables the columns that matter most."""

import re
import textwrap
from collections.abc import Sequence
from itertools import groupby, zip_longest

WIDTH = 100
GAP = "  "
BAR = re.compile(r"(?<!\\)\|")  # between cells; those within are escaped
# of a table that is too wide, in this order; the others stay in its file
FIRST = (
    "model",
    "budget",
    "power proxy",
    "SI-SNR",
    "to dense control",  # of the frontier alone, as budget and power proxy
    "SI-SNRi data",
    "fixed - float",
    "MOS ovrl",
    "latency total",
    "float power proxy",  # published rows have this one alone
    "params",
    "size",
    "sparsity",
)


def fitted(text: str, width: int = WIDTH) -> str:
    """A Markdown text with its tables as aligned columns, and no line of more than ``width`` characters.

    In a table that is wider, cells are broken at spaces; where that is not enough, it shows the columns of ``FIRST``
    that it has, and leaves out from the right what still finds no room. A column ``source`` becomes lines of its own.
    """
    parts: list[str] = []
    for is_table, lines in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            parts += _table([_cells(line) for line in lines], width)
        else:
            parts += [piece for line in lines for piece in textwrap.wrap(line, width) or [""]]
    return "".join(f"{line}\n" for line in parts)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in BAR.split(line.strip().removeprefix("|").removesuffix("|"))]


def _table(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    headings, rules, *body = rows
    columns = [column for column, heading in enumerate(headings) if heading != "source"]
    widths = _widths(headings, body, columns, width)
    if _total(widths) > width:
        columns = _first(headings, columns)
        while _total(widths := _widths(headings, body, columns, width)) > width and len(columns) > 1:
            columns.pop()

    def lines(row: Sequence[str]) -> list[str]:
        cells = [textwrap.wrap(row[c], w, break_on_hyphens=False) for c, w in zip(columns, widths, strict=True)]
        aligned = [
            [piece.rjust(w) if rules[c].endswith(":") else piece.ljust(w) for piece in cell] or [" " * w]
            for c, w, cell in zip(columns, widths, cells, strict=True)
        ]
        return [
            GAP.join(piece or " " * w for piece, w in zip(pieces, widths, strict=True)).rstrip()
            for pieces in zip_longest(*aligned)
        ]

    shown = [*lines(headings), GAP.join("-" * w for w in widths)]
    source = headings.index("source") if "source" in headings else None
    for name, group in groupby(body, key=lambda row: None if source is None else row[source]):
        shown += [] if name is None else [f"{name}:"]
        shown += [line for row in group for line in lines(row)]
    return shown


def _first(headings: Sequence[str], columns: Sequence[int]) -> list[int]:
    names = {headings[column].split(" (")[0]: column for column in columns}
    return [names[name] for name in FIRST if name in names] or [*columns]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(headings: Sequence[str], body: Sequence[Sequence[str]], columns: Sequence[int], width: int) -> list[int]:
    """Of columns, together no more than ``width`` if words allow it: headings give way first, then what is widest."""
    cells = [[row[column] for row in body] for column in columns]
    names = [headings[column] for column in columns]
    widths = [max(1, *map(len, [name, *column])) for name, column in zip(names, cells, strict=True)]
    if _total(widths) <= width:
        return widths
    widths = [max(1, *map(len, [*name.split(), *column])) for name, column in zip(names, cells, strict=True)]
    least = [
        max(len(word) for text in [name, *column] for word in text.split() or [""])
        for name, column in zip(names, cells, strict=True)
    ]
    while _total(widths) > width and widths != least:
        place = max((i for i in range(len(widths)) if widths[i] > least[i]), key=widths.__getitem__)
        widths[place] -= 1
    return widths
