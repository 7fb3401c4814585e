import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clips import digests
from spandex.data.audio import read_audio
from spandex.data.corpus import Entry, write_manifest
from spandex.data.dataset import NoisySpeech
from spandex.data.shards import Shard
from spandex.data.synthesis import (
    Sources,
    SynthesisSettings,
    UnmixableError,
    activity,
    levels,
    make_clip,
    mix,
    synthesize,
)
from spandex.errors import SpandexError
from spandex.files import sha256

RATE = 16000
SETTINGS = SynthesisSettings()
SHORT = SynthesisSettings(clip_s=2.0)


def sine(frequency_hz, seconds, amplitude=0.5, rate_hz=RATE):
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def voiced(rng, seconds, rate_hz=RATE):
    """Something with the envelope of speech: a buzz in syllables."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    syllables = np.maximum(np.sin(2 * np.pi * rng.uniform(2, 4) * time_s), 0.1)
    return 0.3 * syllables * np.sign(np.sin(2 * np.pi * rng.uniform(90, 240) * time_s))


def db(ratio):
    return 20 * np.log10(ratio)


def rms(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64)))


def challenge_levels(clean: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """A plain loop after active_rms of the challenge's pinned audiolib.py, with its threshold of -50 for an RMS."""
    kept = [k for k in range(0, len(noise), 1600) if np.mean(noise[k : k + 1600] ** 2) ** 0.5 > -50]
    return tuple(rms(np.concatenate([audio[k : k + 1600] for k in kept])) for audio in (clean, noise))


