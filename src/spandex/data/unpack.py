"""Unpacking of archives from elsewhere: nothing is written outside the target, and members are checked on the way."""

import bz2
import csv
import hashlib
import logging
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from spandex.data.split_zip import open_split_zip
from spandex.errors import SpandexError
from spandex.files import sha256, write_json
from spandex.files.text import read_json

logger = logging.getLogger(__name__)

CHUNK = 1 << 18  # bytes
NAMED = 5  # members that an error names
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


class UnpackError(SpandexError):
    """An archive that is damaged, not what it should be, or tries to write outside its folder."""


@dataclass(frozen=True)
class Unpacked:
    """What an archive held.

    Attributes:
        files: number of files written.
        unlisted: names of files that a list of SHA-1 sums does not mention.
    """

    files: int
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    size: int  # bytes
    open: Callable[[], IO[bytes]]


def unpack(
    archive: str | Path | Sequence[Path], directory: str | Path, *, sha1: Mapping[str, str] | None = None
) -> Unpacked:
    """Unpack a tar (also .gz, .bz2, .xz), a zip, or a split zip.

    Members are written to a folder of their own inside ``directory`` and moved to their places once all of them are
    there and right, so that a refused, damaged or interrupted archive leaves nothing behind in those places. A marker
    written last keeps an archive from being unpacked twice, while all of its files are there in their sizes.

    Refused are absolute names, names that lead out of the folder, links of any kind (none of the public archives has
    one), devices, pipes, encrypted members, and two members of one name.

    Args:
        archive: the file, or all parts of a split zip in order, the ``.zip`` last.
        directory: target folder; archives may share folders in it.
        sha1: SHA-1 sums of files by member name; ``./`` in front of a name does not count.

    Returns:
        what was written, now or by the earlier call that the marker tells of.

    Raises:
        UnpackError: naming the archive and the member. Nothing was moved to its place.
    """
    parts = [Path(archive)] if isinstance(archive, str | Path) else [Path(part) for part in archive]
    name, directory = parts[-1].name, Path(directory)
    marker = directory / ".unpacked" / f"{name}.json"
    done = _read_marker(marker, parts)
    if done is not None:
        return done
    staging = directory / f".{name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        unpacked, sizes = _write_members(parts, staging, sha1)
        _move(staging, directory)
    except DAMAGE as error:
        raise _damaged(parts[-1], error) from None
    except RuntimeError as error:  # how zipfile reports an encrypted member
        raise UnpackError(f"{parts[-1]}: {error}") from None
    except OSError as error:
        if error.errno is None:  # how gzip and bz2 report damage
            raise _damaged(parts[-1], error) from None
        raise UnpackError(f"{parts[-1]}: {error.strerror} while unpacking into {directory}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_json(marker, {"parts": list(map(_stamp, parts)), "sizes": sizes, **asdict(unpacked)})
    logger.info("%s: %d files unpacked", name, unpacked.files)
    return unpacked


def read_sha1_list(path: str | Path) -> dict[str, str]:
    """SHA-1 sums by path from the DNS-Challenge's list: CSV of size in bytes, SHA-1 and path, plain or .bz2.

    Raises:
        SpandexError: the file is not such a list.
    """
    path = Path(path)
    opener = bz2.open if path.suffix == ".bz2" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            sums = {_plain(name): digest for _, digest, name in csv.reader(file)}
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise SpandexError(
            f"{path}: not a list of size, SHA-1 and path ({error}); delete it to fetch it again"
        ) from None
    return sums


def _write_members(parts: list[Path], staging: Path, sha1: Mapping[str, str] | None) -> tuple[Unpacked, dict[str, int]]:
    """What was written, and the size in bytes of every file by its name in the folder."""
    sizes, unlisted, wrong = {}, [], []
    for member in _members(parts):
        path = _place(staging, member, parts[-1])
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        if path.exists():
            raise UnpackError(f"{parts[-1]}: two members are named {member.name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = _write(member, path)
        sizes[path.relative_to(staging).as_posix()] = member.size
        if sha1 is None:
            continue
        expected = sha1.get(_plain(member.name))
        if expected is None:
            unlisted.append(member.name)
        elif expected != digest:
            wrong.append(f"{member.name}: expected sha1:{expected}, found sha1:{digest}")
    files = len(sizes)
    if wrong:
        raise UnpackError(f"{parts[-1]}: {len(wrong)} of {files} files are not the published ones: {_some(wrong)}")
    if sha1 is not None and files and len(unlisted) == files:
        raise UnpackError(f"{parts[-1]}: none of its files is in the list of SHA-1 sums: {_some(unlisted)}")
    if unlisted:
        logger.warning("%s: %d files are not in the SHA-1 list: %s", parts[-1], len(unlisted), _some(unlisted))
    return Unpacked(files, tuple(unlisted)), sizes


def _write(member: _Member, path: Path) -> str:
    """Copy a member to a file; its SHA-1."""
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    with member.open() as source, path.open("xb") as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
            size += len(chunk)
    if size != member.size:
        raise EOFError(f"{member.name!r} has {size} of {member.size} bytes")
    return digest.hexdigest()


def _place(staging: Path, member: _Member, archive: Path) -> Path:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise UnpackError(f"{archive}: refused, {member.name!r} leads out of the folder")
    return staging / name


def _members(parts: list[Path]) -> Iterator[_Member]:
    if len(parts) > 1:
        with open_split_zip(parts) as whole, zipfile.ZipFile(whole) as archive:
            yield from _zip_members(archive, parts[-1])
    elif not parts[0].is_file():
        raise UnpackError(f"{parts[0]}: no such file")
    elif zipfile.is_zipfile(parts[0]):
        with zipfile.ZipFile(parts[0]) as archive:
            yield from _zip_members(archive, parts[0])
    else:
        with tarfile.open(parts[0], "r:*") as archive:
            yield from _tar_members(archive, parts[0])


def _zip_members(archive: zipfile.ZipFile, path: Path) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnpackError(f"{path}: refused, {info.filename!r} is a link or a device")
        # zipfile shows names without what follows a NUL and with / for \; what the archive says is what is judged
        yield _Member(info.orig_filename, info.is_dir(), info.file_size, lambda info=info: archive.open(info))


def _tar_members(archive: tarfile.TarFile, path: Path) -> Iterator[_Member]:
    for info in archive:
        if not (info.isreg() or info.isdir()):
            raise UnpackError(f"{path}: refused, {info.name!r} is a link or a device")
        yield _Member(info.name, info.isdir(), info.size, lambda info=info: archive.extractfile(info))
    _check_tar_end(archive)


def _check_tar_end(archive: tarfile.TarFile) -> None:
    """tarfile takes a broken header for the end of the archive; the real end is a block of zeros."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end after byte {archive.offset}")
    while archive.fileobj.read(CHUNK):  # to the checksum that closes a compressed file
        pass


def _damaged(archive: Path, error: Exception) -> UnpackError:
    reason = "; ".join(str(error).splitlines())
    return UnpackError(f"{archive}: damaged archive ({reason}); delete it to fetch it again")


def _move(staging: Path, directory: Path) -> None:
    """Move everything to its place; files of an earlier, interrupted move are replaced."""
    for folder, folders, files in os.walk(staging):
        place = directory / Path(folder).relative_to(staging)
        for name in folders:
            (place / name).mkdir(exist_ok=True)
        for name in files:
            (Path(folder) / name).replace(place / name)


def _stamp(part: Path) -> dict:
    status = part.stat()
    return {"name": part.name, "sha256": sha256(part), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read_marker(marker: Path, parts: list[Path]) -> Unpacked | None:
    if not marker.is_file():
        return None
    content = read_json(marker)
    known = {stamp["name"]: stamp for stamp in content["parts"]}
    for part in parts:
        stamp = known.get(part.name)
        if stamp is None or not part.is_file():
            return None
        status = part.stat()
        touched = (status.st_size, status.st_mtime_ns) != (stamp["size"], stamp["mtime_ns"])
        if touched and sha256(part) != stamp["sha256"]:
            return None
    if not _are_there(marker, content):
        return None
    return Unpacked(content["files"], tuple(content["unlisted"]))


def _are_there(marker: Path, content: dict) -> bool:
    """Whether the files of a marker are in their places, in its sizes or those of an archive that replaced some."""
    if "sizes" not in content:  # a marker of before
        return False
    directory = marker.parent.parent
    found = {name: _size(directory / name) for name in content["sizes"]}
    other = found.items() - content["sizes"].items()
    if any(size is None for _, size in other):
        return False
    return not other or other <= {
        item for path in marker.parent.glob("*.json") for item in read_json(path).get("sizes", {}).items()
    }


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _plain(name: str) -> str:
    return str(PurePosixPath(name))


def _some(names: list[str]) -> str:
    return "; ".join(names[:NAMED]) + ("; ..." if len(names) > NAMED else "")
