"""One file over HTTP: resumed, tried again, and held to what is published and announced of it."""

import contextlib
import email.utils
import fcntl
import hashlib
import logging
import os
import random
import re
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

import requests
import urllib3
from tqdm import tqdm

from spandex.data.catalog import Source
from spandex.errors import SpandexError, one_line
from spandex.files import write_json
from spandex.files.text import read_json

logger = logging.getLogger(__name__)

CHUNK = 1 << 16  # bytes; the most that is read between two looks at the stop signal
LONGEST_BACKOFF_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0
MOST_REDIRECTS = 20
BUSY = {408, 429}  # besides 5xx, the statuses that a later attempt may cure
SPAN = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")  # of a Content-Range
FAILURES = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)  # that may not come again


class DownloadError(SpandexError):
    """A file that could not be had, named with its address."""


class WrongBytesError(DownloadError):
    """A file whose size or checksum is not the published one."""


class RefusedError(DownloadError):
    """A server that has no such file, or does not give it."""


class UnreachableError(DownloadError):
    """A server that kept failing, or whose answers cannot be used."""


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
        attempts: failures in a row after which a server is given up; those that brought new bytes for a second or more
            at the slowest rate do not count.
        pause_s: longest first pause, in seconds; it doubles with every failure, and each is drawn between half and all.
        timeout_s: longest wait for a connection and for the next byte, in seconds.
        slowest: rate in bytes a second below which a connection has stalled.
        stall_s: time in seconds over which the rate is taken.
    """

    attempts: int = 6
    pause_s: float = 1.0
    timeout_s: tuple[float, float] = (10.0, 30.0)
    slowest: float = 1000.0
    stall_s: float = 60.0

    def backoff(self, failures: int) -> float:
        """Pause in seconds after so many failures in a row."""
        return random.uniform(0.5, 1.0) * min(self.pause_s * 2 ** (failures - 1), LONGEST_BACKOFF_S)


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


def part_of(target: Path) -> Path:
    """Where the bytes of a file are kept until all of them are there."""
    return target.with_name(f"{target.name}.part")


def read_mark(path: Path) -> dict[str, Any]:
    """What a JSON file of this package says of a download; nothing if it is missing or damaged."""
    try:
        content = read_json(path)
    except SpandexError:
        return {}
    return content if isinstance(content, dict) else {}


@dataclass
class Transfer:
    """The download of one file.

    Attributes:
        source: what the file must be.
        address: where it is asked for.
        target: where it ends; ``FILE.part`` and ``FILE.part.json`` beside it are what a later call goes on from.
        retry: patience with the server.
        stop: set to leave what is there and end.
    """

    source: Source
    address: str
    target: Path
    retry: Retry
    stop: threading.Event

    def __post_init__(self) -> None:
        self.part = part_of(self.target)
        self.state = self.part.with_name(f"{self.part.name}.json")

    def run(self) -> None:
        """Download the file and check it; what is not as published is fetched once more.

        Raises:
            DownloadError: it could not be had; see its kinds.
        """
        self.part.parent.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        with _alone_at(self.part):
            for chance in (1, 2):
                try:
                    self._complete()
                    problem = check(self.source, self.part)
                except WrongBytesError as error:
                    problem = str(error)
                if problem is None:
                    break
                os.truncate(self.part, 0)
                if chance == 2:
                    self.part.unlink()
                    raise WrongBytesError(f"{self.address}: {problem}, for {self.source.file}")
                logger.warning("%s: %s; fetching it again", self.address, problem)
            self.part.replace(self.target)
            self.state.unlink(missing_ok=True)
        size, passed = self.target.stat().st_size, time.monotonic() - begun
        logger.info("%s: %.1f MB in %.1f s from %s", self.source.file, size / 1e6, passed, self.address)

    def _complete(self) -> None:
        """Attempt after attempt until ``part`` has as many bytes as the server announced."""
        failures, furthest = 0, 0
        while True:
            begun = time.monotonic()
            try:
                self._attempt()
                return
            except (_AgainError, *FAILURES) as error:
                if untrusted := _untrusted(error):
                    raise UnreachableError(f"{self.address}: its certificate is refused: {untrusted}") from None
                length, passed = self.part.stat().st_size, max(1.0, time.monotonic() - begun)
                failures = 1 if length - furthest > self.retry.slowest * passed else failures + 1
                furthest = max(furthest, length)
                reason = one_line(_cause(error)) or type(_cause(error)).__name__
                if failures >= self.retry.attempts:
                    raise UnreachableError(
                        f"{self.address}: given up after {failures} failures in a row: {reason}"
                    ) from None
                pause = max(self.retry.backoff(failures), getattr(error, "pause_s", 0.0))
                logger.info("%s: %s; again in %.1f s", self.address, reason, pause)
                if self.stop.wait(pause):
                    raise _StoppedError from None
            except requests.RequestException as error:
                raise UnreachableError(f"{self.address}: {one_line(_cause(error))}") from None
            except OSError as error:
                raise DownloadError(f"{self.part}: {error.strerror}") from None

    def _attempt(self) -> None:
        """One request for what ``part`` still lacks, appended to it."""
        with self.part.open("ab") as file, _Session() as session:
            offset, state = self._resumable(file)
            if offset and offset == state.get("total"):
                return
            headers = {"Accept-Encoding": "identity"}
            if offset:
                headers["Range"] = f"bytes={offset}-"
                if validator := state.get("validator"):
                    headers["If-Range"] = validator
            with session.follow(self.address, headers=headers, timeout=self.retry.timeout_s) as response:
                _check_status(response, self.address)
                offset = _position(response, file, offset, state)
                total = _total(response, offset)
                self._check_promise(response, offset, total)
                write_json(self.state, {"address": self.address, "total": total, "validator": _validator(response)})
                self._append(response, file, offset, total)

    def _resumable(self, file: BinaryIO) -> tuple[int, dict[str, Any]]:
        """Bytes that can be kept, and what the server said of the file they belong to.

        Where neither the server nor the publisher tells one version of the file from another, none can.
        """
        state = read_mark(self.state)
        told_apart = state.get("validator") or self.source.size is not None or self.source.checksums
        if state.get("address") != self.address or not told_apart:
            file.truncate(0)
            return 0, {}
        return file.seek(0, 2), state

    def _check_promise(self, response: requests.Response, offset: int, total: int | None) -> None:
        """Refuse, before its first byte, what cannot become the file."""
        published, encoding = self.source.size, response.headers.get("Content-Encoding", "identity").strip().lower()
        if None not in (total, published):
            is_labelled = total == published
        else:
            is_labelled = self.source.file.endswith((".gz", ".tgz"))
        if encoding != "identity" and not is_labelled:  # some servers call a file that is a .gz so
            raise WrongBytesError(f"the server sends it compressed ({encoding}), which it was not asked to")
        if None not in (total, published) and total != published:
            raise WrongBytesError(f"expected {published} bytes, the server announces {total}")
        if total is not None and total - offset > shutil.disk_usage(self.part.parent).free:
            raise DownloadError(f"{self.part}: no space for the {(total - offset) / 1e9:.1f} GB to come")

    def _append(self, response: requests.Response, file: BinaryIO, offset: int, total: int | None) -> None:
        limit = self.source.size if total is None else total
        with tqdm(
            total=total, initial=offset, desc=self.source.name, unit="B", unit_scale=True, leave=False, disable=None
        ) as bar:
            for chunk in self._chunks(response.raw):
                offset += len(chunk)
                if limit is not None and offset > limit:
                    raise WrongBytesError(f"expected {limit} bytes, the server sends more")
                file.write(chunk)
                file.flush()
                bar.update(len(chunk))
                if self.stop.is_set():
                    raise _StoppedError
        if total is not None and offset != total:
            raise _AgainError(f"{offset} of {total} bytes arrived")

    def _chunks(self, raw: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """Bytes as they come; not unpacked, which is what a server that labels a .gz as encoded would cause."""
        begun, arrived = time.monotonic(), 0
        while chunk := raw.read1(CHUNK, decode_content=False):
            yield chunk
            arrived += len(chunk)
            passed = time.monotonic() - begun
            if passed >= self.retry.stall_s:
                if arrived < self.retry.slowest * passed:
                    raise _AgainError(f"stalled, {arrived} bytes in {passed:.1f} s")
                begun, arrived = time.monotonic(), 0


class _Session(requests.Session):
    """Follows redirects without reading the bodies that come with them."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None  # requests itself follows none

    def follow(self, address: str, **options: Any) -> requests.Response:
        """The answer at the end of the redirects, its body still to be read."""
        for _ in range(MOST_REDIRECTS + 1):
            response = self.get(address, stream=True, **options)
            location = super().get_redirect_target(response)
            if location is None:
                return response
            response.close()
            try:
                address = urljoin(address, location)
            except ValueError:
                raise requests.exceptions.InvalidURL(f"redirected to {location!r}") from None
        raise requests.TooManyRedirects(f"more than {MOST_REDIRECTS} redirects, the last to {address}")


