"""Audio files in and out: mono float32 arrays in [-1, 1] at 16 kHz, or any file's channels as they are, in blocks.

A block is an array of consecutive samples; blocks of any lengths, one after the other, are the same audio.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from spandex.data.containers import missing_part
from spandex.errors import SpandexError
from spandex.files import atomic_path

SAMPLE_RATE_HZ = 16_000
PCM_SCALE = 2**15  # one step of 16-bit PCM is 2**-15 of full scale
PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}  # libsndfile's subtypes
READ_VALUES = 2**18  # samples of all channels that are read at once, 1 MiB
WRITE_SAMPLES = 4096  # at once; given minutes of audio, libsndfile's Vorbis encoder overflows the stack
LONGEST_SOURCE_S = 3600  # of a file that is read as a whole; 220 MiB at 16 kHz
LARGEST_FILE = 2**32 - 2**16  # bytes of samples that a container of 32-bit sizes holds, with room for its header
LARGER = {"WAV": "RF64", "WAVEX": "RF64", "AIFF": None, "AU": None, "SVX": None}  # what holds more than these
SAMPLE_BYTES = {"DOUBLE": 8, "FLOAT": 4, "PCM_32": 4, "PCM_24": 3, "PCM_16": 2}  # at most 1 of all others
UNCLIPPED = {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III"}  # subtypes that hold samples beyond full scale
LONGEST = 2**62  # samples; libsndfile says more of FLAC that was written to a pipe, and cannot read its end
SILENCE_PEAK = 1e-4  # -80 dBFS: three steps of 16-bit PCM, nothing but rounding noise
SILENCE_RANGE = 2 * SILENCE_PEAK  # from the lowest sample to the highest, whatever the offset


class AudioError(SpandexError):
    """An audio file that cannot be used, with the reason."""

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_audio(
    path: str | os.PathLike, sample_rate_hz: int = SAMPLE_RATE_HZ, min_duration_s: float = 0.0
) -> np.ndarray:
    """Read an audio file as float32 (samples,), channels averaged and resampled (soxr, high quality).

    Raises:
        AudioError: the file is missing, unreadable, empty, shorter than ``min_duration_s``, longer than an hour, silent
            (no sample above -80 dBFS), or holds NaN or infinite samples.
    """
    samples, peak = 0, 0.0

    def mono(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        nonlocal samples, peak
        for block in read_blocks(file, path):
            block = block.mean(axis=1) if file.channels > 1 else block[:, 0]
            samples, peak = samples + len(block), max(peak, float(np.abs(block).max()))
            yield block

    with open_audio(path) as file:
        rate = file.samplerate
        check_duration(file, path, LONGEST_SOURCE_S)
        audio = np.concatenate(list(resampled(mono(file), rate, sample_rate_hz)))
    if samples < min_duration_s * rate:
        raise AudioError(path, f"{samples / rate:.3f} s is shorter than {min_duration_s:g} s")
    if peak <= SILENCE_PEAK:
        raise AudioError(path, "silent (no sample above -80 dBFS)")
    return audio


@dataclass(frozen=True)
class SoundFormat:
    """How an audio file holds its samples, in libsndfile's names.

    Attributes:
        rate_hz: samples a second.
        container: such as WAV, FLAC, OGG.
        subtype: such as PCM_16, PCM_24, FLOAT, VORBIS.
        endian: byte order.
    """

    rate_hz: int
    container: str
    subtype: str
    endian: str = "FILE"

    def within(self, container: str) -> "SoundFormat":
        """The same in another container, with that container's usual subtype where it cannot hold this one."""
        kept = soundfile.check_format(container, self.subtype)
        subtype = self.subtype if kept else soundfile.default_subtype(container)
        return replace(self, container=container, subtype=subtype, endian="FILE")

    def holding(self, samples: int, channels: int, path: str | os.PathLike) -> "SoundFormat":
        """The same, or RF64 in place of a WAV file whose header could not say how long it is.

        Raises:
            AudioError: the file, named ``path`` in the error, cannot be that long.
        """
        size = samples * channels * SAMPLE_BYTES.get(self.subtype, 1)
        if self.container not in LARGER or size <= LARGEST_FILE:
            return self
        larger = LARGER[self.container]
        if larger is None or not soundfile.check_format(larger, self.subtype):
            raise AudioError(
                path, f"not written: {size:,} bytes of {self.subtype} do not fit a {self.container} file; write FLAC"
            )
        return replace(self, container=larger, endian="FILE")


class Recording(soundfile.SoundFile):
    """An audio file that is read on from where it is.

    soundfile seeks after every read of a file that can; what an Opus decoder gives then depends on where a read ended.
    """

    def seekable(self) -> bool:
        """Never, for soundfile."""
        return False

    def skip_to(self, sample: int) -> None:
        """Go forward to a sample; by reading, where the format cannot seek."""
        if super().seekable():
            self.seek(sample)
            return
        for start in range(0, sample, READ_VALUES):
            self.read(min(READ_VALUES, sample - start), dtype="float32")


def format_of(file: soundfile.SoundFile) -> SoundFormat:
    """How an open file holds its samples."""
    return SoundFormat(file.samplerate, file.format, file.subtype, file.endian)


