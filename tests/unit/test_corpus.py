import bz2
import csv
import hashlib
import io
import logging
import os
from collections import defaultdict
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml

from archives import split_by_hand, write_tar, write_zip
from faulty_server import FaultyServer
from spandex.data import catalog as catalog_module
from spandex.data.catalog import parse_catalog
from spandex.data.corpus import Entry, read_manifest, write_manifest
from spandex.data.download import DownloadError, RefusedError, Retry
from spandex.data.public import (
    find_test_set,
    from_dns4,
    from_librispeech_esc50,
    from_mirror_corpus,
    prepare_corpus,
)
from spandex.data.unpack import UnpackError
from spandex.errors import SpandexError

QUICK = Retry(attempts=2, pause_s=0.01, timeout_s=(2.0, 0.5))


def audio(seconds: float = 0.05, rate: int = 16_000, form: str = "WAV", seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, round(seconds * rate))
    soundfile.write(buffer, noise, rate, format=form)
    return buffer.getvalue()


def place(directory: Path, tree: dict[str, bytes]) -> None:
    for name, content in tree.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def by_split(entries: list[Entry], kind: str) -> dict[str, set[str]]:
    groups = defaultdict(set)
    for entry in entries:
        if entry.kind == kind:
            groups[entry.split].add(entry.group)
    return groups


def assert_no_group_crosses(entries: list[Entry]) -> None:
    splits = defaultdict(set)
    for entry in entries:
        splits[entry.kind, entry.group].add(entry.split)
    assert splits and all(len(found) == 1 for found in splits.values())


# the corpus of a mirror


def test_mirror_corpus_has_the_split_that_its_readme_states(mirror, tmp_path):
    manifest = prepare_corpus("mini", tmp_path, mirror=mirror)
    entries = read_manifest(manifest)
    counts = defaultdict(int)
    for entry in entries:
        counts[entry.kind, entry.split] += 1
    assert counts == {
        ("speech", "train"): 176,
        ("speech", "validation"): 25,
        ("speech", "test"): 25,
        ("noise", "train"): 160,
        ("noise", "validation"): 80,
        ("noise", "test"): 80,
    }
    assert_no_group_crosses(entries)
    assert len({entry.group for entry in entries if entry.kind == "speech"}) == 226  # one utterance a speaker
    assert (tmp_path / "rejected.csv").read_text() == "path,reason\n"
    with (mirror / "corpus.csv").open() as file:
        listed = {str(mirror.resolve() / row["path"]): row for row in csv.DictReader(file)}
    for entry in entries:
        row = listed[entry.path]  # in place, by absolute path
        assert (entry.sha256, entry.sample_rate_hz) == (row["sha256"], int(row["sample_rate_hz"]))
        assert entry.duration_s == pytest.approx(float(row["duration_s"]), abs=6e-4)  # the list has milliseconds


LISTED = {
    "speech/train/1-1-0001.flac": ("speech", "1", "train"),
    "speech/validation/2-1-0001.flac": ("speech", "2", "validation"),
    "speech/test/3-1-0001.flac": ("speech", "3", "test"),
    "speech/other/4-1-0001.flac": ("speech", "4", "other"),
    "noise/dog bark/1-11-A.ogg": ("noise", "dog bark", "1"),
    "noise/dog bark/3-33-A.ogg": ("noise", "dog bark", "3"),
    "noise/dog bark/4-44-A.ogg": ("noise", "dog bark", "4"),
}


def small_mirror() -> dict[str, bytes]:
    tree = {name: audio(form=Path(name).suffix[1:].upper(), seed=n) for n, name in enumerate(LISTED)}
    rows = ["path,kind,group,split_or_fold,sample_rate_hz,duration_s,sha256"]
    for name, fields in LISTED.items():
        rows.append(",".join([name, *fields, "16000", "0.05", hashlib.sha256(tree[name]).hexdigest()]))
    return tree | {"corpus.csv": "\n".join(rows).encode()}


