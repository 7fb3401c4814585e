import os
from pathlib import Path
from typing import get_args

import pytest

from commands import spandex
from spandex import params
from spandex.cli import training
from spandex.errors import SpandexError
from spandex.params import ParamsError
from spandex.params.section import DENSITY_THRESHOLD
from spandex.sparsify import SCHEDULES
from spandex.sparsify.methods import magnitude

FILE = Path(__file__).parents[2] / "params.yaml"


@pytest.mark.parametrize("profile", ["synthetic", "mini", "dns4"])
def test_every_profile_is_valid(profile):
    assert params.load(FILE, {"profile": profile}).data.source == profile


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.lrr=0.1", "train.lrr: unknown key; train.lr is one"),
        ("data.clip.test=3", "data.clip: unknown key; data.clips is one"),
        ("train.lr=-1", "train.lr: Input should be greater than 0, got -1"),
        ("sparsify.pruning_epochs=9", "sparsify.pruning_epochs: 9 is more than epochs"),
        ("data.snr_db=[20,-5]", r"data.snr_db: \[20, -5\) is empty"),
        ("data.clips.test=0.5", "data.clips.test: .* got 0.5"),
        ("train.segment_s=31", "train.segment_s: 31.0 is more than data.clip_s"),
        ("model.hop=100", "model.hop: 100 does not divide"),
        ("train.epochs=0", "train.epochs: 0 leaves random weights"),
        ("colour=red", "colour: unknown key"),
        ("profile=huge", "profile: 'huge' is not one of synthetic, mini, dns4"),
        ("train.lr", "not of the form"),
        ("train.lr=[", "train.lr: .* is not YAML"),
        ("train.lr=.inf", "train.lr: Input should be a finite number, got inf"),
        ("train.lr=1e400", "train.lr: Input should be a finite number, got inf"),
        ("train.lr=-.inf", "train.lr: Input should be"),
        ("data.peak=.nan", "data.peak: Input should be a finite number, got nan"),
        ("seed=true", "seed: Input should be a number, got True"),
        ("train.lr=true", "train.lr: Input should be a number, got True"),
        ("data.snr_db=[false,10]", "data.snr_db: Input should be a number, got False"),
        ("train.segment_s=1:30", "train.segment_s: Input should be a valid number, .* got '1:30'"),
        ("train.epochs=1:30", "train.epochs: Input should be a valid integer, .* got '1:30'"),
        ("train.lr=0.1 seed=2 train.lr=0.2", "train.lr is set twice, by train.lr=0.1 and train.lr=0.2"),
        ("profile=mini profile=dns4", "profile is set twice, by profile=mini and profile=dns4"),
        ("profile=[mini]", r"profile: \['mini'\] is not one of"),
        ('evaluate={"mos":true,"mos":false}', 'evaluate: .* is not YAML .*found duplicate key "mos"'),
    ],
)
def test_impossible_value_is_named(assignment, message):
    with pytest.raises(ParamsError, match=message):
        params.load(FILE, {"set": assignment})


def test_override_wins_over_profile_and_shared_values():
    loaded = params.load(
        FILE, {"profile": "mini", "set": "train.lr=0.002 train.epochs=3", "sparsify": {"lr_factor": 0.5}}
    )
    assert (loaded.train.lr, loaded.train.epochs, loaded.sparsify.lr_factor) == (0.002, 3, 0.5)


