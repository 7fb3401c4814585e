import hashlib
import re
import subprocess
import sys

import espeakng_loader
import numpy as np
import pytest
from scipy import signal

from clips import digests
from spandex.data import noise
from spandex.data.audio import read_audio
from spandex.data.corpus import read_manifest
from spandex.data.espeak import Voice, speak
from spandex.data.synthesis import Sources, SynthesisSettings, activity, levels, make_clip
from spandex.data.synthetic import HIGH_VOICES, LOW_VOICES, build_synthetic, plan
from spandex.data.texts import ACCENTS, sentence
from spandex.errors import SpandexError

MINUTES = {"train": 1.6, "validation": 0.5, "test": 0.5}
HOURS = {"train": 120, "validation": 10, "test": 15}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_synthetic(tmp_path_factory.mktemp("synthetic"), MINUTES, MINUTES, seed=1)


def test_manifest_lists_every_file_as_it_is(corpus):
    entries = read_manifest(corpus)
    assert {entry.path for entry in entries} | {"manifest.csv"} == set(digests(corpus.parent))
    for entry in entries:
        audio = read_audio(corpus.parent / entry.path)
        assert entry.sha256 == hashlib.sha256((corpus.parent / entry.path).read_bytes()).hexdigest()
        assert entry.sample_rate_hz == 16000
        assert entry.duration_s == pytest.approx(len(audio) / 16000, abs=1e-3)
        assert 0.2 <= np.abs(audio).max() <= 0.91


def test_amounts_are_those_asked_for(corpus):
    for kind in ("speech", "noise"):
        for split, minutes in MINUTES.items():
            found = [entry for entry in read_manifest(corpus) if (entry.kind, entry.split) == (kind, split)]
            assert sum(entry.duration_s for entry in found) / 60 == pytest.approx(minutes, rel=0.35)


def test_two_workers_and_a_used_folder_give_the_same_bytes(corpus, tmp_path):
    more = {"train": 2.0, "validation": 0.5, "test": 0.5}
    build_synthetic(tmp_path, more, more, seed=2)
    progress = []
    manifest = build_synthetic(tmp_path, MINUTES, MINUTES, 1, workers=2, progress=lambda *at: progress.append(at))
    assert digests(tmp_path) == digests(corpus.parent)
    total = len(read_manifest(manifest))
    assert progress == [(count, total) for count in range(1, total + 1)]


def test_no_voice_and_no_seed_crosses_a_split():
    recordings = plan(HOURS, HOURS, seed=1)
    variants = {}
    for recording in recordings:
        for speaker in recording.speakers:
            variants.setdefault((recording.kind, recording.split), set()).add(speaker.voice.variant)
    assert len(variants) == 6
    assert sum(map(len, variants.values())) == len(set().union(*variants.values()))
    assert len({recording.seed for recording in recordings}) == len(recordings)
    assert len({recording.path for recording in recordings}) == len(recordings)


def test_speakers_are_many_and_various():
    recordings = plan(HOURS, HOURS, seed=1)
    speakers = {speaker for recording in recordings if recording.kind == "speech" for speaker in recording.speakers}
    english = {speaker for speaker in speakers if speaker.text == "en"}
    assert len(speakers) >= 90
    assert 0.35 < len(english) / len(speakers) < 0.65
    assert {speaker.text for speaker in speakers} == set(ACCENTS)
    high = sum(speaker.voice.variant in HIGH_VOICES for speaker in speakers)
    assert 0.45 < high / len(speakers) < 0.55
    assert len({speaker.voice for speaker in speakers}) == len(speakers)


def test_impossible_amount_or_split_is_named(tmp_path):
    with pytest.raises(SpandexError, match="speech minutes of split 'test': -1"):
        build_synthetic(tmp_path, {"test": -1}, {"test": 1}, seed=0)
    with pytest.raises(SpandexError, match="split 'dev'"):
        build_synthetic(tmp_path, {"dev": 1}, {"dev": 1}, seed=0)


def test_speech_does_not_depend_on_what_was_said_before():
    voices = [Voice("en-us", "f2"), Voice("de", "croak", 200), Voice("fr", "whisper"), Voice("en", "klatt4", pitch=70)]
    text = "Seventeen small boats, 3 of them red."
    first = [speak(text, voice) for voice in voices]
    for voice, expected in reversed(list(zip(voices, first, strict=True))):
        speak("Something else entirely.", voices[0])
        np.testing.assert_array_equal(speak(text, voice), expected)


