"""What README and docs tell a reader to type, typed in the order of each page: toy size, nothing from the network."""

import csv
import io
import itertools
import os
import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from documents import PAGES, REPOSITORY, Block, blocks, is_run, name
from network_files import INTEGRATOR, convolution, dense, image, weights, write_layers
from spandex.data import read_manifest
from toy_project import TOY, commit, copied, new_project, params_of, servers, write_params

FRESH = {"docs/tutorial/index.md"}  # pages that start from a clone; the others have a finished build
LONG = {"docs/tutorial/index.md", "docs/howto/reruns.md", "docs/howto/share.md"}  # many builds
UNREACHABLE = "http://127.0.0.1:9"
OTHERS = {
    "mini": {key: TOY[key] for key in ("train", "sparsify", "deploy")} | {"data": {"clips": TOY["data"]["clips"]}},
    "dns4": {"train": TOY["train"]},
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def completed(folder: Path) -> Path:
    """A project with the files beside it that a reader has or adds."""
    for file in ("pyproject.toml", "requirements-uv.lock", "README.md"):
        shutil.copy(REPOSITORY / file, folder)
    params = params_of(folder)
    for profile, sections in OTHERS.items():
        for section, values in sections.items():
            params["profiles"][profile][section] |= values
    write_params(folder, params)
    for block in (block for page in PAGES for block in blocks(page) if block.title):
        (folder / block.title).write_text(block.text)
    commit(folder, "What readers add")
    shutil.copytree(REPOSITORY / "tools", folder / "tools")
    (folder / ".uv/bin").mkdir(parents=True)
    for made in (".uv/bin/uv", ".venv/.ready"):  # installed, says make
        (folder / made).touch()
    return folder


def environment(folder: Path) -> dict[str, str]:
    removed = ("SPANDEX_", "MLFLOW_", "DVC_", "GIT_", "MAKE", "MFLAGS", "PYTEST_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    proxies = {f"{scheme}_proxy": UNREACHABLE for scheme in ("http", "https")} | {"no_proxy": "127.0.0.1,localhost"}
    path = f"{folder / '.venv/bin'}:{kept['PATH']}"
    ours = {"PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}
    return kept | proxies | ours | servers


def run(command: list[str], folder: Path, typed: str | None = None) -> str:
    """Both streams of a command that succeeds."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        input=typed,
        stdin=None if typed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{typed or ''}\n{done.stdout}"
    return done.stdout


def reader_types(block: Block, folder: Path) -> str:
    """What a block of shell commands prints; the next one finds its folder and variables."""
    state = folder.parent / "state"
    before = f"source {state}\n" if state.is_file() else ""
    after = f'\n{{ export -p; echo "cd $PWD"; }} > {state}\n'
    return run(["bash", "-eo", "pipefail", "-c", before + block.text + after], folder)


def place_longer(clip: Path, copy: Path) -> None:
    """A clip that batches of the usual size and length can be cut from."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    audio, rate = soundfile.read(clip, dtype="int16")
    soundfile.write(copy, np.tile(audio, 8), rate)


def place_readers_files(folder: Path) -> None:
    """The files that pages name as the reader's own, from a finished build."""
    models, data = folder / "models/synthetic", folder / "data/synthetic"
    for file in ("network.net", "spandex50.net"):
        shutil.copy(models / "exported/prune50/network.net", folder / file)
    shutil.copy(models / "exported/dense/network.net", folder / "baseline.net")
    shutil.copy(models / "sparsified/prune50/network.pt", folder / "network.pt")
    folders = {"train": ("train", "my_clips"), "validation": ("validation", "other_clips")}
    for split, copies in folders.items():
        for clip, here in itertools.product((data / split).glob("*/*.wav"), copies):
            place_longer(clip, folder / here / clip.relative_to(data / split))
    for here in (".", "recordings"):
        for part in ("noisy", "clean"):
            shutil.copytree(data / "test" / part, folder / here / part)
    clip = next((data / "test/noisy").glob("*.wav"))
    shutil.copy(clip, folder / "noisy.wav")
    samples, _ = soundfile.read(clip, dtype="int16")
    (folder / "noisy.raw").write_bytes(samples.tobytes())
    write_layers(folder / "classifier.net", dense(weights(np.random.default_rng(2), (10, 784)), INTEGRATOR))
    pool = convolution(np.full((1, 1, 2, 2), 64), (4, 4, 3), INTEGRATOR) | {"type": "pool", "shape": [3, 3, 3]}
    write_layers(folder / "pooled.net", image(4, 4, 3, None), pool)
    np.savez(folder / "images.npz", x=np.random.default_rng(3).random((5, 28, 28, 1)), y=np.arange(5))
    np.save(folder / "X.npy", np.random.default_rng(1).integers(-64, 64, (257, 50)))
    for number, entry in enumerate(read_manifest(data / "corpus/manifest.csv")):
        if entry.kind == "speech":
            copy = folder / f"my_audio/speech/{entry.split}/{entry.group}-{number}.wav"
        else:
            fold = {"train": 1, "validation": 3, "test": 4}[entry.split]
            copy = folder / f"my_audio/noise/any/{fold}-{number}-a.wav"
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, *soundfile.read(data / "corpus" / entry.path))


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone whose builds take a minute, with the environment of these tests as its own."""
    return completed(new_project(tmp_path_factory.mktemp("clone") / "spandex", evaluate={"mos": False}))


@pytest.fixture(scope="module")
def built(toy_build, tmp_path_factory) -> Path:
    """A clone with a finished build and the reader's files."""
    folder = completed(copied(toy_build, tmp_path_factory.mktemp("built"), "spandex"))
    place_readers_files(folder)
    return folder


def in_words(text: str) -> list[str]:
    """Lines without their numbers; those in names, as in prune90, stay."""
    return [" ".join(re.sub(r"(?<![\w.])-?\d[\d.,]*", "#", line).split()) for line in text.splitlines() if line.strip()]


def holds_shown(shown: Block, printed: str) -> None:
    """Lines of words are printed as shown; of those with numbers, whose layout follows their width, half."""
    lines, found = in_words(shown.text), in_words(printed)
    missing = [line for line in lines if line != "..." and not any(line in other for other in found)]
    numbers = [line for line in missing if "#" in line]
    assert len(numbers) == len(missing) <= len(lines) / 2, f"{shown.where}: not printed: {missing}\n{printed}"


def sweep_ran(folder: Path) -> None:
    """All six experiments of the tutorial's sweep are there, each with its own values and results."""
    shown = csv.DictReader(io.StringIO(run(["dvc", "exp", "show", "--csv"], folder)))
    rows = [row for row in shown if row["Experiment"] and row["dense.si_snr_db"]]
    swept = {(float(row["train.lr"]), float(row["networks.prune75.magnitude.target"])) for row in rows}
    assert {(rate, target) for rate in (0.0005, 0.001, 0.002) for target in (0.75, 0.85)} <= swept


AFTERWARDS = {"docs/tutorial/index.md": sweep_ran}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long if name(page) in LONG else [], id=name(page))
        for page in PAGES
        if any(map(is_run, blocks(page)))
    ],
)
def test_page_does_what_it_says(page, clone, request, tmp_path):
    folder = tmp_path / "spandex"
    start = clone if name(page) in FRESH else request.getfixturevalue("built")
    run(["cp", "--archive", str(start), str(folder)], start)
    printed = None
    for language, group in groupby(blocks(page), key=lambda block: block.language):
        together = [block for block in group if is_run(block) or language == "text"]
        if language == "python" and together:
            printed = run(["python", "-"], folder, "\n".join(block.text for block in together))
        for block in together:
            if language == "sh":
                printed = reader_types(block, folder)
            elif language == "text" and printed is not None:
                holds_shown(block, printed)
                printed = None
    if name(page) in AFTERWARDS:
        AFTERWARDS[name(page)](folder)
