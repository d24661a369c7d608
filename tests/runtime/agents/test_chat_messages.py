"""A thread's history as a model provider takes it."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpath.runtime.agents.chat_messages import NO_RESULT, chat_messages
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import (
    ActivityMessage,
    AssistantMessage,
    Context,
    DeveloperMessage,
    FunctionCall,
    Message,
    ReasoningMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)


def call(identity: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id=identity, function=FunctionCall(name="f", arguments=arguments))


def sent(identity: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": "f", "arguments": arguments}}


def result(identity: str, content: str) -> ToolMessage:
    return ToolMessage(id=f"m-{identity}", tool_call_id=identity, content=content)


def user(*parts: dict[str, Any]) -> UserMessage:
    return UserMessage(id="u", content=list(parts))


def test_roles_and_texts_keep_their_order() -> None:
    history: list[Message] = [
        SystemMessage(id="1", content="be brief"),
        UserMessage(id="2", content="hi"),
        AssistantMessage(id="3", content="hello"),
        DeveloperMessage(id="4", content="be kind"),
        UserMessage(id="5", content="bye"),
    ]
    assert chat_messages(history) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "bye"},
    ]


def test_the_system_prompt_and_the_applications_context_come_first() -> None:
    context = [Context(description="time zone", value="UTC"), Context(description="page", value="/cart")]
    assert chat_messages([UserMessage(id="1", content="hi")], system_prompt="be brief", context=context) == [
        {"role": "system", "content": "be brief"},
        {"role": "system", "content": "Context from the application:\ntime zone: UTC\npage: /cart"},
        {"role": "user", "content": "hi"},
    ]


def test_reasoning_activities_and_empty_answers_are_left_out() -> None:
    history: list[Message] = [
        ReasoningMessage(id="1", content="hmm"),
        ActivityMessage(id="2", activity_type="plan", content={}),
        AssistantMessage(id="3", content=""),
        AssistantMessage(id="4"),
    ]
    assert chat_messages(history) == []


def test_results_follow_their_calls_at_once_wherever_they_lie() -> None:
    history: list[Message] = [
        AssistantMessage(id="1", content="let me see", tool_calls=[call("a"), call("b")]),
        result("b", "two"),
        UserMessage(id="2", content="well?"),
        result("a", "one"),
    ]
    assert chat_messages(history) == [
        {"role": "assistant", "content": "let me see", "tool_calls": [sent("a"), sent("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
        {"role": "user", "content": "well?"},
    ]


def test_a_call_without_an_answer_gets_one_that_says_so() -> None:
    history = [AssistantMessage(id="1", tool_calls=[call("a")])]
    assert chat_messages(history) == [
        {"role": "assistant", "content": None, "tool_calls": [sent("a")]},
        {"role": "tool", "tool_call_id": "a", "content": NO_RESULT},
    ]


def test_a_result_without_its_call_is_left_out() -> None:
    assert chat_messages([result("a", "one")]) == []


def test_arguments_that_were_cut_short_become_an_empty_object() -> None:
    history = [AssistantMessage(id="1", tool_calls=[call("a", '{"city":"Par')])]
    assert chat_messages(history)[0]["tool_calls"] == [sent("a", "{}")]


def test_a_result_in_parts_gives_its_text_and_an_empty_one_its_error() -> None:
    history: list[Message] = [
        AssistantMessage(id="1", tool_calls=[call("a"), call("b")]),
        ToolMessage(id="2", tool_call_id="a", content=[{"type": "text", "text": "x"}, {"type": "image"}]),
        ToolMessage(id="3", tool_call_id="b", content="", error="no such city"),
    ]
    assert [message["content"] for message in chat_messages(history)[1:]] == ["x", "no such city"]


@pytest.mark.parametrize(
    ("part", "converted"),
    [
        ({"type": "text", "text": "see:"}, {"type": "text", "text": "see:"}),
        (
            {"type": "image", "source": {"type": "url", "value": "https://example.org/cat.png"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        ),
        (
            {"type": "image", "source": {"type": "data", "value": "iVBO", "mimeType": "image/png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        ),
        (
            {"type": "binary", "mimeType": "image/jpeg", "data": "/9j/"},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}},
        ),
        (
            {"type": "binary", "mimeType": "image/jpeg", "url": "https://example.org/a.jpg"},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg"}},
        ),
        (
            {"type": "audio", "source": {"type": "data", "value": "UklG", "mimeType": "audio/wav"}},
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        ),
    ],
)
def test_content_parts_are_converted(part: dict[str, Any], converted: dict[str, Any]) -> None:
    assert chat_messages([user(part)]) == [{"role": "user", "content": [converted]}]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video", "source": {"type": "url", "value": "https://example.org/a.mp4"}},
        {"type": "image", "source": {"type": "file", "value": "file-1"}},
        {"type": "audio", "source": {"type": "data", "value": "x", "mimeType": "audio/ogg"}},
        {"type": "image"},
        {"type": "text"},
        {},
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_in_the_newest_message_and_left_out_of_older_ones(
    part: dict[str, Any],
) -> None:
    text = {"type": "text", "text": "what is this?"}
    with pytest.raises(RequestError) as caught:
        chat_messages([user(text, part)])
    assert caught.value.code == "bad_request"
    history: list[Message] = [user(text, part), UserMessage(id="v", content="and now?")]
    assert chat_messages(history)[0] == {"role": "user", "content": [text]}
