"""README and docs show what builds came to as a tool of tools/ writes it: no number of theirs stands by hand."""

import pytest

import frontier
from documents import REPOSITORY, name
from readme import BLOCK, PAGES, RESULTS, filled
from spandex.files.text import read_csv


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_results_are_those_of_the_files_kept(page):
    assert BLOCK.search(page.read_text())
    assert filled(page) == page.read_text()


def test_frontier_is_that_of_the_seeds_kept():
    page = REPOSITORY / frontier.PAGE
    assert frontier.BLOCK.search(page.read_text())
    assert frontier.filled(REPOSITORY) == page.read_text()
    assert all(file.stat().st_size < 60_000 for file in (REPOSITORY / frontier.KEPT).glob("*.json"))


def test_readme_has_one_table_of_rows_on_the_same_clips_and_one_figure():
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    _, _, *rows = [line.strip("| ").split("|") for line in lines if line.startswith("|")]
    build = [row for row in read_csv(RESULTS / "mini.csv") if row["source"] == "this run"]
    shown = [(row[0].strip(), float(row[1])) for row in rows]
    assert shown == [(row["model"], pytest.approx(float(row["si_snr_db"]), abs=0.0051)) for row in build]
    assert sum("![" in line for line in lines) == 1
