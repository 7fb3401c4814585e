"""Benchmarks of the repository."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from spandex.errors import SpandexError


def bench(name: str, output: Path | None = None, arguments: Sequence[str] = ()) -> None:
    """Run ``benchmarks/NAME.py`` of the current directory.

    Args:
        name: of the benchmark.
        output: JSON file to write.
        arguments: of the benchmark's own.

    Raises:
        SpandexError: it is not there.
    """
    path = Path("benchmarks", f"{name}.py")
    if not path.is_file():
        raise SpandexError(f"{path}: no such file; benchmarks run in a clone of the repository")
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.main([*arguments, *([] if output is None else ["--json", str(output)])])


def benchmark_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Of the command line of ``benchmarks/NAME.py``, with ``--json`` alone; no option may be shortened."""
    parser = argparse.ArgumentParser(
        prog=f"spandex bench {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures there")
    return parser
