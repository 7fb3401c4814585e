"""Rebuild a revision from nothing, and compare every number with what that revision recorded."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spandex.checkout import EXPERIMENTS, main_checkout
from spandex.errors import SpandexError, one_line
from spandex.files.text import parse_yaml, read_json, read_text
from spandex.pipeline.build import own_path

LOCK_FILE = "requirements.lock"
Numbers = Mapping[str, Mapping[str, float]]


class Tolerance(NamedTuple):
    """How far a rebuilt number may be from the recorded one: the larger of both.

    Attributes:
        absolute: in the number's unit.
        relative: of the recorded number.
    """

    absolute: float = 0.0
    relative: float = 0.0


# The same machine and versions give the same digits. Others round products differently, which training amplifies.
TOLERANCES = {
    **dict.fromkeys(("si_snr_db", "si_snri_db", "float_si_snr_db", "fixed_minus_float_db"), Tolerance(0.1)),
    **dict.fromkeys(("mos_ovrl", "mos_sig", "mos_bak"), Tolerance(0.02)),
    **dict.fromkeys(("float_power_proxy_mops_per_s", "deployed_power_proxy_mops_per_s"), Tolerance(0, 0.03)),
    **dict.fromkeys(("float_pdp_proxy_mops", "deployed_pdp_proxy_mops"), Tolerance(0, 0.03)),
    **dict.fromkeys(("params", "size_kb"), Tolerance(0, 0.01)),
    "sparsity": Tolerance(0.001),
    "deployed_sparsity": Tolerance(0.01),
}


class Comparison(NamedTuple):
    """One number of a revision: as recorded, as rebuilt (None where it is missing), and how far they may differ."""

    model: str
    metric: str
    recorded: float | None
    rebuilt: float | None
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether both are there and agree."""
        if self.recorded is None or self.rebuilt is None:
            return False
        return abs(self.rebuilt - self.recorded) <= self.allowed


def reproduce(revision: str, workers: int | None = None) -> list[Comparison]:
    """Rebuild a revision in a temporary clone, with the values of its params.yaml.

    The clone runs its own code, in this environment if its lock file is the same, else in one that it installs. It lies
    where DVC has its workspaces, so that the mirror and the tracking store are those of this checkout.

    Raises:
        SpandexError: there is no such revision, it recorded no numbers, or its build fails.
    """
    root = main_checkout()
    asked = ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    commit = _output(asked, f"{revision}: no such revision").strip()
    workspaces = root.joinpath(*EXPERIMENTS)
    workspaces.mkdir(parents=True, exist_ok=True)
    clone = Path(tempfile.mkdtemp(prefix="reproduce-", dir=workspaces))
    try:
        _output(["git", "clone", "--quiet", "--no-checkout", str(root), str(clone)], f"{root}: cannot be cloned")
        _output(["git", "-C", str(clone), "checkout", "--quiet", commit], f"{revision}: cannot be checked out")
        profile = parse_yaml(read_text(clone / "params.yaml"))["profile"]  # whose sections may be others than today's
        metrics = Path("reports", profile, "metrics.json")
        recorded = _recorded(root, commit, metrics, revision)
        _build(root, clone, workers, revision)
        return compare(recorded, read_json(clone / metrics))
    finally:
        shutil.rmtree(clone)


def compare(recorded: Numbers, rebuilt: Numbers) -> list[Comparison]:
    """Every number of either, by name of the network and of the metric; see ``TOLERANCES``."""
    names = dict.fromkeys((model, metric) for part in (recorded, rebuilt) for model in part for metric in part[model])
    return [
        Comparison(model, metric, before, after, _allowed(metric, before))
        for model, metric in names
        for before, after in [(recorded.get(model, {}).get(metric), rebuilt.get(model, {}).get(metric))]
    ]


def _allowed(metric: str, recorded: float | None) -> float:
    tolerance = TOLERANCES.get(metric, Tolerance())
    return max(tolerance.absolute, tolerance.relative * abs(recorded or 0))


def _recorded(root: Path, commit: str, metrics: Path, revision: str) -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, metrics.name)
        command = [sys.executable, "-m", "dvc", "get", str(root), str(metrics), "--rev", commit, "--out", str(file)]
        lost = f"{metrics} is neither in DVC's cache nor its remote; make and a commit of dvc.lock record it"
        _output(command, f"{revision}: {lost}")
        return json.loads(file.read_text(encoding="utf-8"))


def _build(root: Path, clone: Path, workers: int | None, revision: str) -> None:
    unwanted = ("SPANDEX_SET", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted} | {"PATH": own_path()}
    word = "workers" if "WORKERS" in read_text(clone / "Makefile") else "cores"  # as it was called before
    command = ["spandex", "rebuild", *([f"--{word}", str(workers)] if workers else [])]
    if (clone / LOCK_FILE).read_bytes() != (root / LOCK_FILE).read_bytes():
        given = {word.upper(): workers, "MIRROR": environment.get("SPANDEX_MIRROR")}
        command = ["make", "rebuild", *(f"{name}={value}" for name, value in given.items() if value)]
    if subprocess.run(command, cwd=clone, env=environment).returncode:
        raise SpandexError(f"{revision}: its build fails")


def _output(command: list[str], problem: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SpandexError(f"{problem} ({one_line(done.stderr)})" if done.stderr.strip() else problem)
    return done.stdout
