"""Hostile inputs by the thousand, at the command line: python tests/fuzz.py --cases 2000.

A case is a number: it draws a command, the file that it reads and the damage. It is a finding if the command ends in
a traceback or a status other than 0, 1 and 2, says nothing or too much, takes a minute or 1 GB, leaves temporary files,
or changes what is not its output.
"""

import argparse
import itertools
import logging
import multiprocessing
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from typer.testing import CliRunner

import mutations
from faulty_server import FaultyServer
from image_mirror import image_mirror
from inputs import write_corpus, write_inputs
from network_files import (
    INTEGRATOR,
    RESONATOR,
    convolution,
    dense,
    image,
    recurrent,
    resonant,
    shape_of,
    weights,
    write_layers,
)
from spandex.cli.commands import app
from spandex.data.download import Retry
from spandex.params import load
from spandex.pipeline.recipes import Record, Request

SPANDEX = Path(sys.executable).with_name("spandex")
LONGEST_S, MOST_BYTES = 60, 2**30
FRESH = 20  # one case of so many runs in a process of its own
WORKERS = 2
BRIEF = "--epochs 1 --epoch-batches 2 --batch-size 2 --segment-s 0.1 --data . --validation ."
FORMS = ("wav", "flac", "ogg", "aiff")
SMALL = "train.segment_s=0.5 data.clips.test=1 data.clip_s=1 data.clips.train=1 data.clips.validation=1"
SCORES = ("out.json", "out.json.partial", ".shards")  # what EVALUATE may change
CORPUS, CLIPS = "data/synthetic/corpus/manifest.csv", "data/synthetic/train/clips.json"
MIX = f"synthesize --manifest {CORPUS} --split train --output {CLIPS}"
EVALUATE = "evaluate --no-mos --workers 1 --noisy noisy --clean clean --json out.json network.net"


@dataclass(frozen=True)
class Subject:
    """A file to damage, how, and the command lines that read it.

    Attributes:
        file: its name in the folder of ``inputs.write_inputs``; of an HTTP server if it begins with http.
        damage: from the random source and the whole content to the damaged one.
        commands: as typed after ``spandex``; what they write is named out, or lies in one of ``outputs``.
        outputs: files and folders that they may change.
    """

    file: str
    damage: tuple[Callable[[Random, bytes], bytes], ...]
    commands: tuple[str, ...]
    outputs: tuple[str, ...] = ("out",)