def test_mirror_corpus_comes_from_an_address_too(tmp_path):
    tree = small_mirror()
    with FaultyServer({name.replace(" ", "%20"): content for name, content in tree.items()}) as server:
        manifest = prepare_corpus("mini", tmp_path, mirror=server.address, retry=QUICK)
        asked = len(server.requests)
        prepare_corpus("mini", tmp_path, mirror=server.address, retry=QUICK)
        assert [path for path, _ in server.requests[asked:]] == ["corpus.csv"]  # nothing else twice
    entries = {entry.path: entry for entry in read_manifest(manifest)}
    assert set(entries) == {f"downloads/{name}" for name, (_, _, split) in LISTED.items() if split != "other"}
    noise = {Path(path).name: entry.split for path, entry in entries.items() if entry.kind == "noise"}
    assert noise == {"1-11-A.ogg": "train", "3-33-A.ogg": "validation", "4-44-A.ogg": "test"}
    for path, entry in entries.items():
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == entry.sha256


def test_damaged_file_of_a_mirror_is_named(tmp_path):
    place(tmp_path / "mirror", small_mirror())
    (tmp_path / "mirror" / "speech/test/3-1-0001.flac").write_bytes(audio(form="FLAC", seed=99))
    with pytest.raises(SpandexError, match=r"3-1-0001\.flac: expected sha256:"):
        from_mirror_corpus(tmp_path / "mirror", tmp_path)


@pytest.fixture(params=["folder", "address"])
def serve(request, tmp_path):
    """Make a mirror of a tree of files, as a folder or at an address."""
    with ExitStack() as running:

        def serve(tree: dict[str, bytes]) -> str:
            if request.param == "folder":
                mirror = tmp_path / f"mirror{len(list(tmp_path.glob('mirror*')))}"
                place(mirror, tree)
                return str(mirror)
            quoted = {name.replace(" ", "%20"): content for name, content in tree.items()}
            return running.enter_context(FaultyServer(quoted)).address

        yield serve


LOST = ["noise/dog bark/1-11-A.ogg", "speech/test/3-1-0001.flac"]


@pytest.mark.parametrize("lost", [LOST[:1], LOST[1:], LOST], ids=["noise", "speech", "both"])
def test_listed_file_that_a_mirror_lacks_is_an_error_with_its_name(serve, catalogue, tmp_path, lost):
    catalogue.install()
    mirror = serve({name: content for name, content in small_mirror().items() if name not in lost})
    with pytest.raises(SpandexError) as caught:
        prepare_corpus("mini", tmp_path / "corpus", mirror=mirror, retry=QUICK)
    named = "; ".join(f"{name}: no such file" for name in sorted(lost, reverse=True))
    assert str(caught.value) == f"{mirror}: {named}; data.skip_missing=true goes on without what is missing"
    assert not (tmp_path / "corpus" / "manifest.csv").exists()


def test_listed_file_that_a_mirror_lacks_is_passed_over_if_told_so(serve, tmp_path, caplog):
    tree = small_mirror()
    lines = tree["corpus.csv"].decode().splitlines()
    extra = [line.replace("1-11-A", name) for name in ("1-12-A", "1-13-A") for line in lines if "1-11-A" in line]
    tree["corpus.csv"] = "\n".join([*lines, *extra]).encode()
    mirror = serve(tree)
    manifest = prepare_corpus("mini", tmp_path / "corpus", mirror=mirror, skip_missing=True, retry=QUICK)
    assert {Path(entry.path).name for entry in read_manifest(manifest)} == {
        Path(name).name for name, (_, _, split) in LISTED.items() if split != "other"
    }
    names = [f"noise/dog bark/{name}.ogg" for name in ("1-12-A", "1-13-A")]
    rejected = "".join(f"{name},no such file\n" for name in names)
    assert (manifest.parent / "rejected.csv").read_text() == f"path,reason\n{rejected}"
    assert all(f"{name}: no such file; left out" in caplog.messages for name in names)


