"""A corpus that needs no download: speech by espeak-ng and noise by procedure, deterministic from its seed."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spandex.data import noise
from spandex.data.audio import SAMPLE_RATE_HZ, write_flac
from spandex.data.corpus import Entry, write_manifest
from spandex.data.espeak import Voice, speak
from spandex.data.texts import ACCENTS, sentence
from spandex.data.workers import parallel
from spandex.errors import SpandexError
from spandex.files import sha256

# espeak-ng variants that sound like a woman or child (speaking above 140 Hz), and like a man; loud ones that clip and
# robots are left out.
# fmt: off
HIGH_VOICES = [
    "Alicia", "Andrea", "Annie", "anika", "aunty", "belinda", "caleb", "f1", "f2", "f3", "f4", "f5", "grandma",
    "linda", "quincy", "shelby", "steph", "steph2", "whisperf", "zac",
]
LOW_VOICES = [
    "Alex", "Andy", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Lee", "Mario", "Michael", "Mike", "Nguyen", "Reed",
    "adam", "announcer", "benjamin", "boris", "croak", "david", "edward", "grandpa", "gustave", "ian", "iven3", "john",
    "kaukovalta", "klatt", "klatt4", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max", "michel",
    "miguel", "norbert", "pablo", "pedro", "rob", "robert", "sandro", "travis", "victor", "whisper",
]
# fmt: on

# How many parts of the voices speak in a split, and how many babble in its noise. No voice has two uses.
SPEECH_PARTS = {"train": 8, "validation": 2, "test": 3}
BABBLE_PARTS = {"train": 3, "validation": 2, "test": 2}

UTTERANCE_S = (7.0, 16.0)
NOISE_CLIP_S = 12.0
MINUTES_A_SPEAKER = 1.5
PACE = 0.86  # of the nominal words a minute: pauses, numbers and the last sentence's excess (measured)
SPEECH_PEAK = (0.25, 0.8)  # of full scale
NOISE_PEAK = (0.2, 0.9)


@dataclass(frozen=True)
class Speaker:
    """A voice in a room: ``seed`` draws the colour of both."""

    name: str
    text: str  # language of the texts
    voice: Voice
    seed: int


@dataclass(frozen=True)
class Recording:
    """One file to be made: an utterance of one speaker, a noise clip, or a babble of several speakers."""

    path: str  # relative to the manifest
    kind: str  # speech or noise
    split: str
    group: str  # speaker or kind of noise
    duration_s: float
    seed: int
    speakers: tuple[Speaker, ...] = ()


def build_synthetic(
    directory: str | Path,
    speech_minutes: Mapping[str, float],
    noise_minutes: Mapping[str, float],
    seed: int,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the corpus as FLAC files (16 kHz, 16 bit) and return the path of its ``manifest.csv``.

    ``speech_minutes`` and ``noise_minutes`` give the amount for each of the splits train, validation and test;
    speech comes out within some percent of it, since a text is chosen before it is spoken. No speaker, variant
    of a voice, or noise seed is shared between splits. The bytes depend on the minutes and ``seed``, not on
    ``workers``. ``progress(done, total)`` is called after each file.

    Raises:
        SpandexError: a split or an amount is impossible, or espeak-ng fails.
    """
    directory = Path(directory)
    recordings = plan(speech_minutes, noise_minutes, seed)
    (directory / "manifest.csv").unlink(missing_ok=True)
    entries = []
    with contextlib.closing(parallel(functools.partial(_render, directory), recordings, workers)) as finished:
        for entry in finished:
            entries.append(entry)
            if progress:
                progress(len(entries), len(recordings))
    _remove_others(directory, {entry.path for entry in entries})
    write_manifest(directory / "manifest.csv", entries)
    return directory / "manifest.csv"


def plan(speech_minutes: Mapping[str, float], noise_minutes: Mapping[str, float], seed: int) -> list[Recording]:
    """All recordings of a corpus, before anything is made."""
    recordings = []
    for split in speech_minutes | noise_minutes:
        if split not in SPEECH_PARTS:
            raise SpandexError(f"split {split!r}: the synthetic corpus has {', '.join(SPEECH_PARTS)}")
    for kind, minutes in (("speech", speech_minutes), ("noise", noise_minutes)):
        for split, amount in minutes.items():
            if not (math.isfinite(amount) and amount > 0):
                raise SpandexError(f"{kind} minutes of split {split!r}: {amount} is not an amount")
            recordings += (_plan_speech if kind == "speech" else _plan_noise)(split, amount, seed)
    return recordings


def _plan_speech(split: str, minutes: float, seed: int) -> list[Recording]:
    rng = _generator(seed, "speech", split)
    speakers = _speakers(rng, _voices(seed)["speech", split], count=max(4, round(minutes / MINUTES_A_SPEAKER)))
    recordings: list[Recording] = []
    remaining_s = minutes * 60
    while remaining_s > 0:
        speaker = speakers[len(recordings) % len(speakers)]
        path = f"speech/{split}/{speaker.name}_{len(recordings) // len(speakers):03d}.flac"
        duration_s = rng.uniform(*UTTERANCE_S)
        recordings.append(Recording(path, "speech", split, speaker.name, duration_s, _seed(rng), (speaker,)))
        remaining_s -= duration_s
    return recordings


