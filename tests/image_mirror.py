"""A mirror of tiny image sets that can be learnt: a pattern for each class, and noise."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SHAPES = {"mnist": (28, 28), "cifar10": (32, 32, 3)}
CLASSES = 10
COARSE = 4  # squares of a pattern along a side


def image_mirror(folder: Path, per_class: int = 8) -> Path:
    """Write images/NAME_train.parquet and NAME_test.parquet of mnist and cifar10, and return the mirror.

    Args:
        folder: becomes the mirror.
        per_class: images of each class in each file.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    labels = np.tile(np.arange(CLASSES, dtype=np.int8), per_class)
    for name, shape in SHAPES.items():
        square = shape[0] // COARSE
        coarse = rng.integers(40, 216, (CLASSES, COARSE, COARSE, *shape[2:]))
        patterns = coarse.repeat(square, axis=1).repeat(square, axis=2)
        for split in ("train", "test"):
            pixels = (patterns[labels] + rng.normal(0, 20, (len(labels), *shape))).clip(0, 255).astype(np.uint8)
            table = pd.DataFrame({"image": [_png(image) for image in pixels], "label": labels})
            table.to_parquet(folder / "images" / f"{name}_{split}.parquet")
    return folder


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()
