"""Bad input at the command line: one line that names it, exit status 1 or 2, and every file as it was.

A case is a command in a folder that holds params.yaml, network.net, network.pt, X.npy, and clips in noisy/ and clean/,
with the files that the case itself gives; and what its line must say.
"""

import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch

from commands import refusal
from denoising import noisy_pair
from inputs import write_inputs
from network_files import INTEGRATOR, dense, write_layers
from spandex.data.audio import to_int16

OVERWRITTEN = "would be overwritten; choose another output"


@dataclass(frozen=True)
class Case:
    """A command line that must be refused.

    Attributes:
        command: as typed after ``spandex``, without quotes.
        message: what the line has, besides the command's name.
        given: files beside those of every case: bytes, or what makes the path.
        status: 1 for input, 2 for usage.
        leaves: files and folders that the command may leave all the same.
    """

    command: str
    message: str
    given: Mapping[str, bytes | Callable[[Path], None]] = field(default_factory=dict)
    status: int = 1
    leaves: tuple[str, ...] = ()


def link(target: str) -> Callable[[Path], None]:
    """A symbolic link to another file of the folder."""
    return lambda path: path.symlink_to(os.path.relpath(target, path.parent))


def hard_link(target: str) -> Callable[[Path], None]:
    """Another name of a file."""
    return lambda path: path.hardlink_to(target)


EVALUATE = "evaluate network.net --noisy noisy --clean clean --no-mos"
TRAIN = "--data noisy --validation noisy --epochs 1"
OWN_INPUT = [
    Case("run network.net --input X.npy --output X.npy", f"X.npy: is input and {OVERWRITTEN}"),
    Case("run network.net --input X.npy --output noisy/../X.npy", f"X.npy: is input, X.npy, and {OVERWRITTEN}"),
    Case("run network.net --input X.npy --output Y.npy", "Y.npy: is input, X.npy,", {"Y.npy": link("X.npy")}),
    Case("run network.net --input X.npy --output Y.npy", "Y.npy: is input, X.npy,", {"Y.npy": hard_link("X.npy")}),
    Case("run network.net --input X.npy --output network.net", "network.net: is input"),
    Case(
        "denoise noisy/1.wav a.wav --network network.net",
        "a.wav: is input, noisy/1.wav,",
        {"a.wav": link("noisy/1.wav")},
    ),
    Case("denoise noisy/1.wav a.wav --network a.wav", "a.wav: is input", {"a.wav": b"a network"}),
    Case("denoise noisy out --network network.net", "out: lies within the input noisy", {"out": link("noisy")}),
    Case(f"{EVALUATE} --json network.net", "network.net: is input"),
    Case(f"{EVALUATE} --json noisy/1.wav", "noisy/1.wav: is input"),
    Case(f"{EVALUATE} --json a.json", "a.json: is input, clean/2.wav,", {"a.json": link("clean/2.wav")}),
    Case(f"{EVALUATE} --json a.json --inputs a.json", "a.json: is input", {"a.json": b"{}"}),
    Case(f"{EVALUATE} --json network.pt --float-network network.pt", "network.pt: is input"),
    Case("export --float-network network.pt --output network.pt", "network.pt: is input"),
    Case("prune --network network.pt --target 0.5 --output .", "network.pt: is input"),
    Case("prune --network network.net --target 0.5 --output noisy/..", "network.net: is input, network.net,"),
    Case(f"prune --network network.pt --target 0.5 --output . {TRAIN}", "network.pt: is input"),
    Case(
        f"train --network network.pt --output out {TRAIN}", "out/network.pt: is input, network.pt,", {"out": link(".")}
    ),
]


def weights(value: float) -> Callable[[Path], None]:
    """A copy of network.pt with one weight of that value."""

    def write(path: Path) -> None:
        state = torch.load("network.pt", weights_only=True)
        state["blocks.2.synapse.weight"][1, 2] = value
        torch.save(state, path)

    return write


