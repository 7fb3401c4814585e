from pathlib import Path

import pytest

from spandex import params
from spandex.build import record, tidy
from spandex.errors import SpandexError

FILE = Path(__file__).parents[2] / "params.yaml"


def test_tidy_removes_models_that_the_parameters_no_longer_name(tmp_path):
    kept = ["models/embedded/sparsified/prune50/network.pt", "reports/embedded/evaluate/noisy.json"]
    stale = ["models/embedded/sparsified/prune90/network.pt", "reports/embedded/evaluate/prune90.json"]
    elsewhere = ["models/mini/sparsified/prune90/network.pt"]
    for name in [*kept, *stale, *elsewhere]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    removed = tidy(params.load(FILE), tmp_path)
    assert {path.name for path in removed} == {"prune90", "prune90.json"}
    assert [name for name in [*kept, *stale, *elsewhere] if (tmp_path / name).exists()] == [*kept, *elsewhere]
    assert tidy(params.load(FILE), tmp_path) == []


def test_build_with_other_values_leaves_dvc_lock_alone():
    assert "left alone" in record(params.load(FILE, {"seed": 2}), params.load(FILE))


def test_failing_dvc_is_reported(tmp_path, monkeypatch):
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpandexError, match="dvc commit failed: "):
        record(params.load(FILE), params.load(FILE))