def active_levels(clean: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    return levels(clean, noise, RATE, "active")


class TestLevels:
    def test_are_those_of_the_challenge(self):
        noise = np.random.default_rng(0).standard_normal(3 * RATE + 100)
        noise[RATE : 2 * RATE] = 0  # a pause, which the challenge counts as well
        clean = voiced(np.random.default_rng(1), 3.00625)
        assert levels(clean, noise, RATE) == pytest.approx(challenge_levels(clean, noise), rel=1e-12)

    @pytest.mark.parametrize("windows", ["all", "active"])
    def test_silent_noise_has_none(self, windows):
        assert levels(sine(400, 1), np.zeros(RATE), RATE, windows) == (0, 0)

    def test_are_summed_in_double_precision(self):
        noise = np.full(30 * RATE, 0.1, np.float32)
        assert levels(noise, noise, RATE)[0] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


class TestActiveLevels:
    def test_continuous_sines_have_their_own_rms(self):
        clean, noise = active_levels(sine(400, 3, 0.5), sine(700, 3, 0.2))
        assert clean == pytest.approx(0.5 / np.sqrt(2), rel=1e-9)
        assert noise == pytest.approx(0.2 / np.sqrt(2), rel=1e-9)

    def test_only_windows_with_noise_count(self):
        noise = sine(700, 3, 0.2)
        noise[RATE:] = 0  # active in the first second of three
        clean = sine(400, 3, 0.5)
        clean[:RATE] *= 0.1
        measured = active_levels(clean, noise)
        assert measured == pytest.approx((0.05 / np.sqrt(2), 0.2 / np.sqrt(2)), rel=1e-9)

    def test_threshold_is_minus_50_db_of_the_mean_square_below_the_peak(self):
        loud, window = sine(1000, 0.1, 1.0), 10  # windows of 0.1 s
        for power, counts in ((10 ** (-49 / 20), True), (10 ** (-51 / 20), False)):
            noise = np.tile(sine(1000, 0.1, np.sqrt(2 * power)), window)
            noise[:1600] = loud
            expected = np.sqrt((0.5 + 9 * power) / 10) if counts else np.sqrt(0.5)
            assert active_levels(noise, 0.01 * noise)[1] == pytest.approx(0.01 * expected, rel=1e-3)

    def test_lone_impulse_counts_its_window(self):
        noise = np.zeros(RATE)
        noise[5000] = 1.0
        clean, found = active_levels(sine(400, 1), noise)
        assert found == pytest.approx(1 / 40)  # sqrt(1 / 1600 samples)
        assert clean == pytest.approx(0.5 / np.sqrt(2))

    def test_last_window_may_be_short(self):
        assert active_levels(sine(400, 1.03), sine(700, 1.03))[1] == pytest.approx(0.5 / np.sqrt(2), rel=1e-2)


class TestActivity:
    def test_share_of_a_tone(self):
        audio = sine(500, 10)
        audio[7 * RATE :] = 0
        # 140 of 200 windows, and one more while the smoothed probability falls
        assert activity(audio, RATE) == 141 / 200

    def test_does_not_depend_on_level(self):
        audio = voiced(np.random.default_rng(0), 10)
        audio[5 * RATE :] = 0
        assert activity(audio, RATE) == activity(0.001 * audio, RATE)

    def test_silence_is_inactive(self):
        assert activity(np.zeros(RATE), RATE) == 0


class TestMix:
    @pytest.mark.parametrize("windows", ["all", "active"])
    @pytest.mark.parametrize("snr_db", [-5, 0, 7, 19])
    def test_parts_have_the_snr_and_the_sum_the_level(self, snr_db, windows):
        rng = np.random.default_rng(snr_db + 5)
        clean, noise = voiced(rng, 10), 0.01 * rng.standard_normal(10 * RATE)
        noise[: 3 * RATE] = 0
        mixture = mix(clean, noise, snr_db, -27, SynthesisSettings(level_windows=windows))
        parts = levels(mixture.clean, mixture.noise, RATE, windows)
        assert db(parts[0] / parts[1]) == pytest.approx(snr_db, abs=1e-6)
        assert db(rms(mixture.noisy)) == pytest.approx(-27, abs=1e-6)
        assert mixture.level_dbfs == -27
        np.testing.assert_allclose(mixture.clean + mixture.noise, mixture.noisy, atol=1e-12)

    def test_result_does_not_depend_on_input_levels(self):
        rng = np.random.default_rng(1)
        clean, noise = voiced(rng, 3), rng.standard_normal(3 * RATE)
        one, other = mix(clean, noise, 5, -20, SETTINGS), mix(0.01 * clean, 3 * noise, 5, -20, SETTINGS)
        np.testing.assert_allclose(one.noisy, other.noisy, rtol=1e-9)

    def test_peaks_lower_the_level_instead_of_clipping(self):
        rng = np.random.default_rng(2)
        noise = 0.001 * rng.standard_normal(3 * RATE)
        noise[::8000] = 1.0
        mixture = mix(voiced(rng, 3), noise, -5, -15, SETTINGS)
        highest = max(np.abs(part).max() for part in mixture[:3])
        assert 0.98 < highest <= 0.99
        assert mixture.level_dbfs == round(db(rms(mixture.noisy))) < -15

    def test_nothing_in_common_is_an_error(self):
        clean, noise = voiced(np.random.default_rng(3), 2), np.zeros(2 * RATE)
        with pytest.raises(UnmixableError, match="noise is silent"):
            mix(clean, noise, 0, -20, SETTINGS)
        noise[:RATE] = sine(500, 1)
        clean[:RATE] = 0
        with pytest.raises(UnmixableError, match="pauses"):
            mix(clean, noise, 0, -20, SynthesisSettings(level_windows="active"))


def corpus(directory, extra=()):
    """Six voices of 1 s and five noises of 0.8 s; ``extra`` are (path, kind) of files already there."""
    rng = np.random.default_rng(0)
    entries = []
    files = [(f"speech/voice{i}.wav", "speech", voiced(rng, 1.0)) for i in range(6)]
    files += [(f"noise/noise{i}.wav", "noise", 0.1 * rng.standard_normal(12800)) for i in range(5)]
    for name, _, audio in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(directory / name, audio, RATE)
    for name, kind in [(name, kind) for name, kind, _ in files] + list(extra):
        digest = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        entries.append(Entry(name, kind, "train", "g", RATE, 1.0, digest))
    write_manifest(directory / "manifest.csv", entries)
    return directory / "manifest.csv"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """Eight clips made in one go by one process."""
    directory = tmp_path_factory.mktemp("whole")
    assert synthesize(manifest, "train", directory, 8, SHORT, seed=3) == []
    return directory


def test_clips_on_disk_keep_every_promise(whole):
    dataset = NoisySpeech(whole)
    assert len(dataset) == 8
    for clip in dataset:
        noise = read_audio(whole / "noise" / f"noise_{clip.name[clip.name.index('fileid') :]}")
        assert len(clip.noisy) == 2 * RATE
        assert (clip.noisy == clip.clean + noise).all()
        assert max(np.abs(part).max() for part in (clip.noisy, clip.clean, noise)) <= 0.99
        parts = levels(clip.clean, noise, RATE)
        assert db(parts[0] / parts[1]) == pytest.approx(clip.snr_db, abs=0.1)
        level = int(re.search(r"_tl(-?\d+)_", clip.name)[1])
        assert db(rms(clip.noisy)) == pytest.approx(level, abs=0.1)
        assert -5 <= clip.snr_db < 20 and -35 <= level < -15
        assert activity(clip.clean, RATE) >= 0.6


def test_challenge_loader_understands_the_names(whole):
    """The four patterns of DNSAudio in the challenge's audio_dataloader.py, of which it takes the first match."""
    for file in (whole / "noisy").iterdir():
        file_id = re.findall(r"fileid_(\d+)", file.name)[0]
        assert (whole / "clean" / f"clean_fileid_{file_id}.wav").is_file()
        assert (whole / "noise" / f"noise_fileid_{file_id}.wav").is_file()
        assert re.findall(r"snr(-?\d+)", file.name)[0] == re.search(r"_snr(-?\d+)_tl", file.name)[1]
        assert re.findall(r"tl(-?\d+)", file.name)[0] == re.search(r"_tl(-?\d+)_fileid", file.name)[1]
        assert re.fullmatch(r"(voice\d-?)+_(noise\d-?)+", re.findall(r"^(.*?)_snr", file.name)[0])


def test_misleading_source_names_do_not_mislead_the_loader(tmp_path):
    for name in ("clean_fileid_77.wav", "snr12.wav", "bottl-5.wav"):
        soundfile.write(tmp_path / name, voiced(np.random.default_rng(7), 1.0), RATE)
    entries = [Entry(p.name, "speech", "test", "g", RATE, 1.0, sha256(p)) for p in tmp_path.glob("*.wav")]
    noise = tmp_path / ("é" * 90 + ".wav")
    soundfile.write(noise, sine(600, 1), RATE)
    entries.append(Entry(noise.name, "noise", "test", "g", RATE, 1.0, sha256(noise)))
    write_manifest(tmp_path / "manifest.csv", entries)
    synthesize(tmp_path / "manifest.csv", "test", tmp_path / "out", 3, SynthesisSettings(clip_s=4.0), seed=0)
    for file in (tmp_path / "out" / "noisy").iterdir():
        assert len(file.name.encode()) <= 255
        assert int(re.findall(r"fileid_(\d+)", file.name)[0]) in range(3)
        assert re.findall(r"snr(-?\d+)", file.name)[0] == re.search(r"_snr(-?\d+)_tl", file.name)[1]
        assert re.findall(r"tl(-?\d+)", file.name)[0] == re.search(r"_tl(-?\d+)_fileid", file.name)[1]


def test_clip_in_memory_equals_disk(manifest, whole):
    sources = Sources(manifest, "train", SHORT)
    for index in (5, 0, 7):
        for name, audio in make_clip(sources, index, seed=3).files.items():
            np.testing.assert_array_equal(read_audio(whole / name), audio)


def test_two_workers_give_the_same_bytes(manifest, whole, tmp_path):
    progress = []
    synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3, workers=2, progress=lambda *at: progress.append(at))
    assert digests(tmp_path) == digests(whole)
    assert progress == [(count, 8) for count in range(1, 9)]


