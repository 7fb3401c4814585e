"""Noisy speech after the synthesiser of the Intel Neuromorphic DNS Challenge.

The recipe is that of ``noisyspeech_synthesizer.py`` (https://github.com/IntelLabs/IntelNeuromorphicDNSChallenge)
and of the ``audiolib.py`` that it runs (https://github.com/microsoft/DNS-Challenge at 5582dcf), with two differences.
Clip N depends on the seed and N alone, where the challenge walks one shuffled list from clip to clip. And the SNR is
the one asked for: the challenge scales the noise by the levels from before its normalisation and so misses it.

Levels are summed in float64, whatever the samples: sums in float32 round differently from one NumPy to the next.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from spandex.data.audio import (
    AudioError,
    from_int16,
    read_audio,
    to_int16,
    write_wav,
)
from spandex.data.corpus import Entry, read_manifest
from spandex.data.listing import Listing
from spandex.data.shards import FOLDER as SHARDS
from spandex.data.shards import Shard
from spandex.data.workers import parallel
from spandex.errors import SpandexError
from spandex.files import sha256, write_json, write_text
from spandex.files.text import read_json

LIBRARIES = ("numpy", "scipy", "soundfile", "soxr")  # that samples pass through
NAME_LENGTH = 100  # bytes of a clip's name for its speech files, and for its noise files
MAX_DRAWS = 100

LevelWindows = Literal["all", "active"]

# Windows and thresholds of audiolib.py: active_rms and activitydetector.
_LEVEL_WINDOW_S = 0.1
_ACTIVE_NOISE_DB = -50.0  # 20 log10 of the mean square, at a peak of 1
_ACTIVITY_WINDOW_S = 0.05
_ACTIVITY_LEVEL_DBFS = -25.0
_ACTIVITY_LOGISTIC = (-1.0, 0.2)
_ACTIVITY_THRESHOLD = 0.13
_ATTACK, _RELEASE = 0.8, 0.05
_EPS = np.finfo(float).eps

_MIN_SPEECH_DB = -50.0  # speech where the noise is active, below its own peak; less is a pause
_CACHE_BYTES = 256 * 2**20  # decoded sources held by each worker


@dataclass(frozen=True)
class SynthesisSettings:
    """How clips are made; the defaults are the challenge's."""

    sample_rate_hz: int = 16_000
    clip_s: float = 30.0
    silence_s: float = 0.2  # between joined files
    snr_db: tuple[int, int] = (-5, 20)  # integers drawn from [low, high)
    level_dbfs: tuple[int, int] = (-35, -15)  # of the mixture; integers drawn from [low, high)
    speech_level_dbfs: float = -25.0
    level_windows: LevelWindows = "all"  # that the levels of speech and noise are over
    peak: float = 0.99
    min_activity: float = 0.6  # share of the clip
    min_source_s: float = 0.5

    @property
    def samples(self) -> int:
        """Length of a clip."""
        return round(self.clip_s * self.sample_rate_hz)


class Mixture(NamedTuple):
    """Float64 arrays (samples,), and the level that the mixture reached in dBFS."""

    noisy: np.ndarray
    clean: np.ndarray
    noise: np.ndarray
    level_dbfs: int


class SkippedFile(NamedTuple):
    """A source file that was drawn and could not be used."""

    path: str
    reason: str


@dataclass(frozen=True)
class MixedClip:
    """One clip: float32 arrays (samples,) that are exact in 16-bit PCM, with noisy = clean + noise."""

    noisy: np.ndarray
    clean: np.ndarray
    noise: np.ndarray
    index: int
    snr_db: int
    level_dbfs: int
    sources: str
    skipped: tuple[SkippedFile, ...]

    @property
    def files(self) -> dict[str, np.ndarray]:
        """The clip's files, relative to its folder, under the challenge's names; noisy comes last."""
        name = f"{self.sources}_snr{self.snr_db}_tl{self.level_dbfs}_fileid_{self.index}.wav"
        return {
            f"clean/clean_fileid_{self.index}.wav": self.clean,
            f"noise/noise_fileid_{self.index}.wav": self.noise,
            f"noisy/{name}": self.noisy,
        }


class UnmixableError(SpandexError):
    """Speech and noise that have no moment in common."""


