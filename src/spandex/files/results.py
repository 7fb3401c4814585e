"""Results that are already known, so that a stopped run goes on where it was."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from spandex.errors import SpandexError


class ResultLog:
    """Results by key in a file of JSON lines; appended to as they come, a torn last line is dropped.

    Args:
        path: the file; it is made with the first result. None: results are kept in memory alone.
        code: digest of the code that computes them; what other code computed is not known.
        others: logs of other runs; what they know, this one knows too.

    Raises:
        SpandexError: the file holds something else.
    """

    def __init__(self, path: str | os.PathLike | None, code: str = "", others: Iterable[Path] = ()):
        self.path = None if path is None else Path(path)
        self._code = code
        self._results: dict[str, Any] = {}
        self._file: TextIO | None = None
        for other in others:
            self._read(other)
        if self.path is not None and self.path.is_file():
            os.truncate(self.path, self._read(self.path))

    def get(self, key: str) -> Any | None:
        """The result of ``key``, if known."""
        return self._results.get(self._whole(key))

    def add(self, key: str, result: Any) -> None:
        """Remember a result."""
        self._results[self._whole(key)] = result
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps([self._whole(key), result], allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Delete the file: the run is whole."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> int:
        """Take what a log knows; return the bytes of its whole lines."""
        whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        try:
            self._results |= dict(map(json.loads, whole))
        except (TypeError, ValueError):
            raise SpandexError(f"{path}: not the results of a stopped run; delete it") from None
        return sum(map(len, whole))

    def _whole(self, key: str) -> str:
        return f"{self._code} {key}"
