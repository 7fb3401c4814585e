"""The page in a real browser; what it shows is made by the real steps from small networks and clips."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from report_build import TEAM, small_build, write_report

LARGEST_BYTES = 15_000_000
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
MODELS = ["baseline", "dense", "prune50", "prune75", "prune90"]


class Opened(NamedTuple):
    """A page with what it has complained of and asked for since it was opened."""

    page: Page
    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return write_report(small_build(tmp_path_factory.mktemp("build"), ablation=True), patch)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the path")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


def wait_until(page: Page, condition: str, seconds: float = 30) -> None:
    """Playwright's own waiting evaluates strings, which the page's policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def opened(browser: Browser, report: Path, **settings) -> Opened:
    context = browser.new_context(**settings)
    page = context.new_page()
    found = Opened(page, [], [])
    page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto((report / "index.html").as_uri())
    wait_until(page, "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.xtick text'))")
    return found


@pytest.fixture(scope="module")
def desktop(browser, report) -> Opened:
    return opened(browser, report, viewport={"width": 1280, "height": 900}, color_scheme="light")


@pytest.fixture(scope="module")
def phone(browser, report) -> Opened:
    return opened(browser, report, **PHONE)


def test_page_is_quiet_and_asks_for_nothing(desktop, report):
    assert desktop.complaints == []
    elsewhere = [url for url in desktop.requests if not url.startswith(("data:", "blob:"))]
    assert elsewhere == [(report / "index.html").as_uri()]
    assert (report / "index.html").stat().st_size < LARGEST_BYTES


def test_every_chart_is_drawn(desktop):
    drawn = desktop.page.evaluate(
        """() => [...document.querySelectorAll('.plot')].map(plot => {
            const box = plot.querySelector('.main-svg')?.getBoundingClientRect();
            const marks = plot.querySelectorAll('.scatterlayer path, .barlayer path').length;
            return [plot.id, box?.width ?? 0, box?.height ?? 0, marks];
        })"""
    )
    keys = {key for key, *_ in drawn}
    assert {"figure1", "loss", "validation", "plane", "plane_improvement"} <= keys
    assert {"deployed_sparsity", "synops", "events"} <= keys
    assert {"weights1", "weights2", "weights3", "knee", "knee_power"} <= keys
    assert [key for key, width, height, marks in drawn if width < 300 or height < 200 or not marks] == []


def test_every_chart_has_a_name_and_words(desktop):
    found = desktop.page.evaluate(
        """() => [...document.querySelectorAll('.plot')].map(plot => [
            plot.getAttribute('role'),
            document.getElementById(plot.getAttribute('aria-labelledby')).textContent,
            document.getElementById(plot.getAttribute('aria-describedby')).textContent])"""
    )
    assert all(role == "img" and title and re.search(r"\d", words) for role, title, words in found)


def test_players_have_a_duration_and_spectrograms_a_size(desktop):
    players = desktop.page.locator("audio")
    assert players.count() == 3 * (2 + 4)  # noisy, clean, baseline and three pruned networks of three clips
    wait_until(desktop.page, "[...document.querySelectorAll('audio')].every(player => player.readyState > 0)")
    durations = players.evaluate_all("all => all.map(player => player.duration)")
    assert durations == pytest.approx([1.5] * len(durations), abs=0.2)  # MP3 has whole frames
    images = desktop.page.locator(".spectrogram img").evaluate_all("all => all.map(i => [i.naturalWidth, i.alt])")
    assert len(images) == len(durations) and all(width > 0 and alt for width, alt in images)


def test_starting_a_player_stops_the_others(desktop):
    first, second = desktop.page.locator("audio").nth(0), desktop.page.locator("audio").nth(1)
    first.evaluate("player => { player.muted = true; return player.play(); }")
    second.evaluate("player => { player.muted = true; return player.play(); }")
    assert first.evaluate("player => player.paused")
    second.evaluate("player => player.pause()")


def column(page: Page, number: int) -> list[float | None]:
    rows = page.locator("table.results tbody tr")
    values = rows.evaluate_all(f"all => all.map(row => row.cells[{number}].dataset.value ?? null)")
    return [None if value is None else float(value) for value in values]


def test_table_sorts_by_number_in_both_directions_with_unknown_values_last(desktop):
    page = desktop.page
    heading = page.locator("table.results thead th", has_text="deployed power proxy")
    number = heading.evaluate("cell => cell.cellIndex")
    before = column(page, number)
    assert None in before and len(before) > len(MODELS) + 1
    known = sorted(value for value in before if value is not None)
    unknown = [None] * before.count(None)
    for direction, expected in (("ascending", known), ("descending", known[::-1])):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        assert column(page, number) == expected + unknown
    names = page.locator("table.results thead th").first
    names.locator("button").click()
    assert (names.get_attribute("aria-sort"), heading.get_attribute("aria-sort")) == ("ascending", "none")


def test_published_rows_stand_beside_ours_and_differences_say_more_than_their_colour(phone):
    page = phone.page
    names = [name.strip() for name in page.locator("table.results tbody th").all_inner_texts()]
    place = names.index("prune50")
    assert names[place + 1].startswith("50% Sparsity SDNN") and names[place + 2].startswith("50% Sparse SDNN")
    changes = page.locator("table.results td .change").all_text_contents()
    assert changes
    for text in changes:
        symbol = text.split()[0]
        assert {"✓": "better", "✗": "worse", "≈": "interval includes 0"}[symbol] in text


def test_page_has_landmarks_one_title_and_captions(desktop):
    count = {name: desktop.page.locator(name).count() for name in ("main", "header", "nav", "h1", "table caption")}
    assert count == {"main": 1, "header": 1, "nav": 1, "h1": 1, "table caption": desktop.page.locator("table").count()}
    assert desktop.page.locator("html").get_attribute("lang") == "en"
    assert desktop.page.locator("th:not([scope])").count() == 0
    links = desktop.page.locator("nav a").evaluate_all("all => all.map(link => link.hash.slice(1))")
    assert all(desktop.page.locator(f"#{link}").count() == 1 for link in links)


def test_text_of_others_is_text(desktop):
    assert desktop.page.locator(".team").inner_text() == TEAM
    assert TEAM.split("<script>")[1].split("<")[0] not in desktop.page.locator("script").all_text_contents()


def test_page_fits_a_phone(phone):
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.complaints == []
    box = phone.page.locator(".scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")  # the table scrolls within its own box


def test_dark_mode_has_other_colours_in_text_and_charts(browser, report):
    page = opened(browser, report, color_scheme="dark").page
    look = """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
        getComputedStyle(document.querySelector('#figure1 .scatterlayer .js-line')).stroke,
        getComputedStyle(document.querySelector('#figure1 .xtick text')).fill]"""
    dark = page.evaluate(look)
    page.emulate_media(color_scheme="light")  # while it is open
    wait_until(page, f"({look})().every((colour, place) => colour !== {dark}[place])")
