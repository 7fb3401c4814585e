"""What fast tests do not run (benchmarks, rules, the programs of pages) imports names that exist."""

import ast
import importlib
from pathlib import Path

import pytest

from documents import PAGES, blocks

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("benchmarks", "src", "tests", "workflow") for path in (ROOT / folder).rglob("*.py"))
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES} | {
    block.where: block.text for page in PAGES for block in blocks(page) if block.language == "python"
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_program_imports_from_spandex_exists(source):
    for node in ast.walk(ast.parse(SOURCES[source])):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "spandex":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
