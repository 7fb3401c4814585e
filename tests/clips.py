"""Clips compared, in files and in batches."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spandex.data.audio import SoundFormat, format_of, open_audio, read_blocks
from spandex.files import sha256


def read_channels(path: Path) -> tuple[np.ndarray, SoundFormat]:
    """A whole audio file as float32 (samples, channels), and how it holds them."""
    with open_audio(path) as file:
        return np.concatenate(list(read_blocks(file, path))), format_of(file)


def digests(folder: Path) -> dict[str, str]:
    """Of all files in a folder, by path."""
    return {file.relative_to(folder).as_posix(): sha256(file) for file in folder.rglob("*") if file.is_file()}


def assert_same_batches(some: Iterable[tuple], others: Iterable[tuple]) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == other[2]
