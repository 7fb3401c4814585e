"""Files that are whole or absent, and what is said where one cannot be written."""

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spandex.errors import SpandexError
from spandex.files import atomic_path, write_text


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As on a disk that is full after so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save_array(temporary: Path, source: Path) -> None:
    with temporary.open("wb") as file:
        np.save(file, np.zeros(10_000))


@pytest.mark.parametrize(
    "write",
    [save_array, lambda temporary, source: shutil.copyfile(source, temporary)],
    ids=["array", "copy"],
)
def test_full_disk_is_told_of_the_file_that_was_to_be_written(tmp_path, write):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(100_000))
    with files_up_to(1000), pytest.raises(SpandexError) as told, atomic_path(target) as temporary:
        write(temporary, source)
    assert str(told.value).startswith(f"{target}: cannot be written (")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_folder_that_is_a_file_is_told_of_the_file_that_was_to_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/target", tmp_path / "file/deeper/target"):
        with pytest.raises(SpandexError, match=f"^{path}: cannot be written"):
            write_text(path, "text")


def test_another_file_that_fails_is_told_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as told, atomic_path(tmp_path / "target"):
        (tmp_path / "nosuch").read_text()
    assert told.value.filename == str(tmp_path / "nosuch")
