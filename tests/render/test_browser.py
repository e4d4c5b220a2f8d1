"""The page in a real browser: Chromium of the distribution, headless, offline.

Without one these are skipped, and say so; with DETRBENCH_BROWSER=required, as in continuous
integration, that is a failure. DETRBENCH_BROWSER may also name the program to use.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detrbench.render import render
from detrbench.reports.report import Report
from tests.render.sample import MIXED, REPORT
from tests.render.test_html import hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARTICLE = Report.load("reports/2026-11-24-amd-epyc-2cpu-article/run.json")
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


def program() -> str:
    """The browser to drive; skips the test where there is none, unless one is required."""
    wanted = os.environ.get("DETRBENCH_BROWSER", "")
    names = PROGRAMS if wanted in ("", "required") else (wanted,)
    found = next(filter(None, map(shutil.which, names)), None)
    if found is not None:
        return found
    missing = f"no browser: none of {', '.join(names)} is installed (apt-get install chromium)"
    if wanted:
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Its sandbox refuses to run as root; only our own page is opened.
        sandbox = hasattr(os, "geteuid") and os.geteuid() != 0
        launched = driver.chromium.launch(executable_path=executable, chromium_sandbox=sandbox)
        yield launched
        launched.close()


@dataclass
class Shown:
    """A page in a browser, and what the browser said of it."""

    page: Page
    requests: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def column(self, table: str, index: int) -> list[str]:
        """Texts of a column, top to bottom."""
        cells = self.page.locator(f"#{table} tbody tr > :nth-child({index + 1})")
        return [" ".join(text.split()) for text in cells.all_inner_texts()]

    def fits(self) -> bool:
        """Whether the page itself needs no scrolling sideways."""
        widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        content, window = self.page.evaluate(widths)
        return bool(content <= window)


class Opener:
    """Opens reports as files in contexts of their own, closed after the test."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder
        self._contexts: list[BrowserContext] = []

    def __call__(self, report: Report, **how: Any) -> Shown:
        file = self._folder / f"page-{len(self._contexts)}.html"
        file.write_text(render(report, "html"), encoding="utf-8")
        context = self._browser.new_context(offline=True, **({"viewport": DESKTOP} | how))
        self._contexts.append(context)
        shown = Shown(context.new_page())
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.on("console", lambda message: shown.conditions.append(message.text))
        shown.page.on("pageerror", lambda error: shown.conditions.append(str(error)))
        shown.page.on("dialog", lambda dialog: shown.conditions.append(dialog.message))
        shown.page.goto(file.as_uri())
        return shown

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(browser, tmp_path)
    yield opener
    opener.close()


# --- loading -----------------------------------------------------------------------------------