def test_damaged_folder_is_repaired_and_whole_clips_are_kept(manifest, whole, tmp_path):
    synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3)
    (tmp_path / "clean" / "clean_fileid_1.wav").unlink()
    (tmp_path / "noise" / "noise_fileid_2.wav").write_bytes(b"RIFF")
    (tmp_path / "clean" / ".clean_fileid_4.wav.123.tmp").write_bytes(b"RIFF")
    kept = tmp_path / "clean" / "clean_fileid_5.wav"
    os.utime(kept, (1, 1))
    made = []
    synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3, progress=lambda *at: made.append(at))
    assert digests(tmp_path) == digests(whole)
    assert kept.stat().st_mtime == 1
    assert made == [(7, 8), (8, 8)]


def test_folder_holds_exactly_the_clips_asked_for(manifest, whole, tmp_path):
    (tmp_path / "noisy").mkdir()
    (tmp_path / "noisy" / "README").write_text("mine")
    synthesize(manifest, "train", tmp_path, 8, SHORT, seed=4)
    other = digests(tmp_path)
    synthesize(manifest, "train", tmp_path, 5, SHORT, seed=4)
    kept = {name: digest for name, digest in other.items() if not re.search(r"fileid_[567]\.wav", name)}
    assert digests(tmp_path) == kept
    synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3)
    expected = digests(whole) | {"noisy/README": hashlib.sha256(b"mine").hexdigest()}
    assert digests(tmp_path) == expected
    assert not {name for name in other if "noisy" in name and "README" not in name} & set(expected)


