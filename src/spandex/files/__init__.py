"""Files that are either whole or absent, and their digests."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError, one_line

PARTIAL = ".partial"  # ends the name of what a stopped run goes on from

_temporaries: set[Path] = set()  # of this process, in all of its threads


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` on success, remove it on failure.

    Raises:
        SpandexError: it, or the folder it goes to, cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _temporaries.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if named and named.isdisjoint(map(str, (temporary, *path.parents))):
            raise  # of another file
        raise SpandexError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _temporaries.discard(temporary)


def remove_temporaries() -> None:
    """Remove what ``atomic_path`` has not renamed yet, in a process that ends at once."""
    for temporary in [*_temporaries]:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` as indented JSON with sorted keys; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text whose lines end with a line feed."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that no output is a folder, or an input, be it by another name: a link, another way there, another case.

    Raises:
        SpandexError: one is.
    """
    sources = {identity: source for source in inputs if (identity := _identity(source))}
    for output in outputs:
        if output.is_dir():
            raise SpandexError(f"{output}: is a folder; name a file to write")
        if source := sources.get(_identity(output)):
            also = "" if source == output else f", {source},"
            raise SpandexError(f"{output}: is input{also} and would be overwritten; choose another output")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file that is there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
