"""The page in a real browser; what it shows is made by the real steps from small networks and clips."""

import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from readme import take_pictures
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
    assert {"cost", "gain", "figure1", "loss", "validation", "plane", "plane_improvement"} <= keys
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


def test_first_screen_has_sentence_labelled_figure_and_what_synthetic_audio_means(desktop):
    page = desktop.page
    for shown in (".banner", ".headline", "#cost", "#cost .xtitle"):
        top, bottom = page.locator(shown).evaluate(
            "shown => ['top', 'bottom'].map(end => shown.getBoundingClientRect()[end] + scrollY)"
        )
        assert top >= 0 and bottom <= 900, shown
    assert "Synthetic audio" in page.locator(".banner").inner_text()
    assert re.search(r"\d M-Ops/s.* dB", page.locator(".headline").inner_text())
    labels = page.locator("#cost .annotation-text").evaluate_all(
        "all => all.map(label => [label.textContent, label.getBoundingClientRect().toJSON()])"
    )
    labels = {name: box for name, box in labels if name}
    assert labels.keys() == set(MODELS)
    frame = page.locator("#cost").evaluate("plot => plot.getBoundingClientRect().toJSON()")
    for name, box in labels.items():
        assert frame["left"] <= box["left"] and box["right"] <= frame["right"], name
    boxes = list(labels.values())
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            assert (
                box["right"] <= other["left"]
                or other["right"] <= box["left"]
                or box["bottom"] <= other["top"] + 2
                or other["bottom"] <= box["top"] + 2
            ), labels


def test_pictures_for_the_docs_are_the_first_screen_and_the_labelled_figure(browser, report, tmp_path):
    screen, figure = tmp_path / "page.png", tmp_path / "figure.png"
    take_pictures(browser, report / "index.html", figure, screen)
    assert Image.open(screen).size == (1280, 900) and screen.stat().st_size < 300_000
    assert Image.open(screen).getpixel((5, 5)) > (240, 240, 240)  # light
    assert 1000 < Image.open(figure).width < 1280


def test_labels_stay_with_their_points_in_another_window(browser, report):
    page = opened(browser, report, viewport={"width": 1280, "height": 900}).page
    where = (
        "() => [...document.querySelectorAll('#cost .annotation-text')].map(label => label.getBoundingClientRect().x)"
    )
    before = page.evaluate(where)
    page.set_viewport_size({"width": 700, "height": 900})
    wait_until(page, f"({where})().every((place, number) => place < 700) && {len(before)} === ({where})().length")


def test_clips_have_a_switch_with_every_version_and_spectrograms_with_axes(desktop):
    page = desktop.page
    players = page.locator("audio")
    assert players.count() == 3
    wait_until(page, "[...document.querySelectorAll('audio')].every(player => player.readyState > 0)")
    durations = players.evaluate_all("all => all.map(player => player.duration)")
    assert durations == pytest.approx([1.5] * 3, abs=0.2)  # MP3 has whole frames
    for switch in page.get_by_role("radiogroup").all():
        assert switch.get_by_role("radio").evaluate_all("all => all.map(v => v.value)") == ["noisy", "clean", *MODELS]
    images = page.locator(".images img").evaluate_all("all => all.map(i => [i.naturalWidth, i.alt, i.hidden])")
    assert len(images) == 3 * (2 + len(MODELS)) and all(width > 0 and alt for width, alt, _ in images)
    assert [hidden for *_, hidden in images].count(False) == 3
    axes = page.locator(".spectrogram").first
    assert axes.locator(".khz span").all_text_contents() == ["0", "2", "4", "6", "8 kHz"]
    assert axes.locator(".seconds span").last.text_content() == "1.4 s"
    assert "noise at 5 dB SNR" in page.locator(".example h3").first.inner_text()


def test_switch_keeps_the_position_and_works_by_keyboard(desktop):
    page = desktop.page
    example = page.locator(".example").first
    player = example.locator("audio")
    player.evaluate("player => { player.muted = true; player.currentTime = 0.7; }")
    example.get_by_role("radio").first.focus()
    for version in ("clean", *MODELS):
        page.keyboard.press("ArrowRight")
        assert example.get_by_role("radio", checked=True).get_attribute("value") == version
        wait_until(page, "document.querySelector('.example audio').readyState > 0")
        assert player.evaluate("player => player.currentTime") == pytest.approx(0.7, abs=0.05)
        shown = example.locator(".images img:not([hidden])")
        assert shown.get_attribute("data-version") == version
    player.evaluate("player => player.play()")
    page.keyboard.press("ArrowLeft")
    wait_until(page, "document.querySelector('.example audio').currentTime > 0.75")
    assert not player.evaluate("player => player.paused")
    player.evaluate("player => player.pause()")


def test_starting_a_player_stops_the_others(desktop):
    first, second = desktop.page.locator("audio").nth(0), desktop.page.locator("audio").nth(1)
    first.evaluate("player => { player.muted = true; return player.play(); }")
    second.evaluate("player => { player.muted = true; return player.play(); }")
    assert first.evaluate("player => player.paused")
    second.evaluate("player => player.pause()")


