"""The first cases of make fuzz, and that it finds what is wrong."""

from collections.abc import Iterator

import pytest

import fuzz
from faulty_server import FaultyServer

CASES = 100


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Iterator[fuzz.Fuzz]:
    template = tmp_path_factory.mktemp("fuzz")
    fuzz.write_template(template)
    with pytest.MonkeyPatch.context() as patch, FaultyServer() as server:
        patch.setattr(fuzz.Retry.__init__, "__defaults__", fuzz.Retry.__init__.__defaults__)
        fuzz.impatient()
        yield fuzz.Fuzz(1, template, server)


@pytest.mark.parametrize("number", range(CASES))
def test_damage_is_refused_in_one_line(cases, number):
    assert cases.finding(number) is None


@pytest.mark.parametrize(
    ("python", "finding"),
    [
        ("raise KeyError('a')", "Traceback"),
        ("raise SystemExit(3)", "status 3"),
        ("raise SystemExit('no')", "without a line of ours"),
        ("x = b'a' * (HELD + 300_000_000)", "takes 3"),
        ("import time; time.sleep(9)", "runs longer than 1 s"),
    ],
)
def test_what_a_command_must_not_do_is_found(tmp_path, monkeypatch, python, finding):
    program = tmp_path / "spandex"
    held = fuzz._memory("VmHWM")  # where the peak of a process that starts here begins
    program.write_text(f"#!{fuzz.sys.executable}\nHELD = {held}\n{python}\n")
    program.chmod(0o755)
    monkeypatch.setattr(fuzz, "SPANDEX", program)
    monkeypatch.setattr(fuzz, "_empty_run", lambda: held)
    monkeypatch.setattr(fuzz, "MOST_BYTES", 100_000_000)
    monkeypatch.setattr(fuzz, "LONGEST_S", 1 if "sleep" in python else 60)
    assert finding in fuzz.judged([], fuzz.in_a_process)