def _hdf5(random: Random, content: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.net")
        path.write_bytes(content)
        mutations.hdf5(random, path)
        return path.read_bytes()


SUBJECTS = (
    Subject(
        "network.net",
        (_hdf5, _hdf5, mutations.bytes_),
        (
            "info network.net",
            "info network.net --json - --sparsity-map dense",
            "run network.net --input X.npy --output out",
            "denoise noisy/1.wav out --network network.net",
            "denoise noisy out --network network.net --backend torch --workers 1",
            "prune --network network.net --target 0.5 --output out",
            f"train --network network.net --output out {BRIEF}",
            EVALUATE,
            f"{EVALUATE} --float",
        ),
        ("out", *SCORES),
    ),
    Subject(
        "kinds.net",
        (_hdf5, _hdf5, _hdf5, mutations.bytes_),
        (
            "info kinds.net",
            *(("run kinds.net --input images.npy --output out",) * 2),
            "run kinds.net --input images.npy --output out --read voltage --reset-interval 3 --spike-exp 2",
            "run kinds.net --input images.npy --output out --num-layers 3 --input-shape 5,4,2",
            "evaluate kinds.net --no-mos --noisy noisy --clean clean --json out",
            "denoise noisy/1.wav out --network kinds.net",
        ),
    ),
    Subject(
        "network.pt",
        (mutations.state_dict, mutations.state_dict, mutations.bytes_),
        (
            "denoise noisy/1.wav out --network network.pt --backend torch",
            "prune --network network.pt --target 0.5 --output out",
            "prune --network network.pt --neurons 0.5 --output out",
            f"train --network network.pt --output out {BRIEF}",
            "--set model.hidden=4 export --float-network network.pt --output out",
        ),
    ),
    *(
        Subject(
            f"{name}.npz",
            (mutations.npz, mutations.npz, mutations.npz, mutations.bytes_),
            tuple(
                f"evaluate kinds.net --data {name}.npz{options} --workers 1 --json out"
                for options in ("", f"{shown} --read voltage", f"{shown} --encode rate" if shown else "")
            ),
            ("out", "out.partial"),
        )
        for name, shown in (("values", " --steps 3"), ("steps", ""))
    ),
    *(
        Subject(
            f"pictures/images/cifar10_{split}.parquet",
            (mutations.bytes_,),
            ("--set mirror=pictures evaluate pictures.net --data cifar10 --steps 2 --json out",),
            ("out", "out.partial"),
        )
        for split in ("train", "test")
    ),
    Subject("X.npy", (mutations.bytes_,), ("run network.net --input X.npy --output out",)),
    *(
        Subject(
            f"{form}/{folder}/1.{form}",
            (mutations.bytes_,),
            (
                *((f"denoise {form}/{folder}/1.{form} out.{form} --network network.net",) * 2),
                f"denoise {form}/{folder} out --network network.net --workers 1",
                f"{EVALUATE} --noisy {form}/noisy --clean {form}/clean",
                f"train --output out {BRIEF} --data {form}",
            ),
            ("out", *SCORES, f"out.{form}"),
        )
        for form in FORMS
        for folder in ("noisy", "clean")
    ),
    Subject(
        "corpus/manifest.csv",
        (mutations.text, mutations.text, mutations.bytes_),
        (f'--set "{SMALL}" synthesize --manifest corpus/manifest.csv --split test --output out/clips.json',),
    ),
    Subject(
        "corpus/corpus.csv",
        (mutations.text, mutations.text, mutations.bytes_),
        ('--set "data.source=mini mirror=corpus" corpus --output out/manifest.csv',),
    ),
    Subject(
        "params.yaml",
        (mutations.yaml_, mutations.text, mutations.bytes_),
        ("sync --dry-run", "--set profile=mini sync --dry-run", "--set train.lr=0.1 sync --dry-run"),
    ),
    Subject(
        "data/synthetic/train/clips.json",
        (mutations.json_, mutations.text, mutations.bytes_),
        (
            f"{EVALUATE} --noisy data/synthetic/train/noisy --clean data/synthetic/train/clean",
            f"train --output out {BRIEF} --data data/synthetic/train",
            "sync --dry-run",
        ),
        ("out", *SCORES),
    ),
    Subject(
        "inputs.json",
        (mutations.json_, mutations.bytes_),
        (f"{EVALUATE} --inputs inputs.json",),
        SCORES,
    ),
    Subject(
        ".shards/out/1-of-2.jsonl",
        (mutations.text, mutations.bytes_),
        (EVALUATE, f"{EVALUATE} --shard 1-of-2"),
        SCORES,
    ),
    *(
        Subject(
            f"data/synthetic/train/{name}",
            (mutations.text, mutations.bytes_, damage),
            (f"train --output out {BRIEF} --data data/synthetic/train", f"--set '{SMALL}' {MIX}"),
            ("out", "data/synthetic/train"),
        )
        for name, damage in (("draw.json", mutations.json_), ("skipped.jsonl", mutations.bytes_))
    ),
    Subject(
        "data/synthetic/corpus/manifest.csv.recipe.json",
        (mutations.json_, mutations.json_, mutations.text, mutations.bytes_),
        ("sync", "sync --dry-run"),
        ("data/synthetic/corpus", "data/synthetic/train"),
    ),
    Subject(
        "data/synthetic/train/clips.json.recipe.json",
        (mutations.json_, mutations.json_, mutations.text, mutations.bytes_),
        ("sync",),
        ("data/synthetic/train",),
    ),
    *(
        Subject(
            f"http:{name}",
            (mutations.bytes_,),
            ('--set "data.source=mini mirror={address}" corpus --output out/manifest.csv',),
        )
        for name in ("corpus.csv", "speech/1-1.wav", "noise/3-3.wav")
    ),
)


class Hang(BaseException):
    """A command that takes longer than it may."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status, its lines on standard error, and its peak of memory in bytes."""

    status: int
    stderr: str
    peak: int


@dataclass(frozen=True)
class Fuzz:
    """The cases of one seed, on a folder of valid inputs that stays as it is."""

    seed: int
    template: Path
    server: FaultyServer

    def finding(self, number: int) -> str | None:
        """What is wrong with a case; None if nothing is."""
        random = Random(f"{self.seed}-{number}")
        subject = SUBJECTS[number % len(SUBJECTS)]
        command = random.choice(subject.commands).format(address=self.server.address)
        with tempfile.TemporaryDirectory(prefix="fuzz") as name:
            folder = Path(name, "checkout")
            shutil.copytree(self.template, folder)
            self._damage(random, subject, folder)
            kept = _others(folder, subject.outputs)
            is_fresh = random.random() < 1 / FRESH and not subject.file.startswith("http:")  # patient there
            arguments = shlex.split(command)
            with chdir(folder):
                wrong = judged(arguments, in_a_process if is_fresh else in_this_process)
            if not wrong and _others(folder, subject.outputs) != kept:
                wrong = "changed or left what is not its output"
        return wrong and f"case {number}: {subject.file}: spandex {command}: {wrong}"

    def _damage(self, random: Random, subject: Subject, folder: Path) -> None:
        self.server.files = {
            str(path.relative_to(folder / "corpus")): path.read_bytes() for path in folder.glob("corpus/**/*.*")
        }
        self.server.faults.clear()
        damage = random.choice(subject.damage)
        if subject.file.startswith("http:"):
            name = subject.file.removeprefix("http:")
            content = self.server.files[name]
            self.server.faults[name] = [mutations.fault(random, content)] * random.choice((1, 9))
        else:
            path = folder / subject.file
            path.write_bytes(damage(random, path.read_bytes()))


def judged(arguments: list[str], run: Callable[[list[str]], Outcome]) -> str | None:
    """What is wrong with how a command ends, apart from its files."""
    try:
        outcome = run(arguments)
    except Hang:
        return f"runs longer than {LONGEST_S} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:2000]
    if "Traceback" in outcome.stderr or outcome.status not in (0, 1, 2):
        return f"status {outcome.status}: {outcome.stderr[-2000:]}"
    if outcome.status and not (outcome.stderr.splitlines() or [""])[-1].startswith("spandex"):
        return f"ends in status {outcome.status} without a line of ours: {outcome.stderr[-2000:]!r}"
    if outcome.peak > MOST_BYTES:
        return f"takes {outcome.peak / 1e6:.0f} MB"
    return None


def in_this_process(arguments: list[str]) -> Outcome:
    """Run in this process, which saves seconds of imports; memory is what the peak is above where it began."""
    begin = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    with _alarm(), _no_log_handlers():
        result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stderr, _memory("VmHWM") - begin)


