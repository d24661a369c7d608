"""AG-UI 1.0 events as typed structs, as messages.py has messages. An event is encoded once, when it enters the log."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from goldenpath.wire.depth import MAX_DEPTH, is_too_deep
from goldenpath.wire.messages import Content, Message, Shape, StartedInput

PROTOCOL_VERSION: Final = "1.0"


class _Event(Shape, tag_field="type", kw_only=True):
    timestamp: int | None = None
    raw_event: Any = None
    metadata: dict[str, Any] | None = None


class _Attributable(_Event, kw_only=True):
    subagent_run_id: str | None = None


class TextMessageStart(_Attributable, tag="TEXT_MESSAGE_START"):
    message_id: str
    role: Literal["developer", "system", "assistant", "user"] | None = None
    name: str | None = None


class TextMessageContent(_Attributable, tag="TEXT_MESSAGE_CONTENT"):
    message_id: str
    delta: str


class TextMessageEnd(_Attributable, tag="TEXT_MESSAGE_END"):
    message_id: str


class TextMessageChunk(_Attributable, tag="TEXT_MESSAGE_CHUNK"):
    message_id: str | None = None
    role: Literal["developer", "system", "assistant", "user"] | None = None
    delta: str | None = None
    name: str | None = None


class ToolCallStart(_Attributable, tag="TOOL_CALL_START"):
    tool_call_id: str
    tool_call_name: str
    parent_message_id: str | None = None


class ToolCallArgs(_Attributable, tag="TOOL_CALL_ARGS"):
    tool_call_id: str
    delta: str


class ToolCallEnd(_Attributable, tag="TOOL_CALL_END"):
    tool_call_id: str


class ToolCallChunk(_Attributable, tag="TOOL_CALL_CHUNK"):
    tool_call_id: str | None = None
    tool_call_name: str | None = None
    parent_message_id: str | None = None
    delta: str | None = None


class ToolCallResult(_Attributable, tag="TOOL_CALL_RESULT"):
    message_id: str
    tool_call_id: str
    content: Content
    role: Literal["tool"] | None = None


class StateSnapshot(_Attributable, tag="STATE_SNAPSHOT"):
    snapshot: Any


class StateDelta(_Attributable, tag="STATE_DELTA"):
    delta: list[dict[str, Any]]


class MessagesSnapshot(_Event, tag="MESSAGES_SNAPSHOT"):
    messages: list[Message]


class ActivitySnapshot(_Attributable, tag="ACTIVITY_SNAPSHOT"):
    message_id: str
    activity_type: str
    content: dict[str, Any]
    replace: bool | None = None


class ActivityDelta(_Attributable, tag="ACTIVITY_DELTA"):
    message_id: str
    activity_type: str
    patch: list[dict[str, Any]]


class Raw(_Attributable, tag="RAW"):
    event: Any
    source: str | None = None


class Custom(_Attributable, tag="CUSTOM"):
    name: str
    value: Any


class RunStarted(_Event, tag="RUN_STARTED"):
    thread_id: str
    run_id: str
    protocol_version: str | None = None
    parent_run_id: str | None = None
    input: StartedInput | None = None


class Interrupt(Shape):
    """A question to a person. The run ends with it; a later run answers it in `input.resume`."""

    id: str
    reason: str
    message: str | None = None
    tool_call_id: str | None = None
    response_schema: dict[str, Any] | None = None
    expires_at: str | None = None
    subagent_run_id: str | None = None
    metadata: dict[str, Any] | None = None


class SuccessOutcome(Shape, tag_field="type", tag="success"):
    pending_tool_call_ids: list[str] | None = None


class InterruptOutcome(Shape, tag_field="type", tag="interrupt"):
    interrupts: list[Interrupt]


class CancelledOutcome(Shape, tag_field="type", tag="cancelled"):
    pass


Outcome = SuccessOutcome | InterruptOutcome | CancelledOutcome


class RunFinished(_Event, tag="RUN_FINISHED"):
    thread_id: str
    run_id: str
    result: Any = None
    outcome: Outcome | None = None
    usage: list[dict[str, Any]] | None = None


class RunError(_Event, tag="RUN_ERROR"):
    message: str
    code: str | None = None
    usage: list[dict[str, Any]] | None = None


class StepStarted(_Attributable, tag="STEP_STARTED"):
    step_name: str


class StepFinished(_Attributable, tag="STEP_FINISHED"):
    step_name: str


class ReasoningStart(_Attributable, tag="REASONING_START"):
    message_id: str


class ReasoningMessageStart(_Attributable, tag="REASONING_MESSAGE_START"):
    message_id: str
    role: Literal["reasoning"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        self.role = "reasoning"


class ReasoningMessageContent(_Attributable, tag="REASONING_MESSAGE_CONTENT"):
    message_id: str
    delta: str


class ReasoningMessageEnd(_Attributable, tag="REASONING_MESSAGE_END"):
    message_id: str


class ReasoningMessageChunk(_Attributable, tag="REASONING_MESSAGE_CHUNK"):
    message_id: str | None = None
    delta: str | None = None


class ReasoningEnd(_Attributable, tag="REASONING_END"):
    message_id: str


class ReasoningEncryptedValue(_Attributable, tag="REASONING_ENCRYPTED_VALUE"):
    subtype: Literal["tool-call", "message"]
    entity_id: str
    encrypted_value: str


class SubagentStarted(_Event, tag="SUBAGENT_STARTED"):
    subagent_run_id: str
    name: str
    description: str | None = None
    parent_subagent_run_id: str | None = None
    parent_tool_call_id: str | None = None
    parent_message_id: str | None = None


class SubagentFinished(_Event, tag="SUBAGENT_FINISHED"):
    subagent_run_id: str
    result: Any = None
    outcome: dict[str, Any] | None = None


class SubagentError(_Event, tag="SUBAGENT_ERROR"):
    subagent_run_id: str
    message: str
    code: str | None = None


Event = (
    TextMessageStart
    | TextMessageContent
    | TextMessageEnd
    | TextMessageChunk
    | ToolCallStart
    | ToolCallArgs
    | ToolCallEnd
    | ToolCallChunk
    | ToolCallResult
    | StateSnapshot
    | StateDelta
    | MessagesSnapshot
    | ActivitySnapshot
    | ActivityDelta
    | Raw
    | Custom
    | RunStarted
    | RunFinished
    | RunError
    | StepStarted
    | StepFinished
    | ReasoningStart
    | ReasoningMessageStart
    | ReasoningMessageContent
    | ReasoningMessageEnd
    | ReasoningMessageChunk
    | ReasoningEnd
    | ReasoningEncryptedValue
    | SubagentStarted
    | SubagentFinished
    | SubagentError
)

TERMINAL: Final = ("RUN_FINISHED", "RUN_ERROR")

NEW_IN_1_0: Final = frozenset({"SUBAGENT_STARTED", "SUBAGENT_FINISHED", "SUBAGENT_ERROR"})
"""Types that AG-UI 0.x lacks; `POST .../run` leaves them out for a 0.x client."""

_encoder = msgspec.json.Encoder()
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

_LINE_BREAKS: Final = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


def encode(value: Any) -> bytes:
    """Any struct of AG-UI, or a string, as JSON bytes in one line, whatever a reader takes for a line break.

    JSON allows U+2028, U+2029 and U+0085 as they are, but some readers of lines split there (Python's `splitlines`),
    and would take what a stranger wrote after it for a line of ours.
    """
    data = _encoder.encode(value)
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for character, escape in _LINE_BREAKS:
            data = data.replace(character, escape)
    return data


def encode_text(text: str) -> bytes:
    """A string as `encode` writes it, faster where it is ASCII."""
    return _encoder.encode(text) if text.isascii() else encode(text)


def seal(event: Event) -> bytes:
    """`event` as the JSON that a log keeps: one line that reads back as this event.

    Raises ValueError, TypeError or RecursionError for an event that holds what its type does not allow, what is not
    JSON, or JSON nested deeper than `MAX_DEPTH`: once in a log, nobody could read it or what follows.
    """
    data = encode(event)
    again = _event_decoder.decode(data)
    if is_too_deep(data):
        raise ValueError(f"an event is nested deeper than {MAX_DEPTH}")
    # Raw JSON of the agent may hold line breaks between its tokens.
    return encode(again) if b"\n" in data else data


def decode_event(data: bytes | str) -> Event:
    """One event from JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError` (its parent)."""
    return _event_decoder.decode(data)