def test_clip_that_the_page_holds_plays_from_its_point(desktop):
    page = desktop.page
    held = page.evaluate(
        """() => document.getElementById('gain').data.map(trace => trace.customdata.filter(kind => kind).length)"""
    )
    assert held == [3] * len(MODELS)
    page.evaluate("document.querySelectorAll('audio').forEach(player => { player.muted = true; })")
    page.evaluate(
        """() => {
            const plot = document.getElementById('gain');
            const trace = plot.data.find(trace => trace.name === 'prune75');
            plot.emit('plotly_click', { points: [{ customdata: 'best', data: trace }] });
        }"""
    )
    player = page.locator("#clip-best audio")
    wait_until(page, "!document.querySelector('#clip-best audio').paused")
    assert page.locator("#clip-best").get_by_role("radio", checked=True).get_attribute("value") == "prune75"
    player.evaluate("player => player.pause()")


def test_more_columns_appear_when_asked_for_and_the_first_ones_fit(desktop):
    page = desktop.page
    shown = page.locator("#results thead th:visible")
    before = shown.count()
    assert shown.nth(1).inner_text().startswith("SI-SNR improvement")
    assert page.locator("#results").evaluate("t => t.scrollWidth <= t.closest('.scroll').clientWidth")
    page.get_by_label("All columns").focus()
    page.keyboard.press("Space")
    assert shown.count() > before
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.keyboard.press("Space")
    assert shown.count() == before


def test_heading_of_the_table_stays_while_its_rows_pass(browser, report):
    page = opened(browser, report, viewport={"width": 1280, "height": 360}).page
    last = page.locator("#results tbody tr").last
    last.evaluate("row => scrollTo({ top: scrollY + row.getBoundingClientRect().top - 150, behavior: 'instant' })")
    heading = page.locator("#results thead th").nth(1)
    assert heading.evaluate("cell => cell.getBoundingClientRect().top") == pytest.approx(0, abs=2)
    page.get_by_label("All columns").check()
    box = page.locator(".scroll.ours")
    box.evaluate("box => { box.scrollTop = box.scrollHeight; }")
    top, end = (shown.evaluate("shown => shown.getBoundingClientRect().top") for shown in (heading, box))
    assert top == pytest.approx(end, abs=3)


def column(page: Page, number: int) -> list[float | None]:
    rows = page.locator("#results tbody tr")
    values = rows.evaluate_all(f"all => all.map(row => row.cells[{number}].dataset.value ?? null)")
    return [None if value is None else float(value) for value in values]


def test_table_sorts_by_number_in_both_directions_with_unknown_values_last(desktop):
    page = desktop.page
    heading = page.locator("#results thead th", has_text="deployed power proxy")
    number = heading.evaluate("cell => cell.cellIndex")
    before = column(page, number)
    assert None in before and len(before) == len(MODELS) + 1
    known = sorted(value for value in before if value is not None)
    unknown = [None] * before.count(None)
    for direction, expected in (("ascending", known), ("descending", known[::-1])):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        assert column(page, number) == expected + unknown
    names = page.locator("#results thead th").first
    names.locator("button").click()
    assert (names.get_attribute("aria-sort"), heading.get_attribute("aria-sort")) == ("ascending", "none")


def test_published_rows_have_their_own_table_and_say_what_rebuilds_them(desktop):
    names = [name.strip() for name in desktop.page.locator("#results tbody th").all_inner_texts()]
    assert sorted(names) == sorted(["noisy", *MODELS])  # another test may have sorted them
    published = desktop.page.locator("#published tbody th").all_inner_texts()
    assert len(published) == 6
    assert [name.split("here ")[-1].strip() for name in published if name.startswith("50%")] == ["prune50"] * 2


def test_differences_say_more_than_their_colour(phone):
    page = phone.page
    changes = page.locator("table.results td .change").all_text_contents()
    assert changes
    for text in changes:
        symbol = text.split()[0]
        assert {"✓": "better", "✗": "worse", "≈": "interval includes 0"}[symbol] in text


def test_claims_stand_in_a_table_and_those_not_testable_are_folded(desktop):
    claims = desktop.page.locator("section[aria-labelledby=claims]")
    folded = claims.locator("details.folded")
    number, of = map(int, re.findall(r"\d+", folded.locator("summary").first.inner_text()))
    assert folded.locator("tbody tr").count() == number and claims.locator("tbody tr").count() == of
    judged = claims.locator(".verdict:visible").all_inner_texts()
    assert len(judged) == of - number and all("reproduced" in verdict for verdict in judged)


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


def test_page_fits_a_screen(desktop):
    assert desktop.page.evaluate("document.documentElement.scrollWidth") <= 1280


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


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("device", [{"viewport": {"width": 1280, "height": 900}}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(browser, report, colours, device):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # the page's policy forbids code from strings, which is how axe comes in
    page = opened(browser, report, color_scheme=colours, bypass_csp=True, **device).page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    found = axe.run(page).response["violations"]
    serious = [
        (problem["id"], problem["help"], [node["html"][:200] for node in problem["nodes"][:3]])
        for problem in found
        if problem["impact"] in ("serious", "critical")
    ]
    assert serious == []
