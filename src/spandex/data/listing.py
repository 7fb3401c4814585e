"""The list of a split's clips: every file with its length and digest, by which damage is known when a file is read."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

from spandex.data.audio import AudioError
from spandex.data.threads import map_in_order
from spandex.errors import SpandexError
from spandex.files import sha256
from spandex.files.text import read_json

LIST = "clips.json"
FOLDERS = ("noisy", "clean", "noise")
READ = ("noisy", "clean")  # by training and evaluation


class ListedFile(TypedDict):
    """Length and digest of a file."""

    bytes: int
    sha256: str


Files = dict[str, ListedFile]  # by path in the split's folder


def list_files(directory: str | os.PathLike, workers: int | None = None) -> Files:
    """All clips of a folder and their parts.

    Args:
        directory: with noisy/, clean/ and noise/.
        workers: files read at once; one a core if None.
    """
    directory = Path(directory)
    files = sorted(file for name in FOLDERS for file in (directory / name).glob("*.wav"))
    return {
        file.relative_to(directory).as_posix(): {"bytes": file.stat().st_size, "sha256": digest}
        for file, digest in zip(files, map_in_order(sha256, files, workers), strict=True)
    }


class Listing:
    """What the list beside a split's clips says of them; nothing where there is no list, as in folders of one's own.

    Threads may call it side by side.

    Args:
        directory: of the split.

    Raises:
        SpandexError: the list cannot be read.
    """

    def __init__(self, directory: str | os.PathLike):
        self._directory = Path(directory)
        path = self._directory / LIST
        self._files = _listed(path) if path.is_file() else {}
        self._checked: set[Path] = set()

    def check(self, file: Path) -> None:
        """Check a file the first time that it is read.

        Raises:
            AudioError: it is listed, and missing or another.
        """
        if file not in self._checked and not self.holds(file):
            raise self._error(file)
        self._checked.add(file)

    def holds(self, file: Path) -> bool:
        """Whether a file is what the list says; True for one that is not listed."""
        listed = self._files.get(f"{file.parent.name}/{file.name}")
        return listed is None or (file.is_file() and sha256(file) == listed["sha256"])

    def look(self, folders: Collection[str] = FOLDERS) -> None:
        """Check these folders as far as their files' lengths tell.

        Raises:
            AudioError: a listed file is missing or of another length.
        """
        for name, listed in self._files.items():
            file = self._directory / name
            if file.parent.name in folders and not (file.is_file() and file.stat().st_size == listed["bytes"]):
                raise self._error(file)

    def _error(self, file: Path) -> AudioError:
        folder = self._directory
        command = (
            f"spandex --set profile={folder.parent.name} synthesize --manifest {folder.parent}/corpus/manifest.csv "
            f"--split {folder.name} --output {folder / LIST}"
        )
        is_there = "not what it was" if file.is_file() else "missing"
        return AudioError(file, f"{is_there} when {LIST} listed it; {command} makes it anew")


def _listed(path: Path) -> Files:
    content = read_json(path)
    files = content.get("files", {}) if isinstance(content, dict) else {}
    if not isinstance(files, dict) or not all(map(_is_listed, files.values())):
        raise SpandexError(f"{path}: 'files' has not the bytes and sha256 of every clip")
    return files


def _is_listed(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
