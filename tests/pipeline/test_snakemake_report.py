"""Snakemake's own report of a finished build."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from report_build import small_build, write_report
from tables import pruned_rows

REPOSITORY = Path(__file__).parents[2]
REPORTED = ("table.csv", "index.html", "figures/cost.png", "figures/figure1.png", "figures/learning_curves.png")


@pytest.mark.slow
def test_snakemake_reports_results_with_captions(tmp_path, monkeypatch):
    build = small_build(tmp_path, (0.5,))
    write_report(build, monkeypatch)
    for name in ("Snakefile", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "workflow", tmp_path / "workflow")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--report", "report.zip"]
    done = subprocess.run([*command, "--config", f"set={pruned_rows(0.5)}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        contents = {Path(name).name: archive.read(name) for name in archive.namelist()}
    for name in REPORTED:
        assert contents[Path(name).name] == (build.reports / name).read_bytes()
    page = contents["report.html"].decode()
    for caption in (REPOSITORY / "workflow/report").glob("*.rst"):
        first_words = " ".join(caption.read_text().replace("``", "").split()[:4])
        assert first_words in page, caption
