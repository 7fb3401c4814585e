"""What the page is made of; tests/pipeline/test_page.py looks at it in a browser."""

import datetime
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from report_build import TEAM, Build, small_build, write_report
from spandex.errors import SpandexError
from spandex.files import write_json
from spandex.files.text import read_json
from spandex.files.usage import Usage
from spandex.metrics.bootstrap import Interval
from spandex.params import Network
from spandex.report import charts, points
from spandex.report.audio import mp3, power_spectrogram, spectrogram_webp
from spandex.report.clips import Example, choose, mean_improvements
from spandex.report.comparison import Significance
from spandex.report.figures import KneePoint, knee_points
from spandex.report.layers import LayerWeights, histograms
from spandex.report.origin import times
from spandex.report.side_by_side import columns, known_columns, our_lines, published_lines
from spandex.report.table import Row, published_rows
from spandex.report.wording import number

REFERENCE = Path(__file__).parents[2] / "reports/reference"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Build:
    return small_build(tmp_path_factory.mktemp("build"), (0.5,))


@pytest.fixture(scope="module")
def report(finished) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return write_report(finished, patch)


@pytest.fixture
def build(finished, tmp_path) -> Build:
    """A copy to change."""
    return finished._replace(folder=shutil.copytree(finished.folder, tmp_path / "build"))


def test_text_of_others_is_escaped(report):
    text = (report / "index.html").read_text()
    assert TEAM not in text
    assert "&lt;script&gt;alert(&#39;team&#39;)&lt;/script&gt; &amp; 50 % of $x_1$" in text


def test_board_entries_say_that_the_clips_are_not_the_challenge_s(report):
    (board,) = report.glob("metricsboard*")
    assert board.name == "metricsboard_track_1_test.yml"
    first, rest = board.read_text().split("\n", 1)
    assert first.startswith("# These clips are not the challenge's test set 1")
    assert [entry["model"] for entry in yaml.safe_load(rest)] == ["baseline", "dense", "prune50"]


def test_charts_are_json_that_cannot_end_their_script(report):
    text = (report / "index.html").read_text()
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in found
    drawn = json.loads(found, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert all(trace["meta"]["series"] >= -1 for chart in drawn.values() for trace in chart["data"])


def test_page_forbids_itself_the_network(report):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (report / "index.html").read_text())[1]
    assert policy.startswith("default-src 'none';") and "http" not in policy


def test_knee_is_left_out_without_an_ablation_of_these_clips(report, tmp_path, monkeypatch):
    assert 'id="knee"' not in (report / "index.html").read_text()
    build = small_build(tmp_path, (0.5,), ablation=True)
    assert 'id="knee"' in (write_report(build, monkeypatch) / "index.html").read_text()
    scores = build.reports / "evaluate/knee30.json"
    content = read_json(scores)
    content["networks"]["knee30"]["per_clip"][0]["digest"] = "0" * 16
    write_json(scores, content)
    assert 'id="knee"' not in (write_report(build, monkeypatch) / "index.html").read_text()


def test_knee_has_networks_by_growing_sparsity_and_no_clips_of_others():
    cost = {"parameters": 1, "deployed_power_proxy_ops_per_s": 2e6, "deployed_sparsity": 0.9}
    scores = {"half": cost | {"sparsity": 0.5}, "dense": cost | {"sparsity": 0.0}, "deployed alone": cost, "audio": {}}
    changes = {name: {"si_snr_db": {"mean": -0.1, "interval": [-0.2, 0.0]}} for name in ("half", "deployed alone")}
    assert knee_points(scores, changes) == [
        KneePoint(0.0, 0.0, (0.0, 0.0), 2.0),
        KneePoint(0.5, -0.1, (-0.2, 0.0), 2.0),
        KneePoint(0.9, -0.1, (-0.2, 0.0), 2.0),
    ]


def test_clip_other_than_the_one_evaluated_is_refused(build, monkeypatch):
    for file in (build.folder / "data/synthetic/test/noisy").iterdir():
        audio, rate = soundfile.read(file)
        soundfile.write(file, 0.5 * audio, rate)
    with pytest.raises(SpandexError, match="another clip than the one that was evaluated"):
        write_report(build, monkeypatch)


