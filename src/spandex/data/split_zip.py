"""Split zip archives (``x.z01``, ``x.z02``, ..., ``x.zip``) as one stream that ``zipfile`` reads.

Python's zipfile refuses archives of several parts. Put end to end, the parts hold all members as they are; only the
central directory counts its offsets from the start of the part that a member begins in. It is rewritten here with
offsets into the whole (APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.3), without copying the members.
"""

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from spandex.errors import SpandexError

END = struct.Struct("<4s4H2LH")  # end of central directory
END64 = struct.Struct("<4sQ2H2L4Q")  # zip64 end of central directory
LOCATOR64 = struct.Struct("<4sLQL")  # where that lies
ENTRY = struct.Struct("<4s6H3L5H2L")  # central directory entry, without name, extra fields and comment
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # stands for a value in the zip64 fields
LONGEST_COMMENT = 0xFFFF
ZIP64 = 1  # identifier of the zip64 extra field


def open_split_zip(parts: Sequence[Path]) -> io.BufferedReader:
    """One readable, seekable zip archive from the parts of a split one, in their order (the ``.zip`` last).

    Raises:
        SpandexError: the parts are not those of one split archive.
    """
    starts = [0, *accumulate(part.stat().st_size for part in parts)]
    whole = io.BufferedReader(_Joined(_head(parts, starts[-1])))
    last_disk, entries, begin, size = _end_of_directory(whole, starts, parts[-1])
    if last_disk + 1 != len(parts):
        raise SpandexError(f"{parts[-1]}: the archive has {last_disk + 1} parts, {len(parts)} are here")
    whole.seek(begin)
    directory = _rewrite(whole.read(size), entries, starts, parts[-1])
    tail = directory + _end(len(directory), entries, begin)
    return io.BufferedReader(_Joined([*_head(parts, begin), _Piece(len(tail), io.BytesIO(tail))]), 1 << 16)


class _Entry(NamedTuple):
    signature: bytes
    made_by: int
    needs: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    packed: int
    unpacked: int
    name_size: int
    extra_size: int
    comment_size: int
    disk: int
    internal: int
    external: int
    offset: int


class _Piece:
    """A run of bytes: the first ``size`` of a file, which is opened when read."""

    def __init__(self, size: int, file: io.IOBase | None = None, path: Path | None = None) -> None:
        self.size, self.file, self.path = size, file, path

    def read(self, offset: int, size: int) -> bytes:
        if self.file is None:
            self.file = self.path.open("rb", buffering=0)
        self.file.seek(offset)
        return self.file.read(min(size, self.size - offset))


