from __future__ import annotations

import json
from typing import Any, get_args

import ag_ui.core as reference
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from goldenpath.wire import events as ev
from goldenpath.wire.messages import (
    AssistantMessage,
    Context,
    FunctionCall,
    Message,
    ResumeEntry,
    RunAgentInput,
    StartedInput,
    Tool,
    ToolCall,
    UserMessage,
    decode_message,
)
from tests.wire.instances import instances

EVENTS: list[type[msgspec.Struct]] = list(get_args(ev.Event))
MESSAGES: list[type[msgspec.Struct]] = list(get_args(Message))
PARTS: list[type[msgspec.Struct]] = [
    FunctionCall,
    ToolCall,
    Tool,
    Context,
    ResumeEntry,
    RunAgentInput,
    ev.Interrupt,
]
COUNTERPARTS: dict[type[msgspec.Struct], type[BaseModel]] = {
    **{kind: getattr(reference, f"{kind.__name__}Event") for kind in EVENTS},
    **{kind: getattr(reference, kind.__name__) for kind in MESSAGES + PARTS},
    StartedInput: reference.RunAgentInput,
    ev.SuccessOutcome: reference.RunFinishedSuccessOutcome,
    ev.InterruptOutcome: reference.RunFinishedInterruptOutcome,
    ev.CancelledOutcome: reference.RunFinishedCancelledOutcome,
}
# Over WebSocket the server makes these where they are absent; AG-UI itself requires them.
MADE_BY_THE_SERVER = {(RunAgentInput, name) for name in ("threadId", "runId", "messages")}
event_adapter: TypeAdapter[Any] = TypeAdapter(reference.Event)


def test_every_event_type_of_ag_ui_is_here_and_no_other() -> None:
    assert {kind.__struct_config__.tag for kind in EVENTS} == {member.value for member in reference.EventType}


def test_the_version_is_that_of_the_reference() -> None:
    assert reference.PROTOCOL_VERSION == ev.PROTOCOL_VERSION


@pytest.mark.parametrize(("ours", "theirs"), COUNTERPARTS.items(), ids=lambda kind: kind.__name__)
def test_it_has_the_fields_of_its_counterpart_required_where_those_are(
    ours: type[msgspec.Struct], theirs: type[BaseModel]
) -> None:
    tag = ours.__struct_config__.tag_field
    mine = {field.encode_name: field.required for field in msgspec.structs.fields(ours)}
    expected = {
        field.alias or name: field.is_required()
        for name, field in theirs.model_fields.items()
        if (field.alias or name) != tag
    }
    for kind, name in MADE_BY_THE_SERVER:
        if kind is ours:
            expected[name] = False
    assert mine == expected


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_an_event_reads_back_and_is_valid_ag_ui(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    event = data.draw(instances(kind))
    encoded = ev.encode(event)
    assert b"\n" not in encoded
    assert ev.decode_event(encoded) == event
    theirs = event_adapter.validate_json(encoded)
    assert isinstance(theirs, COUNTERPARTS[kind])
    repeated = json.loads(theirs.model_dump_json(by_alias=True, exclude_unset=True))
    assert repeated == json.loads(encoded)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_a_message_reads_back_and_is_valid_ag_ui(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    message = data.draw(instances(kind))
    encoded = ev.encode(message)
    assert decode_message(encoded) == message
    COUNTERPARTS[kind].model_validate_json(encoded)


@settings(max_examples=50)
@given(instances(RunAgentInput))
def test_a_run_input_of_the_reference_is_understood(value: RunAgentInput) -> None:
    plain = {"messages": [], **json.loads(ev.encode(value)), "threadId": "t", "runId": "r"}
    theirs = reference.RunAgentInput.model_validate(plain)
    # As Python clients of AG-UI send it: nulls where nothing is set.
    ours = msgspec.json.decode(theirs.model_dump_json(by_alias=True), type=RunAgentInput)
    assert ours == msgspec.structs.replace(value, thread_id="t", run_id="r")


def test_unknown_fields_are_tolerated() -> None:
    event = ev.decode_event(b'{"type":"TEXT_MESSAGE_END","messageId":"m","invented":[1]}')
    assert event == ev.TextMessageEnd(message_id="m")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"INVENTED"}',
        '{"messageId":"m"}',
        '{"type":"TEXT_MESSAGE_CONTENT","messageId":"m"}',
        '{"type":"TEXT_MESSAGE_CONTENT","messageId":1,"delta":""}',
        '{"type":"TEXT_MESSAGE_START","messageId":"m","role":"tool"}',
        "[]",
    ],
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        ev.decode_event(text)


def test_an_absent_value_is_left_out_and_an_empty_one_is_not() -> None:
    assert ev.encode(AssistantMessage(id="m", content="")) == b'{"role":"assistant","content":"","id":"m"}'
    assert ev.encode(AssistantMessage(id="m")) == b'{"role":"assistant","id":"m"}'


def test_the_started_input_has_the_lists_that_older_clients_require() -> None:
    started = json.loads(ev.encode(StartedInput(thread_id="t", run_id="r", messages=[])))
    assert started == {"threadId": "t", "runId": "r", "messages": [], "tools": [], "context": []}


def test_the_text_of_a_user_message_is_its_text_parts_joined() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {}},
        {"type": "text", "text": "b"},
    ]
    assert UserMessage(id="m", content=parts).text == "ab"
    assert UserMessage(id="m", content="plain").text == "plain"


def test_the_types_that_older_clients_lack_are_marked() -> None:
    tags = {kind.__struct_config__.tag for kind in EVENTS}
    assert tags > ev.NEW_IN_1_0 == {tag for tag in tags if str(tag).startswith("SUBAGENT_")}
    assert set(ev.TERMINAL) <= tags
