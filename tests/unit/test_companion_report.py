"""What the companion papers came to, as files and on the page."""

import base64
import csv
import io
import re
from math import inf
from pathlib import Path

import pytest
from PIL import Image

from spandex.companions.report import companion_sections, write_paper_report, write_summary
from spandex.companions.results import over_seeds, shown
from spandex.errors import SpandexError
from spandex.files import write_json
from spandex.files.text import read_json
from spandex.metrics.bootstrap import Interval
from spandex.report.charts import Chart
from spandex.report.claims import Finding, Verdict, judge
from spandex.report.page import Origin, Page, to_html
from spandex.report.papers import SCOPE
from spandex.report.tabular import Table, cell_text, to_csv, to_latex, to_markdown
from spandex.report.wording import MINUS

HOSTILE = "<script>alert('x')</script> & 50 % | $x_1$"
RUNS = {"mnist": [{"accuracy": 0.5}, {"accuracy": 0.75}]}
ROWS = [
    [HOSTILE, Interval(0.61234, 0.5, 0.7), 1234567, "all"],
    ["other", Interval(0.001234, -inf, inf), None, "none"],
]
TABLE = Table("results", "What came of it", ["network", "accuracy", "SynOps", "which"], ROWS)


def findings(runs, chance: float = 0.1) -> list[Finding]:
    change = over_seeds(runs["mnist"], lambda run: run["accuracy"] - chance)
    return [Finding(HOSTILE, "-", shown(change, 2), "it is above 0", *judge(change, low=0, of="seeds"))]


