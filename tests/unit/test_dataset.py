import contextlib
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from clips import assert_same_batches
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
    assert [clip.name for clip in dataset] == [NAME.format(file_id) for file_id in (9, 10, 100)]
    clip = dataset[1]
    assert (clip.name, clip.snr_db) == (NAME.format(10), -3)
    assert clip.noisy.dtype == clip.clean.dtype == np.float32
    np.testing.assert_array_equal(clip.clean - clip.noisy, np.full(50, 1000 / 2**15, np.float32))


def test_clips_of_other_names_and_kinds_are_paired_as_for_evaluation(tmp_path):
    for folder, value in (("noisy", 0.1), ("clean", 0.2)):
        (tmp_path / folder).mkdir()
        for name in ("rain.WAV", "street.flac", "._rain.wav", ".hidden.wav", "notes.txt"):
            write_wav(tmp_path / folder / f"{name}.tmp.wav", np.full(10, value))
            (tmp_path / folder / f"{name}.tmp.wav").rename(tmp_path / folder / name)
    dataset = NoisySpeech(tmp_path)
    assert [clip.name for clip in dataset] == ["rain.WAV", "street.flac"]
    assert dataset[1].clean == pytest.approx(np.full(10, 0.2), abs=1e-4)


def test_name_without_snr_has_none(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 10}, name="noisy_fileid_{}.wav"))
    assert dataset[0].snr_db is None


@pytest.mark.parametrize(("folder", "other"), [("noisy", "clean"), ("clean", "noisy")])
def test_missing_partner_is_named(tmp_path, folder, other):
    make_clips(tmp_path, {1: 10, 2: 10})
    (gone,) = (tmp_path / other).glob("*fileid_2.wav")
    gone.unlink()
    with pytest.raises(SpandexError, match=r"fileid_2\.wav: no partner in .*" + other):
        NoisySpeech(tmp_path)


def test_two_files_with_one_id_are_refused(tmp_path):
    make_clips(tmp_path, {1: 10})
    write_wav(tmp_path / "noisy" / "other_fileid_1.wav", np.zeros(10))
    with pytest.raises(SpandexError, match="would have the same partner"):
        NoisySpeech(tmp_path)


def test_foreign_name_and_missing_folder_are_refused(tmp_path):
    with pytest.raises(SpandexError, match="noisy: no such folder"):
        NoisySpeech(tmp_path)
    make_clips(tmp_path, {1: 10})
    write_wav(tmp_path / "noisy" / "readme.wav", np.zeros(10))
    with pytest.raises(SpandexError, match=r"readme\.wav: no partner in"):
        NoisySpeech(tmp_path)


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "noisy").mkdir()
    (tmp_path / "clean").mkdir()
    with pytest.raises(SpandexError, match="noisy: no audio files"):
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
    assert len(list(batches.epoch(0))) == 5
    assert frames == [4000] * 10


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


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_rows_of_each_batch(tmp_path, world_size):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 20000, 1: 20000, 2: 20000}))
    whole = SegmentBatches(dataset, 5, 0.25, seed=0)
    shares = [SegmentBatches(dataset, 5, 0.25, seed=0, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(whole)}
    for rank, share in enumerate(shares):
        assert_same_batches(
            share.epoch(1, start_batch=1),
            [tuple(part[rank::world_size] for part in batch) for batch in whole.epoch(1, start_batch=1)],
        )


def test_a_process_reads_only_its_own_rows(tmp_path, monkeypatch):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 20000, 1: 20000}))
    share = SegmentBatches(dataset, 5, 0.25, seed=0, rank=1, world_size=3)
    reads = []
    monkeypatch.setattr(
        NoisySpeech, "read", lambda self, *args, read=NoisySpeech.read: reads.append(args) or read(self, *args)
    )
    assert [len(noisy) for noisy, _, _ in share.epoch(0)] == [2, 2]
    assert len(reads) == 4


