"""Mono audio files in and out: float32 arrays in [-1, 1] at 16 kHz, 16-bit PCM on disk."""

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from spandex.errors import SpandexError
from spandex.files import atomic_path

SAMPLE_RATE_HZ = 16_000
PCM_SCALE = 2**15  # one step of 16-bit PCM is 2**-15 of full scale
SILENCE_PEAK = 1e-4  # -80 dBFS: three steps of 16-bit PCM, nothing but rounding noise


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
    if not Path(path).is_file():
        raise AudioError(path, "no such file")
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, f"unreadable ({getattr(error, 'error_string', error)})") from None
    if not audio.size:
        raise AudioError(path, "empty")
    if not np.isfinite(audio).all():
        raise AudioError(path, "holds NaN or infinite samples")
    mono = audio.mean(axis=1) if audio.shape[1] > 1 else audio[:, 0]
    if len(mono) < min_duration_s * rate:
        raise AudioError(path, f"{len(mono) / rate:.3f} s is shorter than {min_duration_s:g} s")
    if np.abs(mono).max() <= SILENCE_PEAK:
        raise AudioError(path, "silent (no sample above -80 dBFS)")
    return resample(mono, rate, sample_rate_hz)


def resample(audio: np.ndarray, rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """Float32 (samples,) at another rate."""
    return audio if rate_hz == to_rate_hz else soxr.resample(audio, rate_hz, to_rate_hz, quality="HQ")


def to_int16(audio: np.ndarray) -> np.ndarray:
    """16-bit PCM, rounded half to even; what lies beyond full scale is clipped."""
    return np.clip(np.rint(audio * PCM_SCALE), -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)


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
