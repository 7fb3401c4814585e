"""lava-dl's own tests of netx and of the sigma-delta blocks, as its wheel ships them, in this environment."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

SHIPPED = Path(str(importlib.metadata.distribution("lava-dl").locate_file("tests/lava/lib/dl")))
SIGMA_DELTA = ["slayer/block/test_sigma_delta.py", "slayer/neuron/test_sigma_delta.py"]


def run_shipped(tmp_path: Path, *paths: str) -> tuple[int, int]:
    """Run shipped tests in a process that has only ``import spandex`` added; return how many (ran, skipped)."""
    for path in paths:  # a copy, since the tests write networks beside themselves
        copy = shutil.copytree if (SHIPPED / path).is_dir() else shutil.copy
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        copy(SHIPPED / path, tmp_path / path)
    options = ["-q", "-p", "spandex", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    options += ["--import-mode=importlib", "--junit-xml=report.xml"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths], cwd=tmp_path, capture_output=True, text=True, timeout=800
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    suite = ElementTree.parse(tmp_path / "report.xml").find("testsuite")
    skipped = int(suite.get("skipped"))
    return int(suite.get("tests")) - skipped, skipped


@pytest.mark.slow
def test_shipped_sigma_delta_tests_pass(tmp_path):
    assert run_shipped(tmp_path, *SIGMA_DELTA) == (7, 0)


@pytest.mark.slow
def test_shipped_netx_tests_pass_and_only_those_for_loihi_skip(tmp_path):
    assert run_shipped(tmp_path, "netx") == (19, 5)
