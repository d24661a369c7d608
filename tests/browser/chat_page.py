"""The chat page as a person uses it: by what is written on it."""

from __future__ import annotations

import itertools
import json
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def new_email() -> str:
    """An address that no other test has."""
    return f"person-{next(_numbers)}@example.com"


class ChatPage:
    """One tab. `url` is the server's address; `complaints` collects what the browser's console said was wrong."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    # --- the login ----------------------------------------------------------------------------------------------------

    def open(self, path: str = "/") -> ChatPage:
        self.page.goto(self.url + path)
        return self

    def register(self, email: str | None = None) -> str:
        """Make an account, and wait for the chat. Returns the e-mail."""
        email = email or new_email()
        self.open()
        self.page.get_by_role("button", name="Create an account").click()
        self.fill_login(email, PASSWORD)
        self.page.get_by_role("button", name="Create account").click()
        self.expect_connected()
        return email

    def log_in(self, email: str, password: str = PASSWORD) -> None:
        self.fill_login(email, password)
        self.page.get_by_role("button", name="Log in", exact=True).click()

    def fill_login(self, email: str, password: str) -> None:
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)

    def log_out(self) -> None:
        self.page.get_by_role("button", name="Log out").click()

    def expect_login(self) -> None:
        expect(self.page.get_by_role("heading", name="Welcome", exact=True)).to_be_visible()

    # --- talking ------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    def say(self, text: str, agent: str = "echo") -> None:
        """Send a message to an agent, by the keyboard."""
        self.page.get_by_label("Agent", exact=True).select_option(agent)
        self.text.fill(text)
        self.text.press("Enter")

    def script(self, *steps: dict[str, Any], then: list[dict[str, Any]] | None = None) -> None:
        """Have the scripted agent do this."""
        program: dict[str, Any] = {"steps": steps}
        if then is not None:
            program["then"] = then
        self.say(json.dumps(program), agent="scripted")

    @property
    def mine(self) -> Locator:
        """What the user said and the log holds."""
        return self.page.locator("#items .from-user .bubble")

    @property
    def answers(self) -> Locator:
        return self.page.locator("#items .from-agent[data-kind=message] .prose")

    @property
    def errors(self) -> Locator:
        return self.page.locator("#items .callout.error")

    @property
    def waiting(self) -> Locator:
        """What was sent and has not begun."""
        return self.page.locator("#outbox .from-user")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop the answer")

    def expect_answer(self, text: str, seconds: float = 20) -> None:
        """The last answer is exactly this, and complete."""
        expect(self.answers.last).to_have_text(text, timeout=seconds * 1000)
        expect(self.stop).to_be_hidden(timeout=seconds * 1000)
        assert self.answers.last.text_content() == text

    # --- around it ----------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Locator:
        """How the connection is."""
        return self.page.locator("#link")

    def expect_link(self, state: str, seconds: float = 20) -> None:
        expect(self.link).to_have_attribute("data-state", state, timeout=seconds * 1000)

    def expect_connected(self) -> None:
        self.expect_link("connected")

    @property
    def threads(self) -> Locator:
        return self.page.get_by_role("navigation", name="Conversations").get_by_role("listitem")

    @property
    def thread_id(self) -> str:
        """The conversation that the address names."""
        return self.page.evaluate("location.hash").removeprefix("#/t/")  # type: ignore[no-any-return]

    def new_conversation(self) -> None:
        self.page.get_by_role("link", name="New conversation").click()
        expect(self.page.get_by_role("heading", name="What would you like to do?")).to_be_visible()

    def tab(self) -> ChatPage:
        """Another tab of the same browser, on the same conversation."""
        other = ChatPage(self.context, self.url)
        other.open(self.page.evaluate("location.pathname + location.hash"))
        other.expect_connected()
        return other

    def token(self) -> str:
        """The access token that this browser holds now."""
        return self.page.evaluate("JSON.parse(localStorage['goldenpath.session']).access_token")  # type: ignore[no-any-return]

    def expect_newer_token(self, than: str) -> None:
        """The browser gets another access token."""
        newer = "token => JSON.parse(localStorage['goldenpath.session']).access_token !== token"
        self.page.wait_for_function(newer, arg=than)
