"""Clips that were denoised elsewhere, judged as they are."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.data.folders import paired_files
from spandex.errors import SpandexError
from spandex.files import sha256

LONGEST_LAG = SAMPLE_RATE_HZ // 2  # samples, either way
ROUNDING = 1e-9  # of the correlation of equals, up to which there is none


@dataclass(frozen=True)
class Recordings:
    """A folder of denoised clips, ready to be evaluated.

    Attributes:
        name: in tables and JSON.
        digest: of everything that its scores depend on: the names and contents of the files.
        files: by clean file.
        align: whether SI-SNR is of what remains when a lag is taken away.
    """

    name: str
    digest: str
    files: Mapping[Path, Path]
    align: bool


def find_recordings(
    folder: str | os.PathLike, clean: str | os.PathLike, name: str | None = None, align: bool = False
) -> Recordings:
    """The denoised clips of a folder, for every clean one.

    Args:
        folder, clean: see ``spandex.data.folders.paired_files``.
        name: the folder's if None.
        align: see ``Recordings``.

    Raises:
        SpandexError: see ``paired_files``; or a file of either folder has no partner.
    """
    pairs, alone = paired_files(folder, clean)
    if alone:
        raise SpandexError("; ".join(map(str, alone[:3])) + (f"; {len(alone) - 3} more" if len(alone) > 3 else ""))
    contents = sorted((file.name, sha256(file)) for file, _ in pairs)
    digest = hashlib.sha256(repr(contents).encode()).hexdigest()[:16]
    files = {target: file for file, target in pairs}
    return Recordings(name or Path(folder).resolve().name, f"recordings {digest} {align}", files, align)


def lag_samples(audio: np.ndarray, target: np.ndarray) -> int:
    """By how many samples audio (samples,) is late: where its cross-correlation with the target is largest.

    Lags of more than half a second are not looked for. What does not resemble the target at all has none.
    """
    correlation = signal.correlate(audio.astype(np.float64), target.astype(np.float64), method="fft")
    lags = signal.correlation_lags(len(audio), len(target))
    near = np.abs(lags) <= LONGEST_LAG
    likeness = np.abs(correlation[near])
    if likeness.max() <= ROUNDING * np.linalg.norm(audio) * np.linalg.norm(target):
        return 0
    return int(lags[near][np.argmax(likeness)])


def without_lag(audio: np.ndarray, target: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts of audio and target that belong together."""
    if lag >= 0:
        return audio[lag:], target[: len(target) - lag]
    return audio[:lag], target[-lag:]