class _Joined(io.RawIOBase):
    """Several runs of bytes, end to end."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self.pieces = [piece for piece in pieces if piece.size]
        self.starts = [0, *accumulate(piece.size for piece in self.pieces)]
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.starts[-1]}[whence]
        self.position = max(0, base + offset)
        return self.position

    def readinto(self, buffer: bytearray | memoryview) -> int:
        if self.position >= self.starts[-1]:
            return 0
        index = bisect_right(self.starts, self.position) - 1
        chunk = self.pieces[index].read(self.position - self.starts[index], len(buffer))
        buffer[: len(chunk)] = chunk
        self.position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        for piece in self.pieces:
            if piece.file is not None:
                piece.file.close()
        super().close()


def _head(parts: Sequence[Path], size: int) -> list[_Piece]:
    """The first ``size`` bytes of the parts."""
    pieces = []
    for part in parts:
        length = min(size, part.stat().st_size)
        pieces.append(_Piece(length, path=part))
        size -= length
    return pieces


def _end_of_directory(whole: io.BufferedReader, starts: list[int], name: Path) -> tuple[int, int, int, int]:
    """Last disk, number of entries, and absolute offset and size in bytes of the central directory."""
    tail_begin = max(starts[-2], starts[-1] - END.size - LONGEST_COMMENT)
    whole.seek(tail_begin)
    tail = whole.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < END.size:
        raise SpandexError(f"{name}: not the last part of a zip archive")
    _, last_disk, disk, _, entries, size, offset, _ = END.unpack_from(tail, at)
    locator_begin = tail_begin + at - LOCATOR64.size
    if locator_begin >= 0:
        whole.seek(locator_begin)
        signature, disk64, offset64, _ = LOCATOR64.unpack(whole.read(LOCATOR64.size))
        if signature == b"PK\6\7":
            whole.seek(_absolute(starts, disk64, offset64, name))
            fields = whole.read(END64.size)
            if len(fields) < END64.size or not fields.startswith(b"PK\6\6"):
                raise SpandexError(f"{name}: the zip64 end of central directory is not where it should be")
            _, _, _, _, last_disk, disk, _, entries, size, offset = END64.unpack(fields)
    return last_disk, entries, _absolute(starts, disk, offset, name), size


def _absolute(starts: list[int], disk: int, offset: int, name: Path) -> int:
    if disk >= len(starts) - 1:
        raise SpandexError(f"{name}: part {disk + 1} of the split archive is missing")
    return starts[disk] + offset


def _rewrite(directory: bytes, entries: int, starts: list[int], name: Path) -> bytes:
    """The central directory with every member's offset counted from the start of the whole."""
    rewritten, at = [], 0
    for _ in range(entries):
        if len(directory) - at < ENTRY.size or not directory.startswith(b"PK\1\2", at):
            raise SpandexError(f"{name}: damaged central directory")
        entry = _Entry._make(ENTRY.unpack_from(directory, at))
        name_begin = at + ENTRY.size
        extra_begin = name_begin + entry.name_size
        comment_begin = extra_begin + entry.extra_size
        at = comment_begin + entry.comment_size
        wide, others = _take_zip64(directory[extra_begin:comment_begin])
        # the zip64 field holds, in this order, what did not fit its 32 or 16 bits
        unpacked = next(wide, FULL32) if entry.unpacked == FULL32 else entry.unpacked
        packed = next(wide, FULL32) if entry.packed == FULL32 else entry.packed
        offset = next(wide, FULL32) if entry.offset == FULL32 else entry.offset
        disk = next(wide, FULL16) & FULL32 if entry.disk == FULL16 else entry.disk
        offset = _absolute(starts, disk, offset, name)
        values = [value for value in (unpacked, packed, offset) if value >= FULL32]
        if values:
            others = struct.pack(f"<2H{len(values)}Q", ZIP64, 8 * len(values), *values) + others
        entry = entry._replace(
            packed=min(packed, FULL32),
            unpacked=min(unpacked, FULL32),
            extra_size=len(others),
            disk=0,
            offset=min(offset, FULL32),
        )
        rewritten += [ENTRY.pack(*entry), directory[name_begin:extra_begin], others, directory[comment_begin:at]]
    return b"".join(rewritten)


def _take_zip64(extra: bytes) -> tuple[Iterator[int], bytes]:
    """The values of the zip64 extra field, and the other extra fields."""
    values, others, at = iter(()), b"", 0
    while at + 4 <= len(extra):
        identifier, size = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + size]
        if identifier == ZIP64:
            body = body + bytes(-len(body) % 8)  # the disk number, its last value, has only 4 bytes
            values = (value for (value,) in struct.iter_unpack("<Q", body))
        else:
            others += extra[at : at + 4 + size]
        at += 4 + size
    return values, others


def _end(size: int, entries: int, begin: int) -> bytes:
    """Both end records of a central directory of an archive in one part."""
    end64 = END64.pack(b"PK\6\6", END64.size - 12, 45, 45, 0, 0, entries, entries, size, begin)
    locator = LOCATOR64.pack(b"PK\6\7", 0, begin + size, 1)
    end = END.pack(
        b"PK\5\6", 0, 0, min(entries, FULL16), min(entries, FULL16), min(size, FULL32), min(begin, FULL32), 0
    )
    return end64 + locator + end
