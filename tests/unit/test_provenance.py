import hashlib
from pathlib import Path

from spandex import params
from spandex.provenance import _digest_below, code_digest, produced_by, tree_digest

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


def test_record_names_parameters_inputs_code_and_versions(tmp_path):
    file = tmp_path / "input"
    file.write_text("x")
    record = produced_by([file], PARAMS)
    assert record["params_digest"] == PARAMS.digest()
    assert record["inputs_digest"] == tree_digest([file])
    assert record["versions"]["lava-nc"] == "0.10.0"
