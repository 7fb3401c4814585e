"""Folders of noisy clips as arrays: whole clips for evaluation, batches of segments for training."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ, AudioError, Recording, open_audio
from spandex.data.folders import paired_files
from spandex.data.listing import READ, Listing
from spandex.data.synthesis import SynthesisSettings
from spandex.data.threads import map_in_order
from spandex.errors import SpandexError
from spandex.files.text import read_json

SNR = re.compile(r"_snr(-?\d+)_tl")


@dataclass(frozen=True)
class Clip:
    """A noisy clip and its clean speech, float32 (samples,) at 16 kHz."""

    noisy: np.ndarray
    clean: np.ndarray
    name: str  # of the noisy file
    snr_db: int | None  # None where the name does not say it


class NoisyClips(Protocol):
    """Where segments come from: ``NoisySpeech`` or ``MixedSpeech``. Threads call it side by side."""

    def __len__(self) -> int: ...

    def __str__(self) -> str:
        """What to call it in an error."""

    def lengths(self) -> np.ndarray:
        """Samples of every clip, (clips,)."""

    def name(self, index: int) -> str:
        """Name of a clip's noisy file."""

    def read(self, index: int, start: int = 0, samples: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean as float32 (samples,), from ``start`` on; -1 means all."""


class NoisySpeech:
    """The clips of a folder, noisy/ and clean/, paired and in the order of ``spandex.data.folders.paired_files``.

    Indexing reads from disk. Raises SpandexError for a missing folder or partner, two files with one partner, and
    AudioError for a file that is unreadable, not 16 kHz mono, or unlike its partner in length.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory)
        self._listing = Listing(self.directory)
        self._listing.look(READ)
        files, alone = paired_files(self.directory / "noisy", self.directory / "clean")
        if alone:
            raise alone[0]
        self.noisy_files, self.clean_files = ([pair[part] for pair in files] for part in (0, 1))

    def __len__(self) -> int:
        return len(self.noisy_files)

    def __str__(self) -> str:
        return str(self.directory)

    def __getitem__(self, index: int) -> Clip:
        noisy, clean = self.read(index)
        name = self.name(index)
        snr = SNR.search(name)
        return Clip(noisy, clean, name, int(snr[1]) if snr else None)

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def name(self, index: int) -> str:
        """Name of a clip's noisy file."""
        return self.noisy_files[index].name

    def lengths(self) -> np.ndarray:
        """Samples of every clip, (clips,).

        All clips that were mixed here have the length that ``draw.json`` says, so that no file needs to be opened;
        elsewhere their headers are read.
        """
        record = self.directory / "draw.json"
        if record.is_file():
            try:
                samples = SynthesisSettings(**read_json(record)["settings"]).samples
            except (KeyError, TypeError) as error:
                raise SpandexError(f"{record}: not the record of a synthesis ({error})") from None
            return np.full(len(self), samples)
        return np.array([self._samples(index) for index in range(len(self))])

    def _samples(self, index: int) -> int:
        noisy, clean = (_frames(file) for file in (self.noisy_files[index], self.clean_files[index]))
        self._check_lengths(index, noisy, clean)
        return noisy

    def read(self, index: int, start: int = 0, samples: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean as float32 (samples,), from ``start`` on; no more than that is read, -1 means all."""
        files = self.noisy_files[index], self.clean_files[index]
        for file in files:
            self._listing.check(file)
        noisy, clean = (_read(file, start, samples) for file in files)
        self._check_lengths(index, len(noisy), len(clean))
        return noisy, clean

    def _check_lengths(self, index: int, noisy: int, clean: int) -> None:
        if noisy != clean:
            reason = f"{noisy} samples, but {self.clean_files[index].name} has {clean}"
            raise AudioError(self.noisy_files[index], reason)


@dataclass(eq=False)
class SegmentBatches:
    """Shuffled batches of segments, (B, N) float32, for training.

    In each pass over the data every clip is cut into consecutive segments from a random offset, as many as fit
    whatever the offset; the segments of all clips are shuffled and the last, incomplete batch is dropped. Passes
    follow each other without end, and an epoch is the next ``epoch_batches`` of their batches: one pass if not
    given, less of more clips otherwise. Batches depend on ``seed`` and their place alone, so a run can go on
    anywhere. Threads read up to two batches each ahead of what is asked for.

    With ``fresh`` every pass has clips of its own: clip k of pass p is number ``p * len(dataset) + k``. Segments are
    then shuffled within so many clips at a time, so that a dataset need not keep more than two times as many.

    Args:
        dataset: the clips.
        batch_size: segments of a batch, of all processes together.
        segment_s: length of a segment in seconds.
        seed: of the order and the offsets.
        epoch_batches: batches of an epoch; None: one pass.
        rank, world_size: of the process among those that train together. It gets, and reads, rows
            ``rank::world_size`` of every batch.
        workers: threads that read ahead.
        fresh: clips that are shuffled at a time, of a dataset without end; None: every pass has the same clips.

    Raises:
        SpandexError: there are fewer segments than one batch, or fewer rows in it than processes.
    """

    dataset: NoisyClips
    batch_size: int
    segment_s: float
    seed: int
    epoch_batches: int | None = None
    _: KW_ONLY
    rank: int = 0
    world_size: int = 1
    workers: int = 1
    fresh: int | None = None

    def __post_init__(self) -> None:
        self.segment = round(self.segment_s * SAMPLE_RATE_HZ)
        size = self.batch_size
        if self.segment < 1 or size < 1:
            raise SpandexError(f"batches of {size} segments of {self.segment_s} s: both must be positive")
        if not 0 <= self.rank < self.world_size <= size:
            place = f"rank {self.rank} of {self.world_size} processes"
            raise SpandexError(f"{place} with batches of {size}: each needs a row")
        self._lengths = self.dataset.lengths()
        self._counts = self._lengths // self.segment
        self._pass_batches = int(self._counts.sum()) // size
        if not self._pass_batches:
            found = f"{self._counts.sum()} segments of {self.segment_s:g} s"
            raise SpandexError(f"{self.dataset}: {found} do not fill a batch of {size}")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.epoch_batches or self._pass_batches

    def epoch(self, k: int, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
        """Yield (noisy, clean, names of the noisy files) of epoch ``k``, from batch ``start_batch`` on."""
        return map_in_order(self._read, self._epoch(k, start_batch), self.workers)

    def _epoch(self, k: int, start_batch: int) -> Iterator[list[tuple[int, int]]]:
        """Clip and first sample of every segment, batch by batch."""
        batch, end = k * len(self) + start_batch, (k + 1) * len(self)
        while batch < end:
            number, first = divmod(batch, self._pass_batches)
            last = min(self._pass_batches, first + end - batch)
            yield from self._pass(number, first, last)
            batch += last - first

    def _pass(self, number: int, first: int, last: int) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng([self.seed, number])
        offsets = rng.integers(self._lengths - self._counts * self.segment + 1)
        clips = np.repeat(np.arange(len(self._counts)), self._counts)
        within = np.arange(len(clips)) - np.repeat(np.cumsum(self._counts) - self._counts, self._counts)
        order = rng.permutation(len(clips))
        before = 0
        if self.fresh:
            order = order[np.argsort(clips[order] // self.fresh, kind="stable")]
            before = number * len(self._counts)
        for batch in range(first, last):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size][self.rank :: self.world_size]
            starts = offsets[clips[chosen]] + within[chosen] * self.segment
            yield list(zip((before + clips[chosen]).tolist(), starts.tolist(), strict=True))

    def _read(self, segments: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        parts = [self.dataset.read(clip, start, self.segment) for clip, start in segments]
        noisy, clean = (np.stack(arrays) for arrays in zip(*parts, strict=True))
        return noisy, clean, [self.dataset.name(clip) for clip, _ in segments]


@contextlib.contextmanager
def open_clip(file: Path) -> Iterator[Recording]:
    """A clip open to be read.

    Raises:
        AudioError: see ``open_audio``; or it is not 16 kHz mono.
    """
    with open_audio(file) as audio:
        if (audio.samplerate, audio.channels) != (SAMPLE_RATE_HZ, 1):
            raise AudioError(file, f"{audio.samplerate} Hz, {audio.channels} channels; clips are 16000 Hz mono")
        yield audio


def _frames(file: Path) -> int:
    with open_clip(file) as audio:
        return audio.frames


def _read(file: Path, start: int, samples: int) -> np.ndarray:
    with open_clip(file) as audio:
        if start < 0 or start + max(samples, 0) > audio.frames:
            raise AudioError(file, f"samples {start} to {start + samples} of its {audio.frames} were asked for")
        audio.skip_to(start)
        return audio.read(audio.frames - start if samples < 0 else samples, dtype="float32")
