"""Names in the place of network files, at the command line and in params.yaml."""

import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile

from commands import refusal, spandex
from denoising import noisy_pair, small_network
from downloads import QUICK, file_source
from faulty_server import Fault
from spandex import params
from spandex.data import catalog as catalog_module
from spandex.data.audio import to_int16
from spandex.networks import named
from spandex.params import ParamsError
from spandex.params import networks as declared
from spandex.pipeline.provenance import _digest_below, code_digest
from spandex.pipeline.recipes import used

REPOSITORY = Path(__file__).parents[2]
FILE = "ndns/tiny/network.net"


@pytest.fixture
def tiny(server, tmp_path, monkeypatch) -> bytes:
    """A catalogue of one network, tiny-net, which the server has; its bytes. The current folder is outside a clone."""
    content = small_network(tmp_path / "original.net").read_bytes()
    source = file_source(server, content, "network.net").model_copy(update={"name": "tiny-net", "file": FILE})
    content_of = catalog_module.catalog().model_copy(update={"sources": {source.name: source}})
    monkeypatch.setattr(named, "catalog", lambda: content_of)
    monkeypatch.setattr("spandex.data.download.Retry", lambda: QUICK)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return content


def test_network_of_the_catalogue_is_downloaded_once_and_said_where_it_is_kept(tiny, server, caplog):
    kept = Path("data/published", FILE).resolve()
    first = spandex("info", "tiny-net")
    assert first.exit_code == 0 and caplog.messages[-1] == f"tiny-net: kept as {kept}"
    assert kept.read_bytes() == tiny
    server.files.clear()
    caplog.clear()
    again = spandex("info", "tiny-net")
    assert (again.exit_code, again.stdout, caplog.messages) == (0, first.stdout, [])


def test_jobs_that_want_a_network_at_once_both_get_it(tiny, server):
    server.faults["network.net"].append(Fault(trickle=(len(tiny) // 10, 0.05)))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(named.named_network, ["tiny-net"] * 2)
    assert first == second and first.read_bytes() == tiny
    assert len(server.requests) == 1


def test_what_is_downloaded_is_held_to_its_digest(tiny, server):
    server.files["network.net"] = tiny[:-1] + b"?"
    assert "expected md5:" in refusal("info", "tiny-net")
    assert not Path("data/published", FILE).exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/network.net", None], ids=["no server", "no file"])
def test_error_without_a_connection_says_how_to_get_the_network(tiny, server, monkeypatch, address):
    server.files.clear()
    if address:
        there = named.catalog().sources["tiny-net"].model_copy(update={"address": address})
        gone = named.catalog().model_copy(update={"sources": {"tiny-net": there}})
        monkeypatch.setattr(named, "catalog", lambda: gone)
    line = refusal("info", "tiny-net")
    assert line.startswith(f"spandex info: tiny-net: {address or 'http'}")
    assert f"put the file at {Path('data/published', FILE).resolve()}" in line
    assert f"set SPANDEX_MIRROR to a folder that has {FILE}" in line


def test_mirror_of_the_environment_is_asked_first_where_there_is_no_parameter_file(tiny, server, tmp_path, monkeypatch):
    server.files.clear()
    monkeypatch.setenv("SPANDEX_MIRROR", str(tmp_path))
    (tmp_path / "network.net").write_bytes(tiny)
    assert spandex("info", "tiny-net").exit_code == 0


def test_file_with_the_name_of_a_network_is_given_as_a_path(tiny, server):
    server.files.clear()
    Path("tiny-net").write_bytes(tiny)
    assert spandex("info", "./tiny-net").exit_code == 0
    assert "HTTP 404" in refusal("info", "tiny-net")


def test_network_is_evaluated_under_its_name_in_the_catalogue(tiny):
    for index in (1, 2):
        for folder, audio in zip(("noisy", "clean"), noisy_pair(index, 4000), strict=True):
            Path(folder).mkdir(exist_ok=True)
            soundfile.write(f"{folder}/{index}.wav", to_int16(audio), 16_000)
    common = ["--noisy", "noisy", "--clean", "clean", "--no-mos", "--json", "a.json"]
    printed = spandex("evaluate", "tiny-net", "mine=tiny-net", *common).stdout
    assert "\ntiny-net: SI-SNR" in printed and "\nmine: SI-SNR" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        "info packaged",
        "convert packaged --output a.net",
        "run packaged --input a.npy --output b.npy",
        "denoise a.wav b.wav",
        "denoise a.wav b.wav --network packaged",
        "denoise --stream",
        "evaluate packaged",
        "evaluate mine=packaged",
        "evaluate --float-network packaged",
        "train --network packaged --data a --validation a --output b",
        "prune --network packaged --target 0.5 --output b",
        "sparsify --network packaged --model a --train a --validation a --run a --output b",
        "export --float-network packaged --output b",
        "infer --network packaged --clips a --output b",
    ],
)
def test_every_command_takes_names_and_says_where_none_is_packaged(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(named, "SHIPPED", tmp_path / "network.net")
    line = refusal(*arguments.split())
    assert line.startswith(f"spandex {arguments.split()[0]}: packaged: this version ships no network; name a file")
    assert "spandex-prune75-net" in line


def test_packaged_network_is_a_row_that_depends_on_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(declared, "SHIPPED", tmp_path / "network.net")
    overrides = {"set": "networks.mine.file=packaged"}
    with pytest.raises(ParamsError, match=r"networks\.mine\.file: packaged: this version ships no network"):
        params.load(REPOSITORY / "params.yaml", overrides)
    found = []
    for content in ("1", "2"):
        (tmp_path / "network.net").write_text(content)
        loaded = params.load(REPOSITORY / "params.yaml", overrides)
        assert loaded.network("mine").weights == "exported/mine/network.net"
        found.append(used(loaded, ["file.exported/mine/network.net"]))
    assert found[0] != found[1]


def test_packaged_network_is_no_code(tmp_path):
    folder = tmp_path / "src/spandex/packaged"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    before = code_digest(tmp_path)
    (folder / "network.net").write_text("1")
    _digest_below.cache_clear()
    assert code_digest(tmp_path) == before


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The folder of a wheel that ships a small network with a card."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    small_network(folder / "src/spandex/packaged/network.net")
    (folder / "src/spandex/packaged/network.md").write_text("What it is good for.\n")
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_denoises_with_the_network_that_it_ships(wheel, tmp_path):
    def typed(*arguments: str) -> str:
        command = [sys.executable, "-c", "from spandex.cli import app; app()", *arguments]
        environment = os.environ | {"PYTHONPATH": str(wheel)}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    noisy, _ = noisy_pair(1, 4000)
    soundfile.write(tmp_path / "noisy.wav", to_int16(noisy), 16_000)
    typed("denoise", "noisy.wav", "denoised.wav")
    network = wheel / "spandex/packaged/network.net"
    typed("denoise", "noisy.wav", "expected.wav", "--network", str(network))
    denoised, expected = ((tmp_path / name).read_bytes() for name in ("denoised.wav", "expected.wav"))
    assert denoised == expected != (tmp_path / "noisy.wav").read_bytes()
    assert typed("info", "packaged").endswith("\n\nWhat it is good for.\n")
