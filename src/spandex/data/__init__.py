"""Speech and noise corpora, noisy-speech synthesis, and its clips as arrays."""

from spandex.data.audio import SAMPLE_RATE_HZ, AudioError, read_audio, write_wav
from spandex.data.catalog import Source, dns4_archives
from spandex.data.corpus import Entry, read_manifest, write_manifest
from spandex.data.dataset import Clip, NoisySpeech, SegmentBatches
from spandex.data.download import DownloadError, Retry, fetch
from spandex.data.embedded import build_embedded
from spandex.data.linked import link_clips
from spandex.data.mixed import MixedSpeech
from spandex.data.public import fetch_published, find_test_set, prepare_corpus
from spandex.data.synthesis import (
    MixedClip,
    SkippedFile,
    Sources,
    SynthesisSettings,
    make_clip,
    mix,
    synthesize,
    synthesize_shard,
)

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioError",
    "Clip",
    "DownloadError",
    "Entry",
    "MixedClip",
    "MixedSpeech",
    "NoisySpeech",
    "Retry",
    "SegmentBatches",
    "SkippedFile",
    "Source",
    "Sources",
    "SynthesisSettings",
    "build_embedded",
    "dns4_archives",
    "fetch",
    "fetch_published",
    "find_test_set",
    "link_clips",
    "make_clip",
    "mix",
    "prepare_corpus",
    "read_audio",
    "read_manifest",
    "synthesize",
    "synthesize_shard",
    "write_manifest",
    "write_wav",
]
