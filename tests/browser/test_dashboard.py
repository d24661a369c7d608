"""The operator page: operators alone, live, and what they change is confirmed with a reason."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat_page import PASSWORD, ChatPage
from tests.browser.test_access import FOCUS, FROM_THE_TOP, NARROW, WIDE, check_contrast, check_names
from tests.gateway.users import program, run_input
from tests.serverprocess import ServerProcess
from tests.wsclient import connected

OPS = "ops@example.com"
SECRET = "a word that no operator may read"
Servers = Callable[..., ServerProcess]
Open = Callable[..., "OperatorPage"]


class OperatorPage(ChatPage):
    """One tab with the operator page."""

    def open(self, path: str = "/dashboard") -> OperatorPage:
        super().open(path)
        return self

    def arrive(self, server: ServerProcess, email: str = OPS, permissions: tuple[str, ...] = ("operator",)) -> None:
        """Come with a login, as from the chat page."""
        tokens = server.tokens(email, permissions=list(permissions))
        now = time.time() * 1000
        login = {
            "user_id": tokens["user_id"],
            "email": email,
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "issued_at": now,
            "expires_at": now + tokens["expires_in"] * 1000,
        }
        super().open("/assets/icon.svg")
        self.page.evaluate("login => localStorage.setItem('goldenpath.session', JSON.stringify(login))", login)
        self.open()

    def watch(self, server: ServerProcess, **options: Any) -> OperatorPage:
        self.arrive(server, **options)
        self.expect_connected()
        expect(self.page.locator("#verdict")).not_to_have_attribute("data-level", "unknown")
        return self

    def figure(self, name: str) -> float:
        text = self.page.locator(f"#tile-{name}").inner_text().split()[0].replace(",", "")
        return float(text) if text[0].isdigit() else 0.0

    def confirm(self, why: str, action: str) -> None:
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Why").fill(why)
        dialog.get_by_role("button", name=action).click()
        expect(dialog).to_be_hidden()


@pytest.fixture
def look(server: ServerProcess, new_context: Callable[..., BrowserContext]) -> Iterator[Open]:
    """Opens the operator page in a new browser; whatever it complains of fails the test."""
    pages: list[OperatorPage] = []

    def make(on: ServerProcess | None = None, **options: Any) -> OperatorPage:
        pages.append(OperatorPage(new_context(**options), (on or server).url))
        return pages[-1]

    yield make
    for page in pages:
        assert [each for each in page.complaints if "WebSocket" not in each and "Failed to load" not in each] == []


@contextmanager
def load(server: ServerProcess, users: int = 4) -> Iterator[None]:
    """Real users who talk until the context ends."""
    over = threading.Event()
    tokens = [server.tokens(f"load-{number}@example.com")["access_token"] for number in range(users)]
    steps: list[dict[str, Any]] = [
        {"do": "tool", "name": "search", "args": {"q": SECRET}, "result": SECRET},
        {"do": "deltas", "count": 20, "size": 10, "delay_ms": 10},
    ]

    async def talk(token: str) -> None:
        async with connected(server.ws_url, token) as socket:
            while not over.is_set():
                await socket.run(program(*steps), agent="scripted")

    async def all_talk() -> None:
        await asyncio.gather(*map(talk, tokens))

    thread = threading.Thread(target=asyncio.run, args=(all_talk(),))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def test_an_operator_logs_in_with_a_password(own_server: Servers, look: Open) -> None:
    server = own_server(GOLDENPATH_OPERATORS=json.dumps([OPS]))
    first = server.tokens("first@example.com", permissions=["operator"])["access_token"]
    made = httpx.post(
        f"{server.url}/v1/admin/accounts",
        json={"email": OPS, "password": PASSWORD},
        headers={"Authorization": f"Bearer {first}"},
    )
    assert made.status_code == 201
    page = look(on=server).open()
    expect(page.page.get_by_role("heading", name="For operators")).to_be_visible()
    page.log_in(OPS)
    page.expect_connected()
    expect(page.page.get_by_role("heading", name="Users are well served.")).to_be_visible()
    expect(page.page.get_by_role("heading", name="What was changed")).to_be_visible()
    expect(page.page.locator("#actions-rows")).to_contain_text("create account")
    page.log_out()
    expect(page.page.get_by_role("heading", name="For operators")).to_be_visible()
    expect(page.page.locator("#dashboard")).to_be_hidden()


def test_who_is_no_operator_is_told_so_and_sees_nothing(look: Open) -> None:
    page = look()
    chat = ChatPage(page.context, page.url)
    email = chat.register()
    page.open()
    expect(page.page.get_by_role("heading", name=f"{email} is no operator.")).to_be_visible()
    expect(page.page.locator("#dashboard")).to_be_hidden()
    page.page.get_by_role("button", name="Log in as somebody else").click()
    expect(page.page.get_by_role("heading", name="For operators")).to_be_visible()


def test_figures_charts_users_and_runs_follow_the_load(server: ServerProcess, look: Open) -> None:
    page = look().watch(server)
    assert page.page.locator("canvas").count() == 8
    with load(server):
        page.page.wait_for_function("() => Number(document.getElementById('tile-events').innerText) > 5")
        expect(page.page.locator("#users-rows tr")).not_to_have_count(0)
        expect(page.page.locator("#runs-rows tr").filter(has_text="finished").first).to_be_visible()
        before = page.page.locator("#runs-rows tr").first.get_attribute("data-key")
        page.page.wait_for_function("key => document.querySelector('#runs-rows tr').dataset.key !== key", arg=before)
        assert page.figure("connections") >= 4
        assert page.figure("first_token") > 0
        expect(page.page.locator("#chart-events").locator("..")).to_contain_text("events /s")
    assert SECRET not in page.page.content()
    assert "load-1@example.com" not in page.page.content()
    page.page.wait_for_function("() => Number(document.getElementById('tile-events').innerText) === 0")


def test_a_user_leads_to_their_runs_and_a_run_to_its_timeline(server: ServerProcess, look: Open) -> None:
    with load(server, 2):
        page = look().watch(server)
        expect(page.page.locator("#users-rows tr").nth(1)).to_be_visible()
    owner = page.page.locator("#users-rows button").first
    name = owner.inner_text()
    owner.press("Enter")
    expect(page.page.locator("#runs-owner")).to_have_text(name)
    expect(page.page.locator("#runs-rows tr").filter(has_not_text=name)).to_have_count(0)
    page.page.locator("#runs-rows").get_by_role("button").first.click()
    dialog = page.page.get_by_role("dialog")
    for text in ("waits in the queue", "agent works", "tool search", "free"):
        expect(dialog).to_contain_text(text)
    assert SECRET not in page.page.content()
    page.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.page.get_by_role("button", name="Show all").click()
    expect(page.page.locator("#runs-filter")).to_be_hidden()


def test_a_flag_is_switched_with_a_reason_and_the_server_obeys(server: ServerProcess, look: Open) -> None:
    page = look().watch(server)
    switch = page.page.get_by_role("switch", name="new_runs")
    expect(switch).to_be_checked()
    switch.click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Switch off").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say why")
    dialog.get_by_role("button", name="Leave it").click()
    expect(switch).to_be_checked()
    switch.click()
    page.confirm("a test of the switch", "Switch off")
    expect(switch).not_to_be_checked()
    expect(page.page.locator("#actions-rows tr").first).to_contain_text("a test of the switch")
    user = server.tokens("flag@example.com")["access_token"]
    headers = {"Authorization": f"Bearer {user}"}
    run = httpx.post(f"{server.url}/v1/agents/echo/run", json=run_input("t1", "r1"), headers=headers)
    assert (run.status_code, run.json()["code"]) == (503, "overloaded")
    switch.click()
    page.confirm("it is over", "Switch on")
    expect(switch).to_be_checked()


def test_levels_roll_backs_and_breakers_are_decided_and_taken_back(server: ServerProcess, look: Open) -> None:
    page = look().watch(server)
    verdict = page.page.locator("#verdict")
    level = page.page.get_by_label("Level")
    level.select_option("shed_low")
    page.confirm("a drill", "Set the level")
    expect(verdict).to_have_attribute("data-level", "warn")
    expect(verdict).to_contain_text("Degraded to shed_low")
    level.select_option("automatic")
    page.confirm("the drill is over", "Set the level")
    expect(verdict).to_have_attribute("data-level", "good")
    page.page.get_by_role("button", name="Roll back flags").click()
    page.confirm("another drill", "Roll back")
    expect(page.page.locator("#rollback-now")).to_contain_text("Rolled back: flags")
    page.page.get_by_role("button", name="Undo").click()
    page.confirm("over, too", "Undo")
    expect(page.page.locator("#rollback-now")).to_have_text("Nothing is rolled back.")
    breaker = page.page.get_by_label("Circuit breaker of database:read")
    breaker.select_option("closed")
    page.confirm("it must go on", "Decide")
    expect(page.page.locator("#breakers-rows tr").first).to_contain_text("closed, decided")
    breaker.select_option("automatic")
    page.confirm("as before", "Decide")
    expect(page.page.locator("#breakers-rows tr").first).not_to_contain_text("decided")


def test_a_view_that_is_cut_says_so_and_comes_back_by_itself(own_server: Servers, look: Open) -> None:
    server = own_server()
    page = look(on=server).watch(server)
    server.kill()
    page.expect_link("waiting")
    expect(page.page.locator("#verdict")).to_have_attribute("data-level", "unknown")
    expect(page.page.locator("#heard")).to_contain_text("Shown as it was")
    server.start()
    page.expect_connected()
    expect(page.page.get_by_role("heading", name="Users are well served.")).to_be_visible()
    expect(page.page.locator("#heard")).to_have_text("Live.")


def test_nothing_moves_when_figures_change(server: ServerProcess, look: Open) -> None:
    page = look().watch(server)
    parts = ["figures", "chart-loop", "alerts", "controls", "flags"]
    places = f"() => {parts}.map(id => document.getElementById(id).offsetTop)"
    page.page.wait_for_function("() => document.querySelectorAll('canvas').length === 8")
    before = page.page.evaluate(places)
    with load(server, 3):
        page.page.wait_for_function("() => Number(document.getElementById('tile-events').innerText) > 5")
        assert page.page.evaluate(places) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW, {"width": 400, "height": 800}], ids=["wide", "narrow", "400"])
def test_it_can_be_read_fits_and_has_names(
    server: ServerProcess, look: Open, scheme: str, viewport: dict[str, int]
) -> None:
    with load(server, 2):
        page = look(viewport=viewport, color_scheme=scheme).watch(server)
        expect(page.page.locator("#runs-rows tr").nth(2)).to_be_visible()
    for fold in page.page.locator("summary:visible").all():
        fold.click()
    check(page)
    page.page.locator("#runs-rows").get_by_role("button").first.click()
    check(page)
    page.page.keyboard.press("Escape")
    page.page.get_by_role("switch", name="new_runs").click()
    check(page)


def check(page: OperatorPage) -> None:
    check_contrast(page)
    check_names(page)
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_everything_is_reached_by_keyboard(server: ServerProcess, look: Open) -> None:
    page = look().watch(server)
    page.page.evaluate(FROM_THE_TOP)
    reached = []
    for _ in range(16):
        page.page.keyboard.press("Tab")
        name, is_marked = page.page.evaluate(FOCUS)
        reached.append(name)
        assert is_marked, name
    names = " ".join(reached)
    for name in ("Skip to the verdict", "Log out", "Roll back flags", "Circuit breaker of database:read"):
        assert name in names


def test_the_page_keeps_its_own_security_policy(server: ServerProcess, look: Open) -> None:
    answer = httpx.get(f"{server.url}/dashboard")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    page: Page = look().watch(server).page
    assert page.evaluate("typeof uPlot") == "function"