def figures(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(folder / "the_plane.png")
    (folder / "the_plane.pdf").write_bytes(b"%PDF")
    return [folder / "the_plane.png", folder / "the_plane.pdf"]


def write(folder: Path, name: str, runs=RUNS) -> list[Path]:
    return write_paper_report(f"Paper {name}", findings(runs), [TABLE], figures(folder / name), folder / name)


def page(sections) -> str:
    names = ("findings", "lines", "published", "training", "plane", "layers", "weights", "knee", "examples")
    nothing = dict.fromkeys(names, ()) | dict.fromkeys(("cost", "gain"), Chart("none", "None", "Nothing.", {}))
    origin = Origin({}, {}, {}, "", [])
    about = {"team": "t", "profile": "p", "clips": 1, "control": "c", "headline": "h", "origin": origin}
    about |= {"synthetic": False, "same_clips": True}
    return to_html(Page(**about, **nothing, companions=sections))


def test_equal_runs_give_equal_files(tmp_path):
    first, second = (write(tmp_path / place, "activity") for place in "ab")
    assert [path.name for path in first] == [
        *(f"results.{suffix}" for suffix in ("csv", "md", "tex")),
        "the_plane.png",
        "the_plane.pdf",
        "verdicts.json",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert {path.name for path in (tmp_path / "a/activity").iterdir()} == {path.name for path in first}


def test_what_was_written_is_read_back(tmp_path):
    write(tmp_path, "activity")
    (section,) = companion_sections([tmp_path / "activity"])
    assert (section.name, section.title) == ("activity", "Paper activity")
    assert section.findings == findings(RUNS)
    assert section.tables == [TABLE]
    assert section.figures == [tmp_path / "activity/the_plane.png"]


def test_one_seed_gives_files_without_infinity_and_no_verdict(tmp_path):
    for path in write(tmp_path, "activity", {"mnist": RUNS["mnist"][:1]}):
        if path.suffix in (".json", ".csv", ".md", ".tex"):
            assert not re.search(r"\binf|nan\b", path.read_text(), re.IGNORECASE)
    (section,) = companion_sections([tmp_path / "activity"])
    assert section.findings[0].verdict is Verdict.NOT_TESTABLE


def test_sections_come_in_the_order_of_their_folders_and_only_where_there_are_verdicts(tmp_path):
    for name in ("vgg", "activity"):
        write(tmp_path, name)
    (tmp_path / "masks").mkdir()  # has not finished
    folders = [tmp_path / name for name in ("vgg", "masks", "nowhere", "activity")]
    assert [section.name for section in companion_sections(folders)] == ["vgg", "activity"]


def test_summary_has_verdicts_and_tables_of_all_papers(tmp_path):
    for name in ("activity", "vgg"):
        write(tmp_path, name)
    sections = companion_sections([tmp_path / "activity", tmp_path / "vgg"])
    write_summary(sections, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    assert text.count("\n## Paper ") == text.count("What came of it:") == 2
    assert SCOPE in text and "CIFAR-100" in SCOPE
    assert text.count(Verdict.NOT_TESTABLE.value) == 2


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("text", "text"),
        (3, "3"),
        (1234567.0, "1,234,567"),
        (0.0, "0"),
        (0.98765, "0.988"),
        (12.3456, "12.3"),
        (-0.05, f"{MINUS}0.0500"),
        (1e-9, f"1e{MINUS}09"),
        (Interval(0.5, 0.25, 0.75), "0.500 (0.250 to 0.750)"),
        (Interval(0.001, -20.51, 20.5), f"0.001 ({MINUS}20.5 to 20.5)"),
        (Interval(0.5, -inf, inf), "0.500"),
    ],
)
def test_numbers_have_three_digits_or_those_of_the_larger_bound(cell, text):
    assert cell_text(cell) == text


def test_csv_has_bounds_in_columns_of_their_own():
    heading, first, second = csv.reader(io.StringIO(to_csv(TABLE)))
    assert heading == ["network", "accuracy", "accuracy low", "accuracy high", "SynOps", "which"]
    assert first == [HOSTILE, "0.61234", "0.5", "0.7", "1234567", "all"]
    assert second == ["other", "0.001234", "", "", "", "none"]


def test_markdown_columns_stay_apart():
    heading, rule, first, _ = to_markdown(TABLE).splitlines()
    assert len({line.replace("\\|", "  ").count("|") for line in (heading, rule, first)}) == 1
    assert [cell.strip().endswith(":") for cell in rule.strip("|").split("|")] == [False, True, True, False]


def test_latex_is_escaped():
    text = to_latex(TABLE)
    assert "\\begin{tabular}{lrrl}" in text
    assert "\\& 50 \\% \\textbar{} \\$x\\_1\\$" in text


def test_page_shows_papers_that_have_run_and_their_text_escaped(tmp_path):
    write(tmp_path, "activity")
    text = page(companion_sections([tmp_path / "activity"]))
    assert HOSTILE not in text and "&lt;script&gt;alert(&#39;x&#39;)" in text
    assert 'href="#companions"' in text and "CIFAR-100" in text
    assert '<td class="numeric" data-value="1234567">1,234,567</td>' in text
    assert '<td class="numeric"><span class="spoken">not known</span></td>' in text
    assert 'data-value="0.61234">0.612<span class="bounds">0.500 to 0.700</span></td>' in text
    found = re.search(r'<img src="data:image/png;base64,([^"]+)" alt="Paper activity: the plane">', text)[1]
    assert base64.b64decode(found) == (tmp_path / "activity/the_plane.png").read_bytes()


def test_page_has_no_section_of_papers_that_have_not_run():
    assert "companion" not in page(()).lower().replace(".companion", "")


def test_page_of_recordings_says_nothing_of_synthetic_audio():
    assert 'class="banner"' not in page(()) and "other clips" not in page(())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("tables"),
        lambda content: content["findings"][0].update(verdict="maybe"),
        lambda content: content["findings"][0].update(colour="red"),
        lambda content: content["tables"][0]["rows"][0].append([1, 2]),
        lambda content: content.update(findings=3),
    ],
)
def test_damaged_verdicts_are_an_error_naming_the_file(tmp_path, spoil):
    path = write(tmp_path, "activity")[-1]
    content = read_json(path)
    spoil(content)
    write_json(path, content)
    with pytest.raises(SpandexError, match=r"activity/verdicts\.json: not the verdicts of a companion paper"):
        companion_sections([tmp_path / "activity"])


def test_missing_figure_is_named(tmp_path):
    write(tmp_path, "activity")
    (tmp_path / "activity/the_plane.png").unlink()
    with pytest.raises(SpandexError, match=r"the_plane.png: no such file; delete .*verdicts.json"):
        companion_sections([tmp_path / "activity"])