@contextmanager
def _no_log_handlers() -> Iterator[None]:
    """Those of the last command would write to a standard error that is closed."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = before


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@contextmanager
def _alarm() -> Iterator[None]:
    def end(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def in_a_process(arguments: list[str]) -> Outcome:
    """Run as a user does; memory is what it takes in all, less what the imports of every command take."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([SPANDEX, *arguments], stdout=output, stderr=output)
        end = time.monotonic() + LONGEST_S
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                process.kill()
                process.wait()
                raise Hang
            time.sleep(0.05)
        output.seek(0)
        peak = ended[2].ru_maxrss * 1024
        text = output.read().decode(errors="replace")
    return Outcome(os.waitstatus_to_exitcode(ended[1]), text, peak - _empty_run())


def _empty_run() -> int:
    """Memory of this process once it has all modules, as a stand-in for a run that does nothing."""
    return _memory("VmRSS")


def _others(folder: Path, outputs: tuple[str, ...]) -> dict[Path, bytes]:
    """All files but those that a command may write, and the locks that builds leave."""
    mine = [folder / name for name in (*outputs, ".spandex.lock", ".spandex.jobs.lock")]
    everything = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    return {
        path: content
        for path, content in everything.items()
        if path.name.endswith(".tmp") or not any(path.is_relative_to(one) for one in mine)
    }


def write_template(folder: Path) -> None:
    """All that the commands read: valid inputs, a corpus that is a mirror, too, and clips that a build mixed."""
    write_inputs(folder)
    for form, name in itertools.product(FORMS, ("noisy", "clean")):
        (folder / form / name).mkdir(parents=True)
        for file in (folder / name).iterdir():
            soundfile.write(folder / form / name / f"{file.stem}.{form}", *soundfile.read(file))
    write_corpus(folder / "corpus")
    _write_kinds(folder)
    _build(folder)


