"""Noisy clips mixed when they are read, in place of files."""

import functools
import threading
from pathlib import Path

import numpy as np

from spandex.data.audio import PCM_SCALE, from_int16
from spandex.data.corpus import Entry
from spandex.data.dataset import Clip
from spandex.data.synthesis import Sources, SynthesisSettings, make_clip
from spandex.errors import SpandexError


class MixedSpeech:
    """The clips that ``synthesize`` would write for the same arguments, sample for sample, without the files.

    Segments of one clip are far apart in training, and each would need the whole clip mixed again, so clips are kept,
    the last used ones, as 16-bit samples: 1.9 MB for 30 s. Threads may read at the same time.

    Args:
        manifest: of the corpus (CSV).
        split: train, validation or test.
        clips: how many.
        settings: how they are mixed.
        seed: of the mixtures.
        cache_bytes: of clips to keep; with fewer than all, mixing goes on through all of training.

    Raises:
        SpandexError: the manifest lacks the split, or ``clips`` is not positive; when reading, no such clip can be
            mixed.
    """

    def __init__(
        self,
        manifest: str | Path,
        split: str,
        clips: int,
        settings: SynthesisSettings,
        seed: int,
        cache_bytes: int = 2 * 2**30,
    ) -> None:
        if clips < 1:
            raise SpandexError(f"{clips} clips of split {split!r}: ask for at least one")
        self._sources = _SharedSources(manifest, split, settings)
        self._title = f"{manifest}, split {split}"
        self._lengths = np.full(clips, settings.samples)
        self._seed = seed
        self._about: dict[int, tuple[str, int]] = {}  # name of the noisy file and SNR
        self._clip = functools.lru_cache(max(1, cache_bytes // (2 * 2 * settings.samples)))(self._mixed)

    def __len__(self) -> int:
        return len(self._lengths)

    def __str__(self) -> str:
        return self._title

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < len(self):
            raise IndexError(index)
        noisy, clean = self.read(index)
        name, snr_db = self._about[index]
        return Clip(noisy, clean, name, snr_db)

    def lengths(self) -> np.ndarray:
        """Samples of every clip, (clips,)."""
        return self._lengths

    def name(self, index: int) -> str:
        """Name that the clip's noisy file would have."""
        if index not in self._about:
            self._clip(index)
        return self._about[index][0]

    def read(self, index: int, start: int = 0, samples: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean as float32 (samples,), from ``start`` on; -1 means all."""
        clip = self._clip(index)
        stop = len(clip[0]) if samples < 0 else start + samples
        noisy, clean = (from_int16(audio[start:stop]) for audio in clip)
        return noisy, clean

    def _mixed(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean as int16 (samples,)."""
        clip = make_clip(self._sources, index, self._seed)
        self._about[index] = Path(list(clip.files)[-1]).name, clip.snr_db
        return _pcm(clip.noisy), _pcm(clip.clean)


class _SharedSources(Sources):
    """Sources for several threads; they decode one at a time."""

    def __init__(self, manifest: str | Path, split: str, settings: SynthesisSettings) -> None:
        super().__init__(manifest, split, settings)
        self._lock = threading.Lock()

    def read(self, entry: Entry) -> np.ndarray:
        with self._lock:
            return super().read(entry)


def _pcm(audio: np.ndarray) -> np.ndarray:
    """Int16; needs no rounding, since a mixed clip is exact in 16 bits."""
    return (audio * PCM_SCALE).astype(np.int16)