def test_clips_made_elsewhere_are_not_deleted(manifest, tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "clean_fileid_0.wav").write_bytes(b"precious")
    with pytest.raises(SpandexError, match=r"holds clips but no draw\.json"):
        synthesize(manifest, "train", tmp_path, 1, SHORT, seed=0)
    assert (tmp_path / "clean" / "clean_fileid_0.wav").read_bytes() == b"precious"


def test_draw_depends_on_seed_and_split_name(manifest):
    sources = Sources(manifest, "train", SHORT)
    one, again, other = make_clip(sources, 0, 1), make_clip(sources, 0, 1), make_clip(sources, 0, 2)
    assert (one.noisy == again.noisy).all()
    assert (one.noisy != other.noisy).any()
    sources.split = "test"
    assert (make_clip(sources, 0, 1).noisy != one.noisy).any()


def test_numbers_are_drawn_from_the_whole_half_open_range(manifest):
    settings = SynthesisSettings(clip_s=1.0, snr_db=(-1, 2), level_dbfs=(-30, -27))
    sources = Sources(manifest, "train", settings)
    clips = [make_clip(sources, index, 0) for index in range(60)]
    assert {clip.snr_db for clip in clips} == {-1, 0, 1}
    assert {clip.level_dbfs for clip in clips} == {-30, -29, -28}


def test_utterances_are_joined_with_silence(tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(500, 1.0), RATE)
    soundfile.write(tmp_path / "hiss.wav", 0.1 * np.random.default_rng(0).standard_normal(9 * RATE), RATE)
    kinds = {"tone.wav": "speech", "hiss.wav": "noise"}
    entries = [Entry(n, k, "test", "g", RATE, 1.0, sha256(tmp_path / n)) for n, k in kinds.items()]
    write_manifest(tmp_path / "manifest.csv", entries)
    clip = make_clip(Sources(tmp_path / "manifest.csv", "test", SynthesisSettings(clip_s=3.4)), 0, 0)
    silent = np.array([not part.any() for part in np.split(clip.clean, 34)])  # tenths of a second
    assert np.flatnonzero(silent).tolist() == [10, 11, 22, 23]
    assert clip.sources == "tone-tone-tone_hiss"


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """The corpus among files that cannot be used, and files of other rates and channel counts that can."""
    directory = tmp_path_factory.mktemp("messy")
    rng = np.random.default_rng(9)
    bad = {
        "silent.wav": (np.zeros(RATE), RATE),
        "nan.wav": (np.full(RATE, np.nan), RATE),
        "short.wav": (sine(300, 0.3), RATE),
        "clipped.wav": (np.clip(3 * sine(300, 1.0), -1, 1), RATE),
    }
    good = {
        "slow.wav": (voiced(rng, 1.0, 8000), 8000),
        "stereo.wav": (np.stack([voiced(rng, 1.0, 44100)] * 2, axis=1), 44100),
    }
    for name, (audio, rate) in (bad | good).items():
        soundfile.write(directory / name, audio, rate, subtype="FLOAT")
    (directory / "torn.flac").write_bytes(b"fLaC")
    extra = [(name, kind) for name in [*bad, *good, "torn.flac"] for kind in ("speech", "noise")]
    return corpus(directory, extra)


def test_unusable_files_are_reported_by_name_and_never_mixed_in(messy, tmp_path):
    skipped = synthesize(messy, "train", tmp_path / "one", 40, SHORT, seed=0)
    reasons = {file.path: file.reason for file in skipped}
    assert reasons.keys() == {"silent.wav", "nan.wav", "short.wav", "clipped.wav", "torn.flac"}
    for name, reason in (("silent", "silent"), ("nan", "NaN"), ("short", "shorter"), ("clipped", "clipped")):
        assert reason in reasons[f"{name}.wav"]
    assert "unreadable" in reasons["torn.flac"]
    names = " ".join(file.name for file in (tmp_path / "one" / "noisy").iterdir())
    assert "slow" in names and "stereo" in names
    assert not re.search("silent|nan|short|clipped|torn", names)