def test_damaged_file_is_an_error_even_if_missing_ones_are_passed_over(serve, tmp_path):
    tree = small_mirror()
    tree["speech/test/3-1-0001.flac"] = audio(form="FLAC", seed=99)
    with pytest.raises(SpandexError, match=r"3-1-0001\.flac.*expected sha256:"):
        from_mirror_corpus(serve(tree), tmp_path / "corpus", skip_missing=True, retry=QUICK)


def mirror_of(seed: int) -> dict[str, bytes]:
    """A mirror like the small one with other speech to train on, in a file of another name."""
    tree = small_mirror()
    old, new = "speech/train/1-1-0001.flac", f"speech/train/1-1-{seed:04}.flac"
    content = audio(form="FLAC", seed=seed)
    digests = [hashlib.sha256(data).hexdigest() for data in (tree.pop(old), content)]
    listing = tree["corpus.csv"].decode().replace(old, new).replace(*digests)
    return tree | {new: content, "corpus.csv": listing.encode()}


def trained_on(entries: list[Entry]) -> list[str]:
    return [Path(entry.path).name for entry in entries if (entry.kind, entry.split) == ("speech", "train")]


def test_list_of_one_mirror_is_not_used_for_another(serve, tmp_path):
    for seed in (100, 101, 100):
        entries = from_mirror_corpus(serve(mirror_of(seed)), tmp_path / "corpus", retry=QUICK).entries
        assert trained_on(entries) == [f"1-1-{seed:04}.flac"]


def test_list_of_one_mirror_is_not_used_for_one_without(serve, tmp_path):
    from_mirror_corpus(serve(small_mirror()), tmp_path / "corpus", retry=QUICK)
    with pytest.raises(RefusedError, match=r"corpus\.csv: "):
        from_mirror_corpus(serve({"other": b"x"}), tmp_path / "corpus", retry=QUICK)


def test_list_of_a_mirror_that_is_gone_is_not_used(tmp_path):
    with FaultyServer({name.replace(" ", "%20"): content for name, content in small_mirror().items()}) as server:
        from_mirror_corpus(server.address, tmp_path, retry=QUICK)
    with pytest.raises(DownloadError, match=rf"{server.address}/corpus\.csv: given up"):
        from_mirror_corpus(server.address, tmp_path, retry=QUICK)


def test_list_that_changes_is_read_anew(tmp_path):
    with FaultyServer() as server:
        for seed in (100, 101):
            server.files = {name.replace(" ", "%20"): data for name, data in mirror_of(seed).items()}
            entries = from_mirror_corpus(server.address, tmp_path, retry=QUICK).entries
            assert trained_on(entries) == [f"1-1-{seed:04}.flac"]


def test_file_that_changes_with_the_list_is_fetched_anew(serve, tmp_path):
    first, other = small_mirror(), small_mirror()
    name = "speech/train/1-1-0001.flac"
    other[name] = audio(form="FLAC", seed=99)
    digests = [hashlib.sha256(tree[name]).hexdigest() for tree in (first, other)]
    other["corpus.csv"] = other["corpus.csv"].decode().replace(*digests).encode()
    for tree, digest in zip((first, other), digests, strict=True):
        entries = from_mirror_corpus(serve(tree), tmp_path / "corpus", retry=QUICK).entries
        assert digest in {entry.sha256 for entry in entries}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("music/a-b.ogg,music,x,train", "line 9: kind 'music' is not one of speech, noise"),
        ("speech/train/1-1-0001.flac,speech,1,train", "line 9: speech/train/1-1-0001.flac stands twice"),
        ("noise/rain.ogg,noise,rain,1", "line 9: noise/rain.ogg: the name of noise begins with FOLD-RECORDING"),
    ],
)
def test_impossible_line_of_a_list_is_refused_with_its_number(serve, tmp_path, row, message):
    tree = small_mirror()
    tree["corpus.csv"] += f"\n{row},16000,0.05,{'0' * 64}".encode()
    with pytest.raises(SpandexError, match=rf"corpus\.csv, {message}"):
        from_mirror_corpus(serve(tree), tmp_path / "corpus", retry=QUICK)


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "x" * 64])
def test_digest_that_is_none_is_refused_with_its_file(serve, tmp_path, digest):
    tree = small_mirror()
    old = hashlib.sha256(tree["speech/train/1-1-0001.flac"]).hexdigest()
    tree["corpus.csv"] = tree["corpus.csv"].decode().replace(old, digest).encode()
    with pytest.raises(SpandexError, match=rf"1-1-0001\.flac: .*sha256:{digest}"):
        from_mirror_corpus(serve(tree), tmp_path / "corpus", retry=QUICK)