def levels(
    clean: np.ndarray, noise: np.ndarray, sample_rate_hz: int, windows: LevelWindows = "all"
) -> tuple[float, float]:
    """RMS of speech and of noise, both (samples,), by which they are mixed; a silent noise gives (0, 0).

    ``all`` is the RMS of the whole clip, as the challenge has it: ``active_rms`` of its audiolib.py means to leave
    out windows without noise, and compares an RMS, which is never negative, with -50.

    ``active`` takes the windows of 0.1 s in which the noise is active: 20 log10(mean square) > -50 dB with the noise at
    a peak of 1, as in newer versions of that file; where an impulse leaves no such window, the loudest one counts.
    """
    peak = float(np.abs(noise).max())
    if peak == 0:
        return 0.0, 0.0
    if windows == "all":
        return _rms(clean), _rms(noise)
    window = round(_LEVEL_WINDOW_S * sample_rate_hz)
    starts = np.arange(0, len(noise), window)
    lengths = np.diff(np.append(starts, len(noise)))
    noise_energy = np.add.reduceat(np.square(noise, dtype=np.float64), starts)
    clean_energy = np.add.reduceat(np.square(clean, dtype=np.float64), starts)
    power = noise_energy / lengths / peak**2
    active = 20 * np.log10(power + _EPS) > _ACTIVE_NOISE_DB
    if not active.any():
        active[np.argmax(power)] = True
    total = lengths[active].sum()
    return float(np.sqrt(clean_energy[active].sum() / total)), float(np.sqrt(noise_energy[active].sum() / total))


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def activity(audio: np.ndarray, sample_rate_hz: int) -> float:
    """Share of windows of 0.05 s with speech, in [0, 1]. Source: ``activitydetector`` in audiolib.py.

    The energy of each window at a level of -25 dBFS is turned into a probability by a logistic function, which
    is smoothed with a fast attack and a slow release and compared with a threshold.
    """
    audio = audio.astype(np.float64)
    rms = _rms(audio)
    if rms == 0:
        return 0.0
    starts = np.arange(0, len(audio), round(_ACTIVITY_WINDOW_S * sample_rate_hz))
    energy = np.add.reduceat(audio**2, starts) * (10 ** (_ACTIVITY_LEVEL_DBFS / 20) / rms) ** 2
    offset, slope = _ACTIVITY_LOGISTIC
    probability = 1 / (1 + np.exp(-(offset + slope * 20 * np.log10(energy + _EPS))))
    before = np.concatenate([[0.0], probability[:-1]])
    rate = np.where(probability > before, _ATTACK, _RELEASE)
    smoothed = rate * probability + (1 - rate) * before
    return float(np.mean(smoothed > _ACTIVITY_THRESHOLD))


def mix(clean: np.ndarray, noise: np.ndarray, snr_db: float, level_dbfs: float, settings: SynthesisSettings) -> Mixture:
    """Mix speech and noise, both (samples,), at an SNR on their ``levels`` and a level of the whole.

        clean' = clean * 10**(speech_level / 20) / level(clean)
        noise' = noise * 10**((speech_level - snr) / 20) / level(noise)

    and clean', noise' and their sum are scaled by one factor so that the sum has the RMS ``level_dbfs``, or
    less where one of the three would exceed ``settings.peak``.

    Raises:
        UnmixableError: there is no noise, or no speech where the noise is active.
    """
    clean_rms, noise_rms = levels(clean, noise, settings.sample_rate_hz, settings.level_windows)
    if noise_rms == 0:
        raise UnmixableError("the noise is silent")
    if clean_rms <= 10 ** (_MIN_SPEECH_DB / 20) * float(np.abs(clean).max()):
        raise UnmixableError("the speech pauses wherever the noise is active")
    clean = clean * (10 ** (settings.speech_level_dbfs / 20) / clean_rms)
    noise = noise * (10 ** ((settings.speech_level_dbfs - snr_db) / 20) / noise_rms)
    noisy = clean + noise
    rms = _rms(noisy)
    highest = max(float(np.abs(part).max()) for part in (noisy, clean, noise))
    # rounding to 16 bits moves a sum by up to one step of 2**-15
    scale = min(10 ** (level_dbfs / 20) / rms, (settings.peak - 2**-15) / highest)
    return Mixture(noisy * scale, clean * scale, noise * scale, round(20 * np.log10(scale * rms)))


