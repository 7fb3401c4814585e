import contextlib
import functools
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from clips import read_channels
from commands import refusal
from denoising import HOP, N_FFT, small_network, wrapping_network
from spandex.data import audio as audio_module
from spandex.data.audio import from_int16, to_int16, write_channels
from spandex.deploy.codec import decode, encode
from spandex.deploy.denoise import EventDenoiser
from spandex.deploy.executor import Executor
from spandex.deploy.stream import stream
from spandex.errors import SpandexError
from spandex.networks import SDNN, export_hdf5
from spandex.steps import denoise as denoise_module
from spandex.steps.denoise import denoise

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")

FORMATS = [
    ("a.wav", "WAV", "PCM_16", 16_000, 1, 4001),
    ("a.WAV", "WAV", "PCM_24", 44_100, 2, 9001),
    ("a.wav", "WAV", "PCM_U8", 8_000, 1, 1),
    ("a.wav", "WAVEX", "FLOAT", 22_050, 3, 5000),
    ("a.wav", "WAV", "DOUBLE", 48_000, 1, 1),
    ("a.wav", "WAV", "PCM_32", 96_000, 1, 7),
    ("a.wav", "WAV", "ULAW", 8_000, 1, 4001),
    ("a.wav", "WAV", "ALAW", 16_000, 2, 4001),
    ("a.flac", "FLAC", "PCM_16", 16_000, 1, 4001),
    ("a.flac", "FLAC", "PCM_24", 48_000, 2, 4803),
    ("a.ogg", "OGG", "VORBIS", 44_100, 2, 44_103),
    ("a.ogg", "OGG", "VORBIS", 16_000, 1, 999),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network") / "network.net")


@pytest.fixture(scope="module")
def transparent(tmp_path_factory):
    """A network whose mask is 1: what comes out is what went in."""
    return small_network(tmp_path_factory.mktemp("network") / "network.net", output_gain=0)


def tones(rate_hz, channels, samples, amplitude=0.4):
    """A tone below 2 kHz in each channel."""
    frequencies = np.linspace(300, 1700, channels)
    return amplitude * np.sin(2 * np.pi * frequencies * np.arange(samples)[:, np.newaxis] / rate_hz)


def recording(seed, samples=4000):
    return (np.random.default_rng(seed).standard_normal(samples) * 3000).astype(np.int16)


@pytest.mark.parametrize(("name", "container", "subtype", "rate_hz", "channels", "samples"), FORMATS)
def test_output_has_the_format_of_the_input(
    tmp_path, transparent, name, container, subtype, rate_hz, channels, samples
):
    source, target = tmp_path / "in" / name, tmp_path / "out" / name
    source.parent.mkdir()
    soundfile.write(source, tones(rate_hz, channels, samples), rate_hz, subtype, format=container)
    denoise(source, target, transparent)
    before, after = soundfile.info(source), soundfile.info(target)
    for key in ("samplerate", "channels", "frames", "format", "subtype", "endian"):
        assert getattr(after, key) == getattr(before, key), key
    original, denoised = (soundfile.read(path)[0] for path in (source, target))
    edge = rate_hz // 100  # filters ring at the ends
    tolerance = {"VORBIS": 0.05, "PCM_U8": 2**-6, "ULAW": 0.02, "ALAW": 0.02}.get(subtype, 2e-3)
    np.testing.assert_allclose(denoised[edge:-edge], original[edge:-edge], rtol=0, atol=tolerance)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_samples_that_need_no_change_keep_every_bit(tmp_path, transparent, subtype):
    soundfile.write(tmp_path / "a.wav", recording(0), 16_000, subtype)
    denoise(tmp_path / "a.wav", tmp_path / "b.wav", transparent)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_channels_are_denoised_on_their_own(tmp_path, network):
    left, right = recording(1), recording(2)
    soundfile.write(tmp_path / "both.wav", np.stack([left, right], axis=1), 16_000)
    denoise(tmp_path / "both.wav", tmp_path / "denoised.wav", network)
    both, _ = soundfile.read(tmp_path / "denoised.wav", dtype="int16")
    denoiser = EventDenoiser(network)
    for channel, samples in zip(both.T, (left, right), strict=True):
        assert np.array_equal(channel, to_int16(denoiser.denoise(from_int16(samples))))
        assert not np.array_equal(channel, samples)


def denoised_as_a_whole(path, source):
    """Every channel of a file, each step on all of it at once."""
    audio, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
    executor, channels = Executor(path), []
    for channel in audio.T:
        silence = 0 if rate_hz == 16_000 else -(-rate_hz // 10)
        noisy = soxr.resample(np.pad(channel, (0, silence)), rate_hz, 16_000, quality="HQ")
        inputs, spectrum = encode(noisy, N_FFT, HOP)
        denoised = decode(executor.run(inputs).outputs, spectrum, N_FFT, HOP)[: len(noisy)]
        channels.append(soxr.resample(denoised, 16_000, rate_hz, quality="HQ")[: len(channel)])
    return np.stack(channels, axis=1)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (8_000, 3), (11_025, 1)])
