import os
import resource

import numpy as np
import pytest
import soundfile
import soxr

from clips import read_channels
from spandex.data import NoisySpeech
from spandex.data import audio as audio_module
from spandex.data.audio import (
    AudioError,
    SoundFormat,
    from_int16,
    read_audio,
    to_int16,
    write_channels,
    write_flac,
    write_wav,
)
from spandex.data.containers import missing_part
from spandex.errors import SpandexError
from spandex.evaluation import pairs as pairs_module
from spandex.evaluation.pairs import pair_clips


def sine(frequency_hz, rate_hz, seconds=1.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_any_rate_is_resampled_to_16_khz(tmp_path, rate_hz):
    soundfile.write(tmp_path / "a.wav", sine(440, rate_hz), rate_hz, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    assert audio.dtype == np.float32
    assert abs(len(audio) - 16000) <= 1
    middle = slice(1000, 15000)  # filters ring at the ends
    np.testing.assert_allclose(audio[middle], sine(440, 16000)[middle], atol=2e-3)


def test_channels_are_averaged(tmp_path):
    left, right = sine(300, 16000), sine(700, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)


def bad_file(path, name):
    match name:
        case "missing":
            return
        case "foreign":
            path.write_bytes(b"not audio" * 100)
        case "no bytes":
            path.touch()
        case "empty":
            soundfile.write(path, np.zeros(0), 16000)
        case "short":
            soundfile.write(path, sine(440, 16000, seconds=0.25), 16000)
        case "silent":
            soundfile.write(path, np.zeros(16000), 16000)
        case "nan":
            audio = sine(440, 16000)
            audio[77] = np.nan
            soundfile.write(path, audio, 16000, subtype="FLOAT")
        case "infinite":
            audio = sine(440, 16000)
            audio[77] = np.inf
            soundfile.write(path, audio, 16000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file"),
        ("foreign", "unreadable"),
        ("no bytes", "unreadable"),
        ("empty", "empty"),
        ("short", "0.250 s is shorter than 0.5 s"),
        ("silent", "silent"),
        ("nan", "NaN or infinite"),
        ("infinite", "NaN or infinite"),
    ],
)
def test_unusable_file_is_refused_by_name_and_reason(tmp_path, name, reason):
    path = tmp_path / "bad.wav"
    bad_file(path, name)
    with pytest.raises(AudioError) as caught:
        read_audio(path, min_duration_s=0.5)
    assert isinstance(caught.value, SpandexError)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in caught.value.reason
    assert str(path) not in caught.value.reason


def test_int16_rounds_half_to_even_and_clips():
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5]) / 2**15
    assert to_int16(halves).tolist() == [0, 2, 2, 0, -2]
    assert to_int16(np.array([1.0, 2.0, -1.0, -2.0])).tolist() == [32767, 32767, -32768, -32768]


def test_every_16_bit_sample_survives_disk(tmp_path):
    samples = np.arange(-(2**15), 2**15).astype(np.int16)
    for write, name in ((write_wav, "a.wav"), (write_flac, "a.flac")):
        write(tmp_path / name, from_int16(samples))
        assert (to_int16(read_audio(tmp_path / name)) == samples).all()


def test_wav_is_plain_16_bit_pcm_and_the_same_every_time(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, sine(440, 16000))
    content = (tmp_path / "a.wav").read_bytes()
    assert content == (tmp_path / "b.wav").read_bytes()
    assert len(content) == 44 + 2 * 16000
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")


def test_nan_is_not_written(tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav: not written"):
        write_wav(tmp_path / "a.wav", np.array([0.0, np.nan]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_wav, write_flac])
def test_file_that_a_full_disk_cuts_off_is_named(tmp_path, write):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(AudioError, match=r"a\.wav: not written"):
            write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-1, 1, 16_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "GSM610", "IMA_ADPCM", "PCM_16"])