NOT_FINITE = [
    Case(
        f"{command} --network bad.pt{more}",
        f"bad.pt: blocks.2.synapse.weight holds {value} in 1 of 16 places",
        {"bad.pt": weights(value)},
    )
    for command, more in (
        ("denoise noisy out --backend torch", ""),
        ("prune --target 0.5 --output out", ""),
        ("train --output out", f" {TRAIN}"),
    )
    for value in (math.nan, math.inf, -math.inf)
]
NOT_FINITE += [
    Case(f"{command} {value}", f"'{command.split()[-1]}': {value} is not finite", status=2)
    for command, value in (
        (f"train --output out {TRAIN} --lr", "inf"),
        ("prune --network packaged --output out --target", "nan"),
        ("prune --network packaged --output out --power-mops", "inf"),
    )
]
NOT_FINITE += [
    *(
        Case(f"train --output out {TRAIN} --segment-s {value}", "'--segment-s': Input should be less than", status=2)
        for value in ("nan", "inf")
    ),
    Case(f"train --output out {TRAIN} --seed {10**20}", "'--seed': Input should be less than", status=2),
    Case(f"--set seed={10**20} rebuild", "seed: Input should be less than or equal to"),
]


def clips(amplitude: float) -> Callable[[Path], None]:
    """A folder of two clips for training, their clean audio of full scale times so much."""

    def write(folder: Path) -> None:
        for name in ("noisy", "clean"):
            (folder / name).mkdir(parents=True)
        for index, sign in ((1, 1), (2, -1)):
            noisy, _ = noisy_pair(index, 16_000)
            clean = amplitude * sign * np.sign(np.sin(np.arange(16_000)))
            soundfile.write(folder / f"noisy/fileid_{index}.wav", to_int16(noisy), 16_000)
            soundfile.write(folder / f"clean/clean_fileid_{index}.wav", to_int16(clean), 16_000)

    return write


SILENT = [
    Case(
        "train --output out --epochs 1 --segment-s 0.5 --batch-size 1 --data a --validation b",
        message,
        {"a": clips(training), "b": clips(validation)},
        leaves=("out",),
    )
    for training, validation, message in (
        (0.0, 0.1, "epoch 1: no training segment holds speech"),
        (2**-15, 0.1, "epoch 1: no training segment holds speech"),
        (0.1, 2**-15, "no speech in any of 2 validation clips"),
    )
]
SILENT += [
    Case(
        "evaluate network.net --no-mos --json a.json --noisy a/noisy --clean a/clean",
        "a/clean/clean_fileid_1.wav: silent (nothing above -80 dBFS)",
        {"a": clips(amplitude)},
        leaves=("a.json",),
    )
    for amplitude in (0.0, 2**-15)
]
STATE_DICT = [
    Case(
        command,
        "network.pt: is a state dict of torch, not lava-dl's HDF5; spandex denoise takes it with --backend torch",
    )
    for command in (
        "info network.pt",
        "run network.pt --input X.npy --output Y.npy",
        "denoise noisy out --network network.pt",
        f"{EVALUATE.replace('network.net', 'network.pt')} --json a.json",
    )
]
STATE_DICT += [
    Case(command, "network.net: not a state dict written by torch (it is HDF5, as lava-dl exports networks)")
    for command in (
        "export --float-network network.net --output a.net",
        f"{EVALUATE} --float-network network.net --json a.json",
    )
]
NAMES = [
    Case(f"{EVALUATE.replace('network.net', 'a=network.net')} --name b --json a.json", "not by both", status=2),
    Case(f"{EVALUATE} network.net --json a.json", "two networks are called "),
    Case(f"{EVALUATE} b=network.net --name b --json a.json", "not by both", status=2),
    Case(f"{EVALUATE.replace('network.net', 'a=nix.net')} --json a.json", "nix.net: no such file"),
    Case(f"{EVALUATE.replace('network.net', 'a=')} --json a.json", "a=: no such file"),
]
NAMES += [
    Case(f"{EVALUATE} --name {name} --json a.json", f"a network is called '{name}', as the clips themselves are")
    for name in ("noisy", "clean")
]


def layer(index: int, key: str, value: object) -> Callable[[Path], None]:
    """A copy of network.net with another entry in a layer."""

    def write(path: Path) -> None:
        shutil.copy("network.net", path)
        with h5py.File(path, "r+") as file:
            if f"layer/{index}/{key}" in file:
                del file[f"layer/{index}/{key}"]
            if value is not None:
                file[f"layer/{index}/{key}"] = value

    return write


