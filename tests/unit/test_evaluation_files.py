"""Evaluations and their files: what is paired, refused, resumed and reused."""

import copy
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from denoising import noisy_pair, small_network
from evaluations import STOPPED_IN_WRITING, evaluated, write_clips
from spandex.cli.commands import app
from spandex.data.audio import read_audio, write_flac, write_wav
from spandex.data.shards import Shard
from spandex.deploy import Executor
from spandex.errors import SpandexError
from spandex.evaluation import pair_clips
from spandex.files import write_json
from spandex.files.results import ResultLog
from spandex.files.text import read_json
from spandex.steps.evaluate import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")

EVALUATE = """
from pathlib import Path
from spandex.steps.evaluate import evaluate

*nets, noisy, clean, output = map(Path, sys.argv[3:])
evaluate(nets, noisy, clean, output, mos=False, workers=2)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("networks") / "first.net")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("networks") / "second.net", output_gain=1)


@pytest.fixture
def clips(tmp_path):
    return write_clips(tmp_path / "clips", 3)


@pytest.fixture
def runs(monkeypatch):
    """How often a network has been executed."""
    counted = []

    def run(self, *inputs, whole=Executor.run):
        counted.append(self)
        return whole(self, *inputs)

    monkeypatch.setattr(Executor, "run", run)
    return counted


def partial(output):
    return output.with_name(f"{output.name}.partial")


def test_killed_evaluation_goes_on_where_it_was(net, other, tmp_path, runs):
    folders, output = write_clips(tmp_path, 6), tmp_path / "scores.json"
    arguments = [net, other, *folders, output]
    command = [sys.executable, "-c", STOPPED_IN_WRITING + EVALUATE, str(int(signal.SIGKILL)), "8", *arguments]
    process = subprocess.run(command, capture_output=True, timeout=120)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not output.exists()
    *done, torn = partial(output).read_text().splitlines()
    assert len(done) == 8 and torn == '["torn'
    scored = sum(" input " not in line for line in done)
    _, resumed = evaluated([net, other], folders, output)
    assert len(runs) == 12 - scored < 12
    assert not partial(output).exists()
    assert resumed == evaluated([net, other], folders, tmp_path / "whole.json")[1]


def stop_before_the_end(monkeypatch, *arguments, **options):
    """An evaluation of which everything but the result is left."""
    with monkeypatch.context() as patch:
        patch.setattr(ResultLog, "remove", ResultLog.close)
        evaluated(*arguments, **options)
    assert partial(arguments[-1]).stat().st_size > 0
    arguments[-1].unlink()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_shards_gives_the_same_bytes(net, other, clips, tmp_path, runs, count):
    whole, bytes_of_whole = evaluated([net, other], clips, tmp_path / "whole.json", with_float=True)
    output = tmp_path / "shared" / "scores.json"
    for number in range(1, count + 1):
        evaluate([net, other], *clips, output, mos=False, workers=1, with_float=True, shard=Shard(number, count))
        assert not output.exists()
    runs.clear()
    assert evaluated([net, other], clips, output, with_float=True) == (whole, bytes_of_whole)
    assert runs == []
    assert [path.name for path in output.parent.rglob("*") if path.is_file()] == ["scores.json"]


def test_a_lost_shard_and_one_of_another_network_are_made_up_for(net, other, clips, tmp_path, runs):
    whole = evaluated([net], clips, tmp_path / "whole.json")
    output = tmp_path / "shared" / "scores.json"
    evaluate([net], *clips, output, mos=False, workers=1, shard=Shard(1, 3))
    evaluate([other], *clips, output, mos=False, workers=1, shard=Shard(2, 3))
    runs.clear()
    assert evaluated([net], clips, output) == whole
    assert len(runs) == 2


def test_stopped_shard_goes_on_where_it_was(net, clips, tmp_path, runs):
    output = tmp_path / "scores.json"
    evaluate([net], *clips, output, mos=False, workers=1, shard=Shard(1, 1))
    log = tmp_path / ".shards/scores/1-of-1.jsonl"
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]) + '["torn')
    runs.clear()
    evaluate([net], *clips, output, mos=False, workers=1, shard=Shard(1, 1))
    assert len(runs) == 1
    assert log.read_text() == whole


def test_another_network_is_added_to_what_is_known(net, other, clips, tmp_path, monkeypatch, runs):
    output = tmp_path / "scores.json"
    stop_before_the_end(monkeypatch, [net], clips, output)
    del runs[:]
    both = evaluated([net, other], clips, output)[1]
    assert len(runs) == 3
    assert both == evaluated([net, other], clips, tmp_path / "whole.json")[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"with_float": True}),
        ({"with_float": True}, {}),
        ({}, {"hop": 16}),
        ({"density_threshold": 0.1}, {"density_threshold": 1.0}),
        ({"sparsity_map": "sparse"}, {"sparsity_map": "dense"}),
    ],
)
def test_scores_with_other_settings_are_not_taken(net, clips, tmp_path, monkeypatch, runs, before, after):
    output = tmp_path / "scores.json"
    stop_before_the_end(monkeypatch, [net], clips, output, **before)
    del runs[:]
    changed = evaluated([net], clips, output, **after)[1]
    assert len(runs) == 3
    assert changed == evaluated([net], clips, tmp_path / "whole.json", **after)[1]


def test_scores_without_opinion_scores_are_not_taken_for_those_with(net, tmp_path, monkeypatch):
    folders, output = write_clips(tmp_path, 1, 9010), tmp_path / "scores.json"
    stop_before_the_end(monkeypatch, [net], folders, output, mos=False)
    with_mos = evaluated([net], folders, output, mos=True)[0]
    for summary in (with_mos["noisy"], with_mos["clean"], with_mos["networks"]["first"]):
        assert 1 <= summary["mos_ovrl"] <= 5


def test_scores_of_other_files_under_the_same_names_are_not_taken(net, other, clips, tmp_path, monkeypatch):
    output, changing = tmp_path / "scores.json", tmp_path / "changing.net"
    changing.write_bytes(net.read_bytes())
    stop_before_the_end(monkeypatch, [changing], clips, output)
    changing.write_bytes(other.read_bytes())
    write_wav(clips[0] / "tones_snr5_tl-25_fileid_1.wav", noisy_pair(99)[0])
    changed = evaluated([changing], clips, output)[1]
    assert changed == evaluated([changing], clips, tmp_path / "whole.json")[1]


def test_scores_of_other_code_are_not_taken(tmp_path):
    log = ResultLog(tmp_path / "log", "before")
    log.add("clip", {"si_snr_db": 1.5})
    log.close()
    assert ResultLog(tmp_path / "log", "before").get("clip") == {"si_snr_db": 1.5}
    assert ResultLog(tmp_path / "log", "after").get("clip") is None


def test_foreign_file_in_place_of_what_is_known_is_named_and_kept(net, clips, tmp_path):
    output = tmp_path / "scores.json"
    for content in ("speech\n", "7\n", '["key"]\n', "[[1], 2]\n"):
        partial(output).write_text(content)
        with pytest.raises(SpandexError, match=r"scores\.json\.partial: .*delete it"):
            evaluated([net], clips, output)
        assert partial(output).read_text() == content


def test_inputs_of_an_earlier_evaluation_are_not_scored_again(net, clips, tmp_path):
    _, alone = evaluated([net], clips, tmp_path / "alone.json")
    content, _ = evaluated([], clips, tmp_path / "noisy.json")
    assert evaluated([net], clips, tmp_path / "reused.json", inputs=tmp_path / "noisy.json")[1] == alone
    for clip in content["noisy"]["per_clip"]:
        clip["si_snr_db"] = 100.0  # could not come from the clips
    write_json(tmp_path / "noisy.json", content)
    result, _ = evaluated([net], clips, tmp_path / "reused.json", inputs=tmp_path / "noisy.json")
    assert result["noisy"]["si_snr_db"] == 100
    for clip in result["networks"]["first"]["per_clip"]:
        assert clip["si_snri_db"] == clip["si_snr_db"] - 100


def test_inputs_are_scored_where_the_earlier_evaluation_had_other_clips(net, clips, tmp_path):
    evaluated([], clips, tmp_path / "noisy.json")
    more = write_clips(tmp_path / "clips", 2, first=3)
    result, reused = evaluated([net], more, tmp_path / "reused.json", inputs=tmp_path / "noisy.json")
    assert result["clips"] == 5
    assert reused == evaluated([net], more, tmp_path / "alone.json")[1]


def test_opinion_scores_of_inputs_are_taken_where_they_are_wanted_alone(net, tmp_path):
    folders = write_clips(tmp_path, 2, 9010)
    files = {mos: tmp_path / f"mos_{mos}.json" for mos in (True, False)}
    content, _ = evaluated([], folders, files[True], mos=True)
    original = copy.deepcopy(content)
    for clip in content["clean"]["per_clip"]:
        clip["mos_ovrl"] = 4.875  # tells that it was taken
    write_json(files[True], content)
    result, _ = evaluated([], folders, tmp_path / "a.json", inputs=files[True], mos=True)
    assert result["clean"]["mos_ovrl"] == 4.875
    for clip in content["noisy"]["per_clip"]:
        del clip["mos_ovrl_all_hops"]  # as where one MOS was all that there was, over other hops
    write_json(tmp_path / "old.json", content)
    assert evaluated([], folders, tmp_path / "e.json", inputs=tmp_path / "old.json", mos=True)[0] == original
    without = evaluated([], folders, files[False], mos=False)[1]
    write_clips(tmp_path, 1, 9010, first=2)
    assert evaluated([], folders, tmp_path / "b.json", inputs=files[True], mos=False)[0]["clips"] == 3
    (folders[0] / "tones_snr5_tl-25_fileid_2.wav").unlink()
    (folders[1] / "clean_fileid_2.wav").unlink()
    assert evaluated([], folders, tmp_path / "c.json", inputs=files[True], mos=False)[1] == without
    result, _ = evaluated([], folders, tmp_path / "d.json", inputs=files[False], mos=True)
    assert 1 <= result["clean"]["mos_ovrl"] <= 5 and result["clean"]["mos_ovrl"] != 4.875


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "3",
        "null",
        '{"noisy": {"per_clip": [1]}, "clean": {"per_clip": [1]}}',
        '{"noisy": {"per_clip": [{"digest": "a"}]}, "clean": {"per_clip": []}}',
        '{"noisy": {"per_clip": [{"digest": "a"}]}, "clean": {"per_clip": [{}]}}',
        '{"noisy": {"per_clip": [{"digest": []}]}, "clean": {"per_clip": [[]]}}',
        "speech",
    ],
)
def test_inputs_that_are_no_evaluation_are_refused(net, clips, tmp_path, content):
    (tmp_path / "noisy.json").write_text(content)
    with pytest.raises(SpandexError, match=r"noisy\.json: not (the )?JSON"):
        evaluated([net], clips, tmp_path / "scores.json", inputs=tmp_path / "noisy.json")
    assert not (tmp_path / "scores.json").exists()


def write_bad_clips(folder):
    """A clip for every reason to refuse one; the file that the error names, and a word of the reason."""
    noisy, clean = noisy_pair(7)
    expected = {}

    def write(name, reason, named="noisy", **audio):
        for kind, usual in (("noisy", noisy), ("clean", clean)):
            samples, rate_hz = audio.get(kind, usual), audio.get("rate_hz", 16_000) if kind == named else 16_000
            soundfile.write(folder / kind / f"{name}.wav", samples, rate_hz, "FLOAT")
        expected[str(folder / named / f"{name}.wav")] = reason

    hole = noisy.copy()
    hole[100] = np.nan
    write("nan", "NaN", noisy=hole)
    write("infinite", "infinite", named="clean", clean=clean / 0.0)
    write("empty", "empty", noisy=noisy[:0])
    write("rate", "8000 Hz", rate_hz=8000)
    write("stereo", "2 channels", named="clean", clean=np.stack([clean, clean], 1))
    write("short", "470 samples, but short.wav has 480", noisy=noisy[:470])
    write("silent", "silent", named="clean", clean=0 * clean)
    write("constant", "silent", named="clean", clean=0 * clean + 0.25)
    write("integers", "full scale", noisy=noisy * 2**15)
    write("broken", "cut off: 30 of ")
    write("nothing", "unreadable")
    (folder / "noisy/broken.wav").write_bytes((folder / "noisy/nan.wav").read_bytes()[:30])
    (folder / "noisy/nothing.wav").write_bytes(b"")
    for kind in ("noisy", "clean"):
        write_wav(folder / kind / f"only_{kind}.wav", noisy)
        expected[str(folder / kind / f"only_{kind}.wav")] = "no partner"
    return expected


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_files_are_named_and_the_rest_is_scored(net, tmp_path):
    folders, output = write_clips(tmp_path, 4), tmp_path / "scores.json"
    _, good = evaluated([net], folders, output)
    expected = write_bad_clips(tmp_path)
    with pytest.raises(SpandexError, match=f"^{len(expected)} files failed; .*8 more, all in the JSON$"):
        evaluated([net], folders, output, workers=2)
    result, good = read_json(output), json.loads(good)
    assert result["clips"] == 4
    for key in ("networks", "noisy", "clean"):
        assert result[key] == good[key]
    assert len(result["failed"]) == len(expected) == 13
    for path, reason in expected.items():
        (error,) = (error for error in result["failed"] if error.startswith(f"{path}: "))
        assert reason in error
    assert partial(output).exists()  # once the files are repaired, the others need not be scored again


def test_command_fails_in_one_line_that_names_the_file(net, tmp_path):
    noisy, clean = write_clips(tmp_path, 2)
    write_wav(clean / "clean_fileid_1.wav", np.zeros(480))
    options = {"--noisy": noisy, "--clean": clean, "--json": tmp_path / "scores.json"}
    arguments = [str(part) for option in options.items() for part in option]
    result = CliRunner().invoke(app, ["evaluate", str(net), "--no-mos", *arguments])
    assert result.exit_code == 1
    silent = "silent (nothing above -80 dBFS)"
    assert result.stderr.splitlines()[-1] == f"spandex evaluate: 1 file failed; {clean}/clean_fileid_1.wav: {silent}"
    assert "first: SI-SNR" in result.stdout
    assert read_json(tmp_path / "scores.json")["networks"]["first"]["clips"] == 1


def test_nothing_usable_is_an_error_and_writes_nothing(net, tmp_path):
    output = tmp_path / "scores.json"
    noisy, clean = write_clips(tmp_path, 2)
    for file in clean.iterdir():
        write_wav(file, np.zeros(480))
    with pytest.raises(SpandexError, match=r"clean_fileid_0\.wav: silent"):
        evaluated([net], (noisy, clean), output)
    for file in clean.iterdir():
        file.rename(file.with_name(file.name.replace("fileid_", "fileid_9")))
    with pytest.raises(SpandexError, match=r"fileid_0\.wav: no partner in .*clean$"):
        evaluated([net], (noisy, clean), output)
    for file in clean.iterdir():
        file.unlink()
    with pytest.raises(SpandexError, match=r"clean: no audio files \(\.wav, \.flac, \.ogg\)"):
        evaluated([net], (noisy, clean), output)
    clean.rmdir()
    with pytest.raises(SpandexError, match="clean: no such folder"):
        evaluated([net], (noisy, clean), output)
    assert not output.exists() and not partial(output).exists()


def test_networks_need_names_of_their_own(net, clips, tmp_path):
    copy = tmp_path / "first.net"
    copy.write_bytes(net.read_bytes())
    with pytest.raises(SpandexError, match="two networks are called 'first'"):
        evaluated([net, copy], clips, tmp_path / "scores.json")
    with pytest.raises(SpandexError, match="1 names for 2 networks"):
        evaluated([net, copy], clips, tmp_path / "scores.json", names=["one"])
    result, _ = evaluated([net, copy], clips, tmp_path / "scores.json", names=["one", "two"])
    assert set(result["networks"]) == {"one", "two"}


def test_networks_are_named_with_their_files_and_summed_up_in_a_line_each(net, clips, tmp_path):
    odd = tmp_path / "lr=0.1.net"
    odd.write_bytes(net.read_bytes())
    noisy, clean = clips
    files = {"--noisy": noisy, "--clean": clean, "--json": tmp_path / "scores.json"}
    options = [str(part) for option in files.items() for part in option]
    result = CliRunner().invoke(app, ["evaluate", "--no-mos", f"one={net}", *options, str(odd), str(net)])
    assert result.exit_code == 0, result.stderr
    scores = read_json(tmp_path / "scores.json")["networks"]
    assert set(scores) == {"one", "lr=0.1", "first"}
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("one: ")]
    power, one = scores["one"]["deployed_power_proxy_ops_per_s"] / 1e6, scores["one"]
    assert line.startswith(f"one: SI-SNR {one['si_snr_db']:.2f} dB (")
    assert line.endswith(f"{power:.2f} M-Ops/s deployed, {one['parameters']:,} parameters, {one['size_kb']:.1f} KB")


def test_network_is_called_by_its_file_or_by_its_folder(net, clips, tmp_path):
    folder = tmp_path / "prune50"
    folder.mkdir()
    (folder / "network.net").write_bytes(net.read_bytes())
    result, _ = evaluated([net, folder / "network.net"], clips, tmp_path / "scores.json")
    assert set(result["networks"]) == {"first", "prune50"}


def test_files_are_paired_by_id_or_else_by_name_whatever_they_are(tmp_path):
    noisy, clean = noisy_pair(0, 1600)
    write_wav(tmp_path / "noisy/street_snr-5_tl-20_fileid_10.wav", noisy)
    write_flac(tmp_path / "clean/clean_fileid_10.flac", clean)
    write_wav(tmp_path / "noisy/rain_fileid_007.WAV", noisy)
    write_wav(tmp_path / "clean/clean_fileid_7.wav", clean)
    write_wav(tmp_path / "noisy/interview.wav", noisy)
    soundfile.write(tmp_path / "clean/interview.ogg", clean, 16_000)
    (tmp_path / "clean/README.txt").write_text("no audio")
    pairs, alone = pair_clips(tmp_path / "noisy", tmp_path / "clean")
    assert not alone
    assert [(pair.noisy.stem, pair.clean.name, pair.snr_db) for pair in pairs] == [
        ("interview", "interview.ogg", None),
        ("rain_fileid_007", "clean_fileid_7.wav", None),
        ("street_snr-5_tl-20_fileid_10", "clean_fileid_10.flac", -5),
    ]
    clip = pairs[2].read()
    assert np.array_equal(clip.noisy, read_audio(pairs[2].noisy))
    assert np.array_equal(clip.clean, read_audio(pairs[2].clean))


def test_two_files_for_one_partner_are_refused(tmp_path):
    noisy, clean = write_clips(tmp_path, 1)
    write_wav(noisy / "again_fileid_0.wav", noisy_pair(1)[0])
    with pytest.raises(SpandexError, match=r"fileid_0\.wav: .*fileid_0\.wav would have the same partner"):
        pair_clips(noisy, clean)


def test_torn_last_line_is_dropped_from_the_file_too(tmp_path):
    path = tmp_path / "log"
    for torn in ("", "[", '["b", {"si_snr_db": 2.0}]'):
        path.write_text('["now a", {"si_snr_db": 1.0}]\n' + torn)
        log = ResultLog(path, "now")
        assert log.get("a") == {"si_snr_db": 1.0} and log.get("b") is None
        log.add("b", {"si_snr_db": 3.0})
        log.close()
        assert ResultLog(path, "now").get("b") == {"si_snr_db": 3.0}
