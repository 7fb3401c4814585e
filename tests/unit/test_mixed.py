"""Clips mixed when they are read, against the files that synthesis writes."""

import itertools
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clips import assert_same_batches
from spandex import params
from spandex.data import MixedSpeech, NoisySpeech, SegmentBatches, SynthesisSettings, build_synthetic, synthesize
from spandex.data import mixed as module
from spandex.errors import SpandexError, Stopped
from spandex.files import write_json
from spandex.networks import save_state
from spandex.sparsify.methods import check
from spandex.steps import train as steps
from spandex.steps.common import new_network
from spandex.tracking.build import Build

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


def fresh(manifest, clips=3, settings=SETTINGS, seed=4, segment_s=0.7, **options):
    """Batches of clips that are new in every pass, two of them shuffled at a time."""
    mixed = MixedSpeech(manifest, "train", clips, settings, seed, kept=4)
    return SegmentBatches(mixed, 2, segment_s, seed=2, fresh=2, **options)


def test_every_pass_has_the_clips_that_synthesis_writes_next(manifest, on_disk):
    clips = {clip.name: clip for clip in on_disk}
    for number in (0, 1):
        seen = set()
        for noisy, clean, names in fresh(manifest).epoch(number):
            for noisy_row, clean_row, name in zip(noisy, clean, names, strict=True):
                start = clips[name].noisy.tobytes().find(noisy_row.tobytes())
                assert start >= 0 and clips[name].clean.tobytes().find(clean_row.tobytes()) == start
            seen.update(names)
        assert seen == {on_disk.name(3 * number + clip) for clip in range(3)}


def test_fresh_batches_depend_on_their_place_and_the_seed_alone(manifest):
    def epoch(start=0, seed=4, **options):
        return list(fresh(manifest, seed=seed, epoch_batches=4, **options).epoch(1, start))  # passes have three

    whole = epoch()
    assert len({row.tobytes() for noisy, _, _ in whole for row in noisy}) == 8
    assert_same_batches(epoch(), whole)
    assert_same_batches(epoch(workers=3), whole)
    for start in range(5):
        assert_same_batches(epoch(start), whole[start:])
    for rank in range(2):
        assert_same_batches(epoch(rank=rank, world_size=2), [tuple(part[rank::2] for part in batch) for batch in whole])
    other = epoch(seed=5)
    assert not {row.tobytes() for noisy, _, _ in whole for row in noisy} & {
        row.tobytes() for noisy, _, _ in other for row in noisy
    }


def test_a_fresh_clip_is_mixed_once_though_few_are_kept(manifest, made):
    batches = fresh(manifest, clips=7)
    for number in range(3):
        for _ in batches.epoch(number):
            pass
    assert len(made) == len(set(made)) and set(made) <= set(range(21)) and len(made) >= 18


def test_snr_and_level_of_fresh_clips_are_those_of_the_settings(manifest):
    settings = SynthesisSettings(clip_s=2.0, snr_db=(3, 6), level_dbfs=(-32, -29))
    batches = fresh(manifest, clips=8, settings=settings, segment_s=2.0)
    epochs = [batch for number in range(3) for batch in batches.epoch(number)]
    noisy, clean = (np.concatenate([batch[part] for batch in epochs]).astype(float) for part in (0, 1))
    noisy, clean, noise = (10 * np.log10(np.mean(part**2, axis=1)) for part in (noisy, clean, noisy - clean))
    assert set(np.rint(clean - noise)) == {3, 4, 5} and set(np.rint(noisy)) == {-32, -31, -30}
    np.testing.assert_allclose(clean - noise, np.rint(clean - noise), atol=0.02)
    np.testing.assert_allclose(noisy, np.rint(noisy), atol=0.02)


@pytest.mark.parametrize(("damage", "what"), [(Path.unlink, "missing"), (Path.touch, "not what it was")])
def test_a_corpus_that_changed_is_named_and_not_passed_over(manifest, tmp_path, damage, what):
    corpus = shutil.copytree(manifest.parent, tmp_path / "corpus")
    mixed = MixedSpeech(corpus / "manifest.csv", "train", CLIPS, SETTINGS, seed=4)
    for file in corpus.glob("*/train/*.flac"):
        file.unlink()
        if damage is Path.touch:
            file.write_bytes(b"another")
    with pytest.raises(SpandexError, match=rf"\.flac: {what} when .*manifest\.csv listed it"):
        mixed.read(0)


@pytest.fixture
def fine_tuned(manifest, on_disk, tmp_path):
    """Fine-tunes a small network by dynamic mixing, and gives the bytes of its weights and logs."""
    small = "model.hidden=8 data.clip_s=2.0 data.clips.train=3 train.segment_s=0.7 train.batch_size=2 "
    small += "train.epoch_batches=4 sparsify.epochs=2 sparsify.pruning_epochs=1 train.device=cpu threads=1 "

    def run(name: str, settings: str = "") -> list[bytes]:
        asked = f"{small} networks.dense.dynamic_mixing=true {settings}"
        found = params.load(Path(__file__).parents[2] / "params.yaml", {"set": asked}, check)
        folder = tmp_path / name / "dense"
        start, build, listed = folder / "start.pt", folder / "build.json", on_disk.directory / "clips.json"
        save_state(new_network(found), start)
        Build(found.profile, {}, {}, "", experiment_id="", run_id="").save(build)
        write_json(listed, {"files": {}})
        teacher = start if found.network("dense").teacher else None
        steps.fine_tune(found, "dense", start, teacher, manifest, listed, build, folder / "network.pt")
        return [(folder / file).read_bytes() for file in ("network.pt", "log.csv", "epochs.csv")]

    return run


def test_a_teacher_teaches_with_its_own_lookahead(fine_tuned, monkeypatch):
    taught_by, make = [], steps.Distillation

    def seen(network, weight):
        taught_by.append(network.lookahead)
        return make(network, weight)

    monkeypatch.setattr(steps, "Distillation", seen)
    for steps_ahead in (0, 1):
        teacher = f"networks.ahead.from=baseline networks.ahead.lookahead={steps_ahead}"
        own = "networks.dense.distill.weight=1 networks.dense.distill.teacher=ahead"
        fine_tuned(f"by-{steps_ahead}", f"{teacher} {own}")
    assert taught_by == [0, 1]


def test_a_stopped_fine_tuning_goes_on_with_the_same_mixtures(fine_tuned, monkeypatch, capsys):
    whole = fine_tuned("whole")
    assert fine_tuned("whole", "data.snr_db=[0,5]") != whole  # not taken from the checkpoint beside it
    read, calls = MixedSpeech.read, itertools.count()

    def stopping(*arguments):
        if next(calls) == 10:  # of 16 rows, read ahead: in the middle of an epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return read(*arguments)

    monkeypatch.setattr(MixedSpeech, "read", stopping)
    with pytest.raises(Stopped):
        fine_tuned("stopped")
    assert fine_tuned("stopped") == whole
    assert "continuing after iteration" in capsys.readouterr().out
