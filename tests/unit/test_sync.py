import json
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from commands import spandex
from spandex import params
from spandex.errors import SpandexError
from spandex.params import Params
from spandex.pipeline import recipes
from spandex.pipeline.recipes import Record, Request, sidecar
from spandex.pipeline.sync import sync

FILE = Path(__file__).parents[2] / "params.yaml"
BASELINE = Path("models/synthetic/baseline/network.pt")
PRUNED = Path("models/synthetic/sparsified/prune50/network.pt")
SCORES = Path("reports/synthetic/evaluate/prune50.json")
CLIPS = Path("data/synthetic/train/clips.json")


def parameters(settings: str = "") -> Params:
    return params.load(FILE, {"set": settings})


def make(output: Path, keys: list[str], inputs: tuple[Path, ...] = (), without: tuple[str, ...] = ()) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"{output}")
    request = Request(keys, list(without), [str(path) for path in inputs], [str(output)])
    Record(request, parameters()).end()


@pytest.fixture(autouse=True)
def built(tmp_path, monkeypatch) -> Path:
    """A small build: clips, a baseline trained on them, a network pruned from it, and its scores."""
    monkeypatch.chdir(tmp_path)
    make(CLIPS, ["seed", "data"], without=("data.clips",))
    make(BASELINE, ["seed", "train"], (CLIPS,))
    make(PRUNED, ["training.prune50"], (BASELINE,))
    make(SCORES, ["evaluate"], (PRUNED,))
    return tmp_path


def files() -> set[Path]:
    return {path for path in Path().rglob("*") if path.is_file() and not path.name.endswith(recipes.SUFFIX)}


def removed(settings: str = "", dry_run: bool = False) -> dict[Path, str]:
    return {paths[0]: reason for paths, reason in sync(parameters(settings), dry_run).removed}


def test_nothing_is_removed_where_everything_agrees():
    assert removed() == {}
    assert files() == {CLIPS, BASELINE, PRUNED, SCORES}


def test_all_outputs_of_a_command_stay_and_go_together():
    log = BASELINE.with_name("epochs.csv")  # before the network in the alphabet
    log.write_text("epoch")
    Record(Request(["train"], [], [str(CLIPS)], [str(BASELINE), str(log)]), parameters()).end()
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


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"psi": "l1"}, 'training.prune50.psi was "l1", is null'),
        ({"events": {}}, "training.prune50.events was {}, is null"),
    ],
)
def test_setting_that_is_gone_makes_a_product_stale(more, told):
    recipe = json.loads(sidecar(PRUNED).read_text())
    recipe["params"]["training.prune50"] |= more
    sidecar(PRUNED).write_text(json.dumps(recipe))
    assert removed()[PRUNED] == told


def test_parameter_of_no_product_removes_nothing():
    assert removed("report.team=other data.clips.train=7") == {}


def test_dry_run_says_the_same_and_changes_nothing():
    would = removed("train.lr=0.002", dry_run=True)
    assert files() == {CLIPS, BASELINE, PRUNED, SCORES}
    assert would == removed("train.lr=0.002")


def test_networks_that_the_parameters_no_longer_name_go_with_their_results():
    reasons = removed("networks.prune50=null")
    assert files() == {CLIPS, BASELINE}
    assert reasons[PRUNED] == "the parameters no longer name it"
    assert not PRUNED.parent.exists()


def test_networks_that_the_command_line_alone_leaves_out_stay():
    assert sync(parameters("networks.prune50=null"), in_file=parameters()).removed == []
    reasons = sync(parameters("networks.prune50=null train.lr=0.002"), in_file=parameters()).removed
    assert {stale.paths[0] for stale in reasons} == {BASELINE, PRUNED, SCORES}


def test_changed_input_makes_a_product_stale():
    BASELINE.write_text("by hand")
    assert removed()[BASELINE] == f"{BASELINE} is another"
    assert files() == {CLIPS}


def test_changed_code_makes_a_product_stale(monkeypatch, tmp_path):
    recipe = json.loads(sidecar(PRUNED).read_text())
    assert "checkout.py" in recipe["code"]
    recipe["code"]["checkout.py"] = "another"
    sidecar(PRUNED).write_text(json.dumps(recipe))
    assert removed()[PRUNED] == "the code of checkout.py changed"
    assert files() == {CLIPS, BASELINE}


def test_other_version_of_a_library_makes_a_product_stale():
    recipe = json.loads(sidecar(PRUNED).read_text())
    recipe["versions"] = {"numpy": "0.1"}
    sidecar(PRUNED).write_text(json.dumps(recipe))
    assert removed()[PRUNED] == f"numpy was 0.1, is {version('numpy')}"


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"outputs": 1}', '{"outputs": [{}]}'])
def test_product_that_no_sidecar_names_is_neither_used_nor_removed(content):
    sidecar(PRUNED).unlink()
    if content is not None:
        sidecar(PRUNED).write_text(content)
    before = files()
    with pytest.raises(SpandexError, match=rf"^{PRUNED}: nothing says that the pipeline made this"):
        sync(parameters("train.lr=0.002"))
    assert files() == before