@contextlib.contextmanager
def _alone_at(part: Path) -> Iterator[None]:
    """Hold the lock of what a download goes on from, until it has its name."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{part}: another process is downloading it") from None
        yield


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
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _position(response: requests.Response, file: BinaryIO, offset: int, state: dict[str, Any]) -> int:
    """Where the body belongs in the file; a file that changed on the server is begun again."""
    if response.status_code == 200:
        file.truncate(0)
        return 0
    span = _span(response)
    fits = (
        span
        and offset
        and int(span[1]) == offset
        and (state.get("total") is None or span[2] in ("*", str(state["total"])))
        and _validator(response) == state.get("validator")
    )
    if not fits:
        file.truncate(0)
        raise _AgainError(f"HTTP {response.status_code} does not continue what is here; beginning again")
    return offset


def _span(response: requests.Response) -> re.Match[str] | None:
    """First byte, and size or ``*``, of a partial answer."""
    return SPAN.fullmatch(response.headers.get("Content-Range", "")) if response.status_code == 206 else None


def _total(response: requests.Response, offset: int) -> int | None:
    """Size in bytes of the whole file, where the server says it."""
    span = _span(response)
    if span and span[2] != "*":
        return int(span[2])
    if "Transfer-Encoding" in response.headers:
        return None  # that decides, whatever Content-Length says (RFC 9112, 6.3)
    text = response.headers.get("Content-Length")
    if text is None:
        return None
    lengths = {length.strip() for length in text.split(",")}  # more than one, if the header is there twice
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,19}", *lengths):
        raise requests.exceptions.InvalidHeader(f"the server announces {text!r} bytes")
    return offset + int(*lengths)


def _validator(response: requests.Response) -> str | None:
    """What tells a version of a file from another to the last byte (RFC 9110, 8.8): not a weak ETag."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _cause(error: BaseException) -> BaseException:
    """The innermost error, which names what happened."""
    for inner in (getattr(error, "reason", None), *error.args[-1:]):
        if isinstance(inner, BaseException):
            return _cause(inner)
    return error


def _untrusted(error: BaseException) -> str | None:
    """What is wrong with a server's certificate, if that is the error."""
    cause = _cause(error)
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else None
