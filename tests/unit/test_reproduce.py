import subprocess
from pathlib import Path

import pytest

from spandex.errors import SpandexError
from spandex.pipeline.reproduce import TOLERANCES, _build, compare, reproduce
from spandex.report.numbers import MEASURES

RECORDED = {"dense": {"si_snr_db": 12.0, "params": 1000, "mos_ovrl": 2.5}}


def verdicts(**changed: float) -> list[bool]:
    return [line.holds for line in compare(RECORDED, {"dense": RECORDED["dense"] | changed})]


def test_every_number_of_a_report_has_a_tolerance():
    assert TOLERANCES.keys() == MEASURES.keys()


def test_numbers_hold_within_their_tolerance_and_not_beyond():
    assert verdicts() == [True, True, True]
    assert verdicts(si_snr_db=12.09) == [True, True, True]
    assert verdicts(si_snr_db=12.11) == [False, True, True]
    assert verdicts(params=1009) == [True, True, True]
    assert verdicts(params=989) == [True, False, True]
    assert verdicts(mos_ovrl=2.47) == [True, True, False]


def test_number_that_one_side_lacks_does_not_hold():
    assert [line.holds for line in compare(RECORDED, {})] == [False, False, False]
    more = {"dense": RECORDED["dense"], "prune50": {"si_snr_db": 1.0}}
    assert [line.metric for line in compare(RECORDED, more) if not line.holds] == ["si_snr_db"]


def test_number_without_a_tolerance_has_to_be_the_same():
    assert [line.holds for line in compare({"a": {"other": 1.0}}, {"a": {"other": 1.0001}})] == [False]


def test_unknown_revision_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(SpandexError, match="v9: no such revision"):
        reproduce("v9")
    assert list(tmp_path.glob(".dvc/tmp/exps/*")) == []


def test_revision_is_built_by_the_command_of_this_environment(tmp_path, monkeypatch):
    for name, text in {
        "Makefile": "WORKERS",
        "requirements.lock": "",
        "spandex": '#!/bin/sh\necho "$@" > said\n',
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "spandex").chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    _build(tmp_path, tmp_path, 3, "HEAD")
    assert (tmp_path / "said").read_text() == "rebuild --workers 3\n"


def test_older_revision_is_told_its_cores_by_their_former_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = """echo '{"dense": {"cores": $(CORES)}}' > reports/embedded/metrics.json"""
    Path("reports/embedded").mkdir(parents=True)
    for name, text in {
        "Makefile": f"CORES := 1\nrebuild:\n\t{recipe}\n",
        "params.yaml": "profile: embedded\n",
        "requirements.lock": "",
        "reports/embedded/metrics.json": '{"dense": {"cores": 3}}',
    }.items():
        Path(name).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Start"]):
        subprocess.run([*git, *command], check=True)
    Path("requirements.lock").write_text("others")  # so that the revision installs its own
    assert [line.holds for line in reproduce("HEAD", 3)] == [True]
