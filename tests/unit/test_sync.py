import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from spandex import params, recipes
from spandex.params import Params
from spandex.recipes import Record, Request, sidecar
from spandex.sync import sync

FILE = Path(__file__).parents[2] / "params.yaml"
BASELINE = Path("models/embedded/baseline/network.pt")
PRUNED = Path("models/embedded/sparsified/prune50/network.pt")
SCORES = Path("reports/embedded/evaluate/prune50.json")
CLIPS = Path("data/embedded/train/clips.json")


def parameters(settings: str = "") -> Params:
    return params.load(FILE, {"set": settings})


def make(output: Path, keys: list[str], inputs: tuple[Path, ...] = (), without: tuple[str, ...] = ()) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"{output}")
    request = Request(keys, list(without), [str(path) for path in inputs], [str(output)])
    Record(request, parameters()).end().write()


@pytest.fixture(autouse=True)
def built(tmp_path, monkeypatch) -> Path:
    """A small build: clips, a baseline trained on them, a network pruned from it, and its scores."""
    monkeypatch.chdir(tmp_path)
    make(CLIPS, ["seed", "data"], without=("data.clips",))
    make(BASELINE, ["seed", "train"], (CLIPS,))
    make(PRUNED, ["pruning.prune50"], (BASELINE,))
    make(SCORES, ["evaluate"], (PRUNED,))
    return tmp_path


def files() -> set[Path]:
    return {path for path in Path().rglob("*") if path.is_file() and not path.name.endswith(recipes.SUFFIX)}


def removed(settings: str = "", dry_run: bool = False) -> dict[Path, str]:
    return {paths[0]: reason for paths, reason in sync(parameters(settings), dry_run)}


def test_nothing_is_removed_where_everything_agrees():
    assert removed() == {}
    assert files() == {CLIPS, BASELINE, PRUNED, SCORES}


def test_all_outputs_of_a_command_stay_and_go_together():
    log = BASELINE.with_name("epochs.csv")  # before the network in the alphabet
    log.write_text("epoch")
    Record(Request(["train"], [], [str(CLIPS)], [str(BASELINE), str(log)]), parameters()).end().write()
    assert removed() == {}
    log.write_text("another")
    removed()
    assert files() == {CLIPS}


def test_changed_parameter_removes_what_depends_on_it_and_says_why():
    reasons = removed("train.lr=0.002")
    assert reasons[BASELINE] == "train.lr was 0.001, is 0.002"
    assert reasons[PRUNED] == f"{BASELINE} is made again"
    assert reasons[SCORES] == f"{PRUNED} is made again"
    assert files() == {CLIPS}
    assert list(Path("models").rglob("*.json")) == []


def test_parameter_of_no_product_removes_nothing():
    assert removed("report.team=other data.clips.train=7") == {}


def test_dry_run_says_the_same_and_changes_nothing():
    would = removed("train.lr=0.002", dry_run=True)
    assert files() == {CLIPS, BASELINE, PRUNED, SCORES}
    assert would == removed("train.lr=0.002")


def test_networks_that_the_parameters_no_longer_name_go_with_their_results():
    reasons = removed("sparsify.targets=[0.9]")
    assert files() == {CLIPS, BASELINE}
    assert reasons[PRUNED.parent] == "the parameters no longer name it"


def test_changed_input_makes_a_product_stale():
    BASELINE.write_text("by hand")
    assert removed()[BASELINE] == f"{BASELINE} is another"
    assert files() == {CLIPS}


def test_changed_code_makes_a_product_stale(monkeypatch, tmp_path):
    recipe = json.loads(sidecar(PRUNED).read_text())
    assert "sync.py" in recipe["code"]
    recipe["code"]["sync.py"] = "another"
    sidecar(PRUNED).write_text(json.dumps(recipe))
    assert removed()[PRUNED] == "the code of sync.py changed"
    assert files() == {CLIPS, BASELINE}


