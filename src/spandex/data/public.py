"""Corpora of public speech and noise: fetched, unpacked, and listed in a manifest with their splits."""

import csv
import hashlib
import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from tqdm import tqdm

from spandex.data.audio import AudioError, open_audio
from spandex.data.catalog import Source, catalog, dns4_archives, dns4_names, ndns_test_set_1, of_mirror, source
from spandex.data.corpus import KINDS, SPLITS, Entry, write_manifest
from spandex.data.download import RefusedError, Retry, fetch, is_address
from spandex.data.folders import is_hidden
from spandex.data.unpack import read_sha1_list, unpack
from spandex.errors import SpandexError
from spandex.files import atomic_path, sha256
from spandex.files.text import numbered_rows, read_csv

logger = logging.getLogger(__name__)

MIRROR_NOISE_SPLITS = {"1": "train", "2": "train", "3": "validation", "4": "test"}  # folds of ESC-10
ESC50_SPLITS = {"1": "train", "2": "train", "3": "train", "4": "validation", "5": "test"}  # folds of ESC-50
ESC50_CLIPS = 2000
LIBRISPEECH_VALIDATION = 0.2  # of the speakers of dev-clean: 8 of 40
DNS4_VALIDATION = 0.1  # of speakers and of noise recordings
TEST_SET = "test_set_1"  # folder of the challenge's test set


@dataclass(frozen=True)
class Corpus:
    """An indexed corpus.

    Attributes:
        entries: the usable files.
        rejected: path and reason of every file that cannot be read or is empty.
    """

    entries: list[Entry]
    rejected: list[tuple[str, str]]


@dataclass(frozen=True)
class _Recording:
    path: Path
    kind: str
    split: str
    group: str
    sha256: str | None = None


def prepare_corpus(
    name: str,
    directory: str | Path,
    *,
    mirror: str | Path | None = None,
    workers: int = 4,
    archives: Sequence[str] = ("*",),
    skip_missing: bool = False,
    retry: Retry | None = None,
) -> Path:
    """Fetch, unpack and index a public corpus; what is already fetched or unpacked is not so again.

    Args:
        name: ``mini`` (LibriSpeech and ESC-50, or what ``corpus.csv`` of a mirror lists) or ``dns4`` (DNS-4 archives
            and the challenge's test set 1, which ``find_test_set`` finds).
        directory: gets everything, among it ``manifest.csv`` and ``rejected.csv`` (files that cannot be read).
        mirror: folder or address that is tried first.
        workers: downloads, and files indexed, at a time.
        archives: DNS-4 archives as ``dns4_archives`` selects them.
        skip_missing: go on without files that ``corpus.csv`` of a mirror lists and the mirror lacks.
        retry: patience with failing servers.

    Returns:
        the path of the manifest.

    Raises:
        SpandexError: something could not be had, is not what was published, or a split lacks speech or noise.
    """
    directory = Path(directory)
    if name == "mini":
        corpus = _prepare_mini(directory, mirror, workers, skip_missing, retry)
        splits = SPLITS
    elif name == "dns4":
        corpus = _prepare_dns4(directory, mirror, workers, retry, archives)
        splits = ("train", "validation")
    else:
        raise SpandexError(f"{name!r} is no public corpus; there are mini and dns4")
    for path, reason in corpus.rejected:
        logger.warning("%s: %s; left out", path, reason)
    present = {(entry.kind, entry.split) for entry in corpus.entries}
    lacking = [
        f"{kind} for {split}" for split in splits for kind in ("speech", "noise") if (kind, split) not in present
    ]
    if lacking:
        raise SpandexError(f"{directory}: the corpus has no {', no '.join(lacking)}; take more archives")
    with atomic_path(directory / "rejected.csv") as temporary, temporary.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "reason"), *sorted(corpus.rejected)])
    return write_manifest(directory / "manifest.csv", corpus.entries)


def _prepare_mini(
    directory: Path, mirror: str | Path | None, workers: int, skip_missing: bool, retry: Retry | None
) -> Corpus:
    if mirror is not None:
        try:
            return from_mirror_corpus(mirror, directory, workers=workers, skip_missing=skip_missing, retry=retry)
        except RefusedError:
            logger.info("%s lists no corpus.csv; fetching LibriSpeech and ESC-50", mirror)
    names = ("librispeech-dev-clean", "librispeech-test-clean", "esc50")
    options = {"mirror": mirror, "workers": workers, "retry": retry, "in_place": True}
    for path in fetch([source(name) for name in names], directory / "downloads", **options).values():
        unpack(path, directory)
    return from_librispeech_esc50(directory, workers=workers)


