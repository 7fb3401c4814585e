import json
from pathlib import Path

import pytest

from spandex.steps.bench import bench

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_loading_is_reported_against_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    bench("loader", tmp_path / "out.json", ["--shapes", "2x1.5", "--clips", "2", "--repeats", "1"])
    figures = json.loads((tmp_path / "out.json").read_text())["2x1.5"]
    for name in ("wav", "mixing", "kept"):
        ratio = figures[f"{name}_audio_s_per_s"] / figures["training_audio_s_per_s"]
        assert figures[f"{name}_ratio"] == pytest.approx(ratio)
        assert figures[f"{name}_share"] > 0
    assert "from WAV files" in capsys.readouterr().out
