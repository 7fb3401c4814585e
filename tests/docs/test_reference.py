"""The reference names all there is; the site builds without a warning and asks nothing of the network."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from documents import REPOSITORY
from spandex.cli.commands import app
from spandex.params import Params

DOCUMENTED_KEY = re.compile(r"`([a-z0-9_.]+)`")
TWIN = "companions.full."  # has the keys of companions.small


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all values of a model, those of its sections included."""
    for name, field in model.model_fields.items():
        types = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if section:
            yield from keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_parameter_is_documented_and_none_that_is_not():
    rows = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "docs/reference/params.md").read_text(), re.MULTILINE)
    documented = [key for row in rows for key in DOCUMENTED_KEY.findall(row)]
    assert sorted(documented) == sorted(key for key in keys(Params) if not key.startswith(TWIN))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ
        | {"NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_every_page_begins_with_the_question_that_it_answers(site):
    beginning = re.compile(r"<h1[^>]*>[^\n]*</h1>\s*<p><em>[^<]+\?</em></p>")
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert [page.name for page in pages if not beginning.search(page.read_text())] == []


def test_site_loads_nothing_from_elsewhere(site):
    start = r"(?:<(?:script|img|iframe)[^>]*\bsrc|<link[^>]*\bhref|@import|url\()"
    loads = re.compile(start + r"""\s*=?\s*["'(]?((?:https?:)?//[^"')> ]+)""")
    found = {match for page in site.rglob("*.html") for match in loads.findall(page.read_text())}
    assert {address for address in found if "w3.org" not in address} == set()


def test_site_searches_without_a_network_or_a_server(site, browser):
    page = browser.new_context(offline=True).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "howto/denoise.html").as_uri())
    page.get_by_role("textbox", name="Search").press_sequentially("betweenness")
    page.locator(".md-search-result__link", has_text="Lyapunov").first.click()
    page.wait_for_url("**/explanation/lyapunov_pruning.html*")
    assert all(address.startswith("file:") for address in asked)


def test_site_lists_every_command_with_its_options(site):
    page = (site / "reference/cli.html").read_text()
    for name, command in get_command(app).commands.items():
        if command.hidden:
            continue
        assert f'id="{name}"' in page
        shown = [option for option in command.params if not getattr(option, "hidden", False)]
        for option in (name for parameter in shown for name in parameter.opts if name.startswith("--")):
            assert f"<code>{option}</code>" in page, option


def test_site_has_the_python_api_from_its_docstrings(site):
    page = (site / "reference/python.html").read_text()
    for package in re.findall(
        r"^::: (spandex\.\w+)$", (REPOSITORY / "docs/reference/python.md").read_text(), re.MULTILINE
    ):
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name)):
                assert re.search(rf'id="{package}\.(?:\w+\.)?{name}"', page), f"{package}: {name}"


def test_pictures_are_small():
    assert all(file.stat().st_size < 300_000 for file in (REPOSITORY / "docs").rglob("*.png"))
