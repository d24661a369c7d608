from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from goldenpath.runtime.gateway.legacy import to_0x
from goldenpath.wire import events as ev
from goldenpath.wire.events import NEW_IN_1_0, decode_event, encode
from goldenpath.wire.messages import Message, StartedInput, ToolMessage, UserMessage
from tests.wire.streams import EVENTS

PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "a"},
    {"type": "image", "source": {}},
    {"type": "text", "text": "b"},
]


def translated(event: ev.Event) -> ev.Event | None:
    found = to_0x(encode(event))
    return None if found is None else decode_event(found)


def test_a_cancelled_run_is_an_error() -> None:
    assert translated(ev.RunFinished("t", "r", outcome=ev.CancelledOutcome())) == ev.RunError(
        "the run was cancelled", code="cancelled"
    )


def test_a_successful_outcome_has_no_other_key() -> None:
    event = ev.RunFinished("t", "r", result=[1], outcome=ev.SuccessOutcome(pending_tool_call_ids=["c1"]))
    assert translated(event) == ev.RunFinished("t", "r", result=[1], outcome=ev.SuccessOutcome())


@pytest.mark.parametrize(
    "event",
    [
        ev.RunFinished("t", "r", outcome=ev.InterruptOutcome([ev.Interrupt("i", "confirm")])),
        ev.RunFinished("t", "r", result=1),
        ev.RunError("failed", code="agent_error"),
        ev.RunStarted("t", "r"),
        ev.TextMessageContent("m", "x"),
        ev.Custom("n", {"type": "SUBAGENT_STARTED"}),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_0x_knows_passes_as_it_is(event: ev.Event) -> None:
    data = encode(event)
    assert to_0x(data) is data


@pytest.mark.parametrize(
    "event",
    [ev.SubagentStarted("s", "n"), ev.SubagentFinished("s"), ev.SubagentError("s", "m")],
    ids=lambda event: type(event).__name__,
)
def test_what_0x_lacks_is_left_out(event: ev.Event) -> None:
    assert translated(event) is None


def test_every_type_that_is_new_is_left_out() -> None:
    for name in NEW_IN_1_0:
        (kind,) = [kind for kind in ev.Event.__args__ if kind.__struct_config__.tag == name]
        values = {field.name: "x" for field in msgspec.structs.fields(kind) if field.required}
        assert translated(kind(**values)) is None


def test_a_tool_says_its_result_in_text() -> None:
    assert translated(ev.ToolCallResult("m", "c", PARTS)) == ev.ToolCallResult("m", "c", "ab")
    assert translated(ev.ToolCallResult("m", "c", "plain")) == ev.ToolCallResult("m", "c", "plain")


def test_the_messages_of_a_run_and_of_a_snapshot_have_tool_results_in_text() -> None:
    messages: list[Message] = [
        UserMessage(PARTS, id="u"),
        ToolMessage(id="m", tool_call_id="c", content=PARTS, error="e"),
    ]
    expected = [messages[0], ToolMessage(id="m", tool_call_id="c", content="ab", error="e")]
    started = ev.RunStarted("t", "r", input=StartedInput(thread_id="t", run_id="r", messages=messages, state={"a": 1}))
    found = translated(started)
    assert isinstance(found, ev.RunStarted)
    assert found.input is not None
    assert (found.input.messages, found.input.state) == (expected, {"a": 1})
    assert translated(ev.MessagesSnapshot(messages)) == ev.MessagesSnapshot(expected)


@given(EVENTS)
def test_whatever_comes_out_0x_can_hold(event: ev.Event) -> None:
    found = to_0x(encode(event))
    if found is None:
        assert event.__struct_config__.tag in NEW_IN_1_0
        return
    decoded = decode_event(found)
    tools: list[Any] = []
    match decoded:
        case ev.RunFinished(outcome=outcome):
            assert not isinstance(outcome, ev.CancelledOutcome)
        case ev.ToolCallResult(content=content):
            assert isinstance(content, str)
        case ev.MessagesSnapshot(messages=messages):
            tools = [message for message in messages if isinstance(message, ToolMessage)]
        case ev.RunStarted(input=given) if given is not None:
            tools = [message for message in given.messages if isinstance(message, ToolMessage)]
    assert all(isinstance(message.content, str) for message in tools)
