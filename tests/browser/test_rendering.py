"""What an agent does is shown as what it is, and text is only ever text."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.gate import Gate
from tests.serverprocess import ServerProcess

PARAGRAPHS = "\n\n".join(f"Paragraph {number} " + "goes on and on. " * 12 for number in range(40))


class TestItems:
    def test_a_tool_call_unfolds_to_its_arguments_and_result(self, chat: ChatPage) -> None:
        chat.script({"do": "tool", "name": "search", "args": {"q": "path"}, "result": {"found": 3}})
        fold = chat.page.get_by_role("group").filter(has_text="search")
        expect(fold).to_contain_text("done")
        expect(fold.locator("pre")).to_have_count(0)
        fold.locator("summary").press("Enter")
        expect(fold.get_by_role("heading")).to_have_text(["Arguments", "Result"])
        expect(fold.locator("pre")).to_have_text(['{\n  "q": "path"\n}', '{\n  "found": 3\n}'])

    def test_thoughts_are_folded_and_come_before_the_answer(self, chat: ChatPage) -> None:
        chat.script({"do": "reason", "text": "Let me *think*."}, {"do": "say", "text": "Yes."})
        chat.expect_answer("Yes.")
        expect(chat.page.locator("#items > li").nth(1)).to_contain_text("Thoughts")
        chat.page.get_by_text("Thoughts").click()
        expect(chat.page.locator("[data-kind=reasoning] em")).to_have_text("think")

    def test_steps_show_whether_they_are_done(self, chat: ChatPage) -> None:
        gate = Gate(chat)
        step = chat.page.locator("[data-kind=step]")
        expect(step).to_have_attribute("data-mood", "busy")
        gate.start()
        expect(step).to_have_attribute("data-mood", "good")
        expect(step).to_have_text("Wait for the test")
        gate.close()

    def test_the_state_is_there_to_look_at_and_follows_its_changes(self, chat: ChatPage) -> None:
        chat.script({"do": "state", "snapshot": {"city": "Basel"}})
        button = chat.page.get_by_role("button", name="State", exact=True)
        button.click()
        panel = chat.page.get_by_role("region", name="The agent's state")
        expect(panel).to_contain_text('"city": "Basel"')
        chat.script({"do": "state_delta", "delta": [{"op": "replace", "path": "/city", "value": "Bern"}]})
        expect(panel).to_contain_text('"city": "Bern"')
        button.click()
        expect(panel).to_be_hidden()

    def test_custom_events_of_one_name_are_one_line(self, chat: ChatPage) -> None:
        progress = [{"do": "custom", "name": "progress", "value": number} for number in range(5)]
        chat.script(*progress, {"do": "return", "value": {"answer": 42}})
        expect(chat.page.locator("[data-kind=custom]")).to_have_count(1)
        expect(chat.page.locator("[data-kind=custom]")).to_contain_text("5 times")
        expect(chat.page.locator("[data-kind=result]")).to_contain_text('"answer": 42')

    def test_a_failure_says_what_to_do_and_trying_again_repeats_no_message(self, chat: ChatPage) -> None:
        chat.script({"do": "say", "text": "so far"}, {"do": "error", "message": "it broke", "code": "agent_error"})
        expect(chat.errors).to_contain_text("The agent failed. Try again.")
        expect(chat.errors).to_contain_text("agent_error: it broke")
        chat.page.get_by_role("button", name="Try again").click()
        expect(chat.errors).to_have_count(2)
        expect(chat.page.get_by_role("button", name="Try again")).to_have_count(1)
        expect(chat.mine).to_have_count(1)
        chat.page.reload()
        expect(chat.errors).to_have_count(2)
        expect(chat.mine).to_have_count(1)
        chat.say("let us talk of something else")
        chat.expect_answer("let us talk of something else")

    def test_an_answer_too_large_and_a_conversation_that_is_full_say_what_helps(
        self, own_server: Callable[..., ServerProcess], open_page: Callable[..., ChatPage]
    ) -> None:
        limits = {"GOLDENPATH_MAX_EVENT_BYTES": "2000", "GOLDENPATH_MAX_HISTORY_BYTES": "6000"}
        chat = open_page(on=own_server(**limits))
        chat.register()
        chat.script({"do": "deltas", "count": 1, "size": 3000})
        expect(chat.errors).to_contain_text("The answer was too large. Ask for less at once.")
        expect(chat.errors.get_by_role("button")).to_have_count(0)
        text = "x" * 3500
        chat.say(text)
        chat.expect_answer(text)
        chat.say("one more")
        refused = chat.waiting.get_by_role("alert")
        expect(refused).to_contain_text("Not sent. This conversation is full. Start a new one")
        expect(refused.get_by_role("button")).to_have_text(["Discard"])

    def test_a_message_that_is_no_program_says_so(self, chat: ChatPage) -> None:
        chat.say("not JSON", agent="scripted")
        expect(chat.errors).to_contain_text("not a program")


class TestText:
    def test_html_stays_text(self, chat: ChatPage) -> None:
        hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script><b>bold</b>'
        chat.say(hostile)
        chat.expect_answer(hostile)
        expect(chat.mine).to_have_text(hostile)
        assert chat.page.locator("#scroller :is(img, script, b, iframe)").count() == 0
        chat.page.reload()
        chat.expect_answer(hostile)
        assert chat.complaints == []

    def test_links_lead_to_the_web_only_and_give_nothing_away(self, chat: ChatPage) -> None:
        chat.script(
            {"do": "say", "text": "[bad](javascript:alert(1)) [good](https://example.com/) [data](data:text/html,x)"}
        )
        links = chat.answers.last.get_by_role("link")
        expect(links).to_have_text(["good"])
        expect(links).to_have_attribute("rel", "noopener noreferrer nofollow")
        expect(links).to_have_attribute("target", "_blank")

    def test_markdown_is_drawn_the_same_live_and_from_the_history(self, chat: ChatPage) -> None:
        table = "| x | y |\n|---|---|\n| 1 | 2 |"
        text = f"# Title\n\n- a\n- **b**\n\n> quote\n\n{table}\n\n```py\nprint(1)\n```\n\nend `code`"
        chat.script({"do": "say", "text": text, "size": 3})
        expect(chat.answers.locator("figure.code code")).to_have_text("print(1)")
        expect(chat.stop).to_be_hidden()
        live = chat.answers.last.inner_html()
        assert all(f"<{tag}" in live for tag in ("h3", "ul", "strong", "blockquote", "table", "pre", "code"))
        chat.page.reload()
        expect(chat.answers.locator("figure.code code")).to_have_text("print(1)")
        assert chat.answers.last.inner_html() == live

    def test_a_long_title_is_cut_between_characters_and_says_so(self, chat: ChatPage) -> None:
        chat.say("a" * 78 + "\N{SLIGHTLY SMILING FACE}" * 3)
        expect(chat.page.get_by_role("heading", level=1)).to_have_text(
            "a" * 78 + "\N{SLIGHTLY SMILING FACE}\N{HORIZONTAL ELLIPSIS}"
        )

    def test_a_title_is_text_as_well(self, chat: ChatPage) -> None:
        chat.say("<i>title</i>")
        chat.expect_answer("<i>title</i>")
        expect(chat.page.get_by_role("heading", level=1)).to_have_text("<i>title</i>")
        expect(chat.threads.first).to_contain_text("<i>title</i>")

    def test_a_long_message_of_ones_own_is_folded(self, chat: ChatPage) -> None:
        text = "a long story " * 200
        chat.say(text)
        more = chat.page.get_by_role("button", name="Show all")
        more.click()
        expect(chat.page.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")


class TestDrawing:
    def test_a_fast_agent_is_drawn_once_a_frame_not_once_an_event(self, chat: ChatPage) -> None:
        chat.page.evaluate(
            "() => { window.draws = 0; new MutationObserver(() => draws++)"
            ".observe(document.getElementById('items'), {childList: true, subtree: true, characterData: true}); }"
        )
        chat.script({"do": "deltas", "count": 5000, "size": 8})
        chat.page.wait_for_function("() => document.querySelector('#items .prose')?.textContent.length === 40000")
        assert chat.page.evaluate("draws") < 1000

    def test_the_end_stays_in_view_while_the_reader_is_there(self, chat: ChatPage, gated: Callable[..., Gate]) -> None:
        gate = gated(PARAGRAPHS)
        for _ in range(3):
            gate.let(200)
            chat.page.wait_for_function("n => document.querySelectorAll('#items .prose p').length > n", arg=_ * 8)
            chat.page.wait_for_function("() => scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < 2")
        gate.free()
        expect(chat.stop).to_be_hidden()
        expect(chat.answers.locator("p").last).to_be_in_viewport()

    def test_a_reader_who_scrolled_up_is_left_alone_until_asked(
        self, chat: ChatPage, gated: Callable[..., Gate]
    ) -> None:
        gate = gated(PARAGRAPHS)
        gate.let(400)
        expect(chat.answers.locator("p").nth(14)).to_be_attached()
        chat.page.locator("#scroller").hover()
        chat.page.mouse.wheel(0, -600)
        expect(chat.page.get_by_role("button", name="Latest")).to_be_visible()
        before = chat.page.evaluate("scroller.scrollTop")
        gate.free()
        expect(chat.stop).to_be_hidden()
        assert chat.page.evaluate("scroller.scrollTop") == before
        chat.page.get_by_role("button", name="Latest").click()
        expect(chat.page.get_by_role("button", name="Latest")).to_be_hidden()
        expect(chat.answers.locator("p").last).to_be_in_viewport()