REPORTS = {
    "article": ARTICLE,
    "sample": REPORT,
    "mixed": MIXED,
    "empty": Report(),
    "hostile": hostile("</script><script>alert(1)</script><img src=x onerror=alert(1)>"),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_it_loads_without_errors_and_without_network(opened: Opener, report: Report) -> None:
    shown = opened(report)
    assert shown.conditions == []
    asked = [url for url in shown.requests if url != "data:,"]
    assert asked == [shown.page.url], "nothing but the file itself"


def test_the_pictures_are_there_and_visible(opened: Opener) -> None:
    page = opened(ARTICLE).page
    boxes = [each.bounding_box() for each in page.locator("figure svg").all()]
    assert len(boxes) == 5
    assert all(box and box["width"] > 300 and box["height"] > 50 for box in boxes)
    for picture in page.locator("figure svg").all():
        name = picture.evaluate("each => each.querySelector('title').textContent")
        assert page.get_by_role("img", name=name).count() >= 1, "and are called by their title"
        texts = picture.locator("text").all()
        assert texts
        assert all((box := text.bounding_box()) and box["height"] > 5 for text in texts)


@pytest.mark.parametrize("report", [ARTICLE, MIXED], ids=["article", "mixed"])
def test_no_text_of_a_picture_is_cut_off(opened: Opener, report: Report) -> None:
    page = opened(report).page
    outside = page.evaluate(
        """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
            const whole = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.left < whole.left - 1 || box.right > whole.right + 1
                    || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
            }).map((text) => text.textContent);
        })"""
    )
    assert outside == []


def test_without_scripts_everything_but_sorting_and_downloads_is_there(opened: Opener) -> None:
    page = opened(ARTICLE, java_script_enabled=False).page
    assert page.get_by_role("heading", level=2).count() >= 8
    assert page.locator("figure svg").count() == 5
    assert page.get_by_role("button").count() == 0, "nothing that would not work"
    assert page.get_by_text("Without JavaScript").is_visible()


# --- sorting -----------------------------------------------------------------------------------


def test_a_click_sorts_models_and_keeps_their_sublines(opened: Opener) -> None:
    shown = opened(ARTICLE)
    before = shown.column("comparison-1", 0)
    assert before[0] == "rtdetr-l"
    header = shown.page.get_by_role("columnheader", name="Params (M)").first
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    after = shown.column("comparison-1", 0)
    lighter = before.index("shufflev2")
    assert after == before[lighter:] + before[:lighter], "19.3M first, with all that is its"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert shown.column("comparison-1", 0) == before
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    assert shown.column("comparison-1", 0) == before


def test_the_keyboard_sorts_too(opened: Opener) -> None:
    shown = opened(ARTICLE)
    button = shown.page.locator("#comparison-1 thead button").first
    button.focus()
    shown.page.keyboard.press("Enter")
    assert (
        shown.page.locator("#comparison-1 th[aria-sort=ascending]").inner_text().startswith("Model")
    )
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("Space")
    sorted_by = shown.page.locator("#comparison-1 th[aria-sort]")
    assert sorted_by.count() == 1, "one column at a time"
    assert sorted_by.inner_text().startswith("Params")
    assert shown.column("comparison-1", 0)[0] == "shufflev2"


def test_numbers_are_sorted_as_numbers_and_empty_cells_last(opened: Opener) -> None:
    shown = opened(REPORT)
    button = shown.page.locator("#comparison-1 thead button").nth(1)
    for expected in (
        ["my-variant.yaml", "shufflev2", "rtdetr-l", "=HYPERLINK(1)|x"],
        ["rtdetr-l", "shufflev2", "my-variant.yaml", "=HYPERLINK(1)|x"],
    ):
        button.click()
        names = shown.page.locator("#comparison-1 tbody tr:first-child th").all_inner_texts()
        assert names == expected, "the failed one has no number, and is last either way"


def test_parts_are_sorted_inside_their_model(opened: Opener) -> None:
    shown = opened(REPORT)
    assert shown.column("parts-1", 0) == ["rtdetr-l", "backbone", "neck"]
    shown.page.locator("#parts-1 thead button").nth(1).click()
    shown.page.locator("#parts-1 thead button").nth(1).click()
    assert shown.column("parts-1", 0) == ["rtdetr-l", "neck", "backbone"]


def test_cases_of_a_workload_are_sorted_by_themselves(opened: Opener) -> None:
    shown = opened(MIXED)
    before = shown.column("comparison-2", 0)
    shown.page.locator("#comparison-1 thead button").nth(2).click()
    names = shown.page.locator("#comparison-1 tbody tr:first-child th").all_inner_texts()
    assert names == [
        "shufflev2 (compile)", "shufflev2 (channels_last)", "shufflev2", "rtdetr-l (compile)",
        "rtdetr-l (channels_last)", "rtdetr-l",
    ]  # fmt: skip
    assert shown.column("comparison-2", 0) == before


# --- every reader ------------------------------------------------------------------------------


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_itself_never_scrolls_sideways(
    opened: Opener, report: Report, size: dict[str, int]
) -> None:
    assert opened(report, viewport=size).fits()


def test_on_a_phone_tables_scroll_in_their_own_place_and_text_can_be_read(opened: Opener) -> None:
    page = opened(ARTICLE, viewport=PHONE).page
    scrolls = "each => each.scrollWidth > each.clientWidth"
    assert page.locator(".scroll").first.evaluate(scrolls)
    heights = [
        box["height"]
        for text in page.locator("figure svg text").all()
        if (box := text.bounding_box())
    ]
    assert min(heights) >= 9, "CSS pixels of a line of text in a picture"


def colour(page: Page, selector: str, which: str) -> str:
    """A colour as the browser computed it."""
    element = page.locator(selector).first
    return str(element.evaluate("(each, which) => getComputedStyle(each)[which]", which))


NAME = "figure svg text:text('Params')"  # in ink, where tick labels are softer


def test_the_dark_side_is_dark_and_pictures_follow(opened: Opener) -> None:
    light, dark = (opened(ARTICLE, color_scheme=scheme).page for scheme in ("light", "dark"))
    assert colour(light, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert colour(dark, "body", "backgroundColor") == "rgb(20, 24, 29)"
    assert colour(light, "h1", "color") == colour(light, NAME, "fill") == "rgb(27, 31, 36)"
    assert colour(dark, "h1", "color") == colour(dark, NAME, "fill") == "rgb(230, 235, 240)"


def test_in_print_it_is_light_and_whole(opened: Opener) -> None:
    page = opened(ARTICLE, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert colour(page, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert colour(page, NAME, "fill") == "rgb(27, 31, 36)"
    assert colour(page, ".scroll", "overflow") == "visible"
    assert not page.get_by_role("navigation").is_visible()
    assert not page.get_by_role("button", name="Download run.json").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_a_keyboard_can_skip_to_the_content_and_scroll_a_table(opened: Opener) -> None:
    page = opened(ARTICLE, viewport=PHONE).page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("each => each === document.activeElement")
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0, "it shows itself when it has the focus"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    from playwright.sync_api import expect

    region = page.locator(".scroll").first
    region.focus()
    page.keyboard.press("ArrowRight")
    expect(region).not_to_have_js_property("scrollLeft", 0)


# --- taking the data away ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "report", [ARTICLE, MIXED, REPORTS["hostile"]], ids=["article", "mixed", "hostile"]
)
def test_the_downloads_are_the_report(opened: Opener, report: Report, tmp_path: Path) -> None:
    shown = opened(report)
    files = {}
    for name in ("run.json", "table.csv"):
        with shown.page.expect_download() as started:
            shown.page.get_by_role("button", name=f"Download {name}").click()
        assert started.value.suggested_filename == name
        started.value.save_as(tmp_path / name)
        files[name] = (tmp_path / name).read_bytes().decode("utf-8")
    again = Report.from_json(files["run.json"])
    assert dataclasses.replace(again, schema_version=report.schema_version) == report
    assert json.loads(files["run.json"]) == report.to_dict()
    assert files["table.csv"] == render(report, "csv")
    assert shown.conditions == []