@pytest.mark.parametrize(("rank", "world_size"), [(0, 3), (2, 2), (-1, 2)])
def test_processes_without_a_row_are_refused(tmp_path, rank, world_size):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 20000}))
    with pytest.raises(SpandexError, match=f"rank {rank} of {world_size} processes with batches of 2"):
        SegmentBatches(dataset, 2, 0.25, seed=0, rank=rank, world_size=world_size)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_do_not_change_the_order(tmp_path, workers):
    dataset = NoisySpeech(make_clips(tmp_path, {index: 20000 for index in range(6)}))
    assert_same_batches(
        SegmentBatches(dataset, 2, 0.25, seed=3, workers=workers).epoch(0),
        SegmentBatches(dataset, 2, 0.25, seed=3).epoch(0),
    )


class Counting:
    """Clips in memory, each a constant; ``reads`` counts what was asked for."""

    def __init__(self, clips, fail_at=None):
        self.clips = clips
        self.fail_at = fail_at
        self.reads = 0

    def __len__(self):
        return self.clips

    def lengths(self):
        return np.full(self.clips, 16000)

    def name(self, index):
        return f"clip {index}"

    def read(self, index, start=0, samples=-1):
        self.reads += 1
        if index == self.fail_at:
            raise SpandexError(f"clip {index} is broken")
        return np.full(samples, index, np.float32), np.full(samples, index, np.float32)


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_ahead_is_bounded(workers):
    dataset = Counting(50)
    with contextlib.closing(SegmentBatches(dataset, 1, 1.0, seed=0, workers=workers).epoch(0)) as epoch:
        for taken in range(1, 11):
            next(epoch)
            time.sleep(0.005)  # time for threads to run away
            assert dataset.reads <= taken + 2 * workers


def test_closing_in_the_middle_stops_reading_and_its_threads():
    dataset = Counting(1000)
    before = threading.active_count()
    epoch = SegmentBatches(dataset, 1, 1.0, seed=0, workers=2).epoch(0)
    next(epoch)
    epoch.close()
    reads = dataset.reads
    assert threading.active_count() == before
    time.sleep(0.01)
    assert dataset.reads == reads < 10


def test_error_of_a_thread_reaches_the_consumer_in_its_turn():
    batches = SegmentBatches(Counting(20, fail_at=7), 1, 1.0, seed=0)
    sound = []
    with pytest.raises(SpandexError, match="clip 7 is broken"):
        sound.extend(batches.epoch(0))
    whole = [names for _, _, names in SegmentBatches(Counting(20), 1, 1.0, seed=0).epoch(0)]
    assert [names for _, _, names in sound] == whole[: whole.index(["clip 7"])]


def test_a_program_that_leaves_an_epoch_ends(tmp_path):
    make_clips(tmp_path, {index: 20000 for index in range(6)})
    program = (
        "from spandex.data import NoisySpeech, SegmentBatches\n"
        f"epoch = SegmentBatches(NoisySpeech({str(tmp_path)!r}), 1, 0.25, seed=0, workers=2).epoch(0)\n"
        "next(epoch)\n"
        "raise SystemExit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 7


def draw_json(directory, clip_s):
    settings = {"sample_rate_hz": 16000, "clip_s": clip_s}
    (directory / "draw.json").write_text(json.dumps({"settings": settings}))


def test_lengths_of_mixed_clips_are_known_without_opening_them(tmp_path, monkeypatch):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 8000, 1: 8000}))
    from_headers = dataset.lengths()
    draw_json(tmp_path, 0.5)
    monkeypatch.setattr(soundfile, "SoundFile", lambda *args: pytest.fail("opened a file"))
    np.testing.assert_array_equal(dataset.lengths(), from_headers)


def test_clip_shorter_than_its_record_is_named_when_read(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 8000, 1: 7999}))
    draw_json(tmp_path, 0.5)
    with pytest.raises(AudioError, match=r"fileid_1\.wav: samples 0 to 8000 of its 7999"):
        list(SegmentBatches(dataset, 1, 0.5, seed=0).epoch(0))


def test_foreign_record_is_refused(tmp_path):
    dataset = NoisySpeech(make_clips(tmp_path, {0: 8000}))
    (tmp_path / "draw.json").write_text('{"settings": {"colour": "blue"}}')
    with pytest.raises(SpandexError, match=r"draw\.json: not the record of a synthesis"):
        dataset.lengths()
