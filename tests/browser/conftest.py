from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.chat_page import ChatPage
from tests.browser.gate import Gate
from tests.serverprocess import ServerProcess

CHROMIUM = "chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; a module's tests share it, each with contexts of its own."""
    path = shutil.which(CHROMIUM)
    if path is None:
        pytest.fail("the browser tests need Chromium: apt-get install chromium", pytrace=False)
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


def _server(data_dir: Path, **env: str) -> ServerProcess:
    return ServerProcess(data_dir, target="gated_app:app", cwd=Path(__file__).parent, **env)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server, with the gated agent beside the built-in ones, that the tests of one module share."""
    running = _server(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    code = running.stop()
    assert code == 0, running.log()
    assert "Traceback" not in running.log(), running.log()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a server of a test's own, which it may kill."""
    servers: list[ServerProcess] = []

    def start(**env: str) -> ServerProcess:
        servers.append(_server(tmp_path / f"data-{len(servers)}", **env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browsers that share nothing: each one another person's."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(server: ServerProcess, new_context: Callable[..., BrowserContext]) -> Callable[..., ChatPage]:
    """Opens the chat in a new browser, on the module's server or on `on`."""

    def make(on: ServerProcess | None = None, **options: Any) -> ChatPage:
        return ChatPage(new_context(**options), (on or server).url)

    return make


@pytest.fixture
def chat(open_page: Callable[..., ChatPage]) -> ChatPage:
    """The chat of a user who has just made an account."""
    page = open_page()
    page.register()
    return page


@pytest.fixture
def gated(chat: ChatPage) -> Iterator[Callable[..., Gate]]:
    """Asks the gated agent: for `chat`, or `on` another page."""
    gates: list[Gate] = []

    def ask(text: str | None = None, on: ChatPage | None = None) -> Gate:
        gates.append(Gate(on or chat) if text is None else Gate(on or chat, text))
        return gates[-1].start()

    yield ask
    for gate in gates:
        gate.close()
