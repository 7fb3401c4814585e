"""What audio files say of their own length, by which one that was cut off is known; libsndfile takes what is there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

UNKNOWN_SIZE = 2**31 - 2**16  # bytes; headers of WAV files written to a pipe say so many, or more, up to 2**32 - 1
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
LARGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes
LAST_PAGE = 4  # flag of the Ogg page that ends a stream
NIST_BYTES = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d+)", re.MULTILINE)


def missing_part(path: Path) -> str | None:
    """How much is missing of a file whose header says how long it is; None for a whole one, or where no header says.

    Of FLAC and MP3 only decoding tells; they promise a number of samples.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        actual = file.seek(0, 2)
        if head.startswith(b"OggS"):
            return _missing_of_ogg(file, actual)
        for magic, size in DECLARED.items():
            if head.startswith(magic):
                declared = size(file, head)
                # a byte that pads a chunk to an even length is often left out at the end
                return f"{actual} of {declared} bytes" if declared is not None and actual + 1 < declared else None
    return None


def _iff(file: BinaryIO, head: bytes) -> int | None:
    size = int.from_bytes(head[4:8], "little" if head.startswith(b"RIFF") else "big")
    return size + 8 if 0 < size < UNKNOWN_SIZE else None


def _rf64(file: BinaryIO, head: bytes) -> int | None:
    size = int.from_bytes(head[20:28], "little")
    return size + 8 if head[12:16] == b"ds64" and 0 < size < 2**63 else None


def _w64(file: BinaryIO, head: bytes) -> int | None:
    size = int.from_bytes(head[16:24], "little")
    return size if 0 < size < 2**63 else None


def _au(file: BinaryIO, head: bytes) -> int | None:
    size = int.from_bytes(head[8:12], "big")
    return int.from_bytes(head[4:8], "big") + size if 0 < size < UNKNOWN_SIZE else None


def _caf(file: BinaryIO, head: bytes) -> int | None:
    position = 8
    while True:
        file.seek(position)
        kind, size = file.read(4), int.from_bytes(file.read(8), "big", signed=True)
        if kind == b"data" and size >= 0:
            return position + 12 + size
        if len(kind) < 4 or size < 0:  # -1: up to the end of the file
            return None
        position += 12 + size


def _nist(file: BinaryIO, head: bytes) -> int | None:
    size, fields = re.match(rb"NIST_1A\n *(\d+)\n", head), dict(NIST_BYTES.findall(head))
    if size is None or len(fields) < 3:
        return None
    samples, channels, width = (int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes"))
    return int(size[1]) + samples * channels * width


DECLARED: dict[bytes, Callable[[BinaryIO, bytes], int | None]] = {
    b"RIFF": _iff,
    b"RIFX": _iff,
    b"RF64": _rf64,
    W64_RIFF: _w64,
    b"FORM": _iff,
    b".snd": _au,
    b"caff": _caf,
    b"NIST_1A\n": _nist,
}  # bytes of the whole file, by how it begins; None where the header does not say


def _missing_of_ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - LARGEST_OGG_PAGE))
    end = file.read()
    page = end[end.rfind(b"OggS") :]
    segments = page[26] if len(page) > 26 else 255
    if len(page) < 27 + segments + sum(page[27 : 27 + segments]):
        return "its last page is not whole"
    return None if page[5] & LAST_PAGE else "its last page does not end the stream"
