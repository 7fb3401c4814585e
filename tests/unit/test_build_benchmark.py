"""Where the time of a build went, from what it left."""

import json
import os

import pytest

from commands import refusal
from spandex.steps.bench import bench


@pytest.fixture
def reports(tmp_path):
    """Two evaluations side by side, of 10 s each, with 8 and 6 processor seconds, and training of 20 s after them."""

    def step(rule, name, wall_s, end, used_s):
        for folder, suffix, text in (
            ("times", "tsv", f"s\th:m:s\trule_name\n{wall_s}\t-\t{rule}\n"),
            ("logs", "log", f"used {used_s:.2f} s of processor time and 1.0 MB of memory\n"),
        ):
            path = tmp_path / folder / f"{name}.{suffix}"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        os.utime(path, (end, end))  # of the log; whatever syncs the build renews the others

    step("evaluate_network", "evaluate_baseline", 10.0, 1010, 8)
    step("evaluate_network", "shards/evaluate_prune.net", 10.0, 1010, 6)
    step("train_baseline", "train_baseline", 20.0, 1030, 30)
    return tmp_path


def test_time_is_told_by_kind_with_what_no_core_used(reports, tmp_path, capsys):
    bench("build", tmp_path / "out.json", ["--reports", str(reports)])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["evaluate_network"] == {
        "steps": 2,
        "wall_s": 20.0,
        "processor_s": 14.0,
        "cores_busy": 0.7,
        "idle_core_s": pytest.approx(6.0),
    }
    assert found["train_baseline"]["idle_core_s"] == pytest.approx(10.0)
    whole = found["the whole build"]
    assert (whole["steps"], whole["wall_s"], whole["processor_s"], whole["idle_core_s"]) == (3, 30.0, 44.0, 16.0)
    assert "| train_baseline | 1 | 20 | 30 | 1.50 | 10 |" in capsys.readouterr().out


def test_folder_without_a_build_is_refused(tmp_path):
    assert "no build has left its times" in refusal("bench", "build", "--reports", tmp_path)
