"""MNIST and CIFAR-10 as arrays: from the parquet files of a mirror, or from the public originals."""

import gzip
import io
import logging
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from spandex.checkout import main_checkout
from spandex.data.catalog import Source, source
from spandex.data.download import DownloadError, fetch, is_address
from spandex.errors import SpandexError
from spandex.tracking.locking import locked

logger = logging.getLogger(__name__)

SETS = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}  # channels, height, width
CLASSES = 10
PUBLISHED = Path("data/published")  # of the main checkout
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
    directory = main_checkout() / PUBLISHED if directory is None else Path(directory)
    parts = {}
    for split, (count, draw) in {"train": (train, seed), "test": (test, 0)}.items():
        found = _splits(name, mirror, directory)[split]
        chosen = _balanced(found.labels, count, draw)
        parts[split] = found.pixels(chosen)
        parts[f"{split}_labels"] = found.labels[chosen]
    return Images(**parts)