@pytest.mark.parametrize("at_once", [700, 40_000])
def test_blocks_give_the_bits_of_the_whole(tmp_path, network, monkeypatch, rate_hz, channels, at_once):
    monkeypatch.setattr(audio_module, "READ_VALUES", at_once)
    noisy = tones(rate_hz, channels, 30_011) + 0.1 * np.random.default_rng(6).standard_normal((30_011, channels))
    soundfile.write(tmp_path / "a.wav", noisy, rate_hz, "FLOAT")
    denoise(tmp_path / "a.wav", tmp_path / "b.wav", network)
    written, _ = soundfile.read(tmp_path / "b.wav", dtype="float32", always_2d=True)
    assert np.array_equal(written, denoised_as_a_whole(network, tmp_path / "a.wav"))


def test_gsm_is_denoised_although_it_cannot_be_sought_in(tmp_path, transparent):
    soundfile.write(tmp_path / "a.wav", tones(8_000, 1, 40 * 320), 8_000, "GSM610")
    denoise(tmp_path / "a.wav", tmp_path / "b.wav", transparent)
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.format, info.subtype, info.frames) == ("WAV", "GSM610", 40 * 320)
    original, denoised = (read_channels(tmp_path / name)[0][:, 0] for name in ("a.wav", "b.wav"))
    assert np.corrcoef(original, denoised)[0, 1] > 0.95


MEASURED = """
import sys
from spandex.cli.commands import app
app(sys.argv[1:], standalone_mode=False)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(*sorted({"torch", "lava"} & set(sys.modules)))
"""


def measured(source, network, backend):
    """Peak memory in MiB of a process that denoises a file, and which of torch and Lava it has loaded."""
    target = source.with_name("denoised.wav")
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, "denoise", source, target, "--network", network]
    done = subprocess.run([*command, "--backend", backend], capture_output=True, text=True, check=True)
    assert soundfile.info(target).frames == soundfile.info(source).frames
    *_, peak, loaded = done.stdout.split("\n")[:-1]
    return int(peak) // 1024, loaded.split()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc, where a process's own peak stands")
