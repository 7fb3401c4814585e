from pathlib import Path

import pytest
import yaml

from spandex import params
from spandex.build import STAGES, finished, lock, record
from spandex.errors import SpandexError
from spandex.phases import products
from spandex.recipes import sidecar

FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = params.load(FILE)


def make(*phases: str) -> None:
    for phase in phases:
        for product in products(PARAMS)[phase]:
            product.parent.mkdir(parents=True, exist_ok=True)
            product.write_text("x")
            sidecar(product).write_text("{}")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stages_are_those_of_dvc_in_order():
    assert tuple(yaml.safe_load((FILE.parent / "dvc.yaml").read_text())["stages"]) == STAGES


def test_stage_is_finished_when_all_before_it_are_and_all_products_have_sidecars():
    make("data", "baseline", "export")
    assert finished(PARAMS) == ["data", "baseline"]
    sidecar(products(PARAMS)["data"][0]).unlink()
    assert finished(PARAMS) == []
    make(*STAGES)
    assert finished(PARAMS) == [*STAGES]


def test_build_with_other_values_leaves_dvc_lock_alone():
    assert "left alone: this build has values" in record(params.load(FILE, {"seed": 2}), PARAMS)


def test_build_that_finished_nothing_leaves_dvc_lock_alone(folder):
    (folder / ".dvc").mkdir()
    assert "left alone: no stage is finished" in record(PARAMS, PARAMS)


def test_failing_dvc_is_reported(folder):
    (folder / ".dvc").mkdir()
    make("data")
    with pytest.raises(SpandexError, match="dvc commit failed: "):
        record(PARAMS, PARAMS)


def test_second_build_in_a_folder_is_refused():
    lock()
    with pytest.raises(SpandexError, match="another build runs in this folder"):
        lock()