def test_key_set_in_two_places_is_refused(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(FILE.read_text().replace("train: {epochs: 12,", "train: {lr: 0.1, epochs: 12,"))
    with pytest.raises(ParamsError, match=r"train\.lr stands twice, in train and in profiles\.synthetic\.train"):
        params.load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"- 1", ": holds no sections"),
        (b"a: [", ": not YAML"),
        (b"", ": holds no sections"),
        (b"\x00\x01", ": is no text"),
        (b"seed: 1\nseed: 2\n", r": not YAML \(line 2: found duplicate key"),
        (b"seed: \xe9\n", ", line 1: byte 0xe9; save it as UTF-8"),
        ("seed: 1".encode("utf-16"), ": is UTF-16; save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ": is a pointer of Git LFS"),
        (b"[" * 5000, ": not YAML"),
        (b"profiles: [1]\n", ": profiles: .* names none"),
        (b"profiles: {1: {}}\nprofile: 1\n", ": profile: 1 is not one of 1"),
        (b"profile: mini\nprofiles: {mini: 3}\n", ": profiles.mini: holds no sections"),
        (b"1: 2\nprofile: mini\nprofiles: {mini: {}}\n", ": .*1: "),
    ],
    ids=repr,
)
def test_broken_file_is_named(tmp_path, text, message):
    file = tmp_path / "params.yaml"
    file.write_bytes(text)
    with pytest.raises(SpandexError, match=rf"params\.yaml{message}"):
        params.load(file)


def test_file_in_other_clothes_is_read_all_the_same(tmp_path):
    file, text = tmp_path / "params.yaml", FILE.read_text()
    for clothed in (b"\xef\xbb\xbf" + text.encode(), *(text.replace("\n", end).encode() for end in ("\r\n", "\r"))):
        file.write_bytes(clothed)
        assert params.load(file) == params.load(FILE)


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing"])
def test_what_is_no_file_is_named(tmp_path, kind):
    path = tmp_path / "params.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(SpandexError, match=rf"params\.yaml: (is a {kind}|is a device or pipe|no such file)"):
        params.load(path)


def test_values_in_double_quotes_may_hold_spaces():
    found = params.load(FILE, {"set": r'report.team="some body: \"we\"" mirror="/a folder (1) & é" seed=2'})
    assert (found.report.team, found.mirror, found.seed) == ('some body: "we"', "/a folder (1) & é", 2)
    with pytest.raises(params.ParamsError, match="is not YAML"):
        params.load(FILE, {"set": 'report.team="open'})


@pytest.mark.parametrize("value", ["plain", 'my "best" folder (1) & é 🎧', "back\\slash # no comment", "a: b", ""])
def test_overrides_survive_as_text(value):
    text = params.assignments({"mirror": value, "set": "seed=2", "report": {"team": value}})
    found = params.load(FILE, {"set": text})
    assert (found.mirror, found.report.team, found.seed) == (value, value, 2)