def read_blocks(file: soundfile.SoundFile, path: str | os.PathLike) -> Iterator[np.ndarray]:
    """The samples of a file that ``open_audio`` has opened: blocks of float32 (samples, channels), at least one.

    Raises:
        AudioError: the file is cut off, empty, or holds NaN or infinite samples; as soon as it is known.
    """
    if not file.frames:
        raise AudioError(path, "empty")
    at_once = max(READ_VALUES // file.channels, 1)
    left = file.frames
    while left:
        try:
            block = file.read(min(at_once, left), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise _unreadable(path, error) from None
        if not len(block):
            raise AudioError(path, f"cut off: {file.frames - left} of {file.frames} samples")
        if not np.isfinite(block).all():
            raise AudioError(path, "holds NaN or infinite samples")
        left -= len(block)
        yield block


def check_duration(file: soundfile.SoundFile, path: str | os.PathLike, longest_s: float) -> None:
    """Refuse what would take too much memory as a whole, by its header.

    Raises:
        AudioError: the file is longer.
    """
    if file.frames > longest_s * file.samplerate:
        seconds = file.frames / file.samplerate
        raise AudioError(path, f"lasts {seconds:,.0f} s; at most {longest_s:,.0f} s are read: cut it into pieces")


@contextlib.contextmanager
def open_audio(path: str | os.PathLike) -> Iterator[Recording]:
    """An audio file open to be read, whole as far as its header tells.

    Raises:
        AudioError: the file is missing, unreadable, then or while it is open, or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(path, "no file" if path.exists() else "no such file")  # folders, pipes, devices
    try:
        if missing := missing_part(path):
            raise AudioError(path, f"cut off: {missing}")
        file = Recording(os.fsencode(path))  # the name may be none of UTF-8
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    with file:
        if file.frames > LONGEST:
            raise AudioError(path, "its header does not say how long it is; encode it again")
        try:
            yield file
        except soundfile.SoundFileError as error:
            raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike, error: Exception) -> AudioError:
    return AudioError(path, f"unreadable ({getattr(error, 'error_string', error)})")


def write_channels(
    path: str | os.PathLike, blocks: Iterable[np.ndarray], channels: int, sound_format: SoundFormat
) -> None:
    """Write blocks of float (samples, channels) in a format as ``format_of`` gives it.

    What is no floating point is clipped at full scale, PCM rounded. The same samples give the same bytes, whatever the
    blocks; where one cannot be made, nothing is left.

    Raises:
        AudioError: the format cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            layout = sound_format.rate_hz, channels, sound_format.subtype, sound_format.endian, sound_format.container
            with soundfile.SoundFile(os.fsencode(temporary), "w", *layout) as file:
                for piece in pieces(blocks, WRITE_SAMPLES):
                    file.write(_as_written(piece, sound_format.subtype))
        except soundfile.SoundFileError as error:
            raise _not_written(path, error) from None


def _not_written(path: str | os.PathLike, error: soundfile.SoundFileError) -> AudioError:
    return AudioError(path, f"not written ({getattr(error, 'error_string', error)})")


def _as_written(audio: np.ndarray, subtype: str) -> np.ndarray:
    """Samples as libsndfile takes them; it would wrap those beyond full scale of A-law, for one."""
    if subtype in UNCLIPPED:
        return audio
    bits = PCM_BITS.get(subtype)
    return np.clip(audio, -1, 1 - 2**-15) if bits is None else to_pcm(audio, bits) << (32 - bits)  # the upper bits


def pieces(blocks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """The same audio in blocks of so many samples each, but the last."""
    waiting: list[np.ndarray] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= samples:
            joined, ready = np.concatenate(waiting), count - count % samples
            for start in range(0, ready, samples):
                yield joined[start : start + samples]
            waiting, count = [joined[ready:]], count - ready
    if count:
        yield np.concatenate(waiting)


def resampled(blocks: Iterable[np.ndarray], rate_hz: int, to_rate_hz: int) -> Iterator[np.ndarray]:
    """Blocks of float32 (samples,) at another rate (soxr, high quality)."""
    if rate_hz == to_rate_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, to_rate_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def resample(audio: np.ndarray, rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """Float32 (samples,) at another rate."""
    return np.concatenate(list(resampled([audio], rate_hz, to_rate_hz)))


def to_int16(audio: np.ndarray) -> np.ndarray:
    """16-bit PCM, rounded half to even; what lies beyond full scale is clipped."""
    return to_pcm(audio, 16).astype(np.int16)


def to_pcm(audio: np.ndarray, bits: int) -> np.ndarray:
    """Int32 of so many bits, rounded half to even; what lies beyond full scale is clipped."""
    scale = 2.0 ** (bits - 1)
    return np.clip(np.rint(audio.astype(np.float64) * scale), -scale, scale - 1).astype(np.int32)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Float32 in [-1, 1) from 16-bit PCM; exact."""
    return samples.astype(np.float32) / PCM_SCALE


def write_wav(path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write float (samples,) as a 16-bit PCM WAV file; the same samples give the same bytes."""
    _write(path, audio, sample_rate_hz, "WAV")


def write_flac(path: str | os.PathLike, audio: np.ndarray) -> None:
    """Write float (samples,) of 16 kHz as a 16-bit FLAC file; the same samples give the same bytes."""
    _write(path, audio, SAMPLE_RATE_HZ, "FLAC")


def _write(path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int, container: str) -> None:
    if not np.isfinite(audio).all():
        raise AudioError(path, "not written: NaN or infinite samples")
    with atomic_path(path) as temporary:
        try:
            soundfile.write(temporary, to_int16(audio), sample_rate_hz, subtype="PCM_16", format=container)
        except soundfile.SoundFileError as error:
            raise _not_written(path, error) from None
