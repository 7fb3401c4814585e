"""Speech and noise corpora, noisy-speech synthesis, and its clips as arrays.

What downloads has modules of its own, ``download``, ``public`` and ``catalog``, since it takes long to import.
"""

from spandex.data.audio import SAMPLE_RATE_HZ, AudioError, read_audio, write_wav
from spandex.data.corpus import Entry, read_manifest, write_manifest
from spandex.data.dataset import Clip, NoisySpeech, SegmentBatches
from spandex.data.linked import link_clips
from spandex.data.mixed import MixedSpeech
from spandex.data.synthesis import (
    MixedClip,
    SkippedFile,
    Sources,
    SynthesisSettings,
    make_clip,
    mix,
    synthesize,
)
from spandex.data.synthetic import build_synthetic

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioError",
    "Clip",
    "Entry",
    "MixedClip",
    "MixedSpeech",
    "NoisySpeech",
    "SegmentBatches",
    "SkippedFile",
    "Sources",
    "SynthesisSettings",
    "build_synthetic",
    "link_clips",
    "make_clip",
    "mix",
    "read_audio",
    "read_manifest",
    "synthesize",
    "write_manifest",
    "write_wav",
]
