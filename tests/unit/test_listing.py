"""Damage to clips that were listed is known when they are read, and made good by the command that is named."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from commands import spandex
from spandex import params
from spandex.data.dataset import NoisySpeech
from spandex.errors import SpandexError
from spandex.evaluation import pair_clips
from spandex.files import sha256
from spandex.steps.check import check_clips

FILE = Path(__file__).parents[2] / "params.yaml"
SETTINGS = "data.clip_s=2 data.clips.test=3 data.clips.train=1 train.segment_s=1"
TEST = Path("data/synthetic/test")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The test clips of a small corpus, listed by the step of the pipeline."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(FILE, folder)
    corpus = folder / "data/synthetic/corpus"
    lines = ["path,kind,split,group,sample_rate_hz,duration_s,sha256"]
    for kind in ("speech", "noise"):
        for number in range(4):
            random = np.random.default_rng(number)
            audio = 0.2 * random.standard_normal(48_000) * np.sin(np.arange(48_000) / 4000)
            path = corpus / f"{kind}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, audio, 16_000)
            lines.append(f"{path.name},{kind},test,{kind}{number},16000,3.0,{sha256(path)}")
    (corpus / "manifest.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        synthesize = f"synthesize --manifest data/synthetic/corpus/manifest.csv --split test --output {TEST}/clips.json"
        assert spandex("--set", SETTINGS, *synthesize.split()).exit_code == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first(part: str) -> Path:
    return sorted((TEST / part).glob("*.wav"))[0]


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-500] ^= 1
    file.write_bytes(content)


def read_all() -> None:
    clips = NoisySpeech(TEST)
    for index in range(len(clips)):
        clips.read(index, 100, 200)


def evaluate_all() -> None:
    pairs, _ = pair_clips(TEST / "noisy", TEST / "clean")
    for pair in pairs:
        pair.read()


def test_whole_clips_pass(folder):
    check_clips(params.load(FILE))
    read_all()
    evaluate_all()


@pytest.mark.parametrize("step", [read_all, evaluate_all])
@pytest.mark.parametrize("part", ["noisy", "clean"])
@pytest.mark.parametrize("damage", [remove, cut, flip])
def test_step_names_a_damaged_file_and_what_makes_it_anew(folder, damage, part, step):
    before, file = {path: sha256(path) for path in TEST.rglob("*.wav")}, first(part)
    damage(file)
    with pytest.raises(SpandexError) as error:
        step()
    message = str(error.value)
    assert message.startswith(f"{file}: ") and "when clips.json listed it; spandex" in message
    command = shlex.split(message.partition("; spandex ")[2].removesuffix(" makes it anew"))
    assert spandex("--set", f"{SETTINGS} {command[1]}", *command[2:]).exit_code == 0
    assert {path: sha256(path) for path in TEST.rglob("*.wav")} == before
    step()


@pytest.mark.parametrize("part", ["noisy", "clean", "noise"])
@pytest.mark.parametrize("damage", [remove, cut])
def test_damage_stops_a_build_before_it_is_recorded(folder, damage: Callable[[Path], None], part):
    damage(first(part))
    with pytest.raises(SpandexError, match=rf"^{first(part) if damage is cut else TEST / part}.*makes it anew"):
        check_clips(params.load(FILE))


def test_folder_without_a_list_is_read_as_it_is(folder):
    (TEST / "clips.json").unlink()
    flip(first("noisy"))
    read_all()
    evaluate_all()


@pytest.mark.parametrize("files", [[], {"noisy/1.wav": {"bytes": 1}}, {"noisy/1.wav": {"bytes": True, "sha256": ""}}])
def test_list_of_another_form_is_refused(folder, files):
    (TEST / "clips.json").write_text(json.dumps({"files": files}))
    with pytest.raises(SpandexError, match=r"clips.json: 'files' has not the bytes and sha256 of every clip"):
        read_all()
