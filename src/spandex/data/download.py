"""Downloads that are checked and kept; a mirror is tried before the public address."""

import logging
import shutil
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tqdm.contrib.logging import logging_redirect_tqdm

from spandex.data.catalog import Source
from spandex.data.transfer import (
    DownloadError,
    RefusedError,
    Retry,
    Transfer,
    UnreachableError,
    WrongBytesError,
    check,
    part_of,
    read_mark,
)
from spandex.errors import SpandexError
from spandex.files import atomic_path, write_json

logger = logging.getLogger(__name__)


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
    missing_ok: bool = False,
) -> dict[str, Path]:
    """Fetch several files at a time; those already there and checked are left alone.

    A broken download continues where it stopped (HTTP Range into ``FILE.part``), also in a later call, if the server
    tells versions of the file apart or its size or checksum is published. Connection loss, time-outs, stalls, 408, 429
    and 5xx are tried again, other errors are not. A file of the wrong size or checksum is deleted and fetched once
    more. Progress goes to the terminal, or to the log as one line a file where there is none.

    Args:
        sources: what to fetch; each ends as ``directory / source.file``.
        directory: download folder.
        mirror: folder or http(s) address that is asked first for ``source.file``, then for its last part; what it lacks
            or has wrong comes from the public address, with a line that says so.
        workers: downloads at a time.
        retry: patience with failing servers.
        in_place: leave the files of a mirror folder where they are instead of copying them.
        missing_ok: leave out what servers do not have or refuse.

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
            failed = {name: error for name, future in futures.items() if (error := future.exception())}
        finally:
            job.stop.set()  # matters only when interrupted: the workers leave what they have and end
            pool.shutdown(cancel_futures=True)
    errors = [error for error in failed.values() if not (missing_ok and isinstance(error, RefusedError))]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        unexpected = [error for error in errors if not isinstance(error, SpandexError)]
        if unexpected:
            raise unexpected[0]
        named = "; ".join(map(str, errors[:5])) + ("; ..." if len(errors) > 5 else "")
        raise DownloadError(f"{len(errors)} of {len(futures)} files could not be fetched: {named}")
    return {name: future.result() for name, future in futures.items() if name not in failed}


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
        if self.mirror is not None:
            found = self._from_address(source, target) if is_address(self.mirror) else self._from_folder(source, target)
            if found:
                return found
            logger.info("%s: not from the mirror %s, but from %s", source.file, self.mirror, source.address)
        return self._download(source, source.address, target)

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
        part = part_of(target)
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
        mark = read_mark(self._marker(source))
        origin = mark.pop("origin", None)
        return mark == self._stamp(source, path) and (not source.bound or origin in self._places(source))

    def _mark(self, source: Source, path: Path, origin: str | None = None) -> None:
        write_json(self._marker(source), self._stamp(source, path) | {"origin": origin})

    def _places(self, source: Source) -> list[str]:
        """Everywhere a source is looked for, its public address last."""
        names = dict.fromkeys([source.file, PurePosixPath(source.file).name])
        if self.mirror is None:
            return [source.address]
        if is_address(self.mirror):
            return [*(f"{str(self.mirror).rstrip('/')}/{quote(name)}" for name in names), source.address]
        return [*(str(Path(self.mirror, name)) for name in names), source.address]

    # mirrors

    def _in_folder(self, source: Source) -> list[Path]:
        return [path for place in self._places(source)[:-1] if (path := Path(place)).is_file()]

    def _from_folder(self, source: Source, target: Path) -> Path | None:
        for path in self._in_folder(source):
            if self.in_place and self._is_marked(source, path):
                return path
            problem = check(source, path)
            if problem:
                logger.warning("%s: %s; trying elsewhere", path, problem)
                continue
            if not self.in_place:
                with atomic_path(target) as temporary:
                    shutil.copyfile(path, temporary)
            found = path if self.in_place else target
            self._mark(source, found, str(path))
            return found
        return None

    def _from_address(self, source: Source, target: Path) -> Path | None:
        for address in self._places(source)[:-1]:
            if self.mirror_failed:
                return None
            try:
                return self._download(source, address, target)
            except RefusedError as error:
                logger.debug("%s", error)
            except WrongBytesError as error:
                logger.warning("%s; trying elsewhere", error)
            except UnreachableError as error:
                self.mirror_failed = True
                logger.warning("%s; continuing without the mirror", error)
        return None

    def _download(self, source: Source, address: str, target: Path) -> Path:
        Transfer(source, address, target, self.retry, self.stop).run()
        self._mark(source, target, address)
        return target
