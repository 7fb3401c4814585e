"""Text files from anywhere: read as what they say, or refused in one line that names the place."""

import csv
import io
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from spandex.errors import SpandexError, one_line

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | os.PathLike) -> str:
    """A file of UTF-8 text, with or without a byte order mark; however its lines end, they end with a line feed here.

    Raises:
        SpandexError: the file is missing, or holds something else.
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # a pipe would be waited for
            raise SpandexError(f"{path}: is a {'folder' if stat.S_ISDIR(kind) else 'device or pipe'}, not a file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise SpandexError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if content.startswith(LFS_POINTER):
        raise SpandexError(f"{path}: is a pointer of Git LFS and not the file itself; git lfs pull brings that")
    if content.startswith(UTF_16):
        raise SpandexError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpandexError(f"{path}, line {line}: byte 0x{content[error.start]:02x}; save it as UTF-8") from None
    if "\0" in text:
        raise SpandexError(f"{path}: is no text; it holds zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        SpandexError: the file is missing or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpandexError(f"{path}: not JSON ({error})") from None


def read_csv(path: str | os.PathLike, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file by the names in its first line.

    Args:
        path: the file.
        columns: names that must be there.

    Raises:
        SpandexError: the file is missing, no text or empty, lacks a column or names it twice, or a row has another
            number of cells.
    """
    return [row for _, row in numbered_rows(path, columns)]


def numbered_rows(path: str | os.PathLike, columns: Iterable[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as ``read_csv`` has them, each with the line of the file that it ends on."""
    reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    rows = []
    try:
        names = Counter(reader.fieldnames)
        for row in reader:
            if None in row or None in row.values():
                raise SpandexError(f"{path}, line {reader.line_num}: has not as many cells as the first line")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise SpandexError(f"{path}, line {reader.line_num + 1}: {error}") from None
    if not names:
        raise SpandexError(f"{path}: is empty")
    if twice := [name for name, count in names.items() if count > 1]:
        raise SpandexError(f"{path}: column {twice[0]!r} stands twice")
    if missing := [name for name in columns if name not in names]:
        raise SpandexError(f"{path}: no column {', '.join(map(repr, missing))}")
    return rows


def read_numbers(path: str | os.PathLike, columns: Iterable[str] = ()) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers, such as a training log; empty cells are left out.

    Args:
        path, columns: see ``read_csv``.

    Raises:
        SpandexError: see ``read_csv``; or a cell is no number.
    """
    numbers = []
    for line, row in numbered_rows(path, columns):
        try:
            numbers.append({name: float(cell) for name, cell in row.items() if cell})
        except ValueError as error:
            raise SpandexError(f"{path}, line {line}: {error}") from None
    return numbers


def parse_yaml(text: str) -> Any:
    """The content of YAML 1.2, as DVC reads params.yaml: 1:30 is text, 010 is ten, and no key stands twice.

    Raises:
        SpandexError: the text is something else.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise SpandexError(f"{where}{one_line(getattr(error, 'problem', None) or error)}") from None
