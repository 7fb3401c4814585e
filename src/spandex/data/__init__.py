"""Speech and noise corpora, noisy-speech synthesis, and its clips as arrays."""

from spandex.data.audio import SAMPLE_RATE_HZ, AudioError, read_audio, write_wav
from spandex.data.corpus import Entry, read_manifest, write_manifest
from spandex.data.dataset import Clip, NoisySpeech, SegmentBatches
from spandex.data.embedded import build_embedded
from spandex.data.synthesis import MixedClip, SkippedFile, Sources, SynthesisSettings, make_clip, mix, synthesize

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioError",
    "Clip",
    "Entry",
    "MixedClip",
    "NoisySpeech",
    "SegmentBatches",
    "SkippedFile",
    "Sources",
    "SynthesisSettings",
    "build_embedded",
    "make_clip",
    "mix",
    "read_audio",
    "read_manifest",
    "synthesize",
    "write_manifest",
    "write_wav",
]
