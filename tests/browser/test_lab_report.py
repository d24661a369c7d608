"""The lab's report in a real browser: it is drawn, it fits, and a target that puts markup into it gets nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from goldenpath.lab.report import write_reports
from goldenpath.lab.summary import judge_directory
from tests.lab.made_run import MadeRun, path_of_users
from tests.lab.test_report import evil_run

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 400, "height": 800}
CHARTS = 6


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens the report of runs; whatever the page complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(*runs: MadeRun, viewport: dict[str, int] = WIDE, dark: bool = False) -> Page:
        stored = [run.store(tmp_path / f"{place}") for place, run in enumerate(runs)]
        write_reports(tmp_path / "out", [judge_directory(directory) for directory in stored])
        context = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light")  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((tmp_path / "out/report.html").as_uri())
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1280", "400"])
@pytest.mark.parametrize("users", [3, 1000])
def test_everything_is_drawn_and_fits(show: Callable[..., Page], users: int, viewport: dict[str, int]) -> None:
    page = show(path_of_users(users).fault("kill@0.2", 0.2, 0.3), viewport=viewport, dark=users == 3)
    expect(page.get_by_role("heading", level=1)).to_have_text("Pass")
    expect(page.locator(".charts canvas")).to_have_count(CHARTS)
    assert fits(page)


def test_one_page_is_shown_at_a_time_and_the_charts_of_each_scenario_are_its_own(show: Callable[..., Page]) -> None:
    page = show(path_of_users(3), path_of_users(5, "sustained"), viewport=NARROW)
    expect(page.locator(".page:visible")).to_have_count(1)
    expect(page.locator("canvas:visible")).to_have_count(0)
    page.get_by_role("link", name="sustained", exact=True).click()
    expect(page.get_by_role("heading", level=2, name="10 requests a second")).to_be_visible()
    expect(page.locator("canvas:visible")).to_have_count(CHARTS)
    for link in page.get_by_role("navigation").get_by_role("link").all():
        link.click()
        expect(link).to_have_attribute("aria-current", "page")
        expect(page.locator(".page:visible")).to_have_count(1)
        assert fits(page)


def test_what_a_target_says_is_shown_and_never_run(show: Callable[..., Page]) -> None:
    page = show(evil_run(), viewport=NARROW)
    expect(page.get_by_role("heading", level=1)).to_have_text("Fail")
    expect(page.locator(".violation").first).to_contain_text("[/][bold]")
    expect(page.locator("main").first).to_contain_text("window.pwned=1")
    for link in page.get_by_role("navigation").get_by_role("link").all():
        link.click()
        assert fits(page)
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0
