"""Downloads that resume, retry and are checked; a mirror is tried before the public address."""

import email.utils
import fcntl
import hashlib
import logging
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

import requests
import urllib3
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from spandex.data.catalog import Source
from spandex.errors import SpandexError, one_line
from spandex.files import atomic_path, write_json
from spandex.text_files import read_json

logger = logging.getLogger(__name__)

CHUNK = 1 << 16  # bytes; the most that a broken connection loses, and read between two looks at the stop signal
LONGEST_BACKOFF_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0
BUSY = {408, 429}  # besides 5xx, the statuses that a later attempt may cure


class DownloadError(SpandexError):
    """A file that could not be had, named with its address."""


class WrongBytesError(DownloadError):
    """A file whose size or checksum is not the published one."""


class RefusedError(DownloadError):
    """A server that has no such file, or does not give it."""


class UnreachableError(DownloadError):
    """A server that kept failing."""


class _AgainError(Exception):
    """A failed attempt worth repeating, at the earliest after ``pause_s``."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _StoppedError(Exception):
    """The download was told to stop; what is there can be resumed."""


@dataclass(frozen=True)
class Retry:
    """How often and how patiently to try again.

    Attributes:
        attempts: failures in a row, without a new byte, after which a server is given up.
        pause_s: longest first pause, in seconds; it doubles with every failure, and each is drawn between half and all.
        timeout_s: longest wait for a connection and for the next byte, in seconds.
    """

    attempts: int = 6
    pause_s: float = 1.0
    timeout_s: tuple[float, float] = (10.0, 30.0)

    def backoff(self, failures: int) -> float:
        """Pause in seconds after so many failures in a row."""
        return random.uniform(0.5, 1.0) * min(self.pause_s * 2 ** (failures - 1), LONGEST_BACKOFF_S)


def is_address(mirror: str | Path) -> bool:
    """Whether a mirror is an http(s) address rather than a folder."""
    return str(mirror).startswith(("http://", "https://"))


def fetch(
    sources: Sequence[Source],
    directory: str | Path,
    *,
    mirror: str | Path | None = None,
    workers: int = 4,
    retry: Retry | None = None,
    in_place: bool = False,
) -> dict[str, Path]:
    """Fetch several files at a time; those already there and checked are left alone.

    A broken download continues where it stopped (HTTP Range into ``FILE.part``), also in a later call. Connection
    loss, time-outs, 408, 429 and 5xx are tried again, other errors are not. A file of the wrong size or checksum is
    deleted and fetched once more. Progress goes to the terminal, or to the log as one line a file where there is none.

    Args:
        sources: what to fetch; each ends as ``directory / source.file``.
        directory: download folder.
        mirror: folder or http(s) address that is asked first for ``source.file``, then for its last part; what it lacks
            or has wrong comes from the public address.
        workers: downloads at a time.
        retry: patience with failing servers.
        in_place: leave the files of a mirror folder where they are instead of copying them.

    Returns:
        the path of every source by its name.

    Raises:
        DownloadError: one or more files could not be had, or the disk is too small. The others are complete.
    """
    job = _Job(Path(directory), mirror, retry or Retry(), in_place)
    job.check_space(sources)
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="fetch")
    with logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext():
        futures = {source.name: pool.submit(job.get, source) for source in sources}
        try:
            errors = [error for future in futures.values() if (error := future.exception())]
        finally:
            job.stop.set()  # matters only when interrupted: the workers leave what they have and end
            pool.shutdown(cancel_futures=True)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        unexpected = [error for error in errors if not isinstance(error, SpandexError)]
        if unexpected:
            raise unexpected[0]
        named = "; ".join(map(str, errors[:5])) + ("; ..." if len(errors) > 5 else "")
        raise DownloadError(f"{len(errors)} of {len(futures)} files could not be fetched: {named}")
    return {name: future.result() for name, future in futures.items()}


def check(source: Source, path: Path) -> str | None:
    """What is wrong with a file, in words; None if size and all checksums are the published ones."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"expected {source.size} bytes, found {size}"
    digests = {checksum: hashlib.new(checksum.partition(":")[0]) for checksum in source.checksums}
    if digests:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                for digest in digests.values():
                    digest.update(chunk)
    for expected, digest in digests.items():
        found = f"{digest.name}:{digest.hexdigest()}"
        if found != expected:
            return f"expected {expected}, found {found}"
    return None


