"""Speech from espeak-ng, through the shared library that the package espeakng-loader carries.

Calls and numbers are those of espeak-ng's public header ``speak_lib.h`` (https://github.com/espeak-ng/espeak-ng).
"""

import atexit
import ctypes
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ, from_int16, resample
from spandex.errors import SpandexError

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: return when synthesis is complete
_POSITION_CHARACTER, _UTF8 = 1, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_LONGEST_DATA_PATH = 120  # bytes
_HALF_VOLUME = 50  # at the normal 100 some variants clip
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Voice:
    """A language with a variant (a timbre), and how it speaks.

    ``rate`` is in words a minute (80 to 450), ``pitch`` and ``pitch_range`` run from 0 to 100 (normal: 50).
    """

    language: str
    variant: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50


def speak(text: str, voice: Voice) -> np.ndarray:
    """Speech as float32 (samples,) at 16 kHz; depends on its arguments alone.

    espeak-ng keeps oscillator phases and random numbers in static variables that no call resets. The library is
    therefore loaded afresh for each text (4 ms).

    Raises:
        SpandexError: espeak-ng lacks the voice or its data, or fails.
    """
    data_path = _data_path()
    libc = ctypes.CDLL(None)
    libc.dlclose.argtypes = [ctypes.c_void_p]
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        return _speak(library, libc, data_path, text, voice)
    finally:
        library.espeak_Terminate()
        libc.dlclose(library._handle)


@functools.cache
def _data_path() -> str:
    """The folder of espeak-ng's voices under a name short enough for it.

    espeak-ng cuts the name at 160 bytes, and ends the whole process when it finds no data.
    """
    path = Path(espeakng_loader.get_data_path())
    if not (path / "phontab").is_file():
        raise SpandexError(f"{path}: no data of espeak-ng; install espeakng-loader again")
    if len(str(path).encode()) <= _LONGEST_DATA_PATH:
        return str(path)
    folder = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, folder)
    link = Path(folder) / "espeak-ng-data"
    link.symlink_to(path)
    return str(link)


def _speak(library: ctypes.CDLL, libc: ctypes.CDLL, data_path: str, text: str, voice: Voice) -> np.ndarray:
    chunks = []

    @_CALLBACK
    def collect(samples, count: int, _events) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), 0)
    library.espeak_SetSynthCallback(collect)
    libc.srand(1)  # breath noise of the Klatt voices
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    name = f"{voice.language}+{voice.variant}"
    if library.espeak_SetVoiceByName(name.encode()):
        raise SpandexError(f"espeak-ng has no voice {name!r}")
    wanted = {_RATE: voice.rate, _VOLUME: _HALF_VOLUME, _PITCH: voice.pitch, _RANGE: voice.pitch_range}
    for parameter, value in wanted.items():
        if library.espeak_SetParameter(parameter, value, 0):
            raise SpandexError(f"espeak-ng refuses the value {value} of parameter {parameter}")
    encoded = text.encode() + b"\0"
    size = ctypes.c_size_t(len(encoded))
    if library.espeak_Synth(encoded, size, 0, _POSITION_CHARACTER, 0, _UTF8, None, None) or not chunks:
        raise SpandexError(f"espeak-ng cannot say {text!r} with the voice {name!r}")
    return resample(from_int16(np.frombuffer(b"".join(chunks), np.int16)), rate_hz, SAMPLE_RATE_HZ)
