import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from spandex import params
from spandex.errors import SpandexError
from spandex.pipeline import build, dvc
from spandex.pipeline.recipes import Record, Request

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
OUT = Path("out.txt")


STAGE = "stages:\n  make:\n    cmd: echo made > out.txt\n    outs: [out.txt: {persist: true}]\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A DVC repository with one out, committed."""
    folder = tmp_path_factory.mktemp("experiments") / "repository"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / OUT).write_text("made\n")
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init"], [*dvc, "init"], [*dvc, "commit", "--force", "make"]):
        subprocess.run([*command, "--quiet"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(autouse=True)
def committed(repository, tmp_path, monkeypatch) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


@pytest.fixture
def became(monkeypatch) -> list[list[str]]:
    """Commands that the process would have become."""
    commands = []
    monkeypatch.setattr(dvc.os, "execv", lambda _, command: commands.append(command))
    return commands


def test_committed_outs_let_dvc_run(became):
    dvc.exp(["run", "-S", "train.lr=0.002"], PARAMS)
    assert became == [[sys.executable, "-m", "dvc", "exp", "run", "-S", "train.lr=0.002"]]


@pytest.mark.parametrize("part", dvc.WRITING)
def test_changed_out_is_named_and_kept(became, part):
    OUT.write_text("by hand\n")
    with pytest.raises(SpandexError, match=rf"out\.txt: not as dvc\.lock .* dvc exp {part} would discard that"):
        dvc.exp([part], PARAMS)
    assert became == [] and OUT.read_text() == "by hand\n"


def test_out_that_was_never_committed_is_named(became):
    Path("dvc.lock").unlink()
    with pytest.raises(SpandexError, match=r"out\.txt"):
        dvc.exp(["run"], PARAMS)


@pytest.mark.parametrize("spelt", ["weights.pt", "./weights.pt"])
def test_changed_file_of_the_user_is_named_however_it_is_spelt(became, monkeypatch, spelt):
    stale = [(["models/network.pt"], "weights.pt has other contents"), (["models/other.pt"], "seed was 1, is 2")]
    monkeypatch.setattr(dvc, "sync", lambda *_, **__: SimpleNamespace(removed=stale))
    Path("weights.pt").write_bytes(b"")
    mine = params.load(Path(__file__).parents[2] / "params.yaml", {"set": f"model.pretrained={spelt}"})
    with pytest.raises(
        SpandexError, match=r"models/network\.pt: weights\.pt has other contents, which DVC does not see"
    ):
        dvc.exp(["run"], mine)


def test_missing_out_is_no_loss(became):
    OUT.unlink()
    dvc.exp(["run"], PARAMS)
    assert len(became) == 1


def test_looking_at_experiments_is_never_refused(became):
    OUT.write_text("by hand\n")
    dvc.exp(["show"], PARAMS)
    assert len(became) == 1


def test_options_before_the_part_do_not_hide_it(became):
    OUT.write_text("by hand\n")
    with pytest.raises(SpandexError, match=r"out\.txt"):
        dvc.exp(["-q", "run"], PARAMS)


def test_running_build_is_not_disturbed(became):
    build.lock()
    with pytest.raises(SpandexError, match="another build runs in this folder"):
        dvc.exp(["run"], PARAMS)
    assert became == []


def test_changed_file_that_dvc_does_not_know_is_named(became, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path.cwd())
    own = params.load(Path(__file__).parents[2] / "params.yaml", {"set": "model.factory=mine_alone:blocks"})
    Path("mine_alone.py").write_text("def blocks(): ...")
    network = Path("models/synthetic/baseline/network.pt")
    network.parent.mkdir(parents=True)
    network.write_text("x")
    Record(Request(["factory"], [], [], [str(network)]), own).end()
    Path("mine_alone.py").write_text("def blocks(): return []")
    with pytest.raises(
        SpandexError, match=r"network\.pt: factory was .*, which DVC does not see; make builds it again"
    ):
        dvc.exp(["run"], own)


@pytest.mark.parametrize("row", ["file", "audio"])
def test_changed_network_or_audio_of_others_is_named(became, row):
    others = Path("others")
    others.mkdir()
    (others / "mine.net").write_text("x")
    named = others if row == "audio" else others / "mine.net"
    own = params.load(Path(__file__).parents[2] / "params.yaml", {"set": f"networks.mine.{row}={named}"})
    made = {"file": "models/synthetic/exported/mine/network.net", "audio": "reports/synthetic/evaluate/mine.json"}[row]
    Path(made).parent.mkdir(parents=True)
    Path(made).write_text("y")
    key = "audio.mine" if row == "audio" else "file.exported/mine/network.net"
    Record(Request([key], [], [], [made]), own).end()
    (others / "mine.net").write_text("another")
    with pytest.raises(SpandexError, match=rf"{made}: {key}.* was .*, which DVC does not see; make builds it again"):
        dvc.exp(["run"], own)
    assert became == []