@dataclass
class _Job:
    directory: Path
    mirror: str | Path | None
    retry: Retry
    in_place: bool
    stop: threading.Event = field(default_factory=threading.Event)
    mirror_failed: bool = False

    def __post_init__(self) -> None:
        if self.mirror is not None and not is_address(self.mirror) and not Path(self.mirror).is_dir():
            raise DownloadError(f"{self.mirror}: no such folder to mirror from; correct or drop the mirror")

    def get(self, source: Source) -> Path:
        """The checked file of a source, from wherever it comes."""
        target = self.directory / source.file
        if self._is_checked(source, target):
            return target
        found = None
        if self.mirror is not None:
            found = self._from_address(source, target) if is_address(self.mirror) else self._from_folder(source, target)
        return found or self._download(source, source.address, target)

    def check_space(self, sources: Sequence[Source]) -> None:
        """Refuse to begin what the disk cannot hold, as far as sizes are published."""
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ValueError("a source is named twice")
        self.directory.mkdir(parents=True, exist_ok=True)
        needed = sum(self._missing_bytes(source) for source in sources)
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise DownloadError(f"{self.directory}: {needed / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free")

    def _missing_bytes(self, source: Source) -> int:
        target = self.directory / source.file
        if source.size is None or target.is_file() or (self.in_place and self._in_folder(source)):
            return 0
        part = _part(target)
        return max(0, source.size - (part.stat().st_size if part.is_file() else 0))

    # what is already here

    def _is_checked(self, source: Source, target: Path) -> bool:
        if not target.is_file():
            return False
        if self._is_marked(source, target):
            return True
        if not source.checksums:
            return False  # without the mark nothing tells whether it is whole
        problem = check(source, target)
        if problem:
            logger.warning("%s: %s; fetching it again", target, problem)
            target.unlink()
            return False
        self._mark(source, target)
        return True

    def _marker(self, source: Source) -> Path:
        return self.directory / ".verified" / f"{source.file}.json"

    def _stamp(self, source: Source, path: Path) -> dict:
        stat = path.stat()
        return {
            "path": str(path.resolve()),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "checksums": list(source.checksums),
        }

    def _is_marked(self, source: Source, path: Path) -> bool:
        marker = self._marker(source)
        return marker.is_file() and read_json(marker) == self._stamp(source, path)

    def _mark(self, source: Source, path: Path) -> None:
        write_json(self._marker(source), self._stamp(source, path))

    # mirrors

    def _in_folder(self, source: Source) -> list[Path]:
        if self.mirror is None or is_address(self.mirror):
            return []
        return [path for name in _mirror_names(source) if (path := Path(self.mirror) / name).is_file()]

    def _from_folder(self, source: Source, target: Path) -> Path | None:
        for path in self._in_folder(source):
            if self.in_place and self._is_marked(source, path):
                return path
            problem = check(source, path)
            if problem:
                logger.warning("%s: %s; trying elsewhere", path, problem)
            elif self.in_place:
                self._mark(source, path)
                return path
            else:
                with atomic_path(target) as temporary:
                    shutil.copyfile(path, temporary)
                self._mark(source, target)
                return target
        return None

    def _from_address(self, source: Source, target: Path) -> Path | None:
        for name in _mirror_names(source):
            if self.mirror_failed:
                return None
            try:
                return self._download(source, f"{str(self.mirror).rstrip('/')}/{quote(name)}", target)
            except RefusedError as error:
                logger.debug("%s", error)
            except WrongBytesError as error:
                logger.warning("%s; trying elsewhere", error)
            except UnreachableError as error:
                self.mirror_failed = True
                logger.warning("%s; continuing without the mirror", error)
        return None

    # HTTP

    def _download(self, source: Source, address: str, target: Path) -> Path:
        part = _part(target)
        part.parent.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        for chance in (1, 2):
            try:
                self._transfer(source, address, part)
                problem = check(source, part)
            except WrongBytesError as error:
                problem = str(error)
            if problem is None:
                break
            part.unlink()
            if chance == 2:
                raise WrongBytesError(f"{address}: {problem}, for {source.file}")
            logger.warning("%s: %s; fetching it again", address, problem)
        part.replace(target)
        _state(part).unlink(missing_ok=True)
        self._mark(source, target)
        size = target.stat().st_size
        logger.info("%s: %.1f MB in %.1f s from %s", source.file, size / 1e6, time.monotonic() - begun, address)
        return target

    def _transfer(self, source: Source, address: str, part: Path) -> None:
        """Attempt after attempt until ``part`` has as many bytes as the server announced."""
        failures, furthest = 0, 0
        while True:
            try:
                self._attempt(source, address, part)
                return
            except (_AgainError, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
                length = part.stat().st_size
                failures = 1 if length > furthest else failures + 1
                furthest = max(furthest, length)
                reason = _reason(error)
                if failures >= self.retry.attempts:
                    raise UnreachableError(
                        f"{address}: given up after {failures} failures in a row: {reason}"
                    ) from None
                pause = max(self.retry.backoff(failures), getattr(error, "pause_s", 0.0))
                logger.info("%s: %s; again in %.1f s", address, reason, pause)
                if self.stop.wait(pause):
                    raise _StoppedError from None
            except requests.RequestException as error:
                raise DownloadError(f"{address}: {_reason(error)}") from None
            except OSError as error:
                raise DownloadError(f"{part}: {error.strerror}") from None

    def _attempt(self, source: Source, address: str, part: Path) -> None:
        """One request for what ``part`` still lacks, appended to it."""
        with part.open("ab") as file, requests.Session() as session:
            _lock(file, part)
            offset, state = _resumable(file, part, address)
            if offset and offset == state["total"]:
                return
            headers = {"Accept-Encoding": "identity"}
            if offset:
                headers["Range"] = f"bytes={offset}-"
                validator = state["etag"] or state["last_modified"]
                if validator and not validator.startswith("W/"):
                    headers["If-Range"] = validator
            with session.get(address, headers=headers, stream=True, timeout=self.retry.timeout_s) as response:
                _check_status(response, address)
                offset = _position(response, file, offset, state)
                total = _total(response, offset)
                if None not in (total, source.size) and total != source.size:
                    raise WrongBytesError(f"expected {source.size} bytes, the server announces {total}")
                if total is not None and total - offset > shutil.disk_usage(part.parent).free:
                    raise DownloadError(f"{part}: no space for the {(total - offset) / 1e9:.1f} GB to come")
                write_json(_state(part), _describe(response, address, total))
                self._append(response, file, source, offset, total)

    def _append(
        self, response: requests.Response, file: BinaryIO, source: Source, offset: int, total: int | None
    ) -> None:
        bar = tqdm(total=total, initial=offset, desc=source.name, unit="B", unit_scale=True, leave=False, disable=None)
        with bar:
            # the raw bytes: a server that labels a .gz as Content-Encoding would otherwise have it unpacked
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                file.flush()
                offset += len(chunk)
                bar.update(len(chunk))
                if self.stop.is_set():
                    raise _StoppedError
        if total is not None and offset != total:
            raise _AgainError(f"{offset} of {total} bytes arrived")


def _mirror_names(source: Source) -> list[str]:
    return list(dict.fromkeys([source.file, PurePosixPath(source.file).name]))


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _state(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _lock(file: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DownloadError(f"{part}: another process is downloading it") from None


def _resumable(file: BinaryIO, part: Path, address: str) -> tuple[int, dict]:
    """Bytes that can be kept, and what the server said of the file they belong to."""
    state = read_json(_state(part)) if _state(part).is_file() else {}
    if state.get("address") != address:
        file.truncate(0)
        state = {}
    return file.seek(0, 2), state


def _describe(response: requests.Response, address: str, total: int | None) -> dict:
    headers = response.headers
    return {
        "address": address,
        "total": total,
        "etag": headers.get("ETag"),
        "last_modified": headers.get("Last-Modified"),
    }


def _check_status(response: requests.Response, address: str) -> None:
    status = response.status_code
    if status in BUSY or status >= 500:
        raise _AgainError(f"HTTP {status} {response.reason}", _retry_after(response.headers.get("Retry-After")))
    if status not in (200, 206, 416):
        raise RefusedError(f"{address}: HTTP {status} {response.reason}")


def _retry_after(text: str | None) -> float:
    """Seconds that a Retry-After header asks for, be it a number or a date (RFC 9110, 10.2.3)."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _position(response: requests.Response, file: BinaryIO, offset: int, state: dict) -> int:
    """Where the body belongs in the file; a file that changed on the server is begun again."""
    if response.status_code == 200:
        file.truncate(0)
        return 0
    content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    fits = (
        response.status_code == 206
        and offset
        and content_range
        and int(content_range[1]) == offset
        and (state["total"] is None or content_range[2] in ("*", str(state["total"])))
        and response.headers.get("ETag") == state["etag"]
    )
    if not fits:
        file.truncate(0)
        raise _AgainError(f"HTTP {response.status_code} does not continue what is here; beginning again")
    return offset


def _total(response: requests.Response, offset: int) -> int | None:
    """Size in bytes of the whole file, where the server says it."""
    length = response.headers.get("Content-Length")
    return None if length is None else offset + int(length)


def _reason(error: Exception) -> str:
    """The innermost cause, which names what happened, in one line."""
    while error.args and isinstance(inner := getattr(error.args[-1], "reason", error.args[-1]), Exception):
        error = inner
    return one_line(error) or type(error).__name__
