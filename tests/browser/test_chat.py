"""The golden path in a browser: log in, talk, watch the answer stream in, leave, come back, find it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.gate import Gate
from tests.browser.gated_app import COUNT
from tests.serverprocess import ServerProcess


class TestTalking:
    def test_a_new_user_makes_an_account_and_gets_an_answer(self, chat: ChatPage) -> None:
        chat.say("Where does the golden path lead?")
        expect(chat.mine).to_have_text(["Where does the golden path lead?"])
        chat.expect_answer("Where does the golden path lead?")
        expect(chat.threads).to_have_count(1)
        expect(chat.threads.first).to_contain_text("Where does the golden path lead?")
        assert chat.complaints == []

    def test_enter_sends_and_shift_enter_starts_a_new_line(self, chat: ChatPage) -> None:
        chat.page.get_by_label("Agent", exact=True).select_option("echo")
        chat.text.fill("one")
        chat.text.press("Shift+Enter")
        chat.page.keyboard.type("two")
        expect(chat.text).to_have_value("one\ntwo")
        chat.text.press("Enter")
        expect(chat.text).to_have_value("")
        expect(chat.text).to_be_focused()
        chat.expect_answer("one\ntwo")

    def test_nothing_is_sent_without_text(self, chat: ChatPage) -> None:
        chat.text.fill("  \n ")
        chat.text.press("Enter")
        expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()
        expect(chat.waiting).to_have_count(0)

    def test_a_message_over_the_servers_limit_is_refused_before_it_is_sent(self, chat: ChatPage) -> None:
        chat.text.fill("x" * 1_100_000)
        chat.text.press("Enter")
        expect(chat.page.get_by_text("This message is too long by")).to_be_visible()
        expect(chat.link).to_have_attribute("data-state", "connected")

    def test_an_answer_grows_while_it_is_written(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated()
        gate.show(1)
        gate.show(40)
        expect(chat.stop).to_be_visible()
        gate.free()
        chat.expect_answer(COUNT)

    def test_a_message_sent_meanwhile_waits_for_its_turn(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated()
        gate.show(3)
        chat.say("and then?")
        expect(chat.waiting).to_contain_text("Queued")
        gate.free()
        chat.expect_answer("and then?")
        expect(chat.waiting).to_have_count(0)
        expect(chat.answers).to_have_text([COUNT, "and then?"])

    def test_a_message_that_waits_can_be_withdrawn(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated()
        chat.say("on second thought")
        chat.page.get_by_role("button", name="Withdraw").click()
        expect(chat.waiting).to_contain_text("Withdrawn")
        gate.free()
        expect(chat.page.get_by_text("Stopped.", exact=True)).to_be_visible()
        expect(chat.answers).to_have_text([COUNT])

    def test_stop_ends_the_answer_and_keeps_what_there_is(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        said = gated().show(20).strip()
        chat.stop.click()
        expect(chat.page.get_by_text("Stopped.", exact=True)).to_be_visible()
        expect(chat.stop).to_be_hidden()
        expect(chat.answers).to_have_text([said])
        chat.page.reload()
        expect(chat.answers).to_have_text([said])
        expect(chat.page.get_by_text("Stopped.", exact=True)).to_be_visible()
        chat.say("go on")
        chat.expect_answer("go on")


class TestComingBack:
    def test_a_reload_in_the_middle_of_an_answer_loses_and_doubles_nothing(
        self, chat: ChatPage, gated: Callable[..., Gate]
    ) -> None:
        gate = gated()
        for pieces in (0, 1, 30, 30):
            gate.let(pieces)
            chat.page.reload()
            expect(chat.stop).to_be_visible()
            gate.show(2)
        gate.free()
        chat.expect_answer(COUNT)
        expect(chat.mine).to_have_count(1)

    def test_an_answer_goes_on_while_nobody_looks(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated()
        gate.show(3)
        address = chat.page.url
        chat.page.goto("about:blank")
        gate.free()
        chat.page.goto(address)
        chat.expect_answer(COUNT)

    def test_the_history_looks_as_it_did_live(self, chat: ChatPage) -> None:
        chat.script(
            {"do": "reason", "text": "Let me think."},
            {"do": "say", "text": "I look it **up**."},
            {"do": "tool", "name": "search", "args": {"q": "path"}, "result": {"found": 3}},
            {"do": "say", "text": "Found:\n\n1. one\n2. two"},
        )
        expect(chat.page.locator("#items .prose ol li")).to_have_text(["one", "two"])
        expect(chat.stop).to_be_hidden()
        live = chat.page.locator("#items").inner_text()
        chat.page.reload()
        expect(chat.page.locator("#items .prose ol li")).to_have_text(["one", "two"])
        assert chat.page.locator("#items").inner_text() == live

    def test_conversations_are_listed_and_opened_and_the_address_names_them(self, chat: ChatPage) -> None:
        chat.say("first conversation")
        chat.expect_answer("first conversation")
        chat.new_conversation()
        chat.say("second conversation")
        chat.expect_answer("second conversation")
        expect(chat.threads).to_have_count(2)
        chat.threads.filter(has_text="first").get_by_role("link").click()
        chat.expect_answer("first conversation")
        expect(chat.page.get_by_role("heading", level=1)).to_have_text("first conversation")
        chat.page.go_back()
        chat.expect_answer("second conversation")

    @pytest.mark.parametrize("route", ["%E0%A4%A", "%", "%20"])
    def test_an_address_that_names_no_conversation_opens_a_new_one(self, chat: ChatPage, route: str) -> None:
        chat.open(f"/#/t/{route}")
        chat.page.reload()
        chat.expect_connected()
        chat.say("still here")
        expect(chat.answers).to_have_text(["still here"])
        assert chat.complaints == []

    def test_a_draft_waits_in_its_conversation(self, chat: ChatPage) -> None:
        chat.say("first conversation")
        chat.expect_answer("first conversation")
        chat.text.fill("a draft")
        chat.new_conversation()
        expect(chat.text).to_have_value("")
        chat.page.go_back()
        expect(chat.text).to_have_value("a draft")
        chat.page.reload()
        expect(chat.text).to_have_value("a draft")

    def test_the_list_of_conversations_goes_on_page_by_page(self, chat: ChatPage, server: ServerProcess) -> None:
        headers = {"Authorization": f"Bearer {chat.token()}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            for number in range(35):
                body = {
                    "threadId": f"t{number}",
                    "runId": "r",
                    "messages": [{"id": "m", "role": "user", "content": f"talk {number}"}],
                }
                assert client.post("/v1/agents/echo/run", json=body).status_code == 200
        chat.page.reload()
        expect(chat.threads).to_have_count(30)
        expect(chat.threads.first).to_contain_text("talk 34")
        chat.page.get_by_role("button", name="Show more").click()
        expect(chat.threads).to_have_count(35)
        expect(chat.page.get_by_role("button", name="Show more")).to_be_hidden()

    def test_a_long_conversation_shows_its_end_and_then_its_beginning(
        self, chat: ChatPage, server: ServerProcess
    ) -> None:
        messages = [{"id": f"m{number}", "role": "user", "content": f"line {number}"} for number in range(400)]
        body = {"threadId": "long", "runId": "r", "messages": messages}
        headers = {"Authorization": f"Bearer {chat.token()}"}
        httpx.post(f"{server.url}/v1/agents/echo/run", json=body, headers=headers, timeout=30).raise_for_status()
        chat.open("/#/t/long")
        expect(chat.answers.last).to_be_in_viewport()
        expect(chat.mine.first).to_have_text("line 251")
        chat.page.get_by_role("button", name="Show earlier messages").click()
        chat.page.get_by_role("button", name="Show earlier messages").click()
        expect(chat.mine).to_have_count(400)
        expect(chat.page.get_by_role("button", name="Show earlier messages")).to_be_hidden()


class TestTwoTabs:
    def test_a_second_tab_shows_the_same_live(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated()
        gate.show(3)
        other = chat.tab()
        said = gate.show(20).strip()
        expect(other.answers).to_have_text([said])
        gate.free()
        other.expect_answer(COUNT)
        chat.expect_answer(COUNT)
        other.say("from the other tab")
        chat.expect_answer("from the other tab")
        other.expect_answer("from the other tab")
        expect(chat.mine).to_have_count(2)
        expect(other.mine).to_have_count(2)

    def test_logging_out_in_one_logs_the_other_out(self, chat: ChatPage) -> None:
        chat.say("secret of mine")
        chat.expect_answer("secret of mine")
        other = chat.tab()
        chat.log_out()
        chat.expect_login()
        other.expect_login()
        assert "secret" not in other.page.locator("body").inner_text()

    def test_deleting_in_one_closes_it_in_the_other(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        said = gated().show(5).strip()
        other = chat.tab()
        expect(other.answers).to_have_text([said])
        chat.threads.first.hover()
        chat.threads.first.get_by_role("button", name="Delete").click()
        chat.page.get_by_role("button", name="Delete", exact=True).click()
        expect(chat.threads).to_have_count(0)
        expect(other.page.get_by_text("This conversation was deleted.")).to_be_visible()
        expect(other.page.get_by_role("heading", name="What would you like to do?")).to_be_visible()
        expect(other.threads).to_have_count(0)

    def test_keeping_it_deletes_nothing(self, chat: ChatPage) -> None:
        chat.say("keep me")
        chat.expect_answer("keep me")
        chat.threads.first.hover()
        chat.threads.first.get_by_role("button", name="Delete").click()
        expect(chat.page.get_by_role("button", name="Keep it")).to_be_focused()
        chat.page.keyboard.press("Escape")
        chat.page.reload()
        chat.expect_answer("keep me")


class TestTwoUsers:
    def test_they_see_nothing_of_each_other(self, chat: ChatPage, open_page: Callable[..., ChatPage]) -> None:
        chat.say("a secret")
        chat.expect_answer("a secret")
        stranger = open_page()
        stranger.register()
        expect(stranger.page.get_by_text("Your conversations will be listed here.")).to_be_visible()
        stranger.open(f"/#/t/{chat.thread_id}")
        expect(stranger.page.get_by_text("This conversation does not exist.")).to_be_visible()
        assert "a secret" not in stranger.page.locator("body").inner_text()

    def test_the_same_name_of_a_conversation_holds_what_each_said(
        self, chat: ChatPage, open_page: Callable[..., ChatPage]
    ) -> None:
        chat.say("mine")
        chat.expect_answer("mine")
        stranger = open_page()
        stranger.register()
        headers = {"Authorization": f"Bearer {stranger.token()}"}
        message = {"id": "m", "role": "user", "content": "theirs"}
        body = {"threadId": chat.thread_id, "runId": "r", "messages": [message]}
        httpx.post(f"{stranger.url}/v1/agents/echo/run", json=body, headers=headers).raise_for_status()
        stranger.open(f"/#/t/{chat.thread_id}")
        stranger.expect_answer("theirs")
        chat.page.reload()
        expect(chat.answers).to_have_text(["mine"])

    def test_the_next_user_of_the_browser_finds_nothing(self, chat: ChatPage) -> None:
        chat.say("a secret")
        chat.expect_answer("a secret")
        chat.text.fill("a secret draft")
        chat.log_out()
        chat.expect_login()
        kept = chat.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.body.innerText")
        assert "secret" not in kept
        chat.register()
        expect(chat.threads).to_have_count(0)
        assert "secret" not in chat.page.locator("body").inner_text()


class TestLogin:
    def test_a_wrong_password_says_what_to_do(self, chat: ChatPage, open_page: Callable[..., ChatPage]) -> None:
        email = chat.page.locator("#account-email").inner_text()
        page = open_page().open()
        page.log_in(email, "not the password")
        expect(page.page.get_by_role("alert").first).to_contain_text("do not belong together")
        expect(page.page.get_by_label("Password", exact=True)).to_be_focused()
        page.log_in(f" {email.upper()} ")
        page.expect_connected()

    def test_a_taken_address_and_a_short_password_are_said(
        self, chat: ChatPage, open_page: Callable[..., ChatPage]
    ) -> None:
        page = open_page().open()
        page.page.get_by_role("button", name="Create an account").click()
        page.fill_login("someone@example.com", "short")
        page.page.get_by_role("button", name="Create account").click()
        expect(page.page.get_by_role("alert").first).to_contain_text("at least 8 characters")
        page.fill_login(chat.page.locator("#account-email").inner_text(), "long enough")
        page.page.get_by_role("button", name="Create account").click()
        expect(page.page.get_by_role("alert").first).to_contain_text("an account with this e-mail already")

    def test_tokens_are_renewed_in_every_tab_without_a_cut(
        self,
        own_server: Callable[..., ServerProcess],
        open_page: Callable[..., ChatPage],
        gated: Callable[..., Gate],
    ) -> None:
        chat = open_page(on=own_server(GOLDENPATH_ACCESS_TOKEN_TTL="4"))
        chat.register()
        other = ChatPage(chat.context, chat.url).open()
        other.expect_connected()
        watch = (
            "() => { window.states = []; new MutationObserver(() => states.push(link.dataset.state))"
            ".observe(link, {attributes: true}); }"
        )
        for tab in (chat, other):
            tab.page.evaluate(watch)
        gate = gated(on=chat)
        gate.show(3)
        for _ in range(3):  # the third is good for the time after the first has ended
            chat.expect_newer_token(than=chat.token())
        gate.free()
        chat.expect_answer(COUNT)
        other.say("still here")
        other.expect_answer("still here")
        assert [tab.page.evaluate("states") for tab in (chat, other)] == [[], []]
