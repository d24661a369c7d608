"""A run that asks a person: the question, the controls to answer it, and what becomes of the answer."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Locator, expect

from tests.browser.chat_page import ChatPage

YES_OR_NO = {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]}
BOOKING = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer", "title": "How many seats?"},
        "where": {"enum": ["window", "aisle"]},
        "note": {"type": "string", "description": "Anything else"},
    },
    "required": ["seats", "where"],
}
ECHO = [{"do": "echo", "what": "answers"}]


def ask(chat: ChatPage, message: str, schema: dict[str, Any] | None = None) -> Locator:
    """Have the agent ask, and then say what it was answered."""
    question: dict[str, Any] = {"do": "interrupt", "reason": "approval", "message": message}
    if schema is not None:
        question["response_schema"] = schema
    chat.script(question, then=ECHO)
    shown = chat.page.locator("#items .question")
    expect(shown).to_contain_text(message)
    return shown


def answered(chat: ChatPage) -> Any:
    """The answers as the agent got them."""
    expect(chat.answers.last).to_contain_text("[")
    expect(chat.stop).to_be_hidden()
    return json.loads(chat.answers.last.text_content() or "")


def test_a_question_of_yes_or_no_has_two_buttons(chat: ChatPage) -> None:
    question = ask(chat, "Shall I book it?", YES_OR_NO)
    question.get_by_role("button", name="Yes").click()
    [answer] = answered(chat)
    assert answer["status"] == "resolved"
    assert answer["payload"] == {"approved": True}
    expect(question).to_have_text("Shall I book it? Yes")
    expect(chat.text).to_be_focused()


def test_a_question_can_be_declined(chat: ChatPage) -> None:
    ask(chat, "Shall I book it?", YES_OR_NO).get_by_role("button", name="Do not answer").click()
    assert [answer["status"] for answer in answered(chat)] == ["cancelled"]


def test_a_question_without_a_schema_takes_a_text(chat: ChatPage) -> None:
    question = ask(chat, "Where to?")
    question.get_by_role("button", name="Answer", exact=True).click()
    expect(question.get_by_role("alert")).to_have_text("Answer: please fill this in.")
    question.get_by_label("Answer").fill("To the lake")
    question.get_by_role("button", name="Answer", exact=True).click()
    assert [answer["payload"] for answer in answered(chat)] == ["To the lake"]


def test_a_question_with_fields_is_a_form(chat: ChatPage) -> None:
    question = ask(chat, "Which seats?", BOOKING)
    question.get_by_label("How many seats?").fill("2")
    question.get_by_label("Where").select_option("aisle")
    expect(question.get_by_label("Note")).to_have_accessible_description("Anything else")
    question.get_by_role("button", name="Answer", exact=True).click()
    assert [answer["payload"] for answer in answered(chat)] == [{"seats": 2, "where": "aisle"}]


def test_a_question_is_still_there_after_a_reload_and_in_another_tab(chat: ChatPage) -> None:
    ask(chat, "Shall I book it?", YES_OR_NO)
    other = chat.tab()
    chat.page.reload()
    chat.page.get_by_role("button", name="No", exact=True).click()
    assert [answer["payload"] for answer in answered(chat)] == [{"approved": False}]
    expect(other.page.locator("#items .question")).to_have_text("Shall I book it? No")


def test_a_question_is_answered_by_the_agent_that_asked_whatever_is_chosen_now(chat: ChatPage) -> None:
    question = ask(chat, "Shall I book it?", YES_OR_NO)
    chat.page.get_by_label("Agent", exact=True).select_option("echo")
    question.get_by_role("button", name="Yes").click()
    assert [answer["payload"] for answer in answered(chat)] == [{"approved": True}]


def test_writing_something_else_passes_the_question_over(chat: ChatPage) -> None:
    question = ask(chat, "Shall I book it?", YES_OR_NO)
    chat.say("never mind")
    chat.expect_answer("never mind")
    expect(question).to_contain_text("Not answered.")
    expect(question.get_by_role("button")).to_have_count(0)


def call(chat: ChatPage) -> Locator:
    """Have the agent leave a tool call to the client, and then say what it was answered."""
    chat.script(
        {"do": "tool", "name": "pick_colour", "args": {"of": "paint"}, "pending": True},
        then=[{"do": "echo", "what": "answers"}],
    )
    shown = chat.page.locator("#items .question")
    expect(shown).to_contain_text("What is the result of pick_colour?")
    return shown


def test_a_tool_call_that_is_left_to_the_client_takes_a_result(chat: ChatPage) -> None:
    question = call(chat)
    expect(chat.stop).to_be_hidden()
    chat.page.reload()
    question.get_by_role("button", name="Answer", exact=True).click()
    expect(question.get_by_role("alert")).to_have_text("Result: please fill this in.")
    question.get_by_label("Result").fill("a light blue")
    question.get_by_role("button", name="Answer", exact=True).click()
    [answer] = answered(chat)
    assert answer["content"] == "a light blue"
    said = "What is the result of pick_colour? a light blue"
    expect(question).to_have_text(said)
    expect(chat.page.locator("#items [data-kind=tool]")).to_contain_text("done")
    chat.say("and on it goes")
    chat.expect_answer("and on it goes")
    chat.page.reload()
    expect(question).to_have_text(said)
    chat.expect_answer("and on it goes")


def test_a_tool_call_can_be_declined_or_passed_over(chat: ChatPage) -> None:
    question = call(chat)
    question.get_by_role("button", name="Do not answer").click()
    [answer] = answered(chat)
    assert answer["content"] == "The user did not want to answer."
    expect(question).to_contain_text("You did not want to answer.")
    expect(chat.page.locator("#items [data-kind=tool]")).to_contain_text("failed")
    chat.new_conversation()
    question = call(chat)
    chat.say("never mind")
    chat.expect_answer("never mind")
    expect(question).to_contain_text("Not answered.")
    chat.page.reload()
    expect(question).to_contain_text("Not answered.")