def test_variables_of_the_environment_that_count_are_said_once(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (params.SAID, "MAKELEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPANDEX_SET", "seed=2")
    monkeypatch.setenv("SPANDEX_MIRROR", "")
    command = "--params", FILE, "sync", "--dry-run"
    assert spandex(*command).stderr == "from the environment: SPANDEX_SET=seed=2\n"
    assert spandex(*command).stderr == ""
    monkeypatch.delenv(params.SAID)
    monkeypatch.setenv("MAKELEVEL", "1")
    assert spandex(*command).stderr == ""


class TestMirror:
    """One setting: the command line, else the environment, else the file."""

    @pytest.fixture(autouse=True)
    def unset(self, monkeypatch):
        monkeypatch.delenv("SPANDEX_MIRROR", raising=False)
        monkeypatch.setenv("SPANDEX_SET", "")

    @pytest.fixture
    def file(self, tmp_path) -> Path:
        text = FILE.read_text().replace("mirror: null", "mirror: /of/file")
        (tmp_path / "params.yaml").write_text(text)
        return tmp_path / "params.yaml"

    def test_file_counts_where_nothing_else_names_one(self, file, monkeypatch):
        assert params.mirror_in_use(file) == "/of/file"
        assert params.mirror_in_use(FILE) is None
        monkeypatch.setenv("SPANDEX_MIRROR", "")  # as make exports it
        assert params.mirror_in_use(file) == "/of/file"

    def test_environment_counts_more_and_the_command_line_most(self, file, monkeypatch):
        monkeypatch.setenv("SPANDEX_MIRROR", "/of environment")
        assert params.mirror_in_use(file) == "/of environment"
        monkeypatch.setenv("SPANDEX_SET", 'seed=2 mirror="/of set"')
        assert params.mirror_in_use(file) == "/of set"
        assert params.with_environment({"mirror": "/given"})["mirror"] == "/given"

    def test_path_is_seen_from_the_checkout_and_an_address_is_not(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SPANDEX_MIRROR", "beside")
        assert params.mirror_in_use(FILE) == str(tmp_path / "beside")
        monkeypatch.setenv("SPANDEX_MIRROR", "https://example.org/mirror")
        assert params.mirror_in_use(FILE) == "https://example.org/mirror"

    def test_build_and_benchmark_take_the_same(self, monkeypatch):
        monkeypatch.chdir(FILE.parent)
        monkeypatch.setenv("SPANDEX_MIRROR", "/of environment")
        given = []
        monkeypatch.setattr("spandex.steps.bench.bench", lambda *_: given.append(params.mirror_in_use()))
        monkeypatch.setattr("spandex.pipeline.build.lock", lambda: None)
        monkeypatch.setattr("spandex.cli.builds._sync", lambda *_: None)
        monkeypatch.setattr("spandex.data.shards.reopen", lambda *_: None)
        monkeypatch.setattr("spandex.pipeline.build.run", lambda targets, cores, overrides, _: given.append(overrides))
        assert spandex("bench", "inference").exit_code == 0
        assert spandex("--set", 'mirror="/of set"', "bench", "inference").exit_code == 0
        monkeypatch.setenv("SPANDEX_SET", "")
        assert spandex("--set", "seed=2", "rebuild").exit_code == 0
        assert given == ["/of environment", "/of set", 'mirror="/of environment" seed=2']


def test_digest_is_of_the_named_sections_and_never_of_the_mirror():
    plain, other_lr, mirrored = (
        params.load(FILE, {"set": text}) for text in ("", "train.lr=0.002", "mirror=/somewhere")
    )
    assert plain.digest("data") == other_lr.digest("data")
    assert plain.digest("train") != other_lr.digest("train")
    assert plain.digest() == mirrored.digest()


def test_assignments_carry_overrides_to_another_process():
    overrides = {"profile": "mini", "train": {"lr": 0.002}, "set": "seed=3 sparsify.epochs=9"}
    assert params.load(FILE, {"set": params.assignments(overrides)}) == params.load(FILE, overrides)


def test_mistake_in_a_profile_that_is_not_chosen_is_named(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(FILE.read_text().replace("deploy: {clips: 5,", "deploy: {clipz: 5,"))
    with pytest.raises(ParamsError, match=r"profiles\.dns4: deploy\.clipz: unknown key"):
        params.load(file)


def test_digest_of_keys_leaves_out_their_neighbours():
    plain, more_clips = (params.load(FILE, {"set": text}) for text in ("", "data.clips.test=7"))
    assert plain.digest("data.source") == more_clips.digest("data.source")
    assert plain.digest("data") != more_clips.digest("data")
    assert plain.value("data", without=["data.clips"]) == more_clips.value("data", without=["data.clips"])


def test_schedules_of_parameters_commands_and_library_are_the_same():
    names = set(get_args(magnitude.Settings.model_fields["schedule"].annotation))
    assert names == set(SCHEDULES) == set(get_args(training.Schedule))


@pytest.mark.parametrize(
    "text, reason",
    [
        ("model.arguments.hidden=6", "model.arguments: there is no model.factory"),
        ("profile=mini model.factory=mine:net", "model.pretrained: ndns-baseline-pt is no network of model.factory"),
    ],
)
def test_factory_settings_that_do_not_go_together_are_refused(text, reason):
    with pytest.raises(ParamsError, match=reason):
        params.load(FILE, {"set": text})


def test_commands_for_own_networks_take_the_density_of_the_file():
    assert params.load(FILE).deploy.density_threshold == DENSITY_THRESHOLD
