"""MNIST and CIFAR-10 as arrays: from the parquet files of a mirror, or from the public originals."""

import gzip
import io
import logging
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from spandex.checkout import downloads
from spandex.data.catalog import Source, of_mirror, source
from spandex.data.download import DownloadError, fetch, is_address
from spandex.errors import SpandexError, one_line
from spandex.files.locking import locked

logger = logging.getLogger(__name__)

SETS = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}  # channels, height, width
CLASSES = 10
MODES = {1: "L", 3: "RGB"}  # of PIL, by channels
DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, ValueError)  # what the readers below raise for it


@dataclass(frozen=True)
class Images:
    """Labelled images of ten classes.

    Attributes:
        train, test: uint8 (images, channels, height, width).
        train_labels, test_labels: int64 (images,), 0 to 9.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class _Split:
    """Labels of all images (images,), and the pixels (chosen, channels, height, width) of those chosen by index."""

    labels: np.ndarray
    pixels: Callable[[np.ndarray], np.ndarray]


def load(
    name: str, mirror: str | None, train: int, test: int, seed: int, directory: str | Path | None = None
) -> Images:
    """A data set, or as many of its images, equally often of every class.

    Args:
        name: "mnist" or "cifar10".
        mirror: a folder or an http(s) address whose images/ holds NAME_train.parquet and NAME_test.parquet, with PNG
            or JPEG in the column image and the class in the column label; what lacks them is asked for the originals.
            None: the public originals.
        train, test: how many images; all at most.
        seed: of which training images are taken. The test images are always the same.
        directory: where downloads are kept; data/published of the main checkout if not given.

    Raises:
        SpandexError: neither the mirror nor the public source has it, or a file is not what it should be.
    """
    if name not in SETS:
        raise SpandexError(f"no image set {name!r}, there are {', '.join(SETS)}")
    directory = downloads() if directory is None else Path(directory)
    parts = {}
    wanted = {"train": (train, seed), "test": (test, 0)}
    for split, found in _splits(name, mirror, directory).items():
        chosen = _balanced(found.labels, *wanted[split])
        parts[split] = found.pixels(chosen)
        parts[f"{split}_labels"] = found.labels[chosen]
    return Images(**parts)


def _splits(name: str, mirror: str | None, directory: Path) -> Mapping[str, _Split]:
    if tables := _tables(name, mirror, directory):
        return {split: _parquet(path, SETS[name]) for split, path in tables.items()}
    originals, read = ORIGINALS[name]
    paths = _fetch([source(original) for original in originals], directory, mirror)
    return read(*(paths[original] for original in originals))


def _fetch(sources: Sequence[Source], directory: Path, mirror: str | None = None) -> dict[str, Path]:
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "images"):  # runs that go side by side want the same files
        return fetch(sources, directory, mirror=mirror, in_place=True)


def _tables(name: str, mirror: str | None, directory: Path) -> Mapping[str, Path]:
    """The parquet files of a mirror by split, fetched if it is an address; none if it lacks one."""
    files = {split: f"images/{name}_{split}.parquet" for split in ("train", "test")}
    if mirror is None:
        return {}
    if not is_address(mirror):
        paths = {split: Path(mirror, file) for split, file in files.items()}
        if missing := [path for path in paths.values() if not path.is_file()]:
            logger.warning("%s: no such file; taking the public originals", missing[0])
            return {}
        return paths
    about = {"role": "images of a mirror", "bound": True, "note": "a mirror publishes no checksums"}
    sources = {split: of_mirror(mirror, file, name=f"{name}-{split}", **about) for split, file in files.items()}
    try:
        paths = _fetch(list(sources.values()), directory)
    except DownloadError as error:
        logger.warning("%s; taking the public originals", error)
        return {}
    return {split: paths[found.name] for split, found in sources.items()}


def _parquet(path: Path, shape: tuple[int, int, int]) -> _Split:
    try:
        table = pd.read_parquet(path, columns=["image", "label"])
        labels = table["label"].astype(np.int64).to_numpy()
        if not np.array_equal(labels, table["label"].to_numpy()):
            raise ValueError("labels are not whole numbers")
    except (*DAMAGE, TypeError) as error:
        raise _damaged(path, "no parquet file with the columns image and label", error) from None

    def pixels(chosen: np.ndarray) -> np.ndarray:
        return np.stack([_decoded(table["image"].iloc[index], shape, f"{path}: image {index}") for index in chosen])

    return _Split(_checked(labels, path), pixels)


def _decoded(data: bytes, shape: tuple[int, int, int], name: str) -> np.ndarray:
    channels, height, width = shape
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.size != (width, height) or image.mode != MODES[channels]:
                found, expected = (image.mode, *image.size), (MODES[channels], width, height)
                raise SpandexError("{}: {} of {} x {}, not {} of {} x {}".format(name, *found, *expected))
            return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
    except (*DAMAGE, TypeError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise _damaged(name, "no PNG or JPEG", error) from None


def _mnist(train: Path, train_labels: Path, test: Path, test_labels: Path) -> Mapping[str, _Split]:
    def split(images: Path, labels: Path) -> _Split:
        found, pixels = _checked(_idx(labels, 1), labels), _idx(images, 3)
        if len(found) != len(pixels) or pixels.shape[1:] != SETS["mnist"][1:]:
            raise SpandexError(f"{images}: images of shape {pixels.shape} for {len(found)} labels")
        return _Split(found, lambda chosen: pixels[chosen, np.newaxis])

    return {"train": split(train, train_labels), "test": split(test, test_labels)}


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """Bytes of an .idx.gz file: zero, zero, 8 for unsigned bytes, their dimensions, sizes of 32 bits, values."""
    try:
        content = gzip.decompress(path.read_bytes())
        if content[:4] != bytes((0, 0, 8, dimensions)):
            raise ValueError(f"it begins with {content[:4].hex()}")
        sizes = np.frombuffer(content, ">u4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + sizes.nbytes).reshape(sizes)
    except DAMAGE as error:
        raise _damaged(path, f"no idx file of {dimensions} dimensions", error) from None


def _cifar10(archive: Path) -> Mapping[str, _Split]:
    members = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    record = 1 + np.prod(SETS["cifar10"])  # the label, then red, green and blue by rows

    def split(names: list[str]) -> _Split:
        content = b"".join(batches[name] for name in names)
        records = np.frombuffer(content, np.uint8).reshape(-1, record)
        pixels = records[:, 1:].reshape(-1, *SETS["cifar10"])
        return _Split(_checked(records[:, 0], archive), lambda chosen: pixels[chosen])

    try:
        with tarfile.open(archive, "r:gz") as tar:
            batches = {Path(member.name).name: tar.extractfile(member).read() for member in tar if member.isfile()}
        return {name: split(names) for name, names in members.items()}
    except DAMAGE as error:
        raise _damaged(archive, "not the binary version of CIFAR-10", error) from None


# in the catalogue, and what reads them
ORIGINALS: Mapping[str, tuple[tuple[str, ...], Callable[..., Mapping[str, _Split]]]] = {
    "mnist": (("mnist-train-images", "mnist-train-labels", "mnist-test-images", "mnist-test-labels"), _mnist),
    "cifar10": (("cifar10-binary",), _cifar10),
}


def _checked(labels: np.ndarray, path: Path) -> np.ndarray:
    wrong = labels[(labels < 0) | (labels >= CLASSES)]
    if wrong.size or not labels.size:
        raise SpandexError(f"{path}: label {wrong[0]}" if wrong.size else f"{path}: no images")
    return labels.astype(np.int64)


def _damaged(name: str | Path, what: str, error: Exception) -> SpandexError:
    return SpandexError(f"{name}: {what} ({one_line(error)})")


def _balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of ``count`` images in random order, as equally often of every class as they are there."""
    order = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels), np.int64)  # of each in its class
    for label in np.unique(labels):
        own = order[labels[order] == label]
        place[own] = np.arange(len(own))
    return order[np.argsort(place[order], kind="stable")][:count]
