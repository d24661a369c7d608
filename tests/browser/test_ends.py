"""How runs ended is shown where it was shown live, by whoever reads the history later."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.gate import Gate
from tests.browser.test_questions import YES_OR_NO
from tests.serverprocess import ServerProcess

STOPPED, ERROR, QUESTION, RESULT = "[data-kind=line]", "[data-kind=error]", "[data-kind=question]", "[data-kind=result]"


def shown(page: Page) -> list[str]:
    """Every item in its place: its kind and its text. Steps apart, which no history has."""
    script = "(items) => items.map((item) => `${item.dataset.kind}: ${item.innerText.replace(/\\s+/g, ' ')}`)"
    return page.locator("#items > li:not([data-kind=step])").evaluate_all(script)  # type: ignore[no-any-return]


def expect_the_same_everywhere(chat: ChatPage, text: str) -> None:
    """A reload and a second tab show what is shown now, which ends with the answer `text`."""
    chat.expect_answer(text)
    live = shown(chat.page)
    other = chat.tab()
    other.expect_answer(text)
    assert shown(other.page) == live
    chat.page.reload()
    chat.expect_answer(text)
    assert shown(chat.page) == live


def test_every_kind_of_end_stands_where_it_stood(chat: ChatPage, gated: Callable[..., Gate]) -> None:
    items = chat.page.locator("#items")
    chat.script({"do": "error", "code": "timeout", "message": "before any word"})
    expect(items.locator(ERROR)).to_have_count(1)
    gated().show(5)
    chat.say("withdrawn")
    chat.page.get_by_role("button", name="Withdraw").click()
    expect(chat.waiting).to_contain_text("Withdrawn")
    chat.stop.click()
    expect(items.locator(STOPPED)).to_have_count(2)
    chat.script({"do": "say", "text": "half"}, {"do": "error", "code": "agent_error", "message": "after a word"})
    expect(items.locator(ERROR)).to_have_count(2)
    chat.script({"do": "say", "text": "counted"}, {"do": "return", "value": {"sum": 42}})
    expect(items.locator(RESULT)).to_have_count(1)
    chat.script(
        {"do": "interrupt", "reason": "ask", "message": "Shall I?", "response_schema": YES_OR_NO},
        then=[{"do": "error", "code": "internal", "message": "the answer's run has no message"}],
    )
    items.locator(QUESTION).get_by_role("button", name="Yes").click()
    expect(items.locator(ERROR)).to_have_count(3)
    expect(items.locator(QUESTION)).to_have_text("Shall I? Yes")
    chat.say("and on it goes")
    expect_the_same_everywhere(chat, "and on it goes")
    assert chat.complaints == []
    kinds = " ".join(line.split(":")[0] for line in shown(chat.page))
    assert kinds == (
        "message error message message line message line message message error message message result "
        "message question error message message"
    )


def test_a_run_whose_server_was_killed_says_so_for_ever(
    own_server: Callable[..., ServerProcess], open_page: Callable[..., ChatPage], gated: Callable[..., Gate]
) -> None:
    server = own_server()
    chat = open_page(on=server)
    chat.register()
    gated(on=chat).show(5)
    server.kill()
    server.start()
    expect(chat.errors).to_contain_text("The server stopped in the middle of this answer.")
    chat.say("and on it goes")
    chat.expect_answer("and on it goes")
    chat.page.reload()
    expect(chat.errors).to_contain_text("The server stopped in the middle of this answer.")
    expect_the_same_everywhere(chat, "and on it goes")
    assert [line.split(":")[0] for line in shown(chat.page)] == ["message", "message", "error", "message", "message"]


def test_after_a_kill_each_message_says_what_became_of_it_and_can_be_sent_again(
    own_server: Callable[..., ServerProcess], open_page: Callable[..., ChatPage], gated: Callable[..., Gate]
) -> None:
    server = own_server()
    chat = open_page(on=server)
    chat.register()
    gated(on=chat).show(5)
    for text in ("second", "third"):
        chat.say(text)
    expect(chat.waiting.get_by_role("button", name="Withdraw")).to_have_count(2)
    server.kill()
    server.start()
    expect(chat.errors).to_have_count(3)
    for page in (chat, chat.tab()):
        expect(page.errors).to_contain_text(
            ["in the middle of this answer.", "before this answer began.", "before this answer began."]
        )
        # What a sentence names is there: on the last one only.
        expect(page.errors.get_by_text("Try again.")).to_have_count(3)
        assert [each.is_visible() for each in page.errors.get_by_text("Try again.").all()] == [False, False, True]
        names = [each.inner_text().strip() for each in page.errors.get_by_role("button").all()]
        assert names == ["Send it again", "Send it again", "Try again"]
    chat.errors.nth(1).get_by_role("button", name="Send it again").click()
    chat.expect_answer("second")
    expect(chat.mine.last).to_have_text("second")
    expect(chat.mine).to_have_count(4)
    expect(chat.errors.get_by_role("button", name="Send it again")).to_have_count(3)


def test_while_an_answer_runs_the_ends_before_it_are_shown(chat: ChatPage, gated: Callable[..., Gate]) -> None:
    gated().show(5)
    chat.stop.click()
    expect(chat.page.locator(STOPPED)).to_be_visible()
    gate = gated()
    gate.show(5)
    chat.page.reload()
    gate.show(5)
    chat.stop.click()
    expect(chat.page.locator(STOPPED)).to_have_count(2)
    kinds = [line.split(":")[0] for line in shown(chat.page)]
    assert kinds == ["message", "message", "line"] * 2