@pytest.mark.parametrize(
    ("improvements", "expected"),
    [
        ({"a": 1.0, "b": 3.0, "c": 2.0}, {"typical": "c", "best": "b", "worst": "a"}),
        ({"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.0}, {"typical": "a", "best": "b", "worst": "d"}),
        ({"a": 1.0, "b": 2.0}, {"typical": "a", "best": "b"}),
        ({"a": 1.0}, {"typical": "a"}),
    ],
)
def test_clips_of_median_largest_and_smallest_improvement_are_shown_once_each(improvements, expected):
    assert choose(improvements) == expected


def test_improvement_of_a_clip_is_the_mean_over_networks():
    networks = {
        "a": {"per_clip": [{"name": "x", "si_snri_db": 1.0}, {"name": "y", "si_snri_db": 2.0}]},
        "b": {"per_clip": [{"name": "x", "si_snri_db": 3.0}, {"name": "y", "si_snri_db": -2.0}]},
    }
    assert mean_improvements(networks) == {"x": 2.0, "y": 0.0}


def test_mp3_holds_the_audio():
    tone = 0.5 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(160_000))
    content = mp3(tone)
    assert len(content) / 10 == pytest.approx(7_000, rel=0.05)  # bytes a second
    heard, rate = soundfile.read(io.BytesIO(content))
    assert rate == 16_000 and len(heard) / rate == pytest.approx(10, abs=0.2)
    assert np.abs(np.fft.rfft(heard)).argmax() * rate / len(heard) == pytest.approx(440, abs=2)


def test_spectrogram_shows_a_tone_at_its_frequency_and_time():
    audio = np.zeros(16_000)
    audio[8_000:] = np.sin(2 * np.pi * 2_000 / 16_000 * np.arange(8_000))
    power = power_spectrogram(audio)
    row, place = np.unravel_index(power.argmax(), power.shape)
    assert row / len(power) == pytest.approx(0.25, abs=0.02)
    assert power[:, : power.shape[1] // 2 - 1].max() == 0 < place
    assert spectrogram_webp(power, power.max())[8:12] == b"WEBP"


def layer(values, weights=100):
    kept = np.array(values)
    return LayerWeights("1", weights, 1 - kept.size / weights, kept, int(np.gcd.reduce(kept)) or 1)


def test_histograms_of_coarse_weights_have_no_empty_bins_between():
    centres, counts = histograms([layer([-48, -32, 16, 32, 32]), layer([4, 20])])
    assert np.diff(centres).tolist() == [16] * (len(centres) - 1)
    found = [dict(zip(centres.tolist(), count.tolist(), strict=True)) for count in counts]
    assert [found[0][value] for value in (-48, -32, -16, 0, 16, 32)] == [1, 1, 0, 0, 1, 2]
    assert [sum(count) for count in counts] == [5, 2]


def test_layer_without_weights_has_a_chart():
    (chart,) = charts.weight_charts({"all": [layer([2, 4])], "none": [layer(np.array([], dtype=int))]}, ["all", "none"])
    assert "none keeps 0 of 100 weights" in chart.summary


def test_learning_curves_start_at_the_score_of_the_start(report):
    text = (report / "index.html").read_text()
    drawn = json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', text)[1])
    assert [trace["x"] for trace in drawn["validation"]["data"]] == 2 * [[0, 30, 60, 90]]
    assert [trace["x"] for trace in drawn["loss"]["data"]] == 2 * [[30, 60, 90]]


def test_networks_beyond_the_palette_differ_in_shape():
    logs = {f"prune{i}": [{"iteration": "1", "sparsity": "0.5"}] for i in range(7)}
    traces = charts.sparsity_chart(logs, list(logs)).figure["data"]
    assert len({(trace["line"]["dash"], trace["meta"]["series"]) for trace in traces}) == 7


def test_times_are_read_as_snakemake_and_the_job_wrote_them(tmp_path):
    times_of, logs = tmp_path / "times", tmp_path / "logs"
    for folder in (times_of / "shards", logs / "shards"):
        folder.mkdir(parents=True)
    (times_of / "a.tsv").write_text("s\th:m:s\n1.5\t0:00:01\n")
    (times_of / "shards/b.tsv").write_text("s\th:m:s\n20\t0:00:20\n")
    (times_of / "empty.tsv").write_text("")
    (logs / "shards/b.log").write_text(f"done\n{Usage(1.0, 1.0)}\nagain\n{Usage(39.5, 100.2)}\n")
    assert [(time.job, time.wall_s, time.cpu_s, time.memory_mb) for time in times(tmp_path)] == [
        ("shards/b", 20, 39.5, 100.2),
        ("a", 1.5, None, None),
        ("empty", None, None, None),
    ]


def test_usage_counts_processes_that_were_waited_for():
    spin = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    before = Usage.so_far()
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert 0.25 < Usage.so_far().cpu_s - before.cpu_s < 5
    assert before.memory_mb > 10


def test_cells_have_interval_difference_and_what_that_says():
    ours = [Row("this run", "noisy", {"si_snr_db": 9.0}), Row("this run", "prune60", {"si_snr_db": 12.0})]
    scores = {
        "noisy": {"intervals": {"si_snr_db": [8.0, 10.0]}},
        "prune60": {"intervals": {"si_snr_db": [11.0, 13.0]}},
    }
    changes = {"prune60": {"si_snr_db": Interval(-0.5, -0.6, -0.4)}}
    found = our_lines(ours, scores, changes)
    place = [column.key for column in columns()].index("si_snr_db")
    assert [line.model for line in found] == ["noisy", "prune60"]
    cell = found[1].cells[place]
    assert (cell.text, cell.bounds, cell.change) == (
        "12.00",
        "11.00 to 13.00",
        f"{number(-0.5, 2)} ({number(-0.6, 2)} to {number(-0.4, 2)})",
    )
    assert cell.significance == Significance.WORSE


def test_published_rows_have_the_change_to_their_baseline_and_name_our_counterpart():
    found = published_lines(
        published_rows(REFERENCE), [Network("half", "baseline", {"magnitude": {"target": 0.5}}), Network("baseline")]
    )
    place = [column.key for column in columns()].index("si_snr_db")
    assert len(found) == 6
    notes = {line.model: line.note for line in found}
    assert notes["Test Set 1 (noisy input)"] == "N-DNS test set 1; here noisy"
    assert notes["50% Sparse SDNN"] == "SPANDEX write-up; here half" and notes["75% Sparse SDNN"] == "SPANDEX write-up"
    sparse = next(line for line in found if line.model.startswith("75%"))
    assert sparse.cells[place].change == "\N{MINUS SIGN}0.54" and not sparse.cells[place].significance
    assert "sparsity_percent" not in [columns()[place].key for place in known_columns(found)]


def test_cost_chart_has_every_row_with_a_cost_and_arrows_to_what_was_made_sparse():
    rows = [
        Network("dense", "baseline"),
        Network("half", "baseline", {"magnitude": {"target": 0.5}}, label="50 % <b>"),
        Network("theirs", file="other.net"),
        Network("child", "theirs", {"magnitude": {"target": 0.5}}),
        Network("recording", audio="folder"),
    ]
    scores = {
        "dense": {"parameters": 2, "deployed_power_proxy_ops_per_s": 2e6, "si_snr_db": 10.0},
        "half": {"parameters": 1, "deployed_power_proxy_ops_per_s": 1e6, "si_snr_db": 9.9},
        "theirs": {"parameters": 1, "deployed_power_proxy_ops_per_s": 1.5e6, "si_snr_db": 9.8},
        "child": {"parameters": 1, "deployed_power_proxy_ops_per_s": 1.2e6, "si_snr_db": 9.7},
        "recording": {"si_snr_db": 9.0},
    }
    changes = {"half": {"si_snr_db": Interval(-0.1, -0.3, 0.0)}}
    chart = points.cost_chart(rows, scores, "dense", changes)
    drawn = [(trace["meta"]["label"], trace["x"], trace["y"]) for trace in chart.figure["data"]]
    assert drawn[:3] == [("dense", [2.0], [10.0]), ("50 % &lt;b&gt;", [1.0], [9.9]), ("theirs", [1.5], [9.8])]
    assert [label for label, *_ in drawn[3:]] == ["child"]
    bar = chart.figure["data"][1]["error_y"]
    assert (bar["array"][0], bar["arrayminus"][0]) == pytest.approx((0.1, 0.2))
    (arrow,) = chart.figure["layout"]["annotations"]
    assert (arrow["ax"], arrow["ay"], arrow["x"], arrow["y"]) == (2.0, 10.0, 1.0, 9.9)
    assert "50 % <b> 9.90 dB at 1.00 M-Ops/s" in chart.summary


def test_chart_of_many_clips_has_a_fixed_choice_with_those_that_are_played():
    clips = [f"{number:05}.wav" for number in range(12_000)]
    held = {clips[-1]: "best"}
    chosen = points.sampled(clips, held)
    assert len(set(chosen)) == 500 and clips[-1] in chosen
    assert chosen == points.sampled(clips[::-1], held)
    assert points.sampled(clips[:5], {}) == clips[:5]


@pytest.mark.parametrize(("seconds", "last", "count"), [(1.5, 1.4, 8), (4.0, 4.0, 9), (21.8, 20, 5), (0.05, 0.0, 1)])
def test_axis_of_time_has_round_seconds(seconds, last, count):
    ticks = Example("best", "a.wav", "noise", 0.0, seconds, seconds, 0.0, ()).ticks_s
    assert (len(ticks), ticks[-1]) == (count, pytest.approx(last))


def test_neither_day_nor_revision_changes_page_paper_or_board(build, monkeypatch):
    names = ("index.html", "paper.tex", "metricsboard_track_1_test.yml")
    before = [(write_report(build, monkeypatch) / name).read_bytes() for name in names]

    class Later(datetime.date):
        @classmethod
        def today(cls):
            return cls(2099, 12, 31)

    monkeypatch.setattr(datetime, "date", Later)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", build.folder]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Start"]):
        subprocess.run([*git, *command], check=True)
    (build.folder / "params.yaml").touch()
    assert [(write_report(build, monkeypatch) / name).read_bytes() for name in names] == before


def test_numbers_have_a_true_minus_and_print_as_zero_only_if_they_are():
    assert number(-1234.5, 1) == "\N{MINUS SIGN}1,234.5"
    assert number(-0.0, 2, signed=True) == number(1e-17, 2, signed=True) == "0.00"
    assert number(-0.0012, 2, signed=True) == "\N{MINUS SIGN}0.001"
    assert number(0.4, 0) == "0.4"
    assert number(3e-8, 3) == "3e\N{MINUS SIGN}08"
    assert number(0.5, 1, signed=True) == "+0.5"