def test_list_that_leads_out_of_the_download_folder_is_refused(tmp_path):
    listing = f"path,kind,group,split_or_fold,sha256\n../../evil.flac,speech,1,train,{'0' * 64}"
    with (
        FaultyServer({"corpus.csv": listing.encode()}) as server,
        pytest.raises(SpandexError, match=r"evil\.flac' is not a plain relative path"),
    ):
        from_mirror_corpus(server.address, tmp_path, retry=QUICK)


# LibriSpeech and ESC-50

SPEAKERS = {"dev-clean": [str(n) for n in range(100, 110)], "test-clean": [str(n) for n in range(200, 204)]}


def librispeech(part: str) -> dict[str, bytes]:
    content = audio(form="FLAC")
    return {
        f"LibriSpeech/{part}/{speaker}/7/{speaker}-7-000{n}.flac": content
        for speaker in SPEAKERS[part]
        for n in range(2)
    }


def esc50() -> dict[str, bytes]:
    content, tree, rows = audio(rate=44_100), {}, []
    for n in range(2000):
        # two clips of each recording; those of recording 7 lie in the folds 3 and 5
        fold, recording = n % 5 + 1, n // 10 * 5 + n % 5
        if n == 8:
            fold, recording = 5, 7
        name = f"{fold}-{recording}-{'AB'[n // 5 % 2]}-{n % 50}.wav"
        tree[f"ESC-50-33c8/audio/{name}"] = content
        rows.append(f"{name},{fold},{n % 50},class,False,{recording},{'AB'[n // 5 % 2]}")
    header = "filename,fold,target,category,esc10,src_file,take"
    return tree | {"ESC-50-33c8/meta/esc50.csv": "\n".join([header, *rows]).encode()}


