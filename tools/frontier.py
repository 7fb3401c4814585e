"""Keep what a finished frontier came to, and show it in docs: python tools/frontier.py PROFILE.

The records of its seeds are copied to docs/results/frontier/. Table and figure are made from these alone; they stand
between "<!-- frontier -->" and "<!-- end of frontier -->" of docs/explanation/frontier.md.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from spandex.errors import SpandexError, prefixed
from spandex.files.text import read_csv
from spandex.pipeline.phases import KEPT
from spandex.report.frontier import about, cost_table, read_seeds
from spandex.report.frontier_figure import frontier_figure
from spandex.report.published import BOARD
from spandex.report.tabular import to_markdown

PAGE = Path("docs/explanation/frontier.md")
BLOCK = re.compile(r"(<!-- frontier -->\n).*?(<!-- end of frontier -->)", re.DOTALL)
FIGURE = "SI-SNR in dB over the power proxy in M-Ops/s: a line a method on our clips, and the challenge's board"
NONE = "No build is kept here yet.\n"


def filled(repository: Path) -> str:
    """The text of the page, with the seeds that are kept."""
    seeds = read_seeds(repository / KEPT)
    figure = os.path.relpath(KEPT / "frontier.png", PAGE.parent)
    shown = f"{about(seeds)}\n\n{to_markdown(cost_table(seeds))}\n![{FIGURE}]({figure})\n" if seeds else NONE
    return BLOCK.sub(lambda block: block[1] + shown + block[2], (repository / PAGE).read_text(encoding="utf-8"))


def main(profile: str, repository: Path = Path(__file__).parents[1]) -> None:
    built, kept = repository / "reports" / profile / "comparisons/frontier", repository / KEPT
    records = sorted(built.glob("seed-*.json"))
    if not records:
        raise SpandexError(f"{built}: no seed-N.json; make frontier PROFILE={profile} writes them")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for record in (*kept.glob("seed-*.json"), *records):
            shutil.copyfile(record, folder / record.name)
        with prefixed(f"{built} beside what is kept in {kept}: "):
            seeds = read_seeds(folder)
        picture, _ = frontier_figure(seeds, read_csv(repository / BOARD), folder / "frontier")
        kept.mkdir(parents=True, exist_ok=True)
        for made in (*records, picture):
            shutil.copyfile(made, kept / made.name)
    page = filled(repository)
    (repository / PAGE).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SpandexError as error:
        sys.exit(str(error))