def test_samples_beyond_full_scale_stay_at_its_end(tmp_path, subtype):
    audio = sine(200, 16_000, amplitude=1.4)
    write_channels(tmp_path / "a.wav", [audio[:, np.newaxis]], 1, SoundFormat(16_000, "WAV", subtype))
    written = read_channels(tmp_path / "a.wav")[0][: len(audio), 0]
    assert np.corrcoef(written, audio.clip(-1, 1))[0, 1] > 0.95


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "GSM610"])
def test_telephone_formats_are_read_by_everything(tmp_path, subtype):
    expected = sine(440, 16_000, 0.5)
    for part in ("noisy", "clean"):
        (tmp_path / part).mkdir()
        soundfile.write(tmp_path / part / "a.wav", expected, 16_000, subtype)
    whole = read_audio(tmp_path / "noisy/a.wav")
    assert np.corrcoef(whole[:8000], expected)[0, 1] > 0.98
    clips = NoisySpeech(tmp_path)
    assert np.array_equal(clips.read(0)[1], whole)
    assert np.array_equal(clips.read(0, 3001, 4000)[0], whole[3001:7001])
    pairs, alone = pair_clips(tmp_path / "noisy", tmp_path / "clean")
    assert not alone
    assert np.array_equal(pairs[0].read().noisy, whole)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("CAF", "ALAC_16"),
    ],
)
@pytest.mark.parametrize("at_once", [1, 997, 30_000])
def test_blocks_are_what_is_read_at_once(tmp_path, monkeypatch, container, subtype, at_once):
    audio = np.stack([sine(440, 48_000), sine(1000, 48_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", audio[: 2000 if at_once == 1 else None], 48_000, subtype, format=container)
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    monkeypatch.setattr(audio_module, "READ_VALUES", 2 * at_once)
    assert np.array_equal(read_channels(tmp_path / "a.wav")[0], whole)
    mono = soxr.resample(whole.mean(axis=1), 48_000, 16_000, quality="HQ")
    assert np.array_equal(read_audio(tmp_path / "a.wav"), mono)


def test_what_would_not_fit_into_memory_is_refused_by_its_header(tmp_path, monkeypatch):
    for part in ("noisy", "clean"):
        (tmp_path / part).mkdir()
        write_flac(tmp_path / part / "a.flac", sine(440, 16_000, 3))
    monkeypatch.setattr(audio_module, "LONGEST_SOURCE_S", 2)
    monkeypatch.setattr(pairs_module, "LONGEST_CLIP_S", 2)
    monkeypatch.setattr(audio_module, "read_blocks", None)
    monkeypatch.setattr(pairs_module, "read_blocks", None)
    refused = r"a\.flac: lasts 3 s; at most 2 s are read: cut it into pieces"
    with pytest.raises(AudioError, match=refused):
        read_audio(tmp_path / "noisy/a.flac")
    with pytest.raises(AudioError, match=refused):
        pair_clips(tmp_path / "noisy", tmp_path / "clean")[0][0].read()


CONTAINERS = [
    ("WAV", "PCM_16", "FILE"),
    ("WAV", "PCM_16", "BIG"),
    ("WAV", "ULAW", "FILE"),
    ("WAVEX", "FLOAT", "FILE"),
    ("RF64", "PCM_16", "FILE"),
    ("W64", "PCM_16", "FILE"),
    ("AIFF", "PCM_24", "FILE"),
    ("CAF", "PCM_16", "FILE"),
    ("AU", "PCM_16", "FILE"),
    ("SVX", "PCM_16", "FILE"),
    ("NIST", "PCM_16", "FILE"),
    ("FLAC", "PCM_16", "FILE"),
    ("OGG", "VORBIS", "FILE"),
    ("MP3", "MPEG_LAYER_III", "FILE"),
]


@pytest.mark.parametrize(("container", "subtype", "endian"), CONTAINERS)
def test_file_of_any_kind_that_is_cut_off_is_refused(tmp_path, container, subtype, endian):
    path, audio = tmp_path / "a.wav", sine(440, 16_000, 2) + 0.01 * np.random.default_rng(1).standard_normal(32_000)
    soundfile.write(path, audio, 16_000, subtype=subtype, endian=endian, format=container)
    assert len(read_channels(path)[0]) == 32_000
    whole = path.read_bytes()
    for share in (0.3, 0.5, 0.9, 0.995):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(AudioError, match=r"a\.wav: (cut off|unreadable)"):
            read_channels(path)


@pytest.mark.parametrize("size", [0, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU"])
def test_header_written_before_the_length_was_known_says_nothing(tmp_path, container, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, 16_000), 16_000, subtype="PCM_16", format=container)
    content = bytearray(path.read_bytes())
    place, order = (8, "big") if container == "AU" else (4, "big" if container == "AIFF" else "little")
    content[place : place + 4] = size.to_bytes(4, order)
    path.write_bytes(content)
    assert missing_part(path) is None


def test_ogg_stream_without_an_end_is_refused(tmp_path):
    path = tmp_path / "a.ogg"
    soundfile.write(path, sine(440, 16_000, 10), 16_000, subtype="VORBIS", format="OGG")
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    with pytest.raises(AudioError, match=r"a\.ogg: cut off: its last page does not end the stream"):
        read_channels(path)


def test_flac_without_a_length_says_what_to_do(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(440, 16_000), 16_000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # 36 bits of the number of samples, in the first block of metadata
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="does not say how long it is; encode it again"):
        read_channels(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind):
    path = tmp_path / "a.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere.wav")
    with pytest.raises(AudioError, match=r"a\.wav: no (such )?file$"):
        read_channels(path)


def test_wav_file_that_ends_too_early_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav", np.full(1000, 0.1))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:1000])
    with pytest.raises(AudioError, match=rf"a\.wav: cut off: 1000 of {len(whole)} bytes"):
        read_channels(tmp_path / "a.wav")
    piped = whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    (tmp_path / "a.wav").write_bytes(piped)
    assert len(read_channels(tmp_path / "a.wav")[0]) == 1000
