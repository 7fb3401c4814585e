import hashlib
import subprocess
from pathlib import Path

import pytest

from spandex import params
from spandex.checkout import main_checkout
from spandex.pipeline.provenance import _digest_below, code_digest, dirty, produced_by, revision, tree_digest

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")


def test_tree_digest_follows_names_and_contents_but_not_place_or_order(tmp_path):
    digests = []
    for folder, names, text in [("a", "xy", "1"), ("b", "yx", "1"), ("c", "xz", "1"), ("d", "xy", "2")]:
        (tmp_path / folder).mkdir()
        files = [tmp_path / folder / name for name in names]
        for file in files:
            file.write_text(text)
        digests.append(tree_digest(files))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_code_digest_changes_with_code_alone(tmp_path):
    (tmp_path / "src/spandex").mkdir(parents=True)
    (tmp_path / "src" / "a.py").write_text("1")
    before = code_digest(tmp_path)
    (tmp_path / "README.md").write_text("text")
    _digest_below.cache_clear()
    assert code_digest(tmp_path) == before
    (tmp_path / "src" / "a.py").write_text("2")
    _digest_below.cache_clear()
    assert code_digest(tmp_path) != before


def test_code_digest_outside_a_clone_is_that_of_the_package(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "theirs.py").write_text("1")
    assert code_digest(tmp_path) == code_digest(tmp_path / "src") != hashlib.sha256().hexdigest()[:16]


def test_record_names_profile_inputs_code_and_versions(tmp_path):
    file = tmp_path / "input"
    file.write_text("x")
    record = produced_by([file], PARAMS)
    assert record["profile"] == PARAMS.profile
    assert record["inputs_digest"] == tree_digest([file])
    assert record["versions"]["lava-nc"] == "0.10.0"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    (tmp_path / "src").mkdir()
    for name in ("src/a.py", "params.yaml", "README.md", "Snakefile"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_revision_is_the_commit_checked_out(repository):
    assert revision(repository) == git(repository, "rev-parse", "HEAD")
    assert dirty(repository) is False


@pytest.mark.parametrize(
    ("name", "expected"),
    [("src/a.py", True), ("src/new.py", True), ("params.yaml", True), ("Snakefile", True), ("README.md", False)],
)
def test_only_code_lock_file_and_parameters_make_a_checkout_dirty(repository, name, expected):
    (repository / name).write_text("2")
    assert dirty(repository) is expected


def test_without_repository_commit_or_git_revision_is_unknown(tmp_path, repository, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    assert (revision(empty), dirty(empty)) == (None, None)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (revision(tmp_path.parent), dirty(tmp_path.parent)) == (None, None)
    monkeypatch.setenv("PATH", str(empty))
    assert (revision(repository), dirty(repository)) == (None, None)


def test_copies_that_dvc_makes_belong_to_the_main_checkout(tmp_path):
    for copy in ("tmpabc", "standalone/tmpabc", "standalone/tmpabc/data"):
        folder = tmp_path / ".dvc/tmp/exps" / copy
        folder.mkdir(parents=True)
        assert main_checkout(folder) == tmp_path
    for folder in (tmp_path, tmp_path / ".dvc/tmp", tmp_path / "data"):
        assert main_checkout(folder) == folder
