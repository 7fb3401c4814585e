"""NumPy files of users, of which nothing but numbers is taken."""

import contextlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from spandex.errors import SpandexError, one_line

MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # of this machine


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        SpandexError: the file cannot be read, is damaged, or holds something else than numbers.
    """
    with _reading(path, ".npy"), path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of an .npz archive by name; it may hold others.

    Raises:
        SpandexError: as of ``read_array``; or an array is not there, there twice, or larger than the memory.
    """
    with _reading(path, ".npz"), zipfile.ZipFile(path) as archive:
        return {name: _member(archive, name) for name in names}


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    found = [member for member in archive.infolist() if member.filename.removesuffix(".npy") == name]
    if len(found) != 1:
        raise SpandexError(f"holds {'no' if not found else len(found)} array{'s' * (len(found) > 1)} {name}")
    if found[0].file_size > MEMORY_BYTES:
        size, most = (f"{count / 1e9:,.0f} GB" for count in (found[0].file_size, MEMORY_BYTES))
        raise SpandexError(f"{name} takes {size} of memory, this machine has {most}")
    with archive.open(found[0]) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Raise SpandexError for what a file of a kind (its ending) raises that is read within."""
    try:
        yield
    except SpandexError as error:
        raise SpandexError(f"{path}: {error}") from None
    except Exception as error:  # which depends on where the file is damaged; the system names what it cannot open
        reason = getattr(error, "filename", None) and error.strerror
        raise SpandexError(f"{path}: {reason or f'not a whole {kind} file of numbers ({one_line(error)})'}") from None
