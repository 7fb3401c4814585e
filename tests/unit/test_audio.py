import numpy as np
import pytest
import soundfile

from spandex.data.audio import AudioError, from_int16, read_audio, read_channels, to_int16, write_flac, write_wav
from spandex.errors import SpandexError


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


def test_wav_file_that_ends_too_early_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav", np.full(1000, 0.1))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:1000])
    with pytest.raises(AudioError, match=rf"a\.wav: cut off: 1000 of {len(whole)} bytes"):
        read_channels(tmp_path / "a.wav")
    piped = whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    (tmp_path / "a.wav").write_bytes(piped)
    assert len(read_channels(tmp_path / "a.wav")[0]) == 1000