@pytest.mark.parametrize(
    ("backend", "seconds", "growth"),  # whole files took 2 MiB a second
    [("events", (10, 600), 100), pytest.param("torch", (4, 60), 50, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_file(tmp_path, backend, seconds, growth):
    torch.manual_seed(0)
    export_hdf5(SDNN(hidden=16), tmp_path / "network.net")
    peaks = []
    for length in seconds:
        soundfile.write(tmp_path / "a.wav", np.resize(recording(7, 160_000), length * 16_000), 16_000)
        peak, loaded = measured(tmp_path / "a.wav", tmp_path / "network.net", backend)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < growth
    if backend == "events":
        assert not loaded
        assert peaks[1] < 400


@pytest.mark.parametrize("failing", [(), ("b.wav",)])
def test_progress_counts_parts_of_files(tmp_path, transparent, monkeypatch, capsys, failing):
    monkeypatch.setattr(audio_module, "READ_VALUES", 16_000)
    monkeypatch.setattr(denoise_module, "tqdm", functools.partial(denoise_module.tqdm, mininterval=0))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        samples = tones(16_000, 1, 160_000)
        if name in failing:
            samples[-1] = np.nan
        soundfile.write(tmp_path / "in" / name, samples, 16_000, "FLOAT")
    with pytest.raises(SpandexError) if failing else contextlib.nullcontext():
        denoise(tmp_path / "in", tmp_path / "out", transparent, workers=1)
    shown = [float(count) for count in re.findall(r"([\d.]+)/2 files", capsys.readouterr().err)]
    assert shown == sorted(shown)
    assert any(0 < count < 1 for count in shown)
    assert shown[-1] == 2


def test_what_no_wav_header_holds_is_written_as_rf64(tmp_path, transparent, monkeypatch):
    soundfile.write(tmp_path / "a.wav", recording(8), 16_000)
    soundfile.write(tmp_path / "big.wav", recording(8), 16_000, endian="BIG")
    monkeypatch.setattr(audio_module, "LARGEST_FILE", 7999)
    for name in ("a.wav", "big.wav"):
        denoise(tmp_path / name, tmp_path / "b.wav", transparent)
        info = soundfile.info(tmp_path / "b.wav")
        assert (info.format, info.subtype, info.frames) == ("RF64", "PCM_16", 4000)
        assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], recording(8))
        assert len(read_channels(tmp_path / "b.wav")[0]) == 4000


@pytest.mark.parametrize(("container", "subtype"), [("AIFF", "PCM_16"), ("WAV", "MS_ADPCM")])
def test_what_cannot_be_that_long_is_refused_before_anything_is_written(
    tmp_path, transparent, monkeypatch, container, subtype
):
    soundfile.write(tmp_path / "a.wav", recording(8), 16_000, subtype, format=container)
    monkeypatch.setattr(audio_module, "LARGEST_FILE", 999)
    with pytest.raises(SpandexError, match=rf"b/b\.wav: not written: .* do not fit a {container} file; write FLAC"):
        denoise(tmp_path / "a.wav", tmp_path / "b/b.wav", transparent)
    assert not (tmp_path / "b").exists()


def test_a_file_that_ends_too_early_leaves_nothing(tmp_path, network, capsys):
    noise = np.random.default_rng(9).standard_normal(160_000) * 0.1
    soundfile.write(tmp_path / "a.flac", noise, 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    (tmp_path / "out").mkdir()
    with pytest.raises(SpandexError, match=r"a\.flac: (cut off|unreadable)"):
        denoise(tmp_path / "a.flac", tmp_path / "out", network)
    assert not list((tmp_path / "out").iterdir())


def test_what_is_no_file_and_what_is_hidden_costs_no_other_file(tmp_path, transparent, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(_written(tmp_path / "a.wav"), folder / "1.WAV")
    (folder / "._1.WAV").write_bytes(b"\0\5\x16\7 of macOS")
    os.mkfifo(folder / "2.wav")
    (folder / "3.wav").symlink_to("nowhere.wav")
    with pytest.raises(SpandexError, match="2 of 3 files failed"):
        denoise(folder, tmp_path / "out", transparent)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.WAV"]
    assert [line.partition("in/")[2] for line in capsys.readouterr().err.splitlines()] == [
        "2.wav: no file",
        "3.wav: no such file",
    ]


def test_minutes_of_vorbis_are_written(tmp_path):
    soundfile.write(tmp_path / "short.ogg", tones(48_000, 2, 48_000), 48_000)
    audio, sound_format = read_channels(tmp_path / "short.ogg")
    write_channels(tmp_path / "long.ogg", [audio] * 120, 2, sound_format)
    assert soundfile.info(tmp_path / "long.ogg").frames == 120 * 48_000


def test_another_extension_changes_the_container(tmp_path, transparent):
    soundfile.write(tmp_path / "a.flac", tones(16_000, 1, 2000), 16_000, "PCM_24")
    for name, container, subtype in (("a.wav", "WAV", "PCM_24"), ("a.ogg", "OGG", "VORBIS")):
        denoise(tmp_path / "a.flac", tmp_path / name, transparent)
        info = soundfile.info(tmp_path / name)
        assert (info.format, info.subtype, info.frames) == (container, subtype, 2000)


def test_folder_keeps_its_structure(tmp_path, transparent, capsys):
    names = ["a.wav", "deep/er/b.flac", "deep/c.ogg"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, tones(16_000, 1, 1600), 16_000)
    (tmp_path / "in/notes.txt").write_text("not audio")
    denoise(tmp_path / "in", tmp_path / "new/out", transparent, workers=2)
    found = {str(path.relative_to(tmp_path / "new/out")) for path in (tmp_path / "new/out").rglob("*.*")}
    assert found == set(names)
    assert "3 file(s)" in capsys.readouterr().out


def test_bad_files_are_named_and_the_rest_is_done(tmp_path, transparent, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1.wav", "6.wav"):
        soundfile.write(folder / name, tones(16_000, 1, 1600), 16_000)
    (folder / "2.flac").write_bytes(b"not audio")
    soundfile.write(folder / "3.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "4.wav", np.array([0, np.nan]), 16_000, "FLOAT")
    soundfile.write(folder / "5.wav", np.array([0.0, 12345]), 16_000, "FLOAT")
    with pytest.raises(SpandexError, match="4 of 6 files failed"):
        denoise(folder, tmp_path / "out", transparent)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.wav", "6.wav"]
    lines = capsys.readouterr().err.splitlines()
    for name, reason in (("2.flac", "unreadable"), ("3.wav", "empty"), ("4.wav", "NaN"), ("5.wav", "12345")):
        assert [line for line in lines if line.startswith(f"{folder / name}: ") and reason in line], name


def test_names_that_are_no_text_are_files_like_others(tmp_path, transparent, capsys):
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        shutil.copy(_written(tmp_path / "a.wav"), tmp_path / "in" / name)
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    denoise(tmp_path / "in", tmp_path / "out", transparent)
    assert (tmp_path / "out" / name).is_file()
    (tmp_path / "in" / name).write_bytes(b"no audio")
    assert "1 of 1 files failed" in refusal(
        "denoise", tmp_path / "in", tmp_path / "new", "--network", transparent, lines=2
    )


def _written(path: Path) -> Path:
    soundfile.write(path, tones(16_000, 1, 1600), 16_000)
    return path


def test_one_bad_file_is_the_error(tmp_path, transparent):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000)
    with pytest.raises(SpandexError, match=r"a\.wav: empty"):
        denoise(tmp_path / "a.wav", tmp_path / "b.wav", transparent)
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nowhere", "out", "nowhere: no such file or folder"),
        ("in", "in", "in: lies within the input"),
        ("in", "in/out", "in/out: lies within the input"),
        ("in", "in/a.wav", "in/a.wav: is a file, but .*in is a folder"),
        ("in", ".", "in/a.wav: is input and would be overwritten"),
        ("in/a.wav", "in/a.wav", "in/a.wav: is input and would be overwritten"),
        ("in/a.wav", "in", "in/a.wav: is input and would be overwritten"),
        ("in/a.wav", "a.mp3", r"a\.mp3: not one of \.wav, \.flac, \.ogg"),
        ("in/a.wav", "new", r"new: not one of \.wav, \.flac, \.ogg"),
        ("in/a.txt", "a.wav", r"a\.txt: not one of \.wav, \.flac, \.ogg"),
        ("nothing", "out", r"nothing: no audio files \(\.wav"),
    ],
)
def test_impossible_paths_are_named(tmp_path, transparent, source, target, message):
    (tmp_path / "in/in").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    for name in ("in/a.wav", "in/in/a.wav"):
        soundfile.write(tmp_path / name, tones(16_000, 1, 160), 16_000)
    (tmp_path / "in/a.txt").write_text("not audio")
    before = (tmp_path / "in/a.wav").read_bytes()
    with pytest.raises(SpandexError, match=message):
        denoise(tmp_path / source, tmp_path / target, transparent)
    assert (tmp_path / "in/a.wav").read_bytes() == before


class Pieces(io.RawIOBase):
    """A source whose data arrive in pieces of random sizes, as through a pipe."""

    def __init__(self, data, largest):
        self.data, self.largest, self.random = data, largest, np.random.default_rng(0)

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), len(self.data), int(self.random.integers(1, self.largest + 1)))
        buffer[:count], self.data = self.data[:count], self.data[count:]
        return count


