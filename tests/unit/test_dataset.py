import itertools

import numpy as np
import pytest
import soundfile

from spandex.data.audio import AudioError, write_wav
from spandex.data.dataset import NoisySpeech, SegmentBatches
from spandex.errors import SpandexError

NAME = "a-b_c_snr-3_tl-20_fileid_{}.wav"


def make_clips(directory, lengths, name=NAME):
    """Clip i holds the ramp 0, 1, 2, ... of 16-bit steps, plus 100 i in the clean file."""
    for index, length in lengths.items():
        write_wav(directory / "noisy" / name.format(index), np.arange(length) / 2**15)
        write_wav(directory / "clean" / f"clean_fileid_{index}.wav", (np.arange(length) + 100 * index) / 2**15)
    return directory


def test_clips_pair_by_file_id_in_numeric_order(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {10: 50, 9: 40, 100: 30}))
    assert len(dataset) == 3
    assert [clip.file_id for clip in dataset] == [9, 10, 100]
    clip = dataset[1]
    assert (clip.name, clip.snr_db) == (NAME.format(10), -3)
    assert clip.noisy.dtype == clip.clean.dtype == np.float32
    np.testing.assert_array_equal(clip.clean - clip.noisy, np.full(50, 1000 / 2**15, np.float32))


def test_name_without_snr_has_none(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 10}, name="noisy_fileid_{}.wav"))
    assert dataset[0].snr_db is None


@pytest.mark.parametrize(("folder", "other"), [("noisy", "clean"), ("clean", "noisy")])
def test_missing_partner_is_named(tmp_path, folder, other):
    make_clips(tmp_path, {1: 10, 2: 10})
    (gone,) = (tmp_path / other).glob("*fileid_2.wav")
    gone.unlink()
    with pytest.raises(SpandexError, match=r"fileid_2\.wav: no partner with fileid_2 in .*" + other):
        NoisySpeech(tmp_path)


def test_two_files_with_one_id_are_refused(tmp_path):
    make_clips(tmp_path, {1: 10})
    write_wav(tmp_path / "noisy" / "other_fileid_1.wav", np.zeros(10))
    with pytest.raises(SpandexError, match="same file id"):
        NoisySpeech(tmp_path)


def test_foreign_name_and_missing_folder_are_refused(tmp_path):
    with pytest.raises(SpandexError, match="noisy: no such folder"):
        NoisySpeech(tmp_path)
    make_clips(tmp_path, {1: 10})
    write_wav(tmp_path / "noisy" / "readme.wav", np.zeros(10))
    with pytest.raises(SpandexError, match=r"readme\.wav: its name"):
        NoisySpeech(tmp_path)


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "noisy").mkdir()
    (tmp_path / "clean").mkdir()
    with pytest.raises(SpandexError, match="no clips"):
        NoisySpeech(tmp_path)


def test_broken_clip_is_named(tmp_path):
    make_clips(tmp_path, {0: 10, 1: 10, 2: 10})
    soundfile.write(tmp_path / "clean" / "clean_fileid_0.wav", np.zeros(10), 8000)
    (tmp_path / "clean" / "clean_fileid_1.wav").write_bytes(b"RIFF")
    write_wav(tmp_path / "clean" / "clean_fileid_2.wav", np.zeros(9))
    dataset = NoisySpeech(tmp_path)
    for index, reason in enumerate(["clean_fileid_0.wav: 8000 Hz", "clean_fileid_1.wav: unreadable", "has 9"]):
        with pytest.raises(AudioError, match=reason):
            dataset[index]


def test_part_of_a_clip_equals_the_slice(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {3: 500}))
    noisy, clean = dataset.read(0, start=120, samples=50)
    np.testing.assert_array_equal(noisy, dataset[0].noisy[120:170])
    np.testing.assert_array_equal(clean, dataset[0].clean[120:170])
    with pytest.raises(AudioError, match="480 to 530 of its 500"):
        dataset.read(0, start=480, samples=50)


@pytest.fixture
def batches(tmp_path):
    lengths = {0: 16000, 1: 16500, 2: 7999, 3: 24100}  # segments of 0.5 s: 2, 2, 0 and 3
    return SegmentBatches(NoisySpeech(make_clips(tmp_path, lengths)), batch_size=2, segment_s=0.5, seed=5)


def test_epoch_holds_consecutive_disjoint_segments(batches):
    assert len(batches) == 3  # of 7 segments
    starts = {}
    for noisy, clean, names in batches.epoch(0):
        assert noisy.shape == clean.shape == (2, 8000)
        assert noisy.dtype == clean.dtype == np.float32
        for row, clean_row, name in zip(noisy, clean, names, strict=True):
            steps = np.rint(row * 2**15).astype(int)
            assert (np.diff(steps) == 1).all()
            file_id = int(name.split("_")[-1][:-4])
            assert (np.rint(clean_row * 2**15).astype(int) - steps == 100 * file_id).all()
            starts.setdefault(file_id, []).append(steps[0])
    assert sum(map(len, starts.values())) == 6
    assert set(starts) <= {0, 1, 3}
    for of_clip in starts.values():
        gaps = np.diff(sorted(of_clip))
        assert (gaps % 8000 == 0).all() and (gaps > 0).all()


def test_epochs_differ_and_repeat(batches):
    first, second, again = (list(batches.epoch(k)) for k in (0, 1, 0))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert any((one[0] != other[0]).any() for one, other in zip(first, second, strict=True))


def test_epoch_goes_on_in_the_middle(batches):
    whole = list(batches.epoch(3))
    for start in range(4):
        rest = list(batches.epoch(3, start_batch=start))
        assert len(rest) == 3 - start
        for one, other in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
            assert one[2] == other[2]


def test_every_offset_is_drawn(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 8003}))
    batches = SegmentBatches(dataset, batch_size=1, segment_s=0.5, seed=0)
    starts = {round(float(noisy[0, 0]) * 2**15) for k in range(60) for noisy, *_ in batches.epoch(k)}
    assert starts == {0, 1, 2, 3}


def test_too_little_audio_for_a_batch_is_refused(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 8000}))
    with pytest.raises(SpandexError, match=r"1 segments of 0\.5 s do not fill a batch of 2"):
        SegmentBatches(dataset, batch_size=2, segment_s=0.5, seed=0)


def test_only_the_segment_is_read(tmp_path, monkeypatch):
    batches = SegmentBatches(NoisySpeech(make_clips(tmp_path, {0: 20000})), batch_size=1, segment_s=0.25, seed=0)
    frames = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, *args, **kwargs: frames.append(args[0]) or read(self, *args, **kwargs)
    )
    next(itertools.islice(batches.epoch(0), 1))
    assert frames == [4000, 4000]


def test_short_epochs_walk_through_the_passes_without_a_gap(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 20000, 1: 20000}))
    whole = SegmentBatches(dataset, batch_size=1, segment_s=0.25, seed=0)
    short = SegmentBatches(dataset, batch_size=1, segment_s=0.25, seed=0, epoch_batches=4)
    assert (len(whole), len(short)) == (10, 4)
    passes = [noisy for k in range(2) for noisy, _, _ in whole.epoch(k)]
    epochs = [noisy for k in range(5) for noisy, _, _ in short.epoch(k)]
    assert all(np.array_equal(a, b) for a, b in zip(passes, epochs, strict=True))
    resumed = [noisy for noisy, _, _ in short.epoch(2, start_batch=1)]
    assert all(np.array_equal(a, b) for a, b in zip(resumed, epochs[9:12], strict=True))