def test_voice_settings_are_heard():
    text = "We counted nine grey horses behind the old station."
    slow, fast = (speak(text, Voice("en-us", "m3", rate)) for rate in (130, 210))
    assert len(slow) > 1.3 * len(fast)
    low, high = (pitch_hz(speak(text, Voice("en-us", "m3", pitch=pitch))) for pitch in (25, 75))
    assert high > 1.3 * low
    assert pitch_hz(speak(text, Voice("en-us", "f2"))) > 1.5 * pitch_hz(speak(text, Voice("en-us", "m3")))


def pitch_hz(audio):
    """Median over loud frames of the lag of the highest autocorrelation between 50 and 400 Hz."""
    found = []
    for frame in np.lib.stride_tricks.sliding_window_view(audio, 800)[::400]:
        if np.sqrt(np.mean(frame**2)) > 0.02:
            correlation = np.correlate(frame, frame, "full")[799:]
            found.append(16000 / (40 + np.argmax(correlation[40:320])))
    return np.median(found)


SPEAK_FROM = """
import sys
import espeakng_loader
espeakng_loader.get_data_path = lambda: sys.argv[1]
from spandex.data.espeak import Voice, speak
print(len(speak("Hello.", Voice("en-us", "f2"))))
"""


def test_deep_installation_speaks_too(tmp_path):
    """espeak-ng itself cannot open data under a path of more than 160 bytes."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "data").symlink_to(espeakng_loader.get_data_path())
    run = subprocess.run([sys.executable, "-c", SPEAK_FROM, deep / "data"], capture_output=True, text=True)
    assert run.stdout.strip() == str(len(speak("Hello.", Voice("en-us", "f2")))), run.stderr


def test_missing_voice_data_is_an_error_and_not_an_exit(tmp_path):
    run = subprocess.run([sys.executable, "-c", SPEAK_FROM, tmp_path], capture_output=True, text=True)
    assert f"SpandexError: {tmp_path}: no data of espeak-ng" in run.stderr


def test_unknown_voice_is_named():
    with pytest.raises(SpandexError, match=r"no voice 'xx\+m1'"):
        speak("a", Voice("xx", "m1"))


@pytest.mark.slow
def test_every_voice_speaks_every_language_without_clipping():
    rng = np.random.default_rng(0)
    for text, accents in ACCENTS.items():
        for accent in accents:
            for variant in HIGH_VOICES + LOW_VOICES:
                peak = np.abs(speak(sentence(text, rng), Voice(accent, variant))).max()
                assert 0.01 < peak < 0.99, (accent, variant)


@pytest.mark.parametrize("language", ACCENTS)
def test_sentences_are_whole_and_various(language):
    rng = np.random.default_rng(0)
    sentences = [sentence(language, rng) for _ in range(300)]
    assert len(set(sentences)) > 280
    for text in sentences:
        assert re.fullmatch(r"[A-ZÉ][^{}]*\.", text), text


@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_is_finite_full_scale_and_drawn_anew(kind):
    make = noise.KINDS[kind]
    clips = [make(np.random.default_rng(seed), 48000) for seed in range(6)]
    for clip in clips:
        assert clip.dtype == np.float32 and clip.shape == (48000,)
        assert np.abs(clip).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(clips[0], make(np.random.default_rng(0), 48000))
    similarity = np.corrcoef(clips) - np.eye(6)
    assert np.abs(similarity).max() < 0.5


@pytest.mark.parametrize(("exponent", "slope_db"), [(-1.0, 3.01), (0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_coloured_noise_has_its_slope_per_octave(exponent, slope_db):
    audio = noise._shaped(np.random.default_rng(0), 16000 * 60, exponent)
    frequency_hz, power = signal.welch(audio, 16000, nperseg=4096)
    band = (frequency_hz > 100) & (frequency_hz < 6000)
    slope, _ = np.polyfit(np.log2(frequency_hz[band]), 10 * np.log10(power[band]), 1)
    assert slope == pytest.approx(slope_db, abs=0.1)


def test_harmonics_lie_at_multiples_of_the_fundamental():
    audio = noise._harmonics(np.random.default_rng(0), np.full(16000, 200.0), count=5, tilt=0.5)
    spectrum = np.abs(np.fft.rfft(audio))
    assert sorted(np.argsort(spectrum)[-5:]) == [200, 400, 600, 800, 1000]
    assert np.sort(spectrum)[-6] < 1e-3 * spectrum.max()


def test_corpus_mixes_into_active_clips(corpus):
    sources = Sources(corpus, "train", SynthesisSettings())
    for index in range(5):
        clip = make_clip(sources, index, seed=0)
        assert clip.skipped == ()
        assert activity(clip.clean, 16000) >= 0.6
        clean, background = levels(clip.clean, clip.noise, 16000)
        assert 20 * np.log10(clean / background) == pytest.approx(clip.snr_db, abs=0.1)