RUN = "run bad.net --input X.npy --output Y.npy"
LAYERS = [
    Case(RUN, f"bad.net: layer {index}: {message}", {"bad.net": layer(index, key, value)})
    for index, key, value, message in (
        (1, "type", np.array([b"average"]), "type 'average', which netx cannot build"),
        (1, "type", np.array([b"lstm"]), "type 'lstm', which lava-dl does not know; netx would leave the layer out"),
        (1, "neuron/gradedSpike", True, "neuron/gradedSpike of SDNN neurons; Lava's send 1 or nothing"),
        (1, "neuron/type", "ALIF", "neuron type 'ALIF'; netx runs SDNN"),
        (1, "weight", np.nan, "weight is nan"),
    )
]
LAYERS += [
    Case(
        command,
        "bad.net: no mask network; it has no input layer",
        {"bad.net": lambda path: write_layers(path, dense(np.eye(33, dtype=int), INTEGRATOR))},
    )
    for command in (
        "denoise noisy/1.wav a.wav --network bad.net",
        "denoise noisy/1.wav a.wav --network bad.net --backend lava",
        f"{EVALUATE.replace('network.net', 'bad.net')} --hop 64 --json a.json",
    )
]
LAYERS += [
    Case(RUN, "bad.net: layer 1: sigma-delta neurons without an input layer", {"bad.net": layer(0, "neuron", None)}),
    Case(
        f"{RUN} --input-message-bits 0",
        "X.npy: holds 2, but without an input layer the network takes spikes, 0 and 1",
        {
            "bad.net": layer(0, "neuron", None),
            "X.npy": lambda path: np.save(path, np.full_like(np.load(path), 2)),
        },
    ),
    Case(
        f"{RUN} --input-message-bits 99", "'--input-message-bits': Input should be less than or equal to 32", status=2
    ),
]
BUILDS = [
    Case("--set model.pretrained=a.pt rebuild", "model.pretrained: a.pt: no such file"),
    Case("--set model.pretrained=a.pt rebuild", "model.pretrained: a.pt: not a state dict", {"a.pt": b"x"}),
    Case("--set model.pretrained=network.pt rebuild", "model.pretrained: network.pt: does not fit the network"),
    Case("--set model.pretrained=nix rebuild", "model.pretrained: 'nix' is neither a state dict's file nor one of"),
    Case("--set model.factory=nix:nix rebuild", "model.factory: "),
    Case("--set threads=100000 rebuild", "threads: Input should be less than or equal to 1024, got 100000"),
    Case("rebuild --workers 100000", "'--workers': Input should be less than or equal to 1024", status=2),
    Case(
        f"train --output out --threads 100000 {TRAIN}",
        "'--threads': Input should be less than or equal to 1024",
        status=2,
    ),
    Case("--set deploy.sparsity_map=[true,false] rebuild", "deploy.sparsity_map: sparsity map has 2 entries for the 3"),
    Case(
        "--set networks.x.from=prune75 --set networks.x.masks.target=0.9 rebuild",
        "networks.x.masks: cannot keep the zeros of prune75",
    ),
    Case(
        "--set networks.x.from=baseline --set networks.x.masks.power_mops=4 --set networks.x.epochs=4 "
        "--set networks.x.pruning_epochs=3 rebuild",
        "networks.x.pruning_epochs: 3 is more than two thirds of epochs: 4; masks meets a power budget half",
    ),
    *(
        Case(
            f"--params other.yaml {command}", "--params other.yaml: builds read params.yaml alone", {"other.yaml": b""}
        )
        for command in ("rebuild", "sync", "record", "exp run")
    ),
    Case("--set seed=2 exp run", "seed=2: DVC knows params.yaml alone; give --set-param"),
    Case("--set data.clips.train=100000000 rebuild", "GB free, what is to be written there needs 288"),
    Case("rebuild", "models/synthetic: cannot be written (", {"models": b"a file"}),
    Case("rebuild", "reports/synthetic: cannot be written (", {"reports": link("nowhere/at/all")}),
]
if not torch.cuda.is_available():
    NO_GPU = "device: cuda was asked for, but torch sees no GPU"
    BUILDS += [Case(f"--set {section}.device=cuda rebuild", NO_GPU) for section in ("train", "evaluate")]
    BUILDS += [Case(f"{EVALUATE} --json a.json --device cuda", NO_GPU)]


def mirrored(path: Path) -> None:
    """The parameters with the mirror ``m``."""
    path.write_text(path.read_text().replace("mirror: null", "mirror: m"))