def _prepare_dns4(
    directory: Path, mirror: str | Path | None, workers: int, retry: Retry | None, select: Sequence[str]
) -> Corpus:
    chosen = dns4_archives(select)
    for kind in ("clean", "noise"):
        if not any(archive.name.startswith(f"{kind}_fullband/") for archive in chosen):
            raise SpandexError(f"the archives {', '.join(select)} hold no {kind}; add 'speech' or 'noise', say")
    _warn_of_space(directory, len(chosen))
    parts = ndns_test_set_1()
    options = {"mirror": mirror, "workers": workers, "retry": retry, "in_place": True}
    paths = fetch([source("dns4-sha1"), *parts, *chosen], directory / "downloads", **options)
    sums = read_sha1_list(paths["dns4-sha1"])
    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(lambda archive: unpack(paths[archive.name], directory, sha1=sums), chosen))
    unpack([paths[part.name] for part in parts], directory / TEST_SET)
    find_test_set(directory)
    return from_dns4(directory, workers=workers)


def _warn_of_space(directory: Path, archives: int) -> None:
    """Archives differ in size and none is published, so this is an estimate and no error."""
    entry = catalog().dns4
    share = archives / len(dns4_names())
    directory.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(directory).free / 1e9
    packed_gb, unpacked_gb = share * entry.packed_gb, share * entry.unpacked_gb
    logger.log(
        logging.WARNING if packed_gb + unpacked_gb > free_gb else logging.INFO,
        f"{archives} DNS-4 archives take about {packed_gb:.0f} GB and {unpacked_gb:.0f} GB unpacked; "
        f"{directory} has {free_gb:.0f} GB free",
    )


def from_mirror_corpus(
    mirror: str | Path,
    directory: str | Path,
    *,
    workers: int = 4,
    skip_missing: bool = False,
    retry: Retry | None = None,
) -> Corpus:
    """The corpus that ``corpus.csv`` of a mirror lists; every file is held to its SHA-256 there.

    Speech has its split in the list (others than the three splits are left out); noise of the folds 1 and 2 is for
    training, 3 for validation, 4 for testing.

    Args:
        mirror: a folder, whose files are used where they are, or an address, from which they are downloaded; the list
            is so at every call.
        directory: the manifest's folder; downloads go to ``directory/downloads``.
        workers: files at a time.
        skip_missing: reject listed files that the mirror lacks, and go on.
        retry: patience with a failing server.

    Raises:
        RefusedError: the mirror has no ``corpus.csv``.
        SpandexError: the list is not of this form, or a file is missing or not the listed one.
    """
    downloads = Path(directory) / "downloads"
    if is_address(mirror):
        rows = _read_mirror_list(_fetch_mirror_list(str(mirror), downloads, retry))
        files = [_mirror_file(str(mirror), row) for row in rows]
        paths = fetch(files, downloads, workers=workers, retry=retry, missing_ok=True)
    else:
        rows = _read_mirror_list(Path(mirror) / "corpus.csv")
        paths = {row["path"]: path for row in rows if (path := Path(mirror) / row["path"]).is_file()}
    missing = [(row["path"], "no such file") for row in rows if row["path"] not in paths]
    recordings = [
        _Recording(paths[row["path"]], row["kind"], row["split"], _mirror_group(row), row["sha256"])
        for row in rows
        if row["path"] in paths
    ]
    if missing and not skip_missing:
        raise SpandexError(f"{mirror}: {_listed(missing)}; data.skip_missing=true goes on without what is missing")
    corpus = _index(recordings, Path(directory), workers)
    if corpus.rejected:
        raise SpandexError(f"{mirror}: {_listed(corpus.rejected)}")
    return Corpus(corpus.entries, missing)


def _listed(rejected: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{path}: {reason}" for path, reason in rejected[:5]) + (
        f"; and {len(rejected) - 5} more" if len(rejected) > 5 else ""
    )


