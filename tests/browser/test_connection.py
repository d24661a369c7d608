"""What the page does when the network or the server lets it down: it says so, comes back, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.chat_page import PASSWORD, ChatPage, new_email
from tests.browser.gate import Gate
from tests.browser.gated_app import COUNT
from tests.browser.host_proxy import HostProxy
from tests.browser.network import Line, Network, once
from tests.serverprocess import ServerProcess


@pytest.fixture
def network(chat: ChatPage) -> Network:
    """The network of `chat`, from its next connection on."""
    network = Network(chat.page)
    chat.page.reload()
    chat.expect_connected()
    return network


def is_text(line: Line) -> bool:
    return bool(line.get("event", {}).get("type") == "TEXT_MESSAGE_CONTENT" and line["seq"] > 20)


class TestTheServerDies:
    @pytest.fixture
    def own(self, own_server: Callable[..., ServerProcess]) -> ServerProcess:
        """A server that this test may kill."""
        return own_server()

    @pytest.fixture
    def page(self, own: ServerProcess, open_page: Callable[..., ChatPage]) -> ChatPage:
        page = open_page(on=own)
        page.register()
        return page

    def test_in_the_middle_of_an_answer_what_was_seen_stays_and_it_can_be_tried_again(
        self, own: ServerProcess, page: ChatPage, gated: Callable[..., Gate]
    ) -> None:
        gate = gated(on=page)
        said = gate.show(20).strip()
        own.kill()
        page.expect_link("waiting")
        expect(page.link).to_contain_text("Reconnecting")
        own.start()
        page.expect_connected()
        expect(page.errors).to_contain_text("The server stopped in the middle of this answer.")
        expect(page.errors).to_contain_text("Try again.")
        expect(page.answers).to_have_text([said])
        page.page.get_by_role("button", name="Try again").click()
        gate.start().free()
        page.expect_answer(COUNT)
        expect(page.mine).to_have_count(1)

    def test_a_message_written_meanwhile_is_sent_when_it_is_back(self, own: ServerProcess, page: ChatPage) -> None:
        page.say("before")
        page.expect_answer("before")
        own.kill()
        page.expect_link("waiting")
        page.say("meanwhile")
        expect(page.waiting).to_contain_text("Will be sent when the connection is back.")
        own.start()
        page.expect_answer("meanwhile")
        expect(page.mine).to_have_text(["before", "meanwhile"])
        expect(page.waiting).to_have_count(0)

    def test_a_message_written_meanwhile_can_be_withdrawn(self, own: ServerProcess, page: ChatPage) -> None:
        page.say("before")
        page.expect_answer("before")
        own.kill()
        page.expect_link("waiting")
        page.say("never mind")
        page.waiting.get_by_role("button", name="Withdraw").click()
        expect(page.waiting).to_have_count(0)
        own.start()
        page.expect_connected()
        page.say("after")
        page.expect_answer("after")
        expect(page.mine).to_have_text(["before", "after"])

    def test_meanwhile_nothing_seems_to_move_or_to_be_in_reach(
        self, own: ServerProcess, page: ChatPage, gated: Callable[..., Gate]
    ) -> None:
        gated(on=page).show(5)
        expect(page.stop).to_be_enabled()
        expect(page.page.locator("#working .dots")).to_be_visible()
        own.kill()
        page.expect_link("waiting")
        expect(page.page.locator("#stop")).to_be_disabled()
        expect(page.page.locator("#working .dots")).to_be_hidden()
        expect(page.page.locator("#working")).not_to_contain_text("Working")

    def test_trying_now_does_not_wait(self, own: ServerProcess, page: ChatPage) -> None:
        own.kill()
        page.expect_link("waiting")
        page.page.wait_for_function(
            "() => parseInt(document.querySelector('#link-text').textContent.match(/\\d+/)) > 3"
        )
        own.start()
        page.page.get_by_role("button", name="Try now").click()
        page.expect_link("connected", seconds=2)

    def test_a_stopped_server_is_come_back_to(self, own: ServerProcess, page: ChatPage) -> None:
        page.say("before")
        page.expect_answer("before")
        own.stop()
        page.expect_link("waiting")
        own.start()
        page.say("after")
        page.expect_answer("after")


class TestTheNetworkBreaks:
    def test_a_cut_continues_after_the_last_event_seen(
        self, chat: ChatPage, network: Network, gated: Callable[..., Gate]
    ) -> None:
        gate = gated()
        for _ in range(3):
            gate.show(10)
            attaches = len(network.sent("attach"))
            network.cut()
            gate.let(10)
            chat.expect_link("waiting")
            chat.expect_connected()
            assert network.sent("attach")[attaches]["after"]["seq"] > 10
        gate.free()
        chat.expect_answer(COUNT)

    def test_a_lost_event_is_fetched(self, chat: ChatPage, network: Network, gated: Callable[..., Gate]) -> None:
        network.inwards = once(is_text, lambda line: [])
        gated().free()
        chat.expect_answer(COUNT)
        assert len(network.sent("attach")) == 1

    def test_a_repeated_event_is_shown_once(self, chat: ChatPage, network: Network, gated: Callable[..., Gate]) -> None:
        network.inwards = once(is_text, lambda line: [line, line])
        gated().free()
        chat.expect_answer(COUNT)

    def test_a_lost_command_is_sent_again_with_its_run_id(self, chat: ChatPage, network: Network) -> None:
        network.outwards = lambda line: [] if line["op"] == "run" else [line]
        chat.say("hello")
        expect(chat.waiting).to_contain_text("Sending")
        network.heal()
        network.cut()
        chat.expect_answer("hello")
        assert len({line["run_id"] for line in network.sent("run")}) == 1
        assert len(network.sent("run")) == 2
        expect(chat.mine).to_have_count(1)

    def test_a_lost_reply_starts_no_second_run(self, chat: ChatPage, network: Network) -> None:
        network.inwards = lambda line: []
        chat.say("hello")
        expect(chat.waiting).to_contain_text("Sending")
        network.heal()
        network.cut()
        chat.expect_answer("hello")
        chat.page.reload()
        chat.expect_answer("hello")
        expect(chat.mine).to_have_count(1)
        expect(chat.answers).to_have_count(1)

    def test_a_message_that_was_never_answered_survives_a_reload(self, chat: ChatPage, network: Network) -> None:
        network.outwards = lambda line: [] if line["op"] == "run" else [line]
        chat.say("hello")
        expect(chat.waiting).to_contain_text("hello")
        network.heal()
        chat.page.reload()
        chat.expect_answer("hello")
        expect(chat.mine).to_have_count(1)
        expect(chat.waiting).to_have_count(0)

    def test_a_gap_replaces_what_is_shown_and_goes_on(self, chat: ChatPage, network: Network) -> None:
        chat.say("hello")
        chat.expect_answer("hello")
        other_log = {"epoch": "another", "seq": 3}
        network.outwards = lambda line: [{**line, "after": other_log} if line["op"] == "attach" else line]
        network.cut()
        chat.expect_link("waiting")
        chat.expect_connected()
        network.heal()
        chat.say("and more")
        chat.expect_answer("and more")
        expect(chat.mine).to_have_text(["hello", "and more"])
        expect(chat.answers).to_have_text(["hello", "and more"])

    def test_a_gap_in_the_middle_of_an_answer_continues_it(
        self, chat: ChatPage, network: Network, gated: Callable[..., Gate]
    ) -> None:
        gate = gated()
        gate.show(10)
        other_log = {"epoch": "another", "seq": 3}
        network.outwards = lambda line: [{**line, "after": other_log} if line["op"] == "attach" else line]
        network.cut()
        chat.expect_link("waiting")
        chat.expect_connected()
        gate.show(10)
        gate.free()
        chat.expect_answer(COUNT)
        expect(chat.mine).to_have_count(1)

    def test_being_offline_is_said_and_ends(self, chat: ChatPage, network: Network) -> None:
        network.refuse = 4500
        chat.context.set_offline(True)
        network.cut()
        expect(chat.link).to_contain_text("Offline")
        chat.say("meanwhile")
        network.refuse = None
        chat.context.set_offline(False)
        chat.expect_connected()
        chat.expect_answer("meanwhile")


class TestTheServerLetsNobodyIn:
    def test_a_page_of_an_origin_that_is_not_allowed_says_so_and_the_log_why(
        self, own_server: Callable[..., ServerProcess], new_context: Callable[..., BrowserContext]
    ) -> None:
        server = own_server()
        with HostProxy(server.port) as proxy:
            page = ChatPage(new_context(), f"http://{proxy.host}")
            page.open()
            page.page.get_by_role("button", name="Create an account").click()
            page.fill_login("far@example.com", PASSWORD)
            page.page.get_by_role("button", name="Create account").click()
            banner = page.page.locator("#banner")
            expect(banner).to_contain_text(f"http://{proxy.host} is not in GOLDENPATH_ALLOWED_ORIGINS")
            page.page.get_by_role("button", name="Try again").click()
            expect(banner).to_be_visible()
            (warning,) = [line for line in server.log().splitlines() if "origin_refused" in line]
            assert f"http://{proxy.host}" in warning
            assert "inside.example" in warning
            assert "GOLDENPATH_ALLOWED_ORIGINS" in warning


class TestTheServerCloses:
    def test_4401_renews_the_token_and_comes_back(self, chat: ChatPage, network: Network) -> None:
        before = chat.token()
        network.cut(4401)
        chat.expect_newer_token(than=before)
        chat.expect_connected()
        chat.say("hello")
        chat.expect_answer("hello")

    def test_a_session_that_was_ended_elsewhere_leads_to_the_login(self, chat: ChatPage) -> None:
        chat.text.fill("unsent")
        headers = {"Authorization": f"Bearer {chat.token()}"}
        httpx.post(f"{chat.url}/v1/auth/logout", headers=headers).raise_for_status()
        chat.expect_login()
        expect(chat.page.get_by_text("Your login has ended.")).to_be_visible()

    def test_who_logs_in_again_is_where_they_were_and_nobody_else_is(self, chat: ChatPage) -> None:
        chat.log_out()
        email = chat.register()
        chat.say("hello")
        chat.expect_answer("hello")
        thread_id = chat.thread_id
        chat.log_out()
        chat.expect_login()
        chat.log_in(email)
        chat.expect_answer("hello")
        assert chat.thread_id == thread_id
        chat.log_out()
        chat.page.get_by_role("button", name="Create an account").click()
        chat.fill_login(new_email(), PASSWORD)
        chat.page.get_by_role("button", name="Create account").click()
        expect(chat.page.get_by_role("heading", name="What would you like to do?")).to_be_visible()

    def test_too_many_connections_waits_for_the_user(self, chat: ChatPage, network: Network) -> None:
        network.refuse = 4429
        network.cut()
        expect(chat.page.get_by_role("alert")).to_contain_text("too many tabs or devices")
        chat.expect_link("stopped")
        network.heal()
        chat.page.get_by_role("button", name="Try again").click()
        chat.expect_connected()
        expect(chat.page.get_by_text("too many tabs or devices")).to_be_hidden()

    def test_protocol_misuse_asks_for_a_reload(self, chat: ChatPage, network: Network) -> None:
        network.cut(4400)
        expect(chat.page.get_by_role("alert")).to_contain_text("Reload the page.")
        chat.page.get_by_role("button", name="Reload the page").click()
        chat.expect_connected()

    def test_a_run_that_is_refused_says_why_and_can_be_tried_again(self, chat: ChatPage, network: Network) -> None:
        error = {"code": "quota_exceeded", "message": "full", "retryable": True, "definite": True, "retry_after": 3.0}
        refusals = once(
            lambda line: line.get("status") is not None, lambda line: [{"re": line["re"], "ok": False, "error": error}]
        )
        network.inwards = lambda line: [] if "event" in line else refusals(line)
        chat.say("hello")
        expect(chat.waiting).to_contain_text("Not sent. All of your places are taken. Try again in 3 seconds.")
        network.heal()
        chat.page.get_by_role("button", name="Try again").click()
        chat.page.reload()
        chat.expect_answer("hello")
        expect(chat.mine).to_have_count(1)
