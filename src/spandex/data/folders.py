"""The audio files of a folder, and of two folders that belong together: the one reader of folders that there is."""

import os
import re
from pathlib import Path

from spandex.errors import SpandexError

CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}  # libsndfile's names
FILE_ID = re.compile(r"fileid_(\d+)$")

Files = list[tuple[Path, Path]]  # noisy and clean


def audio_files(folder: str | os.PathLike, below: bool = False) -> list[Path]:
    """WAV, FLAC and Ogg files, whatever the case of their names' ends, sorted; none that are hidden.

    Args:
        folder: where.
        below: in the folders within it, too.

    Raises:
        SpandexError: there is no such folder, or none of them in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SpandexError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in (folder.rglob("*") if below else folder.iterdir())
        if path.suffix.lower() in CONTAINERS and not is_hidden(path.relative_to(folder)) and not path.is_dir()
    )
    if not found:
        raise SpandexError(f"{folder}: no audio files ({', '.join(CONTAINERS)})")
    return found


def is_hidden(path: Path) -> bool:
    """Whether a file, or a folder on the way to it, is hidden, as macOS's ``._`` files are."""
    return any(part.startswith(".") for part in path.parts)


def paired_files(noisy: str | os.PathLike, clean: str | os.PathLike) -> tuple[Files, list[SpandexError]]:
    """Pair the audio files of two folders, by fileid_N at the end of both names or else by equal names.

    Returns:
        The pairs, in order of their ids or names, and an error for every file that has no partner.

    Raises:
        SpandexError: see ``audio_files``; or two files of one folder would have the same partner.
    """
    noisy_files, clean_files = _by_key(noisy), _by_key(clean)
    alone = [
        SpandexError(f"{file}: no partner in {folder}")
        for files, partners, folder in ((noisy_files, clean_files, clean), (clean_files, noisy_files, noisy))
        for key, file in files.items()
        if key not in partners
    ]
    return [(file, clean_files[key]) for key, file in noisy_files.items() if key in clean_files], alone


def _by_key(folder: str | os.PathLike) -> dict[tuple[int, str], Path]:
    files: dict[tuple[int, str], Path] = {}
    for file in audio_files(folder):
        match = FILE_ID.search(file.stem)
        key = (int(match[1]), "") if match else (-1, file.stem)
        if key in files:
            raise SpandexError(f"{file}: {files[key].name} would have the same partner")
        files[key] = file
    return dict(sorted(files.items()))
