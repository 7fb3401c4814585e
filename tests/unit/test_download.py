import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from downloads import CONTENT, QUICK, file_source, unpublished
from faulty_server import Fault, FaultyServer
from spandex.data.catalog import source
from spandex.data.download import fetch
from spandex.data.transfer import CHUNK, DownloadError, Retry, WrongBytesError


def test_several_files_arrive_whole(server, tmp_path):
    contents = {f"{n}.bin": random.Random(n).randbytes(n * 50_000) for n in range(6)}
    sources = [file_source(server, content, name) for name, content in contents.items()]
    paths = fetch(sources, tmp_path, workers=3)
    assert {name: path.read_bytes() for name, path in paths.items()} == contents
    assert paths["3.bin"] == tmp_path / "a" / "3.bin"
    assert not list(tmp_path.rglob("*.part*"))


def test_dropped_connection_resumes_where_it_stopped(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(drop_after=300_000), Fault(drop_after=200_000)]
    path = fetch([item], tmp_path, retry=QUICK)[item.name]
    assert path.read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-", "bytes=500000-"]


def test_many_drops_are_survived_while_bytes_keep_coming(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(drop_after=100_000)] * 9
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


def test_stalled_connection_times_out_and_resumes(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(stall_after=400_000)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    kept = int(server.asked(item.name)[1].removeprefix("bytes=").rstrip("-"))
    assert 400_000 - CHUNK < kept <= 400_000


def test_server_ignoring_range_restarts_cleanly(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(drop_after=300_000), Fault(ignore_range=True)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-"]


def test_wrong_range_restarts_from_the_beginning(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(drop_after=300_000), Fault(shift_range=10)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-", None]


@pytest.mark.parametrize("published", [True, False])
def test_file_that_changes_between_two_attempts_is_not_mixed(server, tmp_path, published):
    old = CONTENT[::-1]
    item = file_source(server) if published else unpublished(server)
    server.faults[item.name] = [Fault(content=old, drop_after=300_000)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


def test_part_file_of_another_size_is_begun_again(server, tmp_path):
    item = unpublished(server)
    part = tmp_path / "a" / f"{item.name}.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"tail of something else")
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_tried_again(server, tmp_path, status):
    item = file_source(server)
    server.faults[item.name] = [Fault(status=status)] * 3
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert len(server.requests) == 4


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(server, tmp_path, form):
    item = file_source(server)
    due = datetime.now(UTC) + timedelta(seconds=2)
    value = "1" if form == "seconds" else format_datetime(due, usegmt=True)
    server.faults[item.name] = [Fault(status=503, headers={"Retry-After": value})]
    begun = time.monotonic()
    fetch([item], tmp_path, retry=QUICK)
    # a date has whole seconds: two seconds ahead is one to two
    assert time.monotonic() - begun >= 0.95


def test_server_that_stays_busy_is_given_up_with_its_address(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(status=503)] * 100
    with pytest.raises(DownloadError, match=rf"{item.address}: given up after 4 failures in a row: HTTP 503"):
        fetch([item], tmp_path, retry=QUICK)
    assert len(server.requests) == QUICK.attempts


def test_pauses_double_and_differ():
    retry = Retry(pause_s=1.0)
    for failures in range(1, 6):
        pauses = [retry.backoff(failures) for _ in range(50)]
        assert all(2 ** (failures - 2) <= pause <= 2 ** (failures - 1) for pause in pauses)
        assert len(set(pauses)) > 40


@pytest.mark.parametrize("status", [403, 404])
def test_missing_file_fails_at_once_and_names_its_address(server, tmp_path, status):
    item = file_source(server)
    server.faults[item.name] = [Fault(status=status)] * 2
    with pytest.raises(DownloadError, match=f"{item.address}: HTTP {status}"):
        fetch([item], tmp_path, retry=QUICK)
    assert len(server.requests) == 1


def test_no_server_is_an_error_naming_the_address(tmp_path):
    with FaultyServer() as gone:
        item = file_source(gone)
    with pytest.raises(DownloadError, match=rf"{item.address}: given up .* refused"):
        fetch([item], tmp_path, retry=QUICK)


def test_one_failure_leaves_the_others_complete(server, tmp_path):
    good, bad, worse = (file_source(server, name=name) for name in ("good", "bad", "worse"))
    del server.files["bad"], server.files["worse"]
    with pytest.raises(DownloadError, match=r"2 of 3 .*/bad: HTTP 404.*/worse: HTTP 404"):
        fetch([bad, good, worse], tmp_path, retry=QUICK)
    assert (tmp_path / good.file).read_bytes() == CONTENT


def test_wrong_bytes_are_fetched_once_more(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(content=CONTENT[::-1])]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_wrong_bytes_twice_are_deleted_and_named(server, tmp_path):
    item = file_source(server)
    wrong = CONTENT[::-1]
    server.files[item.name] = wrong
    with pytest.raises(WrongBytesError) as caught:
        fetch([item], tmp_path, retry=QUICK)
    for text in (item.file, hashlib.md5(CONTENT).hexdigest(), hashlib.md5(wrong).hexdigest()):
        assert text in str(caught.value)
    assert len(server.requests) == 2
    assert not [path for path in tmp_path.rglob("speech.tar*") if path.suffix != ".json"]


@pytest.mark.parametrize("hide_length", [True, False])
def test_wrong_size_is_found_with_and_without_announcement(server, tmp_path, hide_length):
    item = file_source(server)
    server.faults[item.name] = [Fault(content=CONTENT[:-7], hide_length=hide_length)] * 2
    with pytest.raises(WrongBytesError, match=r"expected 1000000 bytes, .* 999993"):
        fetch([item], tmp_path, retry=QUICK)


def test_file_without_published_checksum_is_held_to_the_announced_size(server, tmp_path):
    item = unpublished(server)
    server.faults[item.name] = [Fault(drop_after=10)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


def test_content_encoding_label_does_not_unpack_the_file(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(headers={"Content-Encoding": "gzip"})]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_checked_file_is_not_fetched_again(server, tmp_path):
    sources = [file_source(server), unpublished(server, name="other.tar")]
    first = fetch(sources, tmp_path)
    assert fetch(sources, tmp_path) == first
    assert len(server.requests) == 2


def test_file_put_there_by_hand_is_checked_and_kept(server, tmp_path):
    item = file_source(server)
    (tmp_path / "a").mkdir()
    (tmp_path / item.file).write_bytes(CONTENT)
    fetch([item], tmp_path)
    assert server.requests == []


def test_file_spoiled_on_disk_is_fetched_again(server, tmp_path, caplog):
    item = file_source(server)
    path = fetch([item], tmp_path)[item.name]
    path.write_bytes(b"spoiled")
    assert fetch([item], tmp_path)[item.name].read_bytes() == CONTENT
    assert f"{path}: expected 1000000 bytes, found 7" in caplog.text


def test_full_disk_is_refused_before_the_first_byte(server, tmp_path):
    item = file_source(server, size=10**18)
    with pytest.raises(DownloadError, match=r"1000000000\.0 GB to download"):
        fetch([item], tmp_path)
    assert server.requests == []


def test_without_a_terminal_one_line_a_file_is_logged(server, tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO)
    fetch([file_source(server)], tmp_path)
    assert [record.message.split(":")[0] for record in caplog.records if record.name.startswith("spandex")] == [
        "a/speech.tar"
    ]
    assert capfd.readouterr().err == ""


CHILD = """
import sys
from spandex.data.catalog import Source
from spandex.data.download import fetch
fetch([Source(**eval(sys.argv[1]))], sys.argv[2])
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_download_resumes(server, tmp_path, sign):
    item = file_source(server)
    server.faults[item.name] = [Fault(stall_after=600_000)]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, repr(item.model_dump()), tmp_path], stderr=subprocess.DEVNULL, env=os.environ
    )
    part = tmp_path / "a" / "speech.tar.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 600_000 - CHUNK):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(sign)
    if sign != signal.SIGINT:
        child.wait(20)
    server.ended.set()  # lets the stalled answer end, as a closed connection
    assert child.wait(20) != 0
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    kept = int(server.asked(item.name)[-1].removeprefix("bytes=").rstrip("-"))
    assert 600_000 - CHUNK < kept <= 600_000


def test_mirror_folder_is_tried_first(server, tmp_path):
    item = file_source(server)
    (tmp_path / "mirror" / "a").mkdir(parents=True)
    (tmp_path / "mirror" / item.file).write_bytes(CONTENT)
    plain = file_source(server, name="plain.tar")
    (tmp_path / "mirror" / "plain.tar").write_bytes(CONTENT)
    paths = fetch([item, plain], tmp_path / "here", mirror=tmp_path / "mirror")
    assert [path.read_bytes() for path in paths.values()] == [CONTENT, CONTENT]
    assert all((tmp_path / "here") in path.parents for path in paths.values())
    assert server.requests == []


def test_mirror_folder_can_be_used_in_place(server, tmp_path):
    item = file_source(server)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / item.name).write_bytes(CONTENT)
    for _ in range(2):
        paths = fetch([item], tmp_path / "here", mirror=tmp_path / "mirror", in_place=True)
        assert paths == {item.name: tmp_path / "mirror" / item.name}
    assert server.requests == []


def test_wrong_bytes_in_a_mirror_fall_back_to_the_public_address(server, tmp_path, caplog):
    item = file_source(server)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / item.name).write_bytes(CONTENT[::-1])
    path = fetch([item], tmp_path / "here", mirror=tmp_path / "mirror")[item.name]
    assert path.read_bytes() == CONTENT
    assert f"mirror/{item.name}: expected md5:" in caplog.text


@pytest.mark.parametrize("answer", ["right", "missing", "wrong"])
def test_mirror_address_is_tried_first(server, tmp_path, answer):
    item = file_source(server)
    files = {"right": {item.file: CONTENT}, "missing": {}, "wrong": {item.name: b"x" * len(CONTENT)}}[answer]
    with FaultyServer({f"some where/{name}".replace(" ", "%20"): content for name, content in files.items()}) as mirror:
        path = fetch([item], tmp_path, mirror=f"{mirror.address}/some%20where/", retry=QUICK)[item.name]
        assert path.read_bytes() == CONTENT
        asked = [name for name, _ in mirror.requests]
    assert asked[0] == f"some%20where/{item.file}"
    assert len(server.requests) == (0 if answer == "right" else 1)


@pytest.mark.parametrize("kind", ["folder", "address", "dead"])
def test_what_does_not_come_from_the_mirror_is_said_in_one_line_each(server, tmp_path, caplog, kind):
    caplog.set_level(logging.INFO)
    sources = [file_source(server, name=name) for name in ("one", "two", "three")]
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "one").write_bytes(CONTENT)
    with FaultyServer() as gone:
        pass
    with FaultyServer({"one": CONTENT}) as there:
        mirror = {"folder": folder, "address": there.address, "dead": gone.address}[kind]
        for _ in range(2):
            fetch(sources, tmp_path / "here", mirror=mirror, retry=QUICK, workers=1)
    lines = [f"{item.file}: not from the mirror {mirror}, but from {item.address}" for item in sources]
    found = [message for message in caplog.messages if "not from the mirror" in message]
    assert found == (lines if kind == "dead" else lines[1:])


def test_file_that_only_its_origin_vouches_for_counts_with_its_mirror_alone(server, tmp_path):
    item = unpublished(server, bound=True)
    with FaultyServer({item.file: b"first"}) as first, FaultyServer({item.name: b"other"}) as other:
        for mirror, content in (
            (first.address, b"first"),
            (other.address, b"other"),
            (other.address, b"other"),
            (None, CONTENT),
            (None, CONTENT),
            (first.address, CONTENT),  # the public file is right everywhere
        ):
            assert fetch([item], tmp_path, mirror=mirror, retry=QUICK)[item.name].read_bytes() == content
        assert [len(at.requests) for at in (first, other, server)] == [1, 2, 1]


@pytest.mark.parametrize("in_place", [True, False])
def test_file_that_only_its_origin_vouches_for_counts_with_its_folder_alone(server, tmp_path, in_place):
    item = unpublished(server, bound=True)
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / item.name).write_bytes(name.encode())
        path = fetch([item], tmp_path / "here", mirror=tmp_path / name, in_place=in_place)[item.name]
        assert path.read_bytes() == name.encode()
    assert fetch([item], tmp_path / "here")[item.name].read_bytes() == CONTENT


def test_missing_files_are_left_out_where_that_is_asked_for(server, tmp_path):
    good, bad, worse = (file_source(server, name=name) for name in ("good", "bad", "worse"))
    del server.files["bad"]
    server.faults["worse"] = [Fault(status=410)]
    assert fetch([bad, good, worse], tmp_path, missing_ok=True, retry=QUICK) == {"good": tmp_path / good.file}
    server.faults["worse"] = [Fault(content=b"x")] * 2
    with pytest.raises(WrongBytesError):
        fetch([bad, good, worse], tmp_path, missing_ok=True, retry=QUICK)


def test_dead_mirror_is_given_up_for_all_files(server, tmp_path, caplog):
    with FaultyServer() as gone:
        pass
    sources = [file_source(server, name=name) for name in ("one", "two", "three")]
    fetch(sources, tmp_path, mirror=gone.address, retry=QUICK, workers=1)
    assert caplog.text.count("continuing without the mirror") == 1
    assert len(server.requests) == 3


def test_mirror_folder_that_does_not_exist_is_an_error(server, tmp_path):
    with pytest.raises(DownloadError, match="nowhere: no such folder"):
        fetch([file_source(server)], tmp_path, mirror=tmp_path / "nowhere")


def test_published_networks_come_from_the_real_mirror(mirror, tmp_path):
    names = ["ndns-baseline-pt", "ndns-baseline-net", "spandex-prune50-net"]
    paths = fetch([source(name) for name in names], tmp_path, mirror=mirror)
    for name in names:
        content = paths[name].read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" in source(name).checksums
