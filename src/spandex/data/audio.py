"""Audio files in and out: mono float32 arrays in [-1, 1] at 16 kHz, or any file's channels as they are."""

import contextlib
import os
from collections.abc import Iterator
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
WRITE_SAMPLES = 4096  # at once; given minutes of audio, libsndfile's Vorbis encoder overflows the stack
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
        AudioError: the file is missing, unreadable, empty, shorter than ``min_duration_s``, silent
            (no sample above -80 dBFS), or holds NaN or infinite samples.
    """
    audio, sound_format = read_channels(path)
    rate = sound_format.rate_hz
    mono = audio.mean(axis=1) if audio.shape[1] > 1 else audio[:, 0]
    if len(mono) < min_duration_s * rate:
        raise AudioError(path, f"{len(mono) / rate:.3f} s is shorter than {min_duration_s:g} s")
    if np.abs(mono).max() <= SILENCE_PEAK:
        raise AudioError(path, "silent (no sample above -80 dBFS)")
    return resample(mono, rate, sample_rate_hz)


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


def read_channels(path: str | os.PathLike) -> tuple[np.ndarray, SoundFormat]:
    """Read an audio file of any kind as float32 (samples, channels), and how it holds them.

    Raises:
        AudioError: the file is missing, unreadable, cut off, empty, or holds NaN or infinite samples.
    """
    with open_audio(path) as file:
        audio = file.read(dtype="float32", always_2d=True)
        sound_format = SoundFormat(file.samplerate, file.format, file.subtype, file.endian)
        if len(audio) < file.frames:
            raise AudioError(path, f"cut off: {len(audio)} of {file.frames} samples")
    if not audio.size:
        raise AudioError(path, "empty")
    if not np.isfinite(audio).all():
        raise AudioError(path, "holds NaN or infinite samples")
    return audio, sound_format


@contextlib.contextmanager
def open_audio(path: str | os.PathLike) -> Iterator[soundfile.SoundFile]:
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
        with soundfile.SoundFile(os.fsencode(path)) as file:  # the name may be none of UTF-8
            if file.frames > LONGEST:
                raise AudioError(path, "its header does not say how long it is; encode it again")
            yield file
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, f"unreadable ({getattr(error, 'error_string', error)})") from None


def write_channels(path: str | os.PathLike, audio: np.ndarray, sound_format: SoundFormat) -> None:
    """Write float (samples, channels) in a format as ``read_channels`` gives it; PCM is rounded, clipped at full scale.

    Raises:
        AudioError: the format cannot be written.
    """
    bits = PCM_BITS.get(sound_format.subtype)
    samples = audio if bits is None else to_pcm(audio, bits) << (32 - bits)  # libsndfile takes the upper bits
    with atomic_path(path) as temporary:
        try:
            with soundfile.SoundFile(
                os.fsencode(temporary),
                "w",
                sound_format.rate_hz,
                audio.shape[1],
                sound_format.subtype,
                sound_format.endian,
                sound_format.container,
            ) as file:
                for start in range(0, len(samples), WRITE_SAMPLES):
                    file.write(samples[start : start + WRITE_SAMPLES])
        except soundfile.SoundFileError as error:
            raise AudioError(path, f"not written ({getattr(error, 'error_string', error)})") from None


def resample(audio: np.ndarray, rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """Float32 (samples,) at another rate."""
    return audio if rate_hz == to_rate_hz else soxr.resample(audio, rate_hz, to_rate_hz, quality="HQ")


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


def write_flac(path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write float (samples,) as a 16-bit FLAC file; the same samples give the same bytes."""
    _write(path, audio, sample_rate_hz, "FLAC")


def _write(path: str | os.PathLike, audio: np.ndarray, sample_rate_hz: int, container: str) -> None:
    if not np.isfinite(audio).all():
        raise AudioError(path, "not written: NaN or infinite samples")
    with atomic_path(path) as temporary:
        soundfile.write(temporary, to_int16(audio), sample_rate_hz, subtype="PCM_16", format=container)