def _fetch_mirror_list(mirror: str, downloads: Path, retry: Retry | None) -> Path:
    note = "nothing is published of a mirror's own list"
    listing = of_mirror(mirror, "corpus.csv", role="list of a mirror's speech and noise", note=note)
    (downloads / listing.file).unlink(missing_ok=True)  # of another mirror, or of another day
    return fetch([listing], downloads, retry=retry)[listing.name]


def _read_mirror_list(path: Path) -> list[dict[str, str]]:
    """The rows of a corpus.csv that belong to a split, with that split."""
    if not path.is_file():
        raise RefusedError(f"{path}: no such file")
    rows, seen = [], set()
    for line, row in numbered_rows(path, ("path", "kind", "group", "split_or_fold", "sha256")):
        name, kind, place = row["path"], row["kind"], row["split_or_fold"]
        if kind not in KINDS:
            raise SpandexError(f"{path}, line {line}: kind {kind!r} is not one of {', '.join(KINDS)}")
        row["split"] = MIRROR_NOISE_SPLITS.get(place, "") if kind == "noise" else place
        if row["split"] not in SPLITS:
            continue
        if name in seen:
            raise SpandexError(f"{path}, line {line}: {name} stands twice")
        if kind == "noise" and "-" not in PurePosixPath(name).name:
            raise SpandexError(f"{path}, line {line}: {name}: the name of noise begins with FOLD-RECORDING")
        seen.add(name)
        rows.append(row)
    return rows


def _mirror_file(mirror: str, row: dict[str, str]) -> Source:
    try:
        about = {"checksums": (f"sha256:{row['sha256']}",), "note": "the list has no sizes"}
        return of_mirror(mirror, row["path"], role=row["kind"], **about)
    except ValidationError as error:
        raise SpandexError(f"{mirror}/corpus.csv: {row['path']}: {error.errors()[0]['msg']}") from None


def _mirror_group(row: dict[str, str]) -> str:
    """Speaker, or recording that a noise clip is cut from; its name is FOLD-RECORDING-TAKE, in ESC-50 with -CLASS."""
    return row["group"] if row["kind"] == "speech" else PurePosixPath(row["path"]).name.split("-")[1]


def from_librispeech_esc50(directory: str | Path, *, workers: int = 4) -> Corpus:
    """LibriSpeech dev-clean and test-clean with ESC-50, unpacked anywhere below a folder.

    Of the speakers of dev-clean a fifth (the first by the SHA-256 of their number) is for validation, the others for
    training; those of test-clean are for testing. Noise of the folds 1 to 3 is for training, 4 for validation, 5 for
    testing; all clips of one Freesound recording go where its first fold goes.

    Raises:
        SpandexError: a part is missing, or ESC-50 is not the 2,000 files that its meta/esc50.csv lists.
    """
    directory = Path(directory)
    recordings = [*_librispeech(directory), *_esc50(directory)]
    return _index(recordings, directory, workers)


def _librispeech(directory: Path) -> Iterable[_Recording]:
    for part in ("dev-clean", "test-clean"):
        folder = _find(directory, f"**/LibriSpeech/{part}")
        speakers = sorted((path.name for path in folder.iterdir() if path.is_dir()), key=_hash)
        held_out = set(speakers[: round(LIBRISPEECH_VALIDATION * len(speakers))])
        for path in sorted(folder.glob("*/*/*.flac")):
            speaker = path.parent.parent.name
            split = "test" if part == "test-clean" else "validation" if speaker in held_out else "train"
            yield _Recording(path, "speech", split, speaker)


def _esc50(directory: Path) -> Iterable[_Recording]:
    table = _find(directory, "**/meta/esc50.csv")
    rows = sorted(read_csv(table, ("filename", "fold", "src_file")), key=lambda row: row["filename"])
    audio = table.parent.parent / "audio"
    listed, found = {row["filename"] for row in rows}, {path.name for path in audio.glob("*.wav")}
    if len(listed) != ESC50_CLIPS or listed != found:
        differing = sorted(listed ^ found)
        raise SpandexError(f"{audio}: {len(found)} clips, {table} lists {len(listed)}; differing: {differing[:5]}")
    folds: dict[str, str] = {}
    for row in rows:
        folds[row["src_file"]] = min(row["fold"], folds.get(row["src_file"], row["fold"]))
    for row in rows:
        split = ESC50_SPLITS[folds[row["src_file"]]]
        yield _Recording(audio / row["filename"], "noise", split, row["src_file"])


