"""What a build prints of its reports at its end."""

import pytest

from spandex.report.table import COST, LATENCY, QUALITY, Row, printed_table
from spandex.report.terminal import FIRST, WIDTH, fitted

KEYS = [column.key for column in QUALITY + LATENCY + COST]
INTERVAL = "12,570,000 (12,400,000 to 12,700,000)"


def words(line: str) -> list[str]:
    return line.split()


@pytest.fixture
def table() -> str:
    """The paper's table with every value known, and names as long as the published ones."""
    rows = [Row("this run", name, dict.fromkeys(KEYS, -12.34)) for name in ("baseline", "events75")]
    rows.append(Row("N-DNS test set 1", "75% Sparsity SDNN 2023-08-18", {"si_snr_db": 11.72, "mos_ovrl": 2.68}))
    return printed_table(rows)


def test_every_line_has_room(table):
    assert max(map(len, table.splitlines())) > 2 * WIDTH
    assert max(map(len, fitted(table).splitlines())) <= WIDTH
    assert max(map(len, fitted(table, 60).splitlines())) <= 60


def test_wide_table_shows_what_matters_most(table):
    headings, row = fitted(table).split("---", 1)[0], fitted(table)
    names = {heading.split(" (")[0].strip() for heading in table.splitlines()[0].split("|")}
    first = [name for name in FIRST if name in names]
    assert {*FIRST} - names == {"budget", "power proxy", "to dense control"}  # of the frontier
    assert all(word in headings for name in first for word in words(name))
    (baseline,) = (line for line in row.splitlines() if line.startswith("baseline"))
    assert len(words(baseline)) == len(first)


def test_bar_in_a_name_parts_no_cells():
    text = printed_table([Row("this run", "75 % | cubic", {"si_snr_db": 9.73})])
    assert "75 % \\| cubic" in text
    (row,) = (line for line in fitted(text, 300).splitlines() if "cubic" in line)
    assert row.startswith("75 % | cubic  ") and "9.73" in row


def test_sources_are_lines_of_their_own(table):
    lines = fitted(table).splitlines()
    assert lines.index("this run:") < lines.index("N-DNS test set 1:")
    place = lines.index("N-DNS test set 1:")
    shown = " ".join(word for line in lines[place + 1 :] for word in words(line))
    assert shown == "75% Sparsity SDNN 11.72 2.68 2023-08-18"


def test_cells_are_broken_before_columns_are_left_out():
    headings = ["model", *(f"score {i} (dB)" for i in range(6))]
    cells = ["baseline", *[INTERVAL] * 6]
    lines = [headings, ["---"] + ["---:"] * 6, cells]
    shown = fitted("".join(f"| {' | '.join(line)} |\n" for line in lines))
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert sorted(words(shown.split("---")[-1].lstrip("- \n"))) == sorted(words(" ".join(cells)))


def test_narrow_table_keeps_all_and_is_aligned():
    text = "A sentence.\n\n| model | size (KB) |\n| --- | ---: |\n| a | 1.5 |\n| long name | 12.5 |\n"
    assert fitted(text).splitlines() == [
        "A sentence.",
        "",
        "model      size (KB)",
        "---------  ---------",
        "a                1.5",
        "long name       12.5",
    ]


def test_long_sentences_are_broken():
    assert max(map(len, fitted("word " * 60).splitlines())) <= WIDTH