@pytest.fixture(scope="module")
def mini_tree(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("mini")
    place(directory, librispeech("dev-clean") | librispeech("test-clean") | esc50())
    return directory


def test_librispeech_and_esc50_are_split_by_speaker_and_recording(mini_tree):
    corpus = from_librispeech_esc50(mini_tree)
    assert corpus.rejected == []
    assert_no_group_crosses(corpus.entries)
    speakers = by_split(corpus.entries, "speech")
    assert speakers["test"] == set(SPEAKERS["test-clean"])
    assert speakers["train"] | speakers["validation"] == set(SPEAKERS["dev-clean"])
    assert len(speakers["validation"]) == 2  # a fifth
    for entry in corpus.entries:
        if entry.kind == "noise" and entry.group != "7":
            fold = Path(entry.path).name[0]
            assert entry.split == {"4": "validation", "5": "test"}.get(fold, "train")
    assert {entry.split for entry in corpus.entries if entry.group == "7"} == {"train"}  # with its first fold
    assert sum(entry.kind == "noise" for entry in corpus.entries) == 2000
    assert {(entry.kind, entry.sample_rate_hz) for entry in corpus.entries} == {("speech", 16_000), ("noise", 44_100)}
    assert corpus == from_librispeech_esc50(mini_tree, workers=1)


def test_incomplete_esc50_is_named(mini_tree, tmp_path):
    for path in mini_tree.rglob("*.*"):
        copy = tmp_path / path.relative_to(mini_tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, copy)
    gone = next(tmp_path.rglob("1-0-A-0.wav"))
    gone.unlink()
    with pytest.raises(SpandexError, match=r"1999 clips, .* lists 2000; differing: \['1-0-A-0.wav'\]"):
        from_librispeech_esc50(tmp_path)


def test_missing_part_is_named(tmp_path):
    with pytest.raises(SpandexError, match="no LibriSpeech/dev-clean below it"):
        from_librispeech_esc50(tmp_path)


@pytest.fixture
def catalogue(monkeypatch, server):
    """Replace the addresses, sizes and checksums of the catalogue by those of files on the server."""
    text = files(catalog_module.__package__).joinpath("catalog.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)

    def serve(name: str, data: bytes) -> None:
        """Serve a file of the catalogue's ``sources``."""
        entry = content["sources"][name]
        server.files[name] = data
        entry["address"] = f"{server.address}/{name}"
        if entry["checksums"]:
            entry |= described(data)

    def serve_dns4(archives: dict[str, bytes], test_set: list[Path]) -> None:
        """Serve DNS-4 archives by name, and the parts of the test set."""
        server.files |= {f"dns4/{name}": data for name, data in archives.items()}
        content["dns4"]["address"] = f"{server.address}/dns4"
        server.files |= {f"test/{part.name}": part.read_bytes() for part in test_set}
        entry = content["ndns_test_set_1"]
        entry["address"] = f"{server.address}/test"
        entry["parts"] = [{"file": part.name, **described(part.read_bytes())} for part in test_set]

    def install() -> None:
        parsed = parse_catalog(yaml.safe_dump(content))
        monkeypatch.setattr(catalog_module, "catalog", lambda: parsed)

    return SimpleNamespace(serve=serve, serve_dns4=serve_dns4, install=install)


def described(data: bytes) -> dict:
    return {"size": len(data), "checksums": [f"md5:{hashlib.md5(data).hexdigest()}"]}


def test_mini_is_fetched_unpacked_and_indexed(catalogue, server, tmp_path):
    for part in ("dev-clean", "test-clean"):
        catalogue.serve(f"librispeech-{part}", write_tar(tmp_path / f"{part}.tar.gz", librispeech(part)).read_bytes())
    catalogue.serve("esc50", write_zip(tmp_path / "esc50.zip", esc50()).read_bytes())
    catalogue.install()
    manifest = prepare_corpus("mini", tmp_path / "corpus", retry=QUICK)
    entries = read_manifest(manifest)
    assert manifest == tmp_path / "corpus" / "manifest.csv"
    assert len(entries) == 2000 + 28
    assert all((manifest.parent / entry.path).is_file() and not Path(entry.path).is_absolute() for entry in entries)
    first = manifest.read_bytes()
    manifest.unlink()
    assert prepare_corpus("mini", tmp_path / "corpus", retry=QUICK).read_bytes() == first
    assert len(server.requests) == 3


def test_mini_takes_archives_from_a_mirror_without_corpus_list(catalogue, server, tmp_path):
    archives = tmp_path / "mirror"
    archives.mkdir()

    for part in ("dev-clean", "test-clean"):
        catalogue.serve(f"librispeech-{part}", write_tar(archives / f"{part}.tar.gz", librispeech(part)).read_bytes())
    write_zip(archives / "ESC-50-33c8ce9.zip", esc50())
    catalogue.install()
    assert prepare_corpus("mini", tmp_path / "corpus", mirror=archives).is_file()
    assert server.requests == []


# DNS-4


SPEECH = "clean_fullband/datasets_fullband.clean_fullband"
NOISE = "noise_fullband/datasets_fullband.noise_fullband"
CLEAN_FOLDER = "datasets_fullband/clean_fullband/russian_speech"
SELECTED = ["russian", "*audioset_000*", "*freesound_000*"]


def dns4_members() -> dict[str, dict[str, bytes]]:
    """Files by archive and name, with the names that the real archives have."""
    wav = audio(rate=48_000)
    mailabs = [f"by_book/female/speaker{s}/book{b}/wavs/{n}.wav" for s in range(20) for b in range(2) for n in range(2)]
    librivox = [f"book_{n}_chp_1_reader_{r:05}_{n}_seg_{n}.wav" for r in range(30) for n in range(3)]
    freesound = [f"door_Freesound_validated_{n}_{cut}.wav" for n in range(20) for cut in range(2)]
    return {
        f"{SPEECH}.russian_speech_000_0.00_4.31.tar.bz2": {f"{CLEAN_FOLDER}/mailabs/{name}": wav for name in mailabs},
        f"{SPEECH}.russian_speech_001_4.31_NA.tar.bz2": {f"{CLEAN_FOLDER}/{name}": wav for name in librivox},
        f"{NOISE}.audioset_000.tar.bz2": {f"datasets_fullband/noise_fullband/yt{n}.wav": wav for n in range(40)},
        f"{NOISE}.freesound_000.tar.bz2": {f"datasets_fullband/noise_fullband/{name}": wav for name in freesound},
    }


@pytest.fixture
def dns4(catalogue, tmp_path):
    """Put small DNS-4 archives, their SHA-1 list and a test set on the server; the arguments spoil them."""

    def install(spoilt: dict[str, bytes] | None = None) -> None:
        members = dns4_members()
        sums = {
            name: hashlib.sha1(content).hexdigest() for files in members.values() for name, content in files.items()
        }
        for name, content in (spoilt or {}).items():
            next(files for files in members.values() if name in files)[name] = content
        lines = "".join(f"1,{digest},{name}\n" for name, digest in sums.items())
        catalogue.serve("dns4-sha1", bz2.compress(lines.encode()))
        clips = {
            f"test_set_1/{kind}/{name}_fileid_{n}.wav": audio(seed=n)
            for kind, name in (("noisy", "a_b_snr3_tl-20"), ("clean", "clean"), ("noise", "noise"))
            for n in range(30)
        }
        archives = {
            name: write_tar(tmp_path / name.rpartition("/")[2], files).read_bytes() for name, files in members.items()
        }
        catalogue.serve_dns4(archives, split_by_hand(tmp_path, clips, name="test_set_1"))
        catalogue.install()

    return install


def test_dns4_is_fetched_verified_unpacked_and_split(dns4, server, tmp_path, caplog):
    dns4()
    caplog.set_level(logging.INFO)
    manifest = prepare_corpus("dns4", tmp_path / "corpus", archives=SELECTED, retry=QUICK)
    assert "4 DNS-4 archives take about 17 GB and 28 GB unpacked" in caplog.text  # 4 of 127, 550 and 892 GB
    entries = read_manifest(manifest)
    assert len(entries) == 80 + 90 + 40 + 40
    assert_no_group_crosses(entries)
    groups = {kind: by_split(entries, kind) for kind in ("speech", "noise")}
    assert {split for found in groups.values() for split in found} == {"train", "validation"}
    counts = {kind: sum(map(len, found.values())) for kind, found in groups.items()}
    assert counts == {"speech": 20 + 30, "noise": 40 + 20}  # speakers and recordings, not files
    test_set = find_test_set(tmp_path / "corpus")
    assert {path.name: len(list(path.iterdir())) for path in test_set.iterdir()} == dict.fromkeys(
        ("noisy", "clean", "noise"), 30
    )
    asked = len(server.requests)
    prepare_corpus("dns4", tmp_path / "corpus", archives=SELECTED, retry=QUICK)
    assert len(server.requests) == asked


def test_dns4_file_that_is_not_the_published_one_is_named(dns4, tmp_path):
    name = f"{CLEAN_FOLDER}/book_2_chp_1_reader_00007_2_seg_2.wav"
    dns4({name: audio(seed=5)})
    with pytest.raises(UnpackError, match=f"1 of 90 files are not the published ones: {name}: expected sha1:"):
        prepare_corpus("dns4", tmp_path / "corpus", archives=SELECTED, retry=QUICK)


def test_dns4_split_of_a_file_does_not_depend_on_the_others(tmp_path):
    members = dns4_members()
    for n, content in enumerate(members.values()):
        place(tmp_path / "all", content)
        if n != 1:
            place(tmp_path / "some", content)
    every, some = ({entry.path: entry for entry in from_dns4(tmp_path / name).entries} for name in ("all", "some"))
    assert len(some) == len(every) - 90
    assert some.items() <= every.items()


def test_dns4_folder_that_an_interrupted_unpacking_left_is_not_taken_for_the_corpus(tmp_path):
    name = "datasets_fullband/noise_fullband/yt.wav"
    for folder in ("", ".datasets.noise.tar.bz2.unpacking"):
        place(tmp_path / folder, {name: audio(), f"{CLEAN_FOLDER}/reader_1.wav": audio()})
    assert {entry.path for entry in from_dns4(tmp_path).entries} == {name, f"{CLEAN_FOLDER}/reader_1.wav"}


def test_dns4_validation_is_about_a_tenth(tmp_path):
    wav = audio()
    place(tmp_path, {f"datasets_fullband/noise_fullband/yt{n}.wav": wav for n in range(1000)})
    place(tmp_path, {f"{CLEAN_FOLDER}/reader_{n}.wav": wav for n in range(10)})
    noise = by_split(from_dns4(tmp_path).entries, "noise")
    assert 70 <= len(noise["validation"]) <= 130  # 100 expected, standard deviation 9.5


@pytest.mark.parametrize(("select", "lacking"), [(["russian"], "noise"), (["noise"], "clean")])
def test_dns4_selection_without_speech_or_noise_is_refused_before_any_download(select, lacking, tmp_path):
    with pytest.raises(SpandexError, match=f"hold no {lacking}"):
        prepare_corpus("dns4", tmp_path, archives=select)


def test_unreadable_and_empty_audio_is_reported_by_name(dns4, tmp_path, caplog):
    dns4()
    prepare_corpus("dns4", tmp_path / "corpus", archives=SELECTED, retry=QUICK)
    noise = tmp_path / "corpus/datasets_fullband/noise_fullband"
    (noise / "yt43.wav").write_bytes(b"RIFFwhatever")
    (noise / "yt44.wav").write_bytes(b"")
    (noise / "yt45.wav").write_bytes(audio(seconds=0))
    manifest = prepare_corpus("dns4", tmp_path / "corpus", archives=SELECTED, retry=QUICK)
    paths = {entry.path for entry in read_manifest(manifest)}
    with (tmp_path / "corpus" / "rejected.csv").open() as file:
        rejected = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert set(rejected) == {f"datasets_fullband/noise_fullband/yt{n}.wav" for n in (43, 44, 45)}
    assert rejected["datasets_fullband/noise_fullband/yt45.wav"] == "empty"
    assert not paths & set(rejected)
    assert all(f"{name}: " in caplog.text for name in rejected)


# what remains


def test_missing_public_file_is_an_error_naming_its_address(catalogue, server, tmp_path):
    for name in ("librispeech-dev-clean", "librispeech-test-clean", "esc50"):
        catalogue.serve(name, b"x")
        del server.files[name]
    catalogue.install()
    with pytest.raises(DownloadError, match=rf"{server.address}/librispeech-dev-clean: HTTP 404"):
        prepare_corpus("mini", tmp_path, retry=QUICK)


def test_corpus_of_another_name_is_an_error(tmp_path):
    with pytest.raises(SpandexError, match="'synthetic' is no public corpus"):
        prepare_corpus("synthetic", tmp_path)


def test_manifest_survives_writing_and_reading(tmp_path):
    entries = [
        Entry("a, b/ü.wav", "speech", "train", "7", 16_000, 1.234567, "0" * 64),
        Entry("/elsewhere/n.ogg", "noise", "test", "x", 44_100, 5.0, "1" * 64),
    ]
    path = write_manifest(tmp_path / "manifest.csv", entries)
    assert read_manifest(path) == sorted(entries, key=lambda entry: entry.path)
