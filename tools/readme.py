"""Write what a finished build came to into README and docs: python tools/readme.py PROFILE.

Between "<!-- results of PROFILE: COLUMNS -->" and "<!-- end of results -->" of a page stand the build's sentence, its
own rows of the table and its figure; without COLUMNS all that have a value. They are made from docs/results/, where
the build's files are copied to. The tutorial, which builds synthetic, shows the first screen of that build's page.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from spandex.errors import SpandexError
from spandex.files import write_text
from spandex.files.text import read_csv
from spandex.report.table import COLUMNS, Row, to_markdown

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs/results"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "docs/results.md"]
BLOCK = re.compile(r"(<!-- results of (\w+)(?:: ([\w ]+))? -->\n).*?(<!-- end of results -->)", re.DOTALL)
FIGURE = "Quality over cost of the networks in the table: SI-SNR in dB over the power proxy as deployed in M-Ops/s"
FIRST_SCREENS = {"synthetic": REPOSITORY / "docs/images/page.png"}
SCREEN = {"width": 1280, "height": 900}  # pixels


def filled(page: Path) -> str:
    """The text of a page, with its results as they are in docs/results/."""

    def results(block: re.Match) -> str:
        beginning, profile, columns, end = block.groups()
        kept = RESULTS / profile
        sentence = kept.with_suffix(".txt").read_text(encoding="utf-8")
        figure = os.path.relpath(kept.with_suffix(".png"), page.parent)
        return f"{beginning}{sentence}\n{table(kept.with_suffix('.csv'), columns)}\n![{FIGURE}]({figure})\n{end}"

    return BLOCK.sub(results, page.read_text(encoding="utf-8"))


def table(path: Path, asked: str | None) -> str:
    """Our rows of a table.csv as Markdown, without their source."""
    ours = [line for line in read_csv(path) if line["source"] == "this run"]
    columns = [c for c in COLUMNS if (c.key in asked.split() if asked else any(line.get(c.key) for line in ours))]
    rows = [Row("", line["model"], {c.key: float(line[c.key]) for c in columns if line.get(c.key)}) for line in ours]
    return re.sub(r"^\| [^|]*", "", to_markdown(rows, columns), flags=re.MULTILINE)


def take_pictures(browser: Browser, page: Path, figure: Path, screen: Path | None) -> None:
    """Pictures of a report's page, in light colours: its chart of quality and cost, and its first screen if wanted."""
    shown = browser.new_page(viewport=SCREEN, color_scheme="light")
    shown.goto(page.as_uri())
    shown.locator("#cost .annotation-text").last.wait_for()
    if screen:
        shown.screenshot(path=screen)
    shown.locator("#cost").screenshot(path=figure)


def main(profile: str) -> None:
    reports, kept = REPOSITORY / "reports" / profile, RESULTS / profile
    copies = {
        reports / "table.csv": kept.with_suffix(".csv"),
        reports / "headline.md": kept.with_suffix(".txt"),
        reports / "figures/figure1.png": RESULTS / f"{profile}_figure1.png",
    }
    page = reports / "index.html"
    if missing := [file for file in (*copies, page) if not file.is_file()]:
        raise SpandexError(f"{missing[0]}: no such file; make PROFILE={profile} makes it")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SpandexError("chromium: no such command; it takes the pictures")
    RESULTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take_pictures(browser, page, kept.with_suffix(".png"), FIRST_SCREENS.get(profile))
        browser.close()
    for file, copy in copies.items():
        shutil.copyfile(file, copy)
    for shown in PAGES:
        write_text(shown, filled(shown))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SpandexError as error:
        sys.exit(f"make readme: {error}")
