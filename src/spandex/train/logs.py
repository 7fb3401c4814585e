"""Training logs: CSV files that grow as training goes and can be put back as they were."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Row = dict[str, int | float]


class CsvLog:
    """A CSV file of numbers, one row at a time; floats with six significant digits, nothing for what a row lacks.

    Args:
        path: the file.
        columns: names of its columns.
        write: False: rows are kept but not written, since another process does that.

    Attributes:
        rows: all rows, as numbers.
    """

    def __init__(self, path: str | os.PathLike, columns: Iterable[str], write: bool = True):
        self.path = Path(path)
        self.columns = tuple(columns)
        self.write = write
        self.rows: list[Row] = []

    def restart(self, rows: Iterable[Row] = ()) -> None:
        """Write the file anew with ``rows``."""
        self.rows = list(rows)
        if not self.write:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(self.columns), *map(self._line, self.rows)]
        self.path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def append(self, row: Row) -> None:
        """Add a row; it is in the file when this returns."""
        self.rows.append(row)
        if not self.write:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self._line(row)}\n")

    def _line(self, row: Mapping[str, int | float]) -> str:
        cells = (row.get(name, "") for name in self.columns)
        return ",".join(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
