"""What Snakemake shows with ``--logger spandex``, and the estimate of the time that is left."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from spandex.pipeline.estimate import remaining, seconds_by_rule

SNAKEFILE = """
rule all:
    input: "sum.txt"

rule part:
    output: "{name}.txt"
    log: "logs/{name}.log"
    benchmark: "times/{name}.tsv"
    shell: "echo {wildcards.name} is at work > {log}; echo {wildcards.name} > {output}"

rule sum:
    input: "a.txt", "b.txt"
    output: "sum.txt"
    log: "logs/sum.log"
    benchmark: "times/sum.tsv"
    shell: "(for i in $(seq 100); do echo step $i; done; cat {input} > {output}; EXIT) > {log} 2>&1"
"""
COMMAND = ["-m", "snakemake", "--logger", "spandex", "--benchmark-extended", "--quiet", "rules", "--cores", "1"]

LINES = [  # of the steps; what sum takes is known once it has run
    r"1 of 4  0:0\d  part [ab] \(0:0\d\)(, at least 0:0[1-9] left)?",
    r"2 of 4  0:0\d  part [ab] \(0:0\d\)",
    r"3 of 4  0:0\d  sum \(0:0\d\), about 0:0\d left",
]


class TestEstimate:
    def test_jobs_take_what_they_took_before(self):
        assert remaining({"a": 2, "b": 1}, {}, [], {"a": 10.0, "b": 5.0, "gone": 99.0}, 0.0) == (25, True)

    def test_this_build_counts_more_than_the_one_before(self):
        assert remaining({"a": 3}, {"a": [20.0]}, [], {"a": 10.0}, 20.0) == (40, True)

    def test_what_is_known_is_the_least_while_something_is_unknown(self):
        assert remaining({"a": 1, "new": 1}, {}, [], {"a": 10.0}, 0.0) == (10, False)
        assert remaining({"a": 1, "new": 1}, {}, [("new", 3.0)], {"a": 10.0}, 0.0) == (10, False)
        assert remaining({"a": 1, "new": 1, "all": 1}, {"new": [3.0]}, [], {"a": 10.0}, 3.0) == (10, True)

    def test_running_jobs_are_credited_up_to_their_time(self):
        assert remaining({"a": 2}, {}, [("a", 4.0)], {"a": 10.0}, 4.0) == (16, True)
        assert remaining({"a": 2}, {}, [("a", 30.0)], {"a": 10.0}, 30.0) == (10, True)

    def test_jobs_at_the_same_time_divide_the_rest(self):
        assert remaining({"a": 8}, {"a": [10.0] * 4}, [], {}, 10.0) == (10, True)

    def test_nothing_is_known_at_first(self):
        assert remaining({"a": 3}, {}, [("a", 5.0)], {}, 5.0) is None

    def test_times_are_means_by_rule_and_others_files_are_passed_over(self, tmp_path):
        for name, seconds in (("a", 1.5), ("b", 2.5)):
            (tmp_path / f"{name}.tsv").write_text(f"s\trule_name\n{seconds}\tpart\n")
        (tmp_path / "short.tsv").write_text("s\th:m:s\n3.0\t0:00:03\n")
        (tmp_path / "torn.tsv").write_text("s\trule_name\n-\tpart\n")
        (tmp_path / "shards").mkdir()
        (tmp_path / "shards/c.tsv").write_text("s\trule_name\n7\tshard\n")
        assert seconds_by_rule(tmp_path) == {"part": 2.0, "shard": 7.0}
        assert seconds_by_rule(tmp_path / "none") == {}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("EXIT", "true"))
    return tmp_path


def piped(folder, *arguments):
    done = subprocess.run([sys.executable, *COMMAND, *arguments], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def on_a_terminal(folder):
    """What a terminal shows in the end, by line."""
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read():
        try:
            while part := os.read(ours, 4096):
                seen.extend(part)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run([sys.executable, *COMMAND], cwd=folder, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    reader.join()
    os.close(ours)
    return [line.rsplit("\r\x1b[K")[-1] for line in seen.decode().replace("\r\n", "\n").split("\n") if line]


def test_terminal_shows_a_line_a_step_with_the_time_that_is_left(folder):
    first = on_a_terminal(folder)
    steps = [line for line in first if " of 4  " in line]
    assert len(steps) == 3
    for step, pattern in zip(steps, LINES, strict=True):
        assert re.fullmatch(pattern, step)
    assert re.fullmatch(r"4 of 4 steps in 0:0\d", first[-1])
    assert not any("SNAKEMAKE" in line or "Job stats" in line for line in first)


def test_elsewhere_there_is_a_line_as_each_step_ends_without_codes(folder):
    status, output, errors = piped(folder)
    assert (status, output) == (0, "")
    first, *steps, last = errors.splitlines()
    assert first == "4 steps; how long they take is known once some have run here"
    assert len(steps) == 3
    for step, pattern in zip(steps, LINES, strict=True):
        assert re.fullmatch(pattern, step)
    assert re.fullmatch(r"4 of 4 steps in 0:0\d", last)
    assert "\x1b" not in errors and "\r" not in errors
    status, output, errors = piped(folder)
    assert (status, output) == (0, "")
    assert errors.startswith("Nothing to be done")
    (folder / "times/sum.tsv").write_text("s\trule_name\n75\tsum\n")
    (folder / "sum.txt").unlink()
    _, _, errors = piped(folder)
    assert re.match(r"\d steps; about 1:1[5-9] of work for \d of them, by what such steps took here\n", errors)


def test_failure_is_shown_with_the_end_of_its_log(folder):
    (folder / "Snakefile").write_text(SNAKEFILE.replace("EXIT", "exit 3"))
    status, _, errors = piped(folder)
    assert status == 1
    assert "returned non-zero exit status 3" in errors
    assert "failed: sum\n  logs/sum.log, last 30 of 100 lines:\n    step 71\n" in errors
    assert "    step 100\n" in errors and "step 70\n" not in errors
    assert re.fullmatch(r"2 of 4 steps in 0:0\d; 1 failed", errors.splitlines()[-1])


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 1, "stopping: running steps keep what they can go on from"),
        (signal.SIGTERM, 1, "stopping when the running steps are done"),
    ],
)
def test_signal_is_told_in_two_lines(folder, number, status, said):
    (folder / "Snakefile").write_text(SNAKEFILE.replace("EXIT", "touch begun; sleep 5; false"))
    build = subprocess.Popen(
        [sys.executable, *COMMAND], cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "begun").exists():
        assert build.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(build.pid, number) if number == signal.SIGINT else os.kill(build.pid, number)
    _, errors = build.communicate(timeout=60)
    *_, first, last = errors.splitlines()
    assert build.returncode == status and first == said
    assert re.fullmatch(r"stopped after 2 of 4 steps in 0:0\d; make goes on from there", last)
    assert errors.count("\n") == 5  # the plan and two steps before


def test_step_that_succeeds_when_tried_again_is_no_failure(folder):
    (folder / "Snakefile").write_text(SNAKEFILE.replace("EXIT", "test -e tried || (touch tried; false)"))
    status, _, errors = piped(folder, "--retries", "1")
    assert status == 0
    assert "failed: sum" in errors and "Trying to restart" in errors
    assert re.fullmatch(r"4 of 4 steps in 0:0\d", errors.splitlines()[-1])


def test_dry_run_says_what_it_says_without(folder):
    _, output, _ = piped(folder, "--dry-run")
    assert re.search(r"^part +2$", output, re.MULTILINE) and "This was a dry-run" in output
