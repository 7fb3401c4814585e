import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from spandex.train.checkpoint import CheckpointError, Checkpoints, read_checkpoint, write_checkpoint

STATE = {
    "weights": torch.arange(6.0).reshape(2, 3),
    "mask": torch.tensor([True, False]),
    "lr": 0.001,
    "epoch": 3,
    "best": None,
    "betas": (0.9, 0.999),
    "rows": [{"loss": 88.5}],
}


def equal(state, other):
    assert torch.equal(state.pop("weights"), other["weights"])
    assert torch.equal(state.pop("mask"), other["mask"])
    assert state == {key: value for key, value in other.items() if key not in ("weights", "mask")}


@pytest.fixture
def messages():
    return []


RESTART = "warning: no checkpoint to continue from; training starts from the beginning"


def checkpoints(tmp_path, messages, identity="a run"):
    return Checkpoints(tmp_path, identity, messages.append)


def test_what_was_saved_is_loaded(tmp_path, messages):
    checkpoints(tmp_path, messages).save(STATE)
    equal(checkpoints(tmp_path, messages).load(), STATE)
    assert messages == []


def test_no_checkpoint_is_no_state(tmp_path, messages):
    assert checkpoints(tmp_path / "nowhere", messages).load() is None
    assert messages == []


def test_the_newest_two_are_kept(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    for epoch in range(4):
        store.save({"epoch": epoch})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.ckpt", "previous.ckpt"]
    assert store.load() == {"epoch": 3}
    store.current.unlink()
    assert store.load() == {"epoch": 2}


def damage(content: bytes):
    yield "empty", b""
    yield "half", content[: len(content) // 2]
    yield "one byte short", content[:-1]
    yield "one bit flipped", content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]
    yield "longer", content + b"\0"
    yield "zeros", bytes(len(content))


def test_a_torn_checkpoint_is_refused_and_the_one_before_used(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    store.save({"epoch": 2} | STATE)
    for kind, content in damage(store.current.read_bytes()):
        store.current.write_bytes(content)
        messages.clear()
        assert store.load() == {"epoch": 1}, kind
        assert len(messages) == 1 and str(store.current) in messages[0], kind


class Payload:
    """What an attacker would put into a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_foreign_file_is_refused_without_running_it(tmp_path, messages):
    proof = tmp_path / "executed"
    stream = io.BytesIO()
    torch.save({"state": Payload(proof)}, stream)
    store = checkpoints(tmp_path, messages)
    for content in (pickle.dumps(Payload(proof)), stream.getvalue(), np.arange(100).tobytes()):
        store.current.write_bytes(content)
        assert store.load() is None
    assert [message.split(": ")[-1] for message in messages if message != RESTART] == ["not a checkpoint; not used"] * 3
    assert messages.count(RESTART) == 3
    # Well-framed, so that only the restricted unpickler stands in the way.
    write_checkpoint(store.current, {"identity": "a run", "state": Payload(proof)})
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(store.current)
    assert not proof.exists()


def test_a_checkpoint_of_another_run_is_left_alone(tmp_path, messages):
    checkpoints(tmp_path, messages, identity="lr 0.01").save({"epoch": 7})
    store = checkpoints(tmp_path, messages, identity="lr 0.001")
    assert store.load() is None
    assert messages == [f"{store.current}: belongs to other settings or data; not used", RESTART]
    store.save({"epoch": 1})
    assert store.load() == {"epoch": 1}


def test_remains_of_a_killed_write_are_cleaned_up(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    remains = tmp_path / ".checkpoint.ckpt.123.tmp"
    remains.write_bytes(b"part")
    assert store.load() == {"epoch": 1}
    assert not remains.exists()


def test_a_torn_checkpoint_does_not_take_the_place_of_the_good_one_before(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    store.save({"epoch": 2})
    store.current.write_bytes(store.current.read_bytes()[:-1])
    store = checkpoints(tmp_path, messages)
    assert store.load() == {"epoch": 1}
    store.save({"epoch": 2})
    store.current.unlink()
    assert store.load() == {"epoch": 1}


def test_two_torn_checkpoints_mean_a_new_start_and_a_warning(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    store.save({"epoch": 2})
    for path in (store.current, store.previous):
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints(tmp_path, messages).load() is None
    torn = [f"warning: {path}: torn checkpoint; not used" for path in (store.current, store.previous)]
    assert messages == [*torn, RESTART]


def test_an_unreadable_checkpoint_is_not_used(tmp_path, messages):
    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    store.save({"epoch": 2})
    store.current.unlink()
    store.current.mkdir()  # what reading it fails on, whoever reads
    assert store.load() == {"epoch": 1}
    assert messages == [f"warning: {store.current}: unreadable (Is a directory); not used"]


class Killed(BaseException):
    """The end of the process at this very moment."""


def test_a_kill_at_any_moment_of_a_write_leaves_a_usable_checkpoint(tmp_path, messages, monkeypatch):
    """Every call of the operating system in a save is the last one, in turn."""
    calls, last = 0, None

    def dying(function):
        def call(*args, **options):
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed
            if last is not None and calls > last:
                return None  # nothing happens any more, not even cleaning up
            return function(*args, **options)

        return call

    store = checkpoints(tmp_path, messages)
    store.save({"epoch": 1})
    store.save({"epoch": 2})
    for name in ("open", "replace", "unlink"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    store.save({"epoch": 3})
    number = calls
    assert number >= 4
    for moment in range(1, number + 1):
        calls, last = 0, None
        store.save({"epoch": 4})
        store.save({"epoch": 5})
        calls, last = 0, moment
        with pytest.raises(Killed):
            store.save({"epoch": 6})
        calls, last = 0, None
        messages.clear()
        store = checkpoints(tmp_path, messages)
        assert store.load()["epoch"] in (5, 6), moment
        assert messages == []