def _write_kinds(folder: Path) -> None:
    """A network with a convolution, a pool, recurrent, delayed and resonating layers, with what it is run on; and a
    network for a mirror's pictures.
    """
    random = np.random.default_rng(1)
    first = convolution(
        weights(random, (4, 1, 2, 2)), (5, 4, 2), INTEGRATOR, groups=2, padding=(1, 0), bias=[1, 2, 3, 4]
    )
    pool = {**convolution(np.full((1, 1, 2, 1), 64), shape_of(first), INTEGRATOR, stride=(2, 1)), "type": "pool"}
    pool["shape"][0] = 4
    flat = int(np.prod(shape_of(pool)))
    layers = [
        recurrent(weights(random, (6, flat)), weights(random, (6, 6)), INTEGRATOR),
        resonant(weights(random, (5, 6)), weights(random, (5, 6)), RESONATOR),
        dense(weights(random, (3, 5)), INTEGRATOR, delay=random.integers(0, 9, (3, 5))),
    ]
    write_layers(folder / "kinds.net", image(5, 4, 2, INTEGRATOR), first, pool, {"type": "flatten"}, *layers)
    np.save(folder / "images.npy", random.integers(0, 90, (5, 4, 2, 20)))
    np.savez(folder / "values.npz", x=random.random((4, 5, 4, 2)), y=np.arange(4) % 3)
    np.savez(folder / "steps.npz", x=random.integers(0, 90, (4, 5, 4, 2, 3)), y=np.arange(4) % 3)
    image_mirror(folder / "pictures", per_class=1)
    write_layers(folder / "pictures.net", dense(weights(random, (10, 32 * 32 * 3)), INTEGRATOR))


def impatient() -> None:
    """From now on this process tries a download twice, without a pause worth the name."""
    defaults = Retry.__init__.__defaults__
    Retry.__init__.__defaults__ = (2, 0.01, (2.0, 0.5), *defaults[3:])


def _work(seed: int, template: Path, numbers: range, reports: Connection) -> None:
    """Send every case as it begins, and its finding as it ends."""
    impatient()
    with FaultyServer() as server:
        cases = Fuzz(seed, template, server)
        for number in numbers:
            reports.send((number, None))
            if wrong := cases.finding(number):
                reports.send((number, wrong))
    reports.send((None, None))


def _build(folder: Path) -> None:
    """A corpus and mixed clips as a build leaves them, each with its sidecar, and evaluations whole and begun."""
    shutil.copytree(folder / "corpus", (folder / CORPUS).parent)
    with chdir(folder):
        for command in (f"--set '{SMALL}' {MIX}", f"{EVALUATE} --shard 1-of-2", f"{EVALUATE} --json inputs.json"):
            done = CliRunner().invoke(app, shlex.split(command))
            assert done.exit_code == 0, done.output
        Path(CLIPS).with_name("skipped.jsonl").write_text('[0, "x.wav", "silent"]\n')
        params = load(Path("params.yaml"), {"set": ""})
        Record(Request(["seed"], [], [], [CORPUS]), params).end()
        Record(Request(["seed"], [], [CORPUS], [CLIPS]), params).end()


def main() -> int:
    """Run the cases that the command line asks for; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--only", type=int, help="one case, shown as it is")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    numbers = range(options.cases) if options.only is None else range(options.only, options.only + 1)
    with tempfile.TemporaryDirectory(prefix="fuzz") as name, ThreadPoolExecutor(WORKERS) as pool:
        template = Path(name)
        write_template(template)
        shares = pool.map(lambda first: _share(options.seed, template, numbers[first::WORKERS]), range(WORKERS))
        findings = [finding for share in shares for finding in share]
    print(f"{len(numbers)} cases, {len(findings)} findings; one again: --seed {options.seed} --only CASE")
    return 1 if findings else 0


def _share(seed: int, template: Path, numbers: range) -> list[str]:
    """The findings of these cases, run in one process; one that ends it is a finding, and another process goes on."""
    findings: list[str] = []
    while numbers:
        reader, writer = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=(seed, template, numbers, writer))
        worker.start()
        writer.close()
        current: int | None = numbers[0]
        try:
            while current is not None:
                current, wrong = reader.recv()
                if wrong:
                    print(wrong, flush=True)
                    findings.append(wrong)
        except EOFError:
            worker.join()
            findings.append(f"case {current}: ends the process with status {worker.exitcode}")
            print(findings[-1], flush=True)
            numbers = numbers[numbers.index(current) + 1 :]
        else:
            worker.join()
            break
    return findings


if __name__ == "__main__":
    sys.exit(main())
