"""Networks by name, wherever a network file is taken: those of the catalogue, and the one that the package may hold."""

import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from spandex.checkout import downloads
from spandex.data.catalog import catalog
from spandex.errors import SpandexError
from spandex.files.locking import locked
from spandex.params.networks import NONE_SHIPPED, PACKAGED, SHIPPED

logger = logging.getLogger(__name__)

SUFFIXES = (".net", ".pt")  # of the catalogue's networks


def catalogued() -> list[str]:
    """The names of the catalogue's networks."""
    return [name for name, source in catalog().sources.items() if source.file.endswith(SUFFIXES)]


def check_name(name: str) -> None:
    """Raise SpandexError if the catalogue has no network of this name."""
    if name not in catalogued():
        raise SpandexError(f"{name!r} is no network of the catalogue, which has {', '.join(catalogued())}")


def network_file(typed: str, mirror: Callable[[], str | None]) -> Path:
    """The file of a network that is given by its name or its path; ``./NAME`` is a file that is called as a network is.

    Args:
        typed: ``packaged``, one of ``catalogued``, or a path.
        mirror: tells what ``named_network`` takes; asked only if a name is of the catalogue.

    Raises:
        SpandexError: as ``named_network``, or no network is packaged.
    """
    if typed != PACKAGED:
        return named_network(typed, mirror()) if typed in catalogued() else Path(typed)
    if not SHIPPED.is_file():
        raise SpandexError(f"{NONE_SHIPPED}; name a file, or one of {', '.join(catalogued())}")
    return SHIPPED


def named_network(name: str, mirror: str | None = None) -> Path:
    """The file of a network of the catalogue, which is downloaded, checked and kept when it is first asked for.

    Args:
        name: one of ``catalogued``.
        mirror: folder or address that is asked before the public one.

    Raises:
        SpandexError: as ``check_name``, or it cannot be had; without a connection the error says how else.
    """
    from spandex.data.download import fetch  # takes long to import
    from spandex.data.transfer import RefusedError, UnreachableError

    check_name(name)
    source = catalog().sources[name]
    kept = downloads() / source.file
    is_new = not kept.is_file()
    try:
        with _alone() if is_new else contextlib.nullcontext():
            fetch([source], downloads(), mirror=mirror)
    except (RefusedError, UnreachableError) as error:
        raise SpandexError(
            f"{name}: {error}; put the file at {kept} by hand, or set SPANDEX_MIRROR to a folder that has {source.file}"
        ) from None
    if is_new:
        logger.info("%s: kept as %s", name, kept)
    return kept


def _alone() -> AbstractContextManager[None]:
    """For downloads, since jobs that go side by side want the same file."""
    downloads().mkdir(parents=True, exist_ok=True)
    return locked(downloads() / "networks")
