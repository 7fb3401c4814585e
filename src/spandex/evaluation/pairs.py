"""Noisy clips and their clean speech, found in two folders."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spandex.data.audio import SILENCE_RANGE, AudioError, check_duration, read_blocks
from spandex.data.dataset import SNR, open_clip
from spandex.data.folders import paired_files
from spandex.data.listing import READ, Listing
from spandex.deploy.codec import LARGEST_SAMPLE
from spandex.errors import SpandexError

LONGEST_CLIP_S = 600  # a clip's spectra and the executor's inputs take 640 kB a second


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
            AudioError: a file is unreadable, empty, holds NaN, is not 16 kHz mono, is longer than 10 minutes or far
                beyond full scale, has another length than its partner; or the clean one is silent, so that no SI-SNR
                is defined.
        """
        for file in (self.noisy, self.clean):
            self.listing.check(file)
        clean = _read(self.clean)
        noisy = read_partner(self.noisy, self.clean, clean)
        if np.ptp(clean) <= SILENCE_RANGE:
            raise AudioError(self.clean, "silent (nothing above -80 dBFS)")
        return Clip(noisy, clean, hashlib.sha256(noisy.tobytes() + clean.tobytes()).hexdigest()[:16])


def pair_clips(noisy: str | os.PathLike, clean: str | os.PathLike) -> tuple[list[Pair], list[SpandexError]]:
    """The clips of two folders; see ``spandex.data.folders.paired_files``.

    Raises:
        SpandexError: see there; or a listed clip is damaged.
    """
    listing = Listing(Path(noisy).parent)
    if Path(clean).parent == Path(noisy).parent:
        listing.look(READ)
    files, alone = paired_files(noisy, clean)
    return [Pair(*pair, listing) for pair in files], alone


def read_partner(file: Path, clean_file: Path, clean: np.ndarray) -> np.ndarray:
    """Audio float32 (samples,) that belongs to a clean clip.

    Raises:
        AudioError: see ``Pair.read``.
    """
    audio = _read(file)
    if len(audio) != len(clean):
        raise AudioError(file, f"{len(audio)} samples, but {clean_file.name} has {len(clean)}")
    return audio


def _read(file: Path) -> np.ndarray:
    with open_clip(file) as audio:
        check_duration(audio, file, LONGEST_CLIP_S)
        samples = np.concatenate(list(read_blocks(audio, file)))[:, 0]
    peak = float(np.abs(samples).max())
    if peak > LARGEST_SAMPLE:
        raise AudioError(file, f"samples up to {peak:g}; full scale is 1")
    return samples
