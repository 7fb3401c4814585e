"""Noisy clips mixed when they are read, in place of files, and without end."""

import functools
import threading
from pathlib import Path

import numpy as np

from spandex.data.audio import PCM_SCALE, from_int16
from spandex.data.augmentation import vary
from spandex.data.corpus import Entry
from spandex.data.dataset import Clip
from spandex.data.synthesis import Sources, SynthesisSettings, make_clip
from spandex.errors import SpandexError


class MixedSpeech:
    """The clips that ``synthesize`` would write for the same arguments, sample for sample, without the files.

    Clips beyond the last can be read, too: those that it would write next. Segments of one clip are far apart in
    training, and each would need the whole clip mixed again, so clips are kept, the last used ones, as 16-bit samples:
    1.9 MB for 30 s. Threads may read at the same time.

    Args:
        manifest: of the corpus (CSV).
        split: train, validation or test.
        clips: how many, of a pass over them.
        settings: how they are mixed.
        seed: of the mixtures.
        kept: clips to keep; with fewer than all, mixing goes on through all of training.
        augmentation: mix recordings that are varied at random, see ``spandex.data.augmentation``; the clips are others
            than those of ``synthesize`` then.

    Raises:
        SpandexError: the manifest lacks the split, or ``clips`` is not positive; when reading, no such clip can be
            mixed, or a file of the corpus is not what the manifest lists.
    """

    def __init__(
        self,
        manifest: str | Path,
        split: str,
        clips: int,
        settings: SynthesisSettings,
        seed: int,
        kept: int = 1000,
        augmentation: bool = False,
    ) -> None:
        if clips < 1:
            raise SpandexError(f"{clips} clips of split {split!r}: ask for at least one")
        kind = _VariedSources if augmentation else _SharedSources
        self._sources = kind(manifest, split, settings)
        self._title = f"{manifest}, split {split}"
        self._lengths = np.full(clips, settings.samples)
        self._seed = seed
        self._clip = functools.lru_cache(kept)(self._mixed)

    def __len__(self) -> int:
        return len(self._lengths)

    def __str__(self) -> str:
        return self._title

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Clip(*self.read(index), self.name(index), self._clip(index).snr_db)

    def lengths(self) -> np.ndarray:
        """Samples of every clip, (clips,)."""
        return self._lengths

    def name(self, index: int) -> str:
        """Name that the clip's noisy file would have."""
        return self._clip(index).name

    def read(self, index: int, start: int = 0, samples: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean as float32 (samples,), from ``start`` on; -1 means all."""
        clip = self._clip(index)
        stop = len(clip.noisy) if samples < 0 else start + samples
        return from_int16(clip.noisy[start:stop]), from_int16(clip.clean[start:stop])

    def _mixed(self, index: int) -> Clip:
        """A clip with its audio as int16."""
        clip = make_clip(self._sources, index, self._seed)
        return Clip(_pcm(clip.noisy), _pcm(clip.clean), Path(list(clip.files)[-1]).name, clip.snr_db)


class _SharedSources(Sources):
    """Sources for several threads; they decode one at a time."""

    def __init__(self, manifest: str | Path, split: str, settings: SynthesisSettings) -> None:
        super().__init__(manifest, split, settings)
        self._lock = threading.Lock()

    def read(self, entry: Entry) -> np.ndarray:
        with self._lock:
            return super().read(entry)


class _VariedSources(_SharedSources):
    """Sources of which no two clips hold the same."""

    def vary(self, part: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
        return vary(part, kind, rng)


def _pcm(audio: np.ndarray) -> np.ndarray:
    """Int16; needs no rounding, since a mixed clip is exact in 16 bits."""
    return (audio * PCM_SCALE).astype(np.int16)
