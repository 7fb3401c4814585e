"""Benchmarks of the repository."""

import importlib.util
from pathlib import Path

from spandex.errors import SpandexError


def bench(name: str, output: Path | None) -> None:
    """Run ``benchmarks/NAME.py`` of the current directory.

    Raises:
        SpandexError: it is not there.
    """
    path = Path("benchmarks", f"{name}.py")
    if not path.is_file():
        raise SpandexError(f"{path}: no such file; benchmarks run in a clone of the repository")
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.main([] if output is None else ["--json", str(output)])