def test_users_file_where_training_will_write_is_neither_used_nor_removed():
    epochs = Path("models/synthetic/sparsified/prune75/epochs.csv")
    epochs.parent.mkdir()
    epochs.write_text("mine")
    with pytest.raises(SpandexError, match=f"^{epochs}: nothing says"):
        sync(parameters())
    assert epochs.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"train.lrr": 1}},
        {"params": {"train": {"lr": "x" * 10_000}}},
        {"params": {"train.lr.x": 1}},
        {"params": {"pruning.prune50": {}}},
        {"params": []},
        {"code": {"../../params.yaml": "0"}},
        {"code": {"\0": "0"}},
        {"inputs": {"\0": "0"}},
        {"inputs": {"x" * 5000: "0"}},
        {"inputs": {"models": "0"}},
        {"inputs": 7},
        {"versions": {"no such library": "1"}},
        {"versions": {"": "1"}},
        {"versions": None},
    ],
    ids=str,
)
def test_product_whose_sidecar_says_what_cannot_be_is_made_again(change):
    sidecar(PRUNED).write_text(json.dumps(json.loads(sidecar(PRUNED).read_text()) | change))
    assert PRUNED in removed()
    assert files() == {CLIPS, BASELINE}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_sidecars_whose_products_are_made_from_each_other_are_not_trusted(length):
    cycle = [BASELINE, PRUNED, SCORES][:length]
    for product, source in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        recipe = json.loads(sidecar(product).read_text())
        recipe["inputs"] = {str(source): "0"}
        sidecar(product).write_text(json.dumps(recipe))
    assert set(cycle) <= removed().keys()
    assert files() == {CLIPS}


def test_times_are_put_in_the_order_of_making(built):
    for age, path in enumerate([SCORES, PRUNED, BASELINE, CLIPS]):  # as a checkout may leave them
        os.utime(path, ns=(10**18 + age, 10**18 + age))
    assert removed() == {}
    times = [path.stat().st_mtime_ns for path in (CLIPS, BASELINE, PRUNED, SCORES)]
    assert times == sorted(times)


def test_times_in_the_future_are_put_right(built):
    ahead = time.time_ns() + 10**13
    for path in (CLIPS, PRUNED):
        os.utime(path, ns=(ahead, ahead))
    assert removed() == {}
    times = [path.stat().st_mtime_ns for path in (CLIPS, BASELINE, PRUNED, SCORES)]
    assert times == sorted(times) and times[-1] <= time.time_ns()


def test_users_file_of_the_future_is_named(built):
    mine = Path("mine.pt")
    mine.write_text("x")
    make(BASELINE, ["seed", "train"], (CLIPS, mine))
    make(PRUNED, ["training.prune50"], (BASELINE,))
    make(SCORES, ["evaluate"], (PRUNED,))
    os.utime(mine, ns=(time.time_ns() + 10**13,) * 2)
    with pytest.raises(SpandexError, match=r"^mine\.pt: was modified at 20.* in the future; touch it"):
        removed()
    mine.touch()
    assert removed() == {}


def test_measured_times_are_never_older_than_a_product(built):
    measured = Path("reports/synthetic/times/train_baseline.tsv")
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
    scores = Path("reports/synthetic/evaluate/dense.json")
    record = Record(Request(["evaluate"], [], [str(PRUNED)], [str(scores)]), parameters())
    PRUNED.write_text("another")
    scores.write_text("scores of the one before")
    record.end()
    assert scores in {path for paths, _ in sync(parameters(), dry_run=True).removed for path in paths}


def test_what_a_user_put_there_stays():
    notes, network = PRUNED.parents[1] / "notes/today.md", Path("models/synthetic/exported/mine.net")
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


@pytest.mark.parametrize(
    "there", ["models/synthetic/exported/mine.net", "models/synthetic/sparsified", "data/mine.wav"]
)
def test_sidecar_that_names_what_is_not_beside_it_removes_none_of_that(there):
    path = Path(there)
    path.parent.mkdir(exist_ok=True)
    if not path.is_dir():
        path.write_text("x")
    for name in (there, f"models/synthetic/../../{there}", str(path.resolve())):
        recipe = json.loads(sidecar(BASELINE).read_text())
        recipe["outputs"][name] = "0"
        sidecar(BASELINE).write_text(json.dumps(recipe))
        removed()
        assert path.exists() and not BASELINE.is_file()
        make(BASELINE, ["seed", "train"], (CLIPS,))


def test_copies_made_by_hand_stay_and_are_listed():
    copy = PRUNED.parents[1] / "prune50-good"
    shutil.copytree(PRUNED.parent, copy)
    changes = sync(parameters("train.lr=0.002"))
    assert (copy / "network.pt").is_file() and not PRUNED.exists()
    assert changes.left == [copy]


def test_folders_of_the_profile_under_its_former_name_are_named_and_stay():
    assert sync(parameters()).left_over == []
    former = [Path(top, "embedded") for top in ("data", "reports")]
    for folder in former:
        folder.mkdir(parents=True)
        (folder / "network.pt").write_text("x")
    shutil.copy(FILE, "params.yaml")
    told = "left over under the former name of the profile synthetic: data/embedded, reports/embedded"
    assert spandex("sync").stdout.splitlines()[-1] == told
    assert all((folder / "network.pt").is_file() for folder in former)


