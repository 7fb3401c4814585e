"""Clips mixed when they are read, against the files that synthesis writes."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from spandex.data import MixedSpeech, NoisySpeech, SegmentBatches, SynthesisSettings, build_synthetic, synthesize
from spandex.data import mixed as module
from spandex.errors import SpandexError

SETTINGS = SynthesisSettings(clip_s=2.0)
CLIPS = 6


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    minutes = {"train": 0.3, "validation": 0.1, "test": 0.1}
    return build_synthetic(tmp_path_factory.mktemp("corpus"), minutes, minutes, seed=1)


@pytest.fixture(scope="module")
def on_disk(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    synthesize(manifest, "train", folder, CLIPS, SETTINGS, seed=4)
    return NoisySpeech(folder)


@pytest.fixture
def mixed(manifest):
    return MixedSpeech(manifest, "train", CLIPS, SETTINGS, seed=4)


@pytest.fixture
def made(monkeypatch):
    """Indices of the clips that were mixed."""
    indices = []
    make = module.make_clip
    monkeypatch.setattr(
        module, "make_clip", lambda sources, index, seed: indices.append(index) or make(sources, index, seed)
    )
    return indices


def assert_same_batches(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == other[2]


def test_clips_are_those_on_disk(mixed, on_disk):
    np.testing.assert_array_equal(mixed.lengths(), on_disk.lengths())
    for ours, theirs in zip(mixed, on_disk, strict=True):
        np.testing.assert_array_equal(ours.noisy, theirs.noisy)
        np.testing.assert_array_equal(ours.clean, theirs.clean)
        assert ours.noisy.dtype == ours.clean.dtype == np.float32
        assert (ours.name, ours.snr_db) == (theirs.name, theirs.snr_db)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kept", [1, CLIPS])
def test_batches_are_those_from_disk(manifest, on_disk, workers, kept):
    mixed = MixedSpeech(manifest, "train", CLIPS, SETTINGS, seed=4, kept=kept)
    arguments = {"batch_size": 4, "segment_s": 0.7, "seed": 2}
    for epoch, start in ((0, 0), (1, 1)):
        assert_same_batches(
            SegmentBatches(mixed, **arguments, workers=workers).epoch(epoch, start),
            SegmentBatches(on_disk, **arguments).epoch(epoch, start),
        )


def test_part_of_a_clip_is_its_slice(mixed):
    whole, part = mixed.read(2), mixed.read(2, start=700, samples=50)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[700:750], other)


def test_a_clip_is_mixed_once_while_it_is_kept(mixed, made):
    for _ in range(3):
        for index in range(CLIPS):
            mixed.read(index)
            mixed.name(index)
    assert made == list(range(CLIPS))


def test_the_clips_used_last_are_kept(manifest, made):
    mixed = MixedSpeech(manifest, "train", CLIPS, SETTINGS, seed=4, kept=2)
    for index in (0, 1, 0, 2, 0, 1):
        mixed.read(index)
    assert made == [0, 1, 2, 1]


def test_threads_get_the_same_clips(mixed, on_disk):
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(mixed.read, itertools.chain(range(CLIPS), range(CLIPS))))
    for (noisy, clean), expected in zip(read, [*on_disk, *on_disk], strict=True):
        np.testing.assert_array_equal(noisy, expected.noisy)
        np.testing.assert_array_equal(clean, expected.clean)


def test_a_clip_that_cannot_be_mixed_is_named_to_the_consumer(manifest):
    settings = SynthesisSettings(clip_s=2.0, min_activity=1.1)  # more than there can be
    batches = SegmentBatches(MixedSpeech(manifest, "train", 3, settings, seed=4), 1, 1.0, seed=0)
    with pytest.raises(SpandexError, match=r"clip \d of split 'train': 100 draws gave none"):
        next(batches.epoch(0))


def test_too_few_segments_and_clips_are_refused(manifest):
    with pytest.raises(SpandexError, match=r"manifest\.csv, split train: 2 segments of 1 s do not fill a batch of 3"):
        SegmentBatches(MixedSpeech(manifest, "train", 1, SETTINGS, seed=4), 3, 1.0, seed=0)
    with pytest.raises(SpandexError, match="0 clips"):
        MixedSpeech(manifest, "train", 0, SETTINGS, seed=4)