def test_other_version_of_a_library_makes_a_product_stale():
    recipe = json.loads(sidecar(PRUNED).read_text())
    recipe["versions"] = {"numpy": "0.1"}
    sidecar(PRUNED).write_text(json.dumps(recipe))
    assert removed()[PRUNED] == f"numpy was 0.1, is {version('numpy')}"


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_product_without_a_readable_sidecar_is_made_again(content):
    sidecar(PRUNED).unlink()
    if content is not None:
        sidecar(PRUNED).write_text(content)
    assert PRUNED in {path for paths, _ in sync(parameters()) for path in paths}
    assert files() == {CLIPS, BASELINE}


def test_times_are_put_in_the_order_of_making(built):
    for age, path in enumerate([SCORES, PRUNED, BASELINE, CLIPS]):  # as a checkout may leave them
        os.utime(path, ns=(10**18 + age, 10**18 + age))
    assert removed() == {}
    times = [path.stat().st_mtime_ns for path in (CLIPS, BASELINE, PRUNED, SCORES)]
    assert times == sorted(times)


def test_measured_times_are_never_older_than_a_product(built):
    measured = Path("reports/embedded/times/train_baseline.tsv")
    measured.parent.mkdir()
    measured.write_text("s\n1.0\n")
    os.utime(measured, ns=(10**18, 10**18))
    assert removed() == {}
    assert measured.stat().st_mtime_ns >= SCORES.stat().st_mtime_ns
    assert measured.read_text() == "s\n1.0\n"


def test_another_profile_is_left_alone():
    other = Path("models/mini/sparsified/prune90/network.pt")
    other.parent.mkdir(parents=True)
    other.write_text("x")
    removed()
    assert other.is_file()


def test_users_file_that_makes_the_network_counts(built, monkeypatch):
    monkeypatch.syspath_prepend(built)
    Path("mine.py").write_text("def blocks(): ...")
    own = parameters("model.factory=mine:blocks train.epochs=1")
    before = recipes.used(own, ["factory"])
    Path("mine.py").write_text("def blocks(): return []")
    assert recipes.used(own, ["factory"]) != before


def test_change_while_a_command_runs_does_not_pass_for_what_it_used(built):
    scores = Path("reports/embedded/evaluate/dense.json")
    record = Record(Request(["evaluate"], [], [str(PRUNED)], [str(scores)]), parameters())
    PRUNED.write_text("another")
    scores.write_text("scores of the one before")
    record.end().write()
    assert scores in {path for paths, _ in sync(parameters(), dry_run=True) for path in paths}


def test_what_a_user_put_there_stays():
    notes, network = PRUNED.parents[1] / "notes/today.md", Path("models/embedded/exported/mine.net")
    for file in (notes, network):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    removed()
    assert notes.is_file() and network.is_file()


def test_sidecar_that_speaks_of_other_files_removes_none_of_them(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("x")
    recipe = json.loads(sidecar(PRUNED).read_text())
    recipe["outputs"][str(precious)] = "0"
    sidecar(PRUNED).write_text(json.dumps(recipe))
    removed()
    assert precious.is_file() and not PRUNED.is_file()


def test_mirror_counts_by_its_list_and_not_by_its_path(built):
    for name in ("here", "there", "other"):
        Path(name).mkdir()
        Path(name, "corpus.csv").write_text("other" if name == "other" else "same")
    here, there, other, away, none = (
        recipes.used(parameters(text and f"mirror={text}"), ["mirror"])["mirror"]
        for text in ("here", "there", "other", "absent", "")
    )
    assert here == there != other
    assert away == recipes.UNSEEN and none is None


def test_mirror_that_is_not_at_hand_makes_nothing_stale(built):
    Path("mirror").mkdir()
    Path("mirror/corpus.csv").write_text("same")
    recipe = Record(Request(["mirror"], [], [], [str(CLIPS)]), parameters("mirror=mirror")).end()
    assert recipe.disagreement(parameters("mirror=absent")) is None
    assert recipe.disagreement(parameters()).startswith("mirror was ")