class Sources:
    """The speech and noise files of one split, decoded when drawn and kept while there is room.

    Raises:
        SpandexError: the manifest lacks speech or noise for the split; when reading, a file is not what it lists.
    """

    def __init__(self, manifest: str | Path, split: str, settings: SynthesisSettings) -> None:
        entries = read_manifest(manifest)
        self.split = split
        self.settings = settings
        self.speech = [entry for entry in entries if (entry.split, entry.kind) == (split, "speech")]
        self.noise = [entry for entry in entries if (entry.split, entry.kind) == (split, "noise")]
        for kind, found in (("speech", self.speech), ("noise", self.noise)):
            if not found:
                splits = ", ".join(sorted({entry.split for entry in entries if entry.kind == kind})) or "none"
                raise SpandexError(f"{manifest}: no {kind} for split {split!r} (splits with {kind}: {splits})")
        self._manifest = Path(manifest)
        self._cache: OrderedDict[str, np.ndarray | AudioError] = OrderedDict()
        self._cached_bytes = 0

    def vary(self, part: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
        """What is mixed in of a file: what it holds."""
        return part

    def digest(self) -> str:
        """SHA-256 over the paths and contents of all files."""
        lines = "".join(f"{entry.kind} {entry.path} {entry.sha256}\n" for entry in self.speech + self.noise)
        return hashlib.sha256(lines.encode()).hexdigest()

    def read(self, entry: Entry) -> np.ndarray:
        """Float32 (samples,) at the settings' rate.

        Raises:
            AudioError: the file cannot be used.
            SpandexError: it is not what the manifest lists.
        """
        audio = self._cache.pop(entry.path, None)
        if audio is None:
            audio = self._decode(entry)
            self._cached_bytes += getattr(audio, "nbytes", 0)
        self._cache[entry.path] = audio
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= getattr(oldest, "nbytes", 0)
        if isinstance(audio, AudioError):
            raise audio
        return audio

    def _decode(self, entry: Entry) -> np.ndarray | AudioError:
        path = self._manifest.parent / entry.path
        # files that cannot be used are passed over: one that changed would change clips without a word
        if not path.is_file() or sha256(path) != entry.sha256:
            is_there = "not what it was" if path.is_file() else "missing"
            raise SpandexError(f"{path}: {is_there} when {self._manifest} listed it; make the corpus anew")
        try:
            return read_audio(path, self.settings.sample_rate_hz, self.settings.min_source_s)
        except AudioError as error:
            return error


def make_clip(sources: Sources, index: int, seed: int) -> MixedClip:
    """Clip ``index``; it depends on the sources, their settings, ``seed`` and ``index`` alone.

    Raises:
        SpandexError: no file is usable, one is not what the manifest lists, or no acceptable clip was found in 100
            draws.
    """
    settings = sources.settings
    rng = np.random.default_rng([seed, index, *sources.split.encode()])
    skipped: dict[SkippedFile, None] = {}
    reason = ""
    for _ in range(MAX_DRAWS):
        clean, clean_names = _join(rng, sources, sources.speech, skipped)
        active = activity(clean, settings.sample_rate_hz)
        if active < settings.min_activity:
            reason = f"speech active {active:.0%} of the clip, {settings.min_activity:.0%} asked for"
            continue
        noise, noise_names = _join(rng, sources, sources.noise, skipped)
        snr_db = int(rng.integers(*settings.snr_db))
        level_dbfs = int(rng.integers(*settings.level_dbfs))
        try:
            mixture = mix(clean, noise, snr_db, level_dbfs, settings)
        except UnmixableError as error:
            reason = str(error)
            continue
        # sums of 16-bit samples are exact, so noisy = clean + noise holds to the last bit
        clean_pcm, noise_pcm = to_int16(mixture.clean), to_int16(mixture.noise)
        return MixedClip(
            noisy=from_int16(clean_pcm + noise_pcm),
            clean=from_int16(clean_pcm),
            noise=from_int16(noise_pcm),
            index=index,
            snr_db=snr_db,
            level_dbfs=mixture.level_dbfs,
            sources=_clip_name(clean_names, noise_names),
            skipped=tuple(skipped),
        )
    raise SpandexError(f"clip {index} of split {sources.split!r}: {MAX_DRAWS} draws gave none to use; last: {reason}")


def _join(
    rng: np.random.Generator, sources: Sources, entries: Sequence[Entry], skipped: dict[SkippedFile, None]
) -> tuple[np.ndarray, list[str]]:
    """Files in random order with silence between them until the clip is full, and their names.

    What is longer than the rest of the clip is cut at random. A file that cannot be used, or whose part is
    clipped, gives its place to the next.
    """
    settings = sources.settings
    silence = round(settings.silence_s * settings.sample_rate_hz)
    audio = np.zeros(settings.samples, np.float32)
    names: list[str] = []
    position = 0
    while True:
        before = len(names)
        for entry in (entries[i] for i in rng.permutation(len(entries))):
            try:
                part = sources.vary(sources.read(entry), entry.kind, rng)
            except AudioError as error:
                skipped[SkippedFile(entry.path, error.reason)] = None
                continue
            remaining = len(audio) - position
            if len(part) > remaining:
                start = rng.integers(len(part) - remaining + 1)
                part = part[start : start + remaining]
            if float(np.abs(part).max()) > settings.peak:
                skipped[SkippedFile(entry.path, f"clipped (a sample above {settings.peak:g})")] = None
                continue
            audio[position : position + len(part)] = part
            names.append(Path(entry.path).stem)
            position += len(part) + silence
            if position >= len(audio):
                return audio, names
        if len(names) == before:
            raise SpandexError(
                f"none of the {len(entries)} {entries[0].kind} files of split "
                f"{sources.split!r} is usable; {_examples(skipped)}"
            )


def _examples(skipped: dict[SkippedFile, None]) -> str:
    return "; ".join(f"{file.path}: {file.reason}" for file in list(skipped)[:3])


def _clip_name(clean: list[str], noise: list[str]) -> str:
    """Names of the sources, such that the challenge's loader finds its numbers only where they belong.

    It takes the first number after ``snr``, ``tl`` or ``fileid_`` in the whole name.
    """
    parts = ("-".join(names).encode()[:NAME_LENGTH].decode(errors="ignore") for names in (clean, noise))
    return re.sub(r"(snr|tl|fileid_)(?=-?\d)", r"\1_", "_".join(parts))


def synthesize(
    manifest: str | Path,
    split: str,
    directory: str | Path,
    clips: int,
    settings: SynthesisSettings,
    seed: int,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    shard: Shard | None = None,
) -> list[SkippedFile]:
    """Write clips 0 to ``clips`` - 1 into ``noisy/``, ``clean/`` and ``noise/`` of ``directory``.

    Whole clips of an earlier, interrupted call, or of shards, are kept; all others are removed.
    ``draw.json`` says which draw the folder holds. ``progress(done, total)`` is called after each clip. Returns the
    source files that were drawn and could not be used, sorted; ``skipped.jsonl`` lists them clip by clip.

    With ``shard``, that share of the clips alone is made, and nothing returned. Shards may run at the same time, on
    machines with a common file system. Each writes into a folder of its own below ``directory``, from where a call
    without a shard takes the clips. What is there already, is kept.

    Raises:
        SpandexError: the sources do not suffice (see ``make_clip``) or are not what the manifest lists, ``clips`` is
            not positive, or the folder holds clips that were not made here.
    """
    if clips < 1:
        raise SpandexError(f"{clips} clips of split {split!r}: ask for at least one")
    directory = Path(directory)
    sources = Sources(manifest, split, settings)
    folder, indices = directory, range(clips)
    if shard is not None:
        there = _whole(_found(directory), sources, Listing(directory)) if _holds(directory, sources, seed) else set()
        folder = directory / SHARDS / str(shard)
        indices = [index for index in shard.share(indices) if index not in there]
    done = _prepare(folder, sources, indices, seed)
    if shard is None and _gather(directory, sources, clips, seed):
        done = _whole(_found(directory), sources, Listing(directory))
    missing = [index for index in indices if index not in done]
    try:
        with contextlib.closing(parallel(_Writer(sources, folder, seed), missing, workers)) as finished:
            for count, _ in enumerate(finished, len(indices) - len(missing) + 1):
                if progress:
                    progress(count, len(indices))
    finally:
        for file in _clip_files(folder, _TORN):
            file.unlink()
    return _settle_journal(folder / "skipped.jsonl", clips) if shard is None else []


@dataclass(frozen=True)
class _Writer:
    sources: Sources
    directory: Path
    seed: int

    def __call__(self, index: int) -> int:
        clip = make_clip(self.sources, index, self.seed)
        # before the clip: one that is kept later has its skipped files listed
        with (self.directory / "skipped.jsonl").open("a", encoding="utf-8") as journal:
            journal.write("".join(json.dumps([index, *file]) + "\n" for file in clip.skipped))
        for name, audio in clip.files.items():
            write_wav(self.directory / name, audio, self.sources.settings.sample_rate_hz)
        return index


_CLIP = re.compile(r"(?:[^.].*_snr-?\d+_tl-?\d+|clean|noise)_fileid_(\d+)\.wav")
_TORN = re.compile(r"\..*_fileid_\d+\.wav\.\d+\.tmp")
_RECORD = "draw.json"


def _prepare(directory: Path, sources: Sources, indices: Collection[int], seed: int) -> set[int]:
    """Leave only whole clips of this draw in the folder, of those numbers; return which there are."""
    found = _found(directory)
    if found and not (directory / _RECORD).is_file():
        raise SpandexError(
            f"{directory}: holds clips but no {_RECORD}, so they were not made here; choose another folder"
        )
    same = _holds(directory, sources, seed)
    done = _whole(found, sources, Listing(directory)).intersection(indices) if same else set()
    for index in found.keys() - done:
        for file in found[index]:
            file.unlink()
    for file in _clip_files(directory, _TORN):
        file.unlink()
    if not same:
        (directory / "skipped.jsonl").unlink(missing_ok=True)
        write_json(directory / _RECORD, _draw(sources, seed))
    return done


def _gather(directory: Path, sources: Sources, clips: int, seed: int) -> bool:
    """Move the clips that shards have made of this draw into the folder, the journals first; whether there were any."""
    shards = sorted((directory / SHARDS).glob("*-of-*/"))
    for shard in shards:
        if _holds(shard, sources, seed):
            if (shard / "skipped.jsonl").is_file():
                with (directory / "skipped.jsonl").open("a", encoding="utf-8") as journal:
                    journal.write((shard / "skipped.jsonl").read_text(encoding="utf-8"))
            for file in [file for index, files in _found(shard).items() if index < clips for file in files]:
                (directory / file.parent.name).mkdir(exist_ok=True)
                file.replace(directory / file.parent.name / file.name)
        shutil.rmtree(shard)
    return bool(shards)


def _draw(sources: Sources, seed: int) -> dict[str, Any]:
    """What the samples of a clip depend on, beside its number."""
    return {
        "code": _code(),
        "seed": seed,
        "split": sources.split,
        "sources": sources.digest(),
        "settings": json.loads(json.dumps(asdict(sources.settings))),
    }


@cache
def _code() -> str:
    """Digest of the package's modules, and versions of the libraries, that make samples."""
    modules = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    versions = [f"{library} {version(library)}" for library in LIBRARIES]
    return " ".join([hashlib.sha256(modules).hexdigest()[:16], *versions])


def _holds(directory: Path, sources: Sources, seed: int) -> bool:
    """Whether the clips in a folder are of this draw."""
    return (directory / _RECORD).is_file() and read_json(directory / _RECORD) == _draw(sources, seed)


def _found(directory: Path) -> dict[int, list[Path]]:
    """The files of every clip in a folder, by its number."""
    found: dict[int, list[Path]] = {}
    for file in _clip_files(directory, _CLIP):
        found.setdefault(int(_CLIP.fullmatch(file.name)[1]), []).append(file)
    return found


def _whole(found: dict[int, list[Path]], sources: Sources, listing: Listing) -> set[int]:
    """Numbers of the clips of which every file is there in its length, and what the list says, if there is one."""
    size = 44 + 2 * sources.settings.samples  # header and samples
    return {
        index
        for index, files in found.items()
        if sorted(file.parent.name for file in files) == ["clean", "noise", "noisy"]
        and all(file.stat().st_size == size and listing.holds(file) for file in files)
    }


def _clip_files(directory: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    for folder in ("clean", "noise", "noisy"):
        if (directory / folder).is_dir():
            yield from [file for file in (directory / folder).iterdir() if pattern.fullmatch(file.name)]


def _settle_journal(path: Path, clips: int) -> list[SkippedFile]:
    """Sort the journal, whichever worker wrote it when, and sum it up."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    rows = {row for row in map(_journal_row, text.splitlines()) if row and row[0] < clips}
    write_text(path, "".join(json.dumps(row) + "\n" for row in sorted(rows)))
    return sorted({SkippedFile(file, reason) for _, file, reason in rows})


def _journal_row(line: str) -> tuple[int, str, str] | None:
    """Clip, file and reason; None for a line torn by a kill, whose clip was made again."""
    try:
        index, file, reason = json.loads(line)
    except (TypeError, ValueError):
        return None
    return (index, file, reason) if (type(index), type(file), type(reason)) == (int, str, str) else None
