import bz2
import gzip
import hashlib
import json
import random
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from archives import split_by_hand, write_tar, write_zip
from spandex.data import unpack as unpack_module
from spandex.data.unpack import UnpackError, read_sha1_list, unpack
from spandex.errors import SpandexError

FILES = {f"set/{n % 3}/{n}.wav": random.Random(n).randbytes(1000 * n) for n in range(12)}


def contents(directory: Path) -> dict[str, bytes]:
    """Everything in a folder but the markers."""
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".unpacked/")}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_archive_unpacks_whole(tmp_path, suffix):
    write = write_zip if suffix == "zip" else write_tar
    unpacked = unpack(write(tmp_path / f"a.{suffix}", FILES), tmp_path / "out")
    assert unpacked.files == len(FILES)
    assert contents(tmp_path / "out") == FILES


def test_archives_share_folders(tmp_path):
    more = {"set/0/more.wav": b"more"}
    unpack(write_tar(tmp_path / "a.tar", FILES), tmp_path / "out")
    unpack(write_tar(tmp_path / "b.tar", more), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES | more


ESCAPES = ["../out.wav", "set/../../out.wav", "/tmp/spandex-out.wav", "..", "a\\..\\..\\out.wav"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_member_leading_out_is_refused_before_anything_is_written(tmp_path, name, write):
    archive = write(tmp_path / "evil", FILES | {name: b"evil"})
    before = contents(tmp_path)
    with pytest.raises(UnpackError, match=r"evil: refused, .* leads out of the folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert contents(tmp_path) == before
    assert not Path("/tmp/spandex-out.wav").exists()


def link(kind: bytes, name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        link(tarfile.SYMTYPE, "set/out", "../../.."),
        link(tarfile.SYMTYPE, "set/out", "/etc/passwd"),
        link(tarfile.LNKTYPE, "set/out", "../../secret"),
        link(tarfile.LNKTYPE, "set/out", "/etc/passwd"),
        link(tarfile.CHRTYPE, "set/null", ""),
        link(tarfile.FIFOTYPE, "set/pipe", ""),
    ],
)
def test_links_and_devices_in_tar_are_refused(tmp_path, member):
    archive = write_tar(tmp_path / "evil.tar", FILES, [member])
    with pytest.raises(UnpackError, match=f"refused, '{member.name}' is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_file_written_through_a_link_of_the_same_archive_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(link(tarfile.SYMTYPE, "door", str(tmp_path / "outside")))
        archive.addfile(tarfile.TarInfo("door/evil.wav"))
    with pytest.raises(UnpackError, match="'door' is a link"):
        unpack(path, tmp_path / "out")
    assert contents(tmp_path / "outside") == {}


def test_link_in_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("set/out")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnpackError, match="'set/out' is a link or a device"):
        unpack(tmp_path / "evil.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_two_members_of_one_name_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("same"))
        archive.addfile(tarfile.TarInfo("./same"))
    with pytest.raises(UnpackError, match="two members are named"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "zip"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_truncated_archive_is_an_error_and_leaves_nothing(tmp_path, suffix, kept):
    archive = (write_zip if suffix == "zip" else write_tar)(tmp_path / f"a.{suffix}", FILES)
    content = archive.read_bytes()
    used = len(content.rstrip(b"\0")) if suffix == "tar" else len(content)
    archive.write_bytes(content[: int(kept * used)])
    with pytest.raises(UnpackError, match="damaged archive"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_tar_cut_between_two_members_is_an_error(tmp_path):
    archive = write_tar(tmp_path / "a.tar", FILES)
    with tarfile.open(archive) as opened:
        cut = opened.getmembers()[6].offset
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(UnpackError, match=f"no end after byte {cut}"):
        unpack(archive, tmp_path / "out")


def test_flipped_byte_is_found_by_the_checksum_of_the_format(tmp_path):
    for archive in (write_zip(tmp_path / "a.zip", FILES), write_tar(tmp_path / "a.tar.gz", FILES)):
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
        with pytest.raises(UnpackError, match="damaged archive"):
            unpack(archive, tmp_path / "out")


def test_page_in_place_of_an_archive_is_an_error_saying_what_to_do(tmp_path):
    (tmp_path / "a.zip").write_text("<html>Sign in</html>")
    with pytest.raises(UnpackError, match=r"a\.zip: damaged archive .*delete it to fetch it again"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_unpacked_archive_is_not_unpacked_again(tmp_path):
    archive = write_tar(tmp_path / "a.tar", FILES)
    first = unpack(archive, tmp_path / "out")
    mine = bytes(1000)
    (tmp_path / "out" / "set/1/1.wav").write_bytes(mine)
    assert unpack(archive, tmp_path / "out") == first
    assert (tmp_path / "out" / "set/1/1.wav").read_bytes() == mine


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")], ids=["missing", "cut off"])
def test_archive_whose_files_are_not_all_there_is_unpacked_again(tmp_path, damage):
    archive = write_tar(tmp_path / "a.tar", FILES)
    first = unpack(archive, tmp_path / "out")
    damage(tmp_path / "out" / "set/1/1.wav")
    assert unpack(archive, tmp_path / "out") == first
    assert contents(tmp_path / "out") == FILES


def test_archive_of_a_folder_that_is_emptied_but_for_the_markers_is_unpacked_again(tmp_path):
    archive = write_tar(tmp_path / "a.tar", FILES)
    unpack(archive, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "set")
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    archive.unlink()
    shutil.rmtree(tmp_path / "out" / "set")
    with pytest.raises(UnpackError, match=r"a\.tar: no such file"):
        unpack(archive, tmp_path / "out")


def test_archive_of_a_marker_without_sizes_is_unpacked_again(tmp_path):
    archive = write_tar(tmp_path / "a.tar", FILES)
    unpack(archive, tmp_path / "out")
    marker = tmp_path / "out" / ".unpacked" / "a.tar.json"
    content = json.loads(marker.read_text())
    del content["sizes"]
    marker.write_text(json.dumps(content))
    (tmp_path / "out" / "set/1/1.wav").unlink()
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_file_that_two_archives_hold_has_neither_unpacked_again(tmp_path):
    archives = [write_tar(tmp_path / f"{n}.tar", {"README": b"x" * n, f"{n}": b""}) for n in (1, 2)]
    for archive in archives:
        unpack(archive, tmp_path / "out")
    placed = (tmp_path / "out" / "README").stat()
    for archive in archives:
        unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "README").stat().st_mtime_ns == placed.st_mtime_ns


def test_touched_archive_is_recognised_by_its_bytes_and_a_new_one_is_unpacked(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {"x": b"old"})
    unpack(archive, tmp_path / "out")
    (tmp_path / "out" / "x").write_bytes(b"own")
    archive.touch()
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "x").read_bytes() == b"own"
    write_tar(archive, {"x": b"new"})
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "x").read_bytes() == b"new"


@pytest.mark.parametrize("step", ["_write_members", "_move", "write_json"])
def test_interrupted_unpacking_is_completed_by_the_next_call(tmp_path, monkeypatch, step):
    archive = write_tar(tmp_path / "a.tar", FILES)
    original = getattr(unpack_module, step)

    def interrupted(*arguments, **named):
        if step != "write_json":
            original(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(unpack_module, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "out")
    assert unpack(archive, tmp_path / "out").files == len(FILES)
    assert contents(tmp_path / "out") == FILES


def sha1_of(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}


def test_members_are_held_to_their_sha1(tmp_path):
    archive = write_tar(tmp_path / "a.tar.bz2", {f"./{name}": content for name, content in FILES.items()})
    assert unpack(archive, tmp_path / "right", sha1=sha1_of(FILES)).unlisted == ()
    sums = sha1_of(FILES) | {"set/2/5.wav": "0" * 40}
    with pytest.raises(UnpackError, match=r"1 of 12 files .*set/2/5\.wav: expected sha1:0{40}, found sha1:"):
        unpack(archive, tmp_path / "wrong", sha1=sums)
    assert contents(tmp_path / "wrong") == {}


def test_members_missing_from_the_list_are_reported_by_name(tmp_path, caplog):
    archive = write_tar(tmp_path / "a.tar", FILES | {"set/new.wav": b"new"})
    assert unpack(archive, tmp_path / "out", sha1=sha1_of(FILES)).unlisted == ("set/new.wav",)
    assert "set/new.wav" in caplog.text


def test_list_of_another_archive_is_an_error(tmp_path):
    with pytest.raises(UnpackError, match="none of its files is in the list"):
        unpack(write_tar(tmp_path / "a.tar", FILES), tmp_path / "out", sha1=sha1_of({"other.wav": b""}))


@pytest.mark.parametrize("compressed", [True, False])
def test_published_form_of_the_sha1_list_is_read(tmp_path, compressed):
    text = f'12,{"a" * 40},datasets_fullband/x/y.wav\n7,{"b" * 40},"datasets_fullband/a, b.wav"\n'
    path = tmp_path / ("list.csv.bz2" if compressed else "list.csv")
    path.write_bytes(bz2.compress(text.encode()) if compressed else text.encode())
    assert read_sha1_list(path) == {"datasets_fullband/x/y.wav": "a" * 40, "datasets_fullband/a, b.wav": "b" * 40}


@pytest.mark.parametrize(
    "content",
    [b"one,two\n", gzip.compress(b"1,2,3"), b"", bz2.compress(b"x" * 200_000)],
    ids=["plain", "gzip", "empty", "no line end"],
)
def test_other_file_as_sha1_list_is_an_error(tmp_path, content):
    (tmp_path / "list.csv.bz2").write_bytes(content)
    with pytest.raises(SpandexError, match=r"not a list of size, SHA-1 and path .*; delete it to fetch it again"):
        read_sha1_list(tmp_path / "list.csv.bz2")


# split zip

LARGE = FILES | {"large.wav": random.Random(0).randbytes(180_000)}  # across more than two parts


def split_by_info_zip(tmp_path: Path, files: dict[str, bytes]) -> list[Path]:
    """A split archive made the way the challenge's test set was: zip ARCHIVE --out SPLIT -s SIZE."""
    whole = write_zip(tmp_path / "whole.zip", files)
    subprocess.run(
        ["zip", "-q", whole, "--out", tmp_path / "split.zip", "-s", "64k"], check=True, stdout=subprocess.DEVNULL
    )
    return [*sorted(tmp_path.glob("split.z[0-9]*")), tmp_path / "split.zip"]


@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP's zip, which splits archives, is not installed")
def test_archive_split_by_info_zip_unpacks(tmp_path):
    parts = split_by_info_zip(tmp_path, FILES)
    assert len(parts) == 2
    assert unpack(parts, tmp_path / "out").files == len(FILES)
    assert contents(tmp_path / "out") == FILES


@pytest.mark.parametrize("zip64", [False, True])
def test_split_zip_unpacks(tmp_path, zip64):
    parts = split_by_hand(tmp_path, LARGE, zip64)
    assert len(parts) >= 5
    unpack(parts, tmp_path / "out")
    assert contents(tmp_path / "out") == LARGE


def test_split_zip_without_one_part_is_an_error(tmp_path):
    parts = split_by_hand(tmp_path, LARGE)
    with pytest.raises(SpandexError, match=r"hand\.zip: .*part"):
        unpack([parts[0], *parts[2:]], tmp_path / "out")
    with pytest.raises(SpandexError, match="not the last part of a zip archive"):
        unpack(parts[:-1], tmp_path / "out")
    assert contents(tmp_path / "out") == {}
