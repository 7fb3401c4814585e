"""Archives for tests, split ones among them."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


def write_tar(path: Path, files: dict[str, bytes], extra: Sequence[tarfile.TarInfo] = ()) -> Path:
    """A tar of files by name, compressed as the suffix says, and of headers without content."""
    with tarfile.open(path, "w:" + {".gz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A zip of files by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def split_by_hand(
    directory: Path, files: dict[str, bytes], zip64: bool = False, name: str = "hand", size: int = 50_000
) -> list[Path]:
    """A split archive by APPNOTE.TXT: the bytes of a whole one, cut, with offsets and end records by part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        infos, begin = archive.infolist(), archive.start_dir
    body = buffer.getvalue()[:begin]
    table = b""
    for info in infos:
        disk, offset = divmod(info.header_offset, size)
        member, extra, sizes = info.filename.encode(), b"", (info.compress_size, info.file_size)
        if zip64:
            extra = struct.pack("<2H3QL", 1, 28, info.file_size, info.compress_size, offset, disk)
            disk, offset, sizes = 0xFFFF, 0xFFFFFFFF, (0xFFFFFFFF, 0xFFFFFFFF)
        lengths = (len(member), len(extra), 0)
        table += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, info.CRC, *sizes, *lengths, disk, 0, 0, offset
        )
        table += member + extra
    last, at = divmod(len(body), size)
    count = len(infos)
    tail = b""
    if zip64:
        end64 = at + len(table)
        tail += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, last, last, count, count, len(table), at)
        tail += struct.pack("<4sLQL", b"PK\6\7", last, end64, last + 1)
        tail += struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    else:
        tail += struct.pack("<4s4H2LH", b"PK\5\6", last, last, count, count, len(table), at, 0)
    parts = []
    for disk in range(last + 1):
        part = directory / (f"{name}.zip" if disk == last else f"{name}.z{disk + 1:02}")
        part.write_bytes(body[disk * size : (disk + 1) * size] + (table + tail if disk == last else b""))
        parts.append(part)
    return parts
