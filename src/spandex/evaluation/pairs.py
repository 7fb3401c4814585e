"""Noisy clips and their clean speech, found in two folders."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ, SILENCE_RANGE, AudioError, read_channels
from spandex.data.dataset import SNR
from spandex.data.listing import READ, Listing
from spandex.deploy.codec import LARGEST_SAMPLE
from spandex.errors import SpandexError

SUFFIXES = (".wav", ".flac", ".ogg")
FILE_ID = re.compile(r"fileid_(\d+)$")


@dataclass(frozen=True)
class Clip:
    """Noisy and clean audio, float32 (samples,) at 16 kHz, and the digest of both."""

    noisy: np.ndarray
    clean: np.ndarray
    digest: str


@dataclass(frozen=True)
class Pair:
    """A noisy file and its clean one.

    Attributes:
        noisy, clean: the files.
        listing: of the folder that both lie below.
        snr_db: of the mixture; None where the noisy file's name does not say it.
    """

    noisy: Path
    clean: Path
    listing: Listing

    @property
    def snr_db(self) -> int | None:
        match = SNR.search(self.noisy.name)
        return int(match[1]) if match else None

    def read(self) -> Clip:
        """Read both files.

        Raises:
            AudioError: a file is unreadable, empty, holds NaN, is not 16 kHz mono, is far beyond full scale, has
                another length than its partner; or the clean one is silent, so that no SI-SNR is defined.
        """
        for file in (self.noisy, self.clean):
            self.listing.check(file)
        noisy, clean = _read(self.noisy), _read(self.clean)
        if len(noisy) != len(clean):
            raise AudioError(self.noisy, f"{len(noisy)} samples, but {self.clean.name} has {len(clean)}")
        if np.ptp(clean) <= SILENCE_RANGE:
            raise AudioError(self.clean, "silent (nothing above -80 dBFS)")
        return Clip(noisy, clean, hashlib.sha256(noisy.tobytes() + clean.tobytes()).hexdigest()[:16])


def pair_clips(noisy: str | os.PathLike, clean: str | os.PathLike) -> tuple[list[Pair], list[SpandexError]]:
    """Pair the audio files of two folders, by fileid_N at the end of both names or else by equal names.

    Returns:
        The pairs, in order of their ids or names, and an error for every file that has no partner.

    Raises:
        SpandexError: a folder is missing or has no audio files, or two files of one have the same id.
    """
    listing = Listing(Path(noisy).parent)
    if Path(clean).parent == Path(noisy).parent:
        for error in listing.damaged(READ):
            raise error
    noisy_files, clean_files = _by_key(Path(noisy)), _by_key(Path(clean))
    pairs = [Pair(file, clean_files[key], listing) for key, file in noisy_files.items() if key in clean_files]
    alone = [
        SpandexError(f"{file}: no partner in {folder}")
        for files, partners, folder in ((noisy_files, clean_files, clean), (clean_files, noisy_files, noisy))
        for key, file in files.items()
        if key not in partners
    ]
    return pairs, alone


def _by_key(folder: Path) -> dict[tuple[int, str], Path]:
    if not folder.is_dir():
        raise SpandexError(f"{folder}: no such folder")
    files: dict[tuple[int, str], Path] = {}
    for file in folder.iterdir():
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        match = FILE_ID.search(file.stem)
        key = (int(match[1]), "") if match else (-1, file.stem)
        if key in files:
            raise SpandexError(f"{file}: {files[key].name} would have the same partner")
        files[key] = file
    if not files:
        raise SpandexError(f"{folder}: no audio files ({', '.join(SUFFIXES)})")
    return dict(sorted(files.items()))


def _read(file: Path) -> np.ndarray:
    audio, kind = read_channels(file)
    if (kind.rate_hz, audio.shape[1]) != (SAMPLE_RATE_HZ, 1):
        raise AudioError(file, f"{kind.rate_hz} Hz, {audio.shape[1]} channels; clips to evaluate are 16000 Hz mono")
    peak = float(np.abs(audio).max())
    if peak > LARGEST_SAMPLE:
        raise AudioError(file, f"samples up to {peak:g}; full scale is 1")
    return audio[:, 0]
