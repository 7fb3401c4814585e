"""Callables named as ``package.module:callable``, looked for in the working directory first."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError, one_line
from spandex.files import sha256


def resolve(name: str) -> Callable[..., Any]:
    """The callable of a name.

    Raises:
        SpandexError: the name has another form, its module cannot be imported or does not hold the callable.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise SpandexError(f"{name!r} is not of the form package.module:callable")
    _look_here_first()
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever the user's module raises
        raise SpandexError(f"{name}: {module} cannot be imported ({type(error).__name__}: {one_line(error)})") from None
    if not callable(found):
        raise SpandexError(f"{name}: {module} has no callable {attribute}")
    return found


def source_file(name: str) -> Path | None:
    """The file of a name's module; None where there is none."""
    _look_here_first()
    try:
        spec = importlib.util.find_spec(name.partition(":")[0])
    except Exception:  # whatever a package above it raises; resolve tells of it
        return None
    return Path(spec.origin) if spec is not None and spec.has_location else None


def source_digest(name: str | None) -> str:
    """SHA-256 of the file of a name's module; empty where there is none."""
    source = source_file(name) if name else None
    return sha256(source) if source else ""


def _look_here_first() -> None:
    """A command's own folder stands first in the path, as python's -m has it."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
