"""Clips that were denoised elsewhere: quality, lags, and what is refused."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from commands import refusal, spandex
from evaluations import write_clips
from spandex.data.audio import read_audio, write_wav
from spandex.evaluation.recordings import find_recordings
from spandex.files.text import read_json

SAMPLES = 16_000


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Three clips, and what something made of them: half of the noise is gone."""
    monkeypatch.chdir(tmp_path)
    noisy, clean = write_clips(tmp_path, 3, SAMPLES)
    for file in noisy.iterdir():
        target = read_audio(clean / f"clean_{file.stem[file.stem.index('fileid') :]}.wav")
        write_wav(tmp_path / "denoised" / file.name, (read_audio(file) + target) / 2)
    return tmp_path


def ratio_db(estimate: np.ndarray, target: np.ndarray) -> float:
    """SI-SNR by its definition (Le Roux et al. 2019), of signals without their means."""
    estimate, target = (signal.astype(float) - signal.mean(dtype=float) for signal in (estimate, target))
    along = estimate @ target / (target @ target) * target
    return 10 * np.log10(along @ along / ((estimate - along) @ (estimate - along)))


def score(*arguments):
    done = spandex("score", "denoised", "--clean", "clean", "--no-mos", "--json", "scores.json", *arguments)
    assert done.exit_code == 0, done.output
    return read_json("scores.json")["networks"]["denoised"]["per_clip"], done.stdout


def test_quality_is_that_of_the_files_as_they_are(folders):
    per_clip, printed = score()
    for clip in per_clip:
        clean = read_audio(folders / "clean" / f"clean_{clip['name'].split('25_')[1]}")
        expected = ratio_db(read_audio(folders / "denoised" / clip["name"]), clean)
        assert clip["si_snr_db"] == pytest.approx(expected, abs=1e-6)
    assert len(per_clip) == 3 and not any("si_snri_db" in clip for clip in per_clip)
    assert "no lag" in printed and "SI-SNRi" not in printed
    assert not (folders / "scores.json.partial").exists()


def test_improvements_need_the_noisy_clips(folders):
    per_clip, printed = score("--noisy", "noisy")
    before = read_json("scores.json")["noisy"]["per_clip"]
    for clip, noisy in zip(per_clip, before, strict=True):
        assert clip["si_snri_db"] == pytest.approx(clip["si_snr_db"] - noisy["si_snr_db"])
        assert clip["si_snri_db"] == pytest.approx(6.02, abs=0.3)  # half of the noise
    assert "SI-SNRi data" in printed and "SI-SNRi enc+dec" in printed


@pytest.mark.parametrize("lag", [40, -40])
def test_a_lag_is_told_and_taken_away_only_when_asked_for(folders, lag):
    whole, _ = score()
    for file in (folders / "denoised").iterdir():
        write_wav(file, np.roll(read_audio(file), lag))
    late, printed = score()
    assert f"a lag of {lag} samples ({lag / 16:.1f} ms) in 3 of 3 clips" in printed and "--align" in printed
    aligned, printed = score("--align")
    assert "taken away" in printed
    for before, shifted, back in zip(whole, late, aligned, strict=True):
        assert shifted["si_snr_db"] < before["si_snr_db"] - 3
        assert back["si_snr_db"] == pytest.approx(before["si_snr_db"], abs=0.2)


@pytest.mark.parametrize("start", [None, 12_000])
def test_what_does_not_resemble_the_clip_has_no_lag(folders, start):
    target, other = np.zeros((2, SAMPLES), np.float32)
    target[:400] = np.random.default_rng(1).normal(0, 0.1, 400)
    if start:
        other[start : start + 400] = 0.1
    for part, audio in (("clean", target), ("denoised", other)):
        for file in (folders / part).iterdir():
            write_wav(file, audio)
    per_clip, printed = score()
    assert "no lag" in printed and {clip["lag_samples"] for clip in per_clip} == {0}


def test_clip_that_is_silent_but_for_a_lag_is_refused(folders):
    target = np.random.default_rng(1).uniform(-6e-5, 6e-5, SAMPLES).astype(np.float32)
    early = np.append(target[500:], np.zeros(500, np.float32))
    target[:400] *= 50
    for part, audio in (("clean", target), ("denoised", early)):
        for file in (folders / part).iterdir():
            write_wav(file, audio)
    told = refusal("score", "denoised", "--clean", "clean", "--no-mos", "--align", "--json", "scores.json")
    assert "silent but for what a lag of -500 samples takes away" in told


def test_another_folder_has_scores_of_its_own(folders):
    other = folders / "other"
    shutil.copytree(folders / "denoised", other)
    for file in other.iterdir():
        write_wav(file, -np.flip(read_audio(file)))
    for file in (*other.iterdir(), *(folders / "denoised").iterdir()):
        os.utime(file, (0, 0))
    found = [find_recordings(folder, folders / "clean") for folder in (folders / "denoised", other)]
    assert found[0].digest != found[1].digest


def test_opinion_scores_are_in_the_columns_of_the_table(folders):
    done = spandex(
        "score", "denoised", "--clean", "clean", "--noisy", "noisy", "--name", "theirs", "--json", "scores.json"
    )
    assert done.exit_code == 0 and "theirs" in done.stdout
    scores = read_json("scores.json")
    above = scores["networks"]["theirs"]["mos_ovrl"] - scores["noisy"]["mos_ovrl"]
    assert scores["networks"]["theirs"]["mos_ovrl_improvement"] == pytest.approx(above)
    assert "MOS ovrl" in done.stdout and "improvement" in done.stdout


def test_a_file_of_another_length_or_rate_costs_that_file(folders):
    short, fast, _ = sorted((folders / "denoised").iterdir())
    write_wav(short, read_audio(short)[:-1])
    soundfile.write(fast, read_audio(fast), 8000)
    done = spandex("score", "denoised", "--clean", "clean", "--no-mos", "--json", "scores.json")
    assert done.exit_code == 1
    assert f"denoised/{short.name}: {SAMPLES - 1} samples, but clean_fileid_0.wav has {SAMPLES}" in done.stderr
    assert f"denoised/{fast.name}: 8000 Hz, 1 channels" in done.stderr and "2 files failed" in done.stderr
    assert len(read_json("scores.json")["networks"]["denoised"]["per_clip"]) == 1


def test_a_clip_that_is_missing_is_named_before_anything_is_scored(folders):
    missing = sorted((folders / "denoised").iterdir())[0]
    missing.unlink()
    assert "clean_fileid_0.wav: no partner in denoised" in refusal("score", "denoised", "--clean", "clean")
    message = refusal("score", "noisy", "--clean", "clean", "--json", sorted((folders / "noisy").iterdir())[0])
    assert "would be overwritten" in message