def test_report_is_the_same_after_a_resumed_parallel_run(messy, tmp_path):
    reported = synthesize(messy, "train", tmp_path / "one", 12, SHORT, seed=0)
    synthesize(messy, "train", tmp_path / "two", 5, SHORT, seed=0)
    assert synthesize(messy, "train", tmp_path / "two", 12, SHORT, seed=0, workers=2) == reported
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.parametrize(("damage", "what"), [(Path.unlink, "missing"), (Path.touch, "not what it was")])
def test_file_that_is_not_what_the_manifest_lists_is_an_error(tmp_path, damage, what):
    manifest = corpus(tmp_path)
    for file in tmp_path.glob("speech/*.wav"):
        file.unlink()
        if damage is Path.touch:
            soundfile.write(file, voiced(np.random.default_rng(1), 1.0), RATE)
    with pytest.raises(
        SpandexError, match=rf"voice\d\.wav: {what} when .*manifest\.csv listed it; make the corpus anew"
    ):
        synthesize(manifest, "train", tmp_path / "out", 2, SHORT, seed=0)


def test_nothing_usable_is_an_error(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "tone.wav", sine(500, 1.0), RATE)
    rows = [
        Entry("silent.wav", "speech", "test", "g", RATE, 1.0, sha256(tmp_path / "silent.wav")),
        Entry("tone.wav", "noise", "test", "g", RATE, 1.0, sha256(tmp_path / "tone.wav")),
    ]
    write_manifest(tmp_path / "manifest.csv", rows)
    with pytest.raises(
        SpandexError, match=r"none of the 1 speech files of split 'test' is usable; silent\.wav: silent"
    ):
        synthesize(tmp_path / "manifest.csv", "test", tmp_path / "out", 1, SHORT, seed=0)
    with pytest.raises(SpandexError, match=r"no speech for split 'train' \(splits with speech: test\)"):
        synthesize(tmp_path / "manifest.csv", "train", tmp_path / "out", 1, SHORT, seed=0)
    with pytest.raises(SpandexError, match="ask for at least one"):
        synthesize(tmp_path / "manifest.csv", "test", tmp_path / "out", 0, SHORT, seed=0)