LISTING = "path,kind,group,split_or_fold,sha256\n"
MIRRORS = [
    Case(
        "--set profile=mini corpus --output out/manifest.csv",
        message,
        {"params.yaml": mirrored, "m": Path.mkdir, "m/corpus.csv": f"{LISTING}{row},{'0' * 64}".encode()},
        leaves=("out",),
    )
    for row, message in (
        ("a.wav,speech,1,train", "m: a.wav: no such file; data.skip_missing=true goes on without what is missing"),
        ("a.wav,music,1,train", "m/corpus.csv, line 2: kind 'music' is not one of speech, noise"),
        ("a.wav,noise,1,1", "m/corpus.csv, line 2: a.wav: the name of noise begins with FOLD-RECORDING"),
    )
]
NO_EVALUATION = [
    Case(f"{EVALUATE} --json a.json --inputs b.json", "b.json: not the JSON of an evaluation", {"b.json": content})
    for content in (
        b"[]",
        b'{"noisy": {"per_clip": []}}',
        b'{"noisy": {"per_clip": [{"digest": "a"}]}, "clean": {"per_clip": [{"digest": "a"}]}}',
        b'{"noisy": {"per_clip": [{"digest": "a", "si_snr_db": "1", "si_snr_enc_dec_db": 2}]},'
        b' "clean": {"per_clip": [{"digest": "a"}]}}',
    )
]
OLD_FORMS = [
    Case(command, f"; it is {now}; see ", status=2)
    for command, now in (
        ("info --net network.net", "NETWORK without an option"),
        ("run --net network.net --input X.npy --output Y.npy", "NETWORK without an option"),
        ("evaluate --net network.net --noisy noisy --clean clean --json a.json", "NETWORK without an option"),
        (f"{EVALUATE} --json a.json --float-net network.pt", "--float-network"),
        ("denoise noisy out --net network.net", "--network"),
        ("denoise noisy out --net=network.net", "--network"),
        (f"train --net network.pt --output out {TRAIN}", "--network"),
        ("prune --net network.pt --target 0.5 --output out", "--network"),
        ("sparsify --start network.pt", "--network"),
        ("bench inference --net network.net", "--network"),
        ("info network.net --json", "--json PATH, with - for standard output"),
        ("info network.net --json --sparsity-map auto", "--json PATH, with - for standard output"),
        ("info network.net --json --sparsity-map=auto", "--json PATH, with - for standard output"),
        ("rebuild --cores 2", "--workers"),
        ("reproduce HEAD --cores 2", "--workers"),
        ("bench cost --cores 16", "--workers"),
        ("prune --network network.pt --output out --target 0.5 --neurons", "--neurons FRACTION"),
        (f"prune --network network.pt --output out --target 0.5 --neurons {TRAIN}", "--neurons FRACTION"),
    )
]
OLD_FORMS += [
    Case("--set profile=embedded rebuild", "profile: 'embedded' is not one of synthetic, mini, dns4"),
    Case("--set data.source=embedded rebuild", "data.source: Input should be 'synthetic', 'mini' or 'dns4'"),
]
JSON = [
    Case("info network.net --json network.net", "network.net: is input"),
    Case("info --json nix.net", "'NETWORK'; nix.net is taken for what --json writes, a PATH or -", status=2),
    Case(f"{EVALUATE} --json - --shard 1-of-2", "--shard needs the --json PATH", status=2),
    Case("prune --network network.pt --output out", "--power-mops M-OPS or --neurons FRACTION", status=2),
    Case("prune --network network.pt --output out --target 0.5 --neurons 0.5", "one of them", status=2),
]
CASES = [
    *OLD_FORMS,
    *JSON,
    *OWN_INPUT,
    *NOT_FINITE,
    *SILENT,
    *STATE_DICT,
    *NAMES,
    *NO_EVALUATION,
    *LAYERS,
    *BUILDS,
    *MIRRORS,
]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_inputs(folder)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.command)
def test_refused_in_one_line_and_nothing_is_lost(template, tmp_path, monkeypatch, case):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, content in case.given.items():
        if isinstance(content, bytes):
            Path(name).write_bytes(content)
        else:
            content(Path(name))
    before = contents(tmp_path)
    assert case.message in refusal(*case.command.split(), status=case.status)
    left = tuple(tmp_path / name for name in case.leaves)
    after = {path: content for path, content in contents(tmp_path).items() if not any(map(path.is_relative_to, left))}
    assert after == before


def contents(folder: Path) -> dict[Path, bytes | str]:
    """All files, and where all links lead."""
    found: dict[Path, bytes | str] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[path] = str(path.readlink())
        elif path.is_file():
            found[path] = path.read_bytes()
    return found
