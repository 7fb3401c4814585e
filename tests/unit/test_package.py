"""``make package`` on a build of one small network."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile

from commands import spandex
from denoising import noisy_pair, small_network
from package import REPOSITORY, card, compress, main
from spandex.data.audio import to_int16
from spandex.errors import SpandexError
from spandex.report.wording import number

MANIFEST = "data/mini/corpus/manifest.csv.recipe.json"


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """The folder of a build whose prune75 is small and scored on two clips."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copy(REPOSITORY / "params.yaml", folder)
    network = folder / "models/mini/exported/prune75/network.net"
    scores = folder / "reports/mini/evaluate/prune75.json"
    for file in (network, scores, folder / MANIFEST):
        file.parent.mkdir(parents=True)
    small_network(network)
    (folder / MANIFEST).write_text(json.dumps({"params": {"mirror": "0" * 64}}))
    for index in (1, 2):
        for part, audio in zip(("noisy", "clean"), noisy_pair(index, 4000), strict=True):
            (folder / part).mkdir(exist_ok=True)
            soundfile.write(folder / part / f"{index}.wav", to_int16(audio), 16_000)
    clips = ["--noisy", folder / "noisy", "--clean", folder / "clean", "--no-mos"]
    assert spandex("evaluate", f"prune75={network}", *clips, "--json", scores).exit_code == 0
    return folder


def test_network_is_put_into_the_package_with_a_card_of_its_scores(build, tmp_path):
    main("mini", "prune75", build, tmp_path / "network.net")
    told = spandex("info", tmp_path / "network.net").stdout
    original = spandex("info", build / "models/mini/exported/prune75/network.net").stdout
    assert told.startswith(original)
    scores = json.loads((build / "reports/mini/evaluate/prune75.json").read_text())
    own = scores["networks"]["prune75"]
    mean, low, high = (number(value, 2) for value in (own["si_snr_db"], *own["intervals"]["si_snr_db"]))
    assert f" | {mean} ({low} to {high}) |" in told
    assert "magnitude: target 0.75" in told and "ESC-10" in told


def test_network_that_is_too_large_is_not_put_there(build, tmp_path, monkeypatch):
    monkeypatch.setattr("package.LARGEST_KB", 1)
    with pytest.raises(SpandexError, match=r"network\.net: takes \d+ KB compressed; the package takes up to 1"):
        compress(build / "models/mini/exported/prune75/network.net", tmp_path / "network.net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["baseline", "spandex75"])
def test_network_that_was_not_fine_tuned_here_has_no_card(build, tmp_path, name):
    with pytest.raises(SpandexError, match=f"{name}: others made it, or it is where training starts"):
        card("mini", name, build)


def test_noise_that_is_not_for_commercial_use_makes_no_network_of_the_package(build, tmp_path):
    shutil.copytree(build, tmp_path / "build")
    (tmp_path / "build" / MANIFEST).write_text(json.dumps({"params": {"mirror": None}}))
    with pytest.raises(SpandexError, match=r"manifest\.csv: not LibriSpeech and ESC-10 of a mirror"):
        main("mini", "prune75", tmp_path / "build", tmp_path / "network.net")