@pytest.mark.parametrize("largest", [1, 15, 16, 100, 100_000])
@pytest.mark.parametrize("samples", [1, 800, 803])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_stream_writes_what_the_file_path_computes(network, samples, largest, lookahead):
    denoiser = EventDenoiser(network, lookahead=lookahead)
    noisy = recording(3, samples)
    sink = io.BytesIO()
    report = stream(denoiser, io.BufferedReader(Pieces(noisy.tobytes(), largest)), sink)
    written = np.frombuffer(sink.getvalue(), "<i2")
    assert len(written) == samples + denoiser.delay
    assert np.array_equal(written[denoiser.delay :], to_int16(denoiser.denoise(from_int16(noisy))))
    assert report.audio_s == samples / 16_000
    assert report.steps == -(-len(written) // denoiser.hop)
    assert 0 < report.real_time_factor < np.inf


@pytest.fixture(scope="module")
def wrapping(tmp_path_factory):
    return wrapping_network(tmp_path_factory.mktemp("network") / "network.net")


def test_wrapped_masks_are_warned_of_once_a_file(tmp_path, wrapping, network):
    (tmp_path / "noisy").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"noisy/{name}.wav", tones(16_000, 2, 8000), 16_000)

    def warned(path):
        """Warnings that differ, which are those that the command prints."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            denoise(tmp_path / "noisy", tmp_path / "denoised", path)
        return sorted({str(warning.message) for warning in caught if "wrapped" in str(warning.message)})

    assert [message.partition(": masks left the 24 bits")[0] for message in warned(wrapping)] == [
        str(tmp_path / "noisy/a.wav"),
        str(tmp_path / "noisy/b.wav"),
    ]
    assert warned(network) == []


def test_wrapped_masks_of_a_stream_are_warned_of(wrapping):
    noisy = to_int16(tones(16_000, 1, 8000, 0.9)[:, 0]).astype("<i2")
    with pytest.warns(UserWarning, match="standard input: masks left the 24 bits"):
        stream(EventDenoiser(wrapping), io.BytesIO(noisy.tobytes()), io.BytesIO())


def test_latency_of_the_published_frame_is_32_ms(mirror):
    for lookahead in (0, 1):
        denoiser = EventDenoiser(mirror / "ndns/prune50/network.net", lookahead=lookahead)
        assert denoiser.delay == 512 + 128 * lookahead  # samples at 16 kHz


def test_half_a_sample_at_the_end_is_an_error_after_the_rest(network):
    noisy, sink = recording(3, 100), io.BytesIO()
    with pytest.raises(SpandexError, match="standard input: ends within a sample"):
        stream(EventDenoiser(network), io.BytesIO(noisy.tobytes() + b"x"), sink)
    assert len(sink.getvalue()) == 2 * (100 + 32)


def test_empty_stream_is_an_error(network):
    sink = io.BytesIO()
    with pytest.raises(SpandexError, match="standard input: empty"):
        stream(EventDenoiser(network), io.BytesIO(), sink)
    assert sink.getvalue() == b""


def streaming(network):
    code = "import sys; from spandex.steps.denoise import denoise_stream; denoise_stream(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, network],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def read_exactly(pipe, count):
    found = b""
    while len(found) < count:
        piece = pipe.read(count - len(found))
        assert piece
        found += piece
    return found


def test_every_hop_comes_out_before_the_next_goes_in(network):
    hop, samples = 16, recording(4, 10 * 8).tobytes()
    with streaming(network) as process:
        out = b""
        for start in range(0, len(samples), hop):
            process.stdin.write(samples[start : start + hop])
            out += read_exactly(process.stdout, hop)
        process.stdin.close()
        out += process.stdout.read()
        err = process.stderr.read().decode()
        assert process.wait() == 0
    denoiser = EventDenoiser(network)
    expected = to_int16(denoiser.denoise(from_int16(np.frombuffer(samples, np.int16))))
    assert np.array_equal(np.frombuffer(out, "<i2")[denoiser.delay :], expected)
    assert err.startswith("0.005 s of audio, 14 steps, real-time factor ")


@pytest.mark.slow
def test_stream_ends_quietly_when_nobody_listens(network):
    with streaming(network) as process:
        process.stdin.write(recording(4, 8).tobytes())
        read_exactly(process.stdout, 16)
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may end before it is told everything
            process.stdin.write(recording(4, 80_000).tobytes())
        assert process.wait(timeout=60) == 0
        assert process.stderr.read().decode().count("\n") == 1