def _plan_noise(split: str, minutes: float, seed: int) -> Iterator[Recording]:
    rng = _generator(seed, "noise", split)
    kinds = [*noise.KINDS, "babble"]
    for index in range(math.ceil(minutes * 60 / NOISE_CLIP_S)):
        kind = kinds[index % len(kinds)]
        crowd = _speakers(rng, _voices(seed)["babble", split], rng.integers(5, 9)) if kind == "babble" else ()
        path = f"noise/{split}/{kind}_{index // len(kinds):04d}.flac"
        yield Recording(path, "noise", split, kind, NOISE_CLIP_S, _seed(rng), tuple(crowd))


def _voices(seed: int) -> dict[tuple[str, str], list[list[str]]]:
    """High and low variants for each use, (speech or babble, split); every variant has one use."""
    uses = [("speech", split, parts) for split, parts in SPEECH_PARTS.items()]
    uses += [("babble", split, parts) for split, parts in BABBLE_PARTS.items()]
    bounds = np.cumsum([0] + [parts for *_, parts in uses])
    rng = _generator(seed, "voices", "")
    shuffled = [rng.permutation(HIGH_VOICES), rng.permutation(LOW_VOICES)]
    pools = {}
    for (use, split, _), start, stop in zip(uses, bounds[:-1], bounds[1:], strict=True):
        pools[use, split] = [
            list(voices[len(voices) * start // bounds[-1] : len(voices) * stop // bounds[-1]]) for voices in shuffled
        ]
    return pools


def _speakers(rng: np.random.Generator, voices: list[list[str]], count: int) -> list[Speaker]:
    """Speakers in alternation from the high and the low voices; half of them speak English."""
    speakers = []
    for index in range(count):
        pool = voices[index % len(voices)]
        variant = str(pool[index // len(voices) % len(pool)])
        text = "en" if rng.random() < 0.5 else str(rng.choice([language for language in ACCENTS if language != "en"]))
        language = str(rng.choice(ACCENTS[text]))
        voice = Voice(
            language,
            variant,
            rate=int(rng.integers(130, 211)),
            pitch=int(rng.integers(25, 76)),
            pitch_range=int(rng.integers(30, 86)),
        )
        speakers.append(Speaker(f"{index:03d}-{language}-{variant}", text, voice, _seed(rng)))
    return speakers


def _render(directory: Path, recording: Recording) -> Entry:
    """Make one file; its entry in the manifest."""
    rng = np.random.default_rng(recording.seed)
    samples = int(recording.duration_s * SAMPLE_RATE_HZ)
    if recording.kind == "speech":
        (speaker,) = recording.speakers
        audio = noise.scaled(utterance(rng, speaker, recording.duration_s), rng.uniform(*SPEECH_PEAK))
    elif recording.group == "babble":
        audio = noise.scaled(babble(rng, recording.speakers, samples), rng.uniform(*NOISE_PEAK))
    else:
        audio = noise.scaled(noise.KINDS[recording.group](rng, samples), rng.uniform(*NOISE_PEAK))
    path = directory / recording.path
    write_flac(path, audio)
    return Entry(
        path=recording.path,
        kind=recording.kind,
        split=recording.split,
        group=recording.group,
        sample_rate_hz=SAMPLE_RATE_HZ,
        duration_s=round(len(audio) / SAMPLE_RATE_HZ, 3),
        sha256=sha256(path),
    )


def utterance(rng: np.random.Generator, speaker: Speaker, duration_s: float) -> np.ndarray:
    """Sentences of about ``duration_s`` in all, as float32 (samples,) at 16 kHz."""
    sentences: list[str] = []
    while sum(len(text.split()) for text in sentences) < duration_s * PACE * speaker.voice.rate / 60:
        sentences.append(sentence(speaker.text, rng))
    speech = speak(" ".join(sentences), speaker.voice)
    return noise.convolve(speech, _colour(speaker.seed))


def babble(rng: np.random.Generator, speakers: tuple[Speaker, ...], samples: int) -> np.ndarray:
    """Several speakers at once, none of them close: float (samples,) at 16 kHz."""
    crowd = np.zeros(samples)
    for speaker in speakers:
        speech = np.resize(utterance(rng, speaker, samples / SAMPLE_RATE_HZ), samples)
        crowd += rng.uniform(0.4, 1.0) * np.roll(speech, rng.integers(samples))
    return crowd


@functools.lru_cache(maxsize=64)
def _colour(seed: int) -> np.ndarray:
    """Impulse response of a speaker's timbre and small room: a smooth gain of +-6 dB, and a faint tail.

    The tail decays by 60 dB in 0.08 to 0.3 s and lies 14 to 30 dB below the direct sound.
    """
    rng = np.random.default_rng(seed)
    frequency = np.linspace(0, 1, 65)  # of the Nyquist frequency
    gain_db = np.interp(np.sqrt(frequency), np.linspace(0, 1, 7), rng.uniform(-6, 6, 7))
    timbre = np.fft.fftshift(np.fft.irfft(10 ** (gain_db / 20))) * np.hanning(128)
    decay_s = rng.uniform(0.08, 0.3)
    time_s = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail *= 10 ** (rng.uniform(-30, -14) / 20) / np.linalg.norm(tail)
    room = np.concatenate([[1.0], tail])
    return np.convolve(timbre, room).astype(np.float32)


def _generator(seed: int, use: str, split: str) -> np.random.Generator:
    return np.random.default_rng([seed, *f"{use}/{split}".encode()])


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _remove_others(directory: Path, paths: set[str]) -> None:
    """Remove files of an earlier corpus, so that the folder holds what its manifest lists."""
    for file in directory.glob("*/*/*.flac"):
        relative = file.relative_to(directory).as_posix()
        if relative.startswith(("speech/", "noise/")) and relative not in paths:
            file.unlink()
