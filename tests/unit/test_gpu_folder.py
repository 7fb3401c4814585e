"""``make gpu``: the folder that is copied to a machine with a GPU, and what runs there."""

import importlib.util
import json
import os
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from gpu import LARGEST, REPOSITORY, mixed_clips, pack
from spandex import params
from spandex.errors import SpandexError
from spandex.networks import SDNN, save_state

RUN = REPOSITORY / "benchmarks/gpu/run.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Packed with clips of the synthetic corpus and a network that is drawn."""
    place = tmp_path_factory.mktemp("gpu")
    overrides = {"profile": "synthetic", "data": {"corpus_minutes": {"train": 2, "validation": 0.2, "test": 0.2}}}
    parameters = params.load(REPOSITORY / "params.yaml", overrides)
    torch.manual_seed(0)
    save_state(SDNN(), place / "network.pt")
    pack(place / "folder", place / "network.pt", mixed_clips(parameters, place / "corpus/manifest.csv"))
    return place / "folder"


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment that has torch, Triton, NumPy and what these require, linked from this one."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    site = next(environment.glob("lib/python*/site-packages"))
    required, seen = ["torch", "triton", "numpy"], set()
    while required:
        try:
            package = distribution(required.pop())
        except PackageNotFoundError:  # for another system
            continue
        if package.name not in seen:
            seen.add(package.name)
            requirements = map(Requirement, package.requires or ())
            required += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
            for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(package.locate_file(top)))
    return environment / "bin/python"


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SpandexError, match="holds something else, which would be lost"):
        pack(tmp_path, tmp_path / "network.pt", None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_is_small_and_holds_no_network_but_the_baseline(folder):
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    assert sum(sizes.values()) < LARGEST
    assert [name for name, size in sizes.items() if size > 2**20] == ["clips.npz", "network.pt"]
    assert "packages/lava/lib/dl/slayer/object_detection/__init__.py" in sizes  # which lava-dl names


@pytest.mark.slow
def test_everything_runs_where_there_are_torch_triton_and_numpy_alone(folder, python):
    assert subprocess.run([python, "-c", "import h5py"], capture_output=True).returncode
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, folder / "run.py", "--interpreter"], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "results/results.json").read_text())
    assert results.keys() == {"seconds", "versions", "stock", "kernels", "speed", "tuning", "compile"}
    assert not any("failure" in found for found in results.values())
    assert all(check["passed"] and check["checks"] for check in results["kernels"].values())
    assert len(results["kernels"]) == 11
    loops = [check for name, check in results["kernels"].items() if " " not in name and name != "spectra"]
    assert len(loops) == 6 and all(check["equal"] == check["checks"] for check in loops)
    assert all(side["step_s"] > 0 for side in results["speed"]["1 x 1"].values())
    assert results["tuning"]["reproducible"] is True
    ours, again, stock = results["tuning"]["losses"].values()
    assert ours == again == pytest.approx(stock, rel=1e-3)
    assert f"# {results['versions']['device']}" in (folder / "results/results.md").read_text()


PARTS = """
import time
def hangs(interpreter):
    yield "before", 1
    time.sleep(60)
def breaks(interpreter):
    yield "before", 2
    raise ValueError("broken here")
PARTS = {"speed": hangs, "tuning": breaks}
"""


def test_part_that_hangs_or_breaks_leaves_what_it_has_found(tmp_path):
    (tmp_path / "run.py").write_text(RUN.read_text())
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "results").mkdir()
    spec = importlib.util.spec_from_file_location("gpu_run", tmp_path / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    assert run.in_own_process("speed", 5, True) == {"before": 1, "failure": "took more than 5 s"}
    assert run.in_own_process("tuning", 60, True) == {"before": 2, "failure": "ValueError: broken here"}
    assert "compile" not in run.table({"seconds": {}, "versions": {"failure": "no GPU"}})


def test_where_there_is_no_gpu_it_says_what_to_do(folder):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, folder / "run.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "torch sees no GPU; python run.py --interpreter" in done.stdout