def test_notes_beside_a_network_that_is_no_longer_named_stay_alone():
    notes = PRUNED.with_name("notes.md")
    notes.write_text("x")
    PRUNED.with_name("times.csv").write_text("iteration")
    changes = sync(parameters("networks.prune50=null"))
    assert list(PRUNED.parent.iterdir()) == [notes]
    assert changes.left == [notes]


def test_networks_on_another_disk_are_used_and_never_removed(built, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk") / "sparsified"
    shutil.move(PRUNED.parents[1], disk)
    PRUNED.parents[1].symlink_to(disk)
    assert removed() == {}
    with pytest.raises(SpandexError, match=rf"^{PRUNED}: {BASELINE} is made again, and it lies outside"):
        sync(parameters("train.lr=0.002"))
    assert BASELINE.is_file()
    changes = sync(parameters("networks.prune50=null"))
    assert changes.left == [PRUNED.parent]
    assert (disk / "prune50/network.pt").is_file() and sidecar(disk / "prune50/network.pt").is_file()
    assert not SCORES.is_file()


def test_link_to_another_disk_under_a_name_that_is_gone_stays(tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk") / "prune50"
    shutil.move(PRUNED.parent, disk)
    PRUNED.parent.symlink_to(disk)
    changes = sync(parameters("networks.prune50=null"))
    assert changes.left == [PRUNED.parent]
    assert (PRUNED.parent / "network.pt").is_file()


def test_what_a_stopped_command_left_is_made_again(built):
    network = Path("models/synthetic/sparsified/prune75/network.pt")
    outputs = [str(network), str(network.with_name("epochs.csv"))]
    Record(Request(["train"], [], [str(BASELINE)], outputs), parameters())
    for output in outputs:
        Path(output).write_text("half of it")
    assert removed() == {network: "it was not finished"}
    assert network.with_name("epochs.csv").is_file()  # training goes on with its log
    assert list(network.parent.iterdir()) == [network.with_name("epochs.csv")]


def test_mark_that_names_other_files_is_no_proof():
    sidecar(PRUNED).unlink()
    recipes.mark(PRUNED).write_text(json.dumps({"outputs": [str(BASELINE), "../precious"]}))
    with pytest.raises(SpandexError, match=f"^{PRUNED}: nothing says"):
        sync(parameters())
    assert PRUNED.is_file() and BASELINE.is_file()


def test_command_that_is_done_leaves_no_mark():
    assert list(Path().rglob("*" + recipes.MARK)) == []


def test_scores_that_are_continued_keep_the_mark_that_makes_them_the_pipelines():
    scores = Path("reports/synthetic/evaluate/prune75.json")
    Record(Request(["evaluate"], [], [], [str(scores)]), parameters())
    partial = scores.with_name("prune75.json.partial")
    partial.write_text("one clip")
    assert removed() == {}
    assert partial.is_file()
    assert removed("networks.prune75=null").keys() == {partial, recipes.mark(scores)}
    assert not partial.exists() and not recipes.mark(scores).exists()


def test_checkpoints_of_a_network_that_is_no_longer_named_go():
    folder = PRUNED.parents[1] / ".checkpoints/prune50"
    folder.mkdir(parents=True)
    (folder / "20.pt").write_text("x")
    removed("networks.prune50=null")
    assert not folder.exists()


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


def test_mirror_at_an_address_counts_by_that(built):
    recipe = Record(Request(["mirror"], [], [], [str(CLIPS)]), parameters("mirror=http://one.example")).recipe()
    assert recipe.disagreement(parameters("mirror=http://one.example")) is None
    assert recipe.disagreement(parameters("mirror=http://other.example")).startswith("mirror was ")


def test_mirror_that_is_not_at_hand_makes_nothing_stale(built):
    Path("mirror").mkdir()
    Path("mirror/corpus.csv").write_text("same")
    recipe = Record(Request(["mirror"], [], [], [str(CLIPS)]), parameters("mirror=mirror")).recipe()
    assert recipe.disagreement(parameters("mirror=absent")) is None
    assert recipe.disagreement(parameters()).startswith("mirror was ")


def test_corpus_of_a_mirror_is_kept_where_the_mirror_is_not_given_again(built):
    Path("mirror").mkdir()
    Path("mirror/corpus.csv").write_text("speech")
    corpus = Path("data/mini/corpus/manifest.csv")
    corpus.parent.mkdir(parents=True)
    record = Record(Request(["mirror"], [], [], [str(corpus)]), parameters("profile=mini mirror=mirror"))
    corpus.write_text("speech")
    record.end()
    assert removed("profile=mini mirror=mirror") == {}
    with pytest.raises(SpandexError, match=f"{corpus}: came from a mirror, and none is given"):
        removed("profile=mini")
    assert corpus.is_file()
    corpus.unlink()
    assert removed("profile=mini").keys() == {sidecar(corpus)}