def from_dns4(directory: str | Path, *, workers: int = 4) -> Corpus:
    """Speech and noise of unpacked DNS-4 archives, whatever part of them is there.

    One tenth of the speakers, and of the noise recordings, is for validation, the others are for training: by the
    SHA-256 of their name, so that a file has the same split whatever else is there. Files whose names tell no
    speaker go by their folder. Testing is on the challenge's test set 1, which is mixed already (``find_test_set``).

    Raises:
        SpandexError: there is neither clean_fullband nor noise_fullband.
    """
    directory = Path(directory)
    recordings = []
    for kind, folder in (("speech", "clean_fullband"), ("noise", "noise_fullband")):
        root = _find(directory, f"**/datasets_fullband/{folder}")
        name_group = _dns4_speaker if kind == "speech" else _dns4_noise
        for path in sorted(root.rglob("*.wav")):
            group = name_group(path.relative_to(root))
            held_out = int(_hash(group)[:8], 16) < DNS4_VALIDATION * 2**32
            recordings.append(_Recording(path, kind, "validation" if held_out else "train", group))
    return _index(recordings, directory, workers)


def _dns4_speaker(path: Path) -> str:
    """Speaker as far as the name tells: LibriVox reader, CREMA-D actor, M-AILABS or VCTK folder."""
    reader = re.search(r"reader_(\d+)", path.name)
    if reader:
        return f"reader_{reader[1]}"
    if "crema_d" in path.parts:
        return f"crema_d/{path.name.split('_')[0]}"
    for sex in ("female", "male", "mix"):
        if sex in path.parts[:-2]:  # M-AILABS: .../female/SPEAKER/BOOK/wavs/x.wav
            return "/".join(path.parts[: path.parts.index(sex) + 2])
    return str(path.with_suffix("") if len(path.parts) <= 2 else path.parent)


def _dns4_noise(path: Path) -> str:
    """Recording that a noise clip is cut from: Freesound names end in recording and cut, AudioSet has one cut each."""
    freesound = re.search(r"Freesound_validated_(\d+)", path.name)
    return f"freesound_{freesound[1]}" if freesound else path.stem


def find_test_set(directory: str | Path) -> Path:
    """The folder of the challenge's unpacked test set 1, with noisy/, clean/ and noise/.

    Raises:
        SpandexError: it is not there.
    """
    return _find(Path(directory) / TEST_SET, "**/noisy").parent


def _find(directory: Path, pattern: str) -> Path:
    found = sorted(path for path in directory.glob(pattern) if not is_hidden(path.relative_to(directory)))
    if not found:
        raise SpandexError(f"{directory}: no {pattern.removeprefix('**/')} below it")
    return found[0]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _index(recordings: Iterable[_Recording], root: Path, workers: int) -> Corpus:
    """Read the header and digest of every file; paths inside ``root`` become relative to it, others absolute."""
    root, recordings = root.resolve(), list(recordings)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        outcomes = pool.map(partial(_describe, root), recordings)
        outcomes = list(tqdm(outcomes, total=len(recordings), desc="index", unit="file", leave=False, disable=None))
    entries = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
    return Corpus(entries, [outcome for outcome in outcomes if not isinstance(outcome, Entry)])


def _describe(root: Path, recording: _Recording) -> Entry | tuple[str, str]:
    """The manifest's entry of a file, or its name and what is wrong with it."""
    path = recording.path.resolve()
    name = str(path.relative_to(root) if path.is_relative_to(root) else path)
    if not path.is_file():
        return name, "no such file"
    digest = sha256(path)
    if recording.sha256 not in (None, digest):
        return name, f"expected sha256:{recording.sha256}, found sha256:{digest}"
    try:
        with open_audio(path) as file:
            frames, rate = file.frames, file.samplerate
    except AudioError as error:
        return name, error.reason
    if not frames:
        return name, "empty"
    kind, split, group = recording.kind, recording.split, recording.group
    return Entry(name, kind, split, group, rate, round(frames / rate, 6), digest)
