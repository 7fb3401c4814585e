"""Code that fast tests do not run (benchmarks, scripts of the rules) imports names that exist."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("benchmarks", "src", "tests", "workflow")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_what_a_file_imports_from_spandex_exists(file):
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "spandex":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