def test_speech_that_is_never_active_enough_is_an_error(tmp_path):
    mostly_silent = np.zeros(2 * RATE)
    mostly_silent[: RATE // 2] = sine(500, 0.5)
    soundfile.write(tmp_path / "pause.wav", mostly_silent, RATE)
    soundfile.write(tmp_path / "tone.wav", sine(500, 1.0), RATE)
    rows = [
        Entry("pause.wav", "speech", "test", "g", RATE, 1.0, sha256(tmp_path / "pause.wav")),
        Entry("tone.wav", "noise", "test", "g", RATE, 1.0, sha256(tmp_path / "tone.wav")),
    ]
    write_manifest(tmp_path / "manifest.csv", rows)
    with pytest.raises(SpandexError, match="100 draws gave none to use; last: speech active"):
        make_clip(Sources(tmp_path / "manifest.csv", "test", SHORT), 0, 0)


SCRIPT = """
import sys
from spandex.data.synthesis import SynthesisSettings, synthesize
if __name__ == "__main__":
    synthesize(sys.argv[1], "train", sys.argv[2], 4000, SynthesisSettings(clip_s=2.0), seed=3, workers=2)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stopped_run_leaves_no_process_and_resumes(manifest, whole, tmp_path, sent):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, script, manifest, out], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("noisy/*.wav")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as the terminal does
    else:
        process.kill()
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == -sent
    while members(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if sent == signal.SIGINT:
        assert errors.count("KeyboardInterrupt") == 1  # the parent's alone
        assert not list(out.rglob("*.tmp"))
    assert len(list(out.glob("noisy/*.wav"))) < 4000
    synthesize(manifest, "train", out, 8, SHORT, seed=3)
    assert digests(out) == digests(whole)


class TestShards:
    @pytest.mark.parametrize("count", [1, 3, 11])
    def test_any_number_of_shards_gives_the_same_bytes(self, manifest, whole, tmp_path, count):
        for number in range(1, count + 1):
            synthesize(manifest, "train", tmp_path, 8, SHORT, 3, shard=Shard(number, count))
        made = []
        synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3, progress=lambda *at: made.append(at))
        assert made == []
        assert digests(tmp_path) == digests(whole)

    def test_torn_or_foreign_lines_of_the_journal_are_dropped(self, messy, tmp_path):
        skipped = synthesize(messy, "train", tmp_path, 10, SHORT, seed=0)
        journal = tmp_path / "skipped.jsonl"
        before = journal.read_bytes()
        journal.write_bytes(b"[0, \xff\n[1]\n3\n[0, 1, 2]\n" + before + b'["0", "a", "b"]\n[1, "a')
        assert skipped and synthesize(messy, "train", tmp_path, 10, SHORT, seed=0) == skipped
        assert journal.read_bytes() == before

    def test_clips_skipped_in_shards_are_reported_as_in_one_go(self, messy, tmp_path):
        reported = synthesize(messy, "train", tmp_path / "one", 12, SHORT, seed=0)
        for number in (1, 2):
            synthesize(messy, "train", tmp_path / "two", 12, SHORT, 0, shard=Shard(number, 2))
        assert reported
        assert synthesize(messy, "train", tmp_path / "two", 12, SHORT, seed=0) == reported
        assert digests(tmp_path / "two") == digests(tmp_path / "one")

    def test_shards_make_only_what_is_missing(self, manifest, whole, tmp_path):
        synthesize(manifest, "train", tmp_path, 5, SHORT, seed=3)
        made = []
        for number in (1, 2):
            for _ in ("at first", "again"):
                half, note = Shard(number, 2), lambda *at: made.append(at)
                synthesize(manifest, "train", tmp_path, 8, SHORT, 3, shard=half, progress=note)
        assert made == [(1, 1), (1, 2), (2, 2)]
        synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3)
        assert digests(tmp_path) == digests(whole)

    def test_a_lost_shard_and_one_of_another_draw_are_made_up_for(self, manifest, whole, tmp_path):
        synthesize(manifest, "train", tmp_path, 8, SHORT, 3, shard=Shard(1, 3))
        synthesize(manifest, "train", tmp_path, 8, SHORT, 4, shard=Shard(2, 3))
        made = []
        synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3, progress=lambda *at: made.append(at))
        assert made == [(done, 8) for done in range(4, 9)]
        assert digests(tmp_path) == digests(whole)

    def test_gathering_that_was_killed_goes_on(self, manifest, whole, tmp_path):
        for number in (1, 2):
            synthesize(manifest, "train", tmp_path, 8, SHORT, 3, shard=Shard(number, 2))
        shutil.copy(whole / "draw.json", tmp_path)
        (tmp_path / "clean").mkdir()
        moved = next((tmp_path / ".shards/1-of-2/clean").iterdir())
        moved.rename(tmp_path / "clean" / moved.name)
        synthesize(manifest, "train", tmp_path, 8, SHORT, seed=3)
        assert digests(tmp_path) == digests(whole)

    @pytest.mark.parametrize("text", ["", "3", "0-of-2", "3-of-2", "1-of-0", "1-of-2-of-3"])
    def test_names_of_no_shard_are_refused(self, text):
        with pytest.raises(SpandexError, match="shard"):
            Shard.parse(text)

    def test_names_are_read_as_they_are_written(self):
        assert Shard.parse(str(Shard(3, 16))) == Shard(3, 16)


def members(group):
    """Processes of a group that are not zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            found.append(stat)
    return found


@pytest.fixture(scope="module")
def mirror_manifest(mirror, tmp_path_factory):
    """The mirror's validation split: 16 kHz FLAC speech and 44.1 kHz Ogg noise of fold 3."""
    entries = []
    with (mirror / "corpus.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["path"].startswith("speech/validation/") or (row["kind"] == "noise" and row["split_or_fold"] == "3"):
                path = os.path.relpath(mirror / row["path"], tmp_path_factory.getbasetemp())
                rate, duration = int(row["sample_rate_hz"]), float(row["duration_s"])
                entries.append(Entry(path, row["kind"], "validation", row["group"], rate, duration, row["sha256"]))
    return write_manifest(tmp_path_factory.getbasetemp() / "mirror.csv", entries)


def test_real_speech_and_noise_of_other_rates(mirror_manifest):
    sources = Sources(mirror_manifest, "validation", SETTINGS)
    for index in range(10):
        clip = make_clip(sources, index, seed=1)
        assert len(clip.noisy) == 30 * RATE
        parts = levels(clip.clean, clip.noise, RATE)
        assert db(parts[0] / parts[1]) == pytest.approx(clip.snr_db, abs=0.1)
        assert db(rms(clip.noisy)) == pytest.approx(clip.level_dbfs, abs=0.51)
        assert activity(clip.clean, RATE) >= 0.6
        assert max(np.abs(part).max() for part in (clip.noisy, clip.clean, clip.noise)) <= 0.99
        assert all("clipped" in file.reason for file in clip.skipped)
