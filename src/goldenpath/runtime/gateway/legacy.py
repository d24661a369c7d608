"""Events as an AG-UI 0.x client takes them. Only `POST /v1/agents/{agent}/run` speaks 0.x.

What differs: 0.x has no cancelled outcome (it gets RUN_ERROR with code `cancelled`), takes outcomes without any other
key, knows no subagents, and has text only where 1.0 allows content parts.
"""

from __future__ import annotations

from typing import Final

from goldenpath.wire.events import (
    NEW_IN_1_0,
    CancelledOutcome,
    MessagesSnapshot,
    RunError,
    RunFinished,
    RunStarted,
    SuccessOutcome,
    ToolCallResult,
    decode_event,
    encode,
)
from goldenpath.wire.messages import Content, Message, ToolMessage

_DIFFERENT: Final = tuple(
    b'{"type":"%b"' % name.encode()
    for name in ("RUN_STARTED", "RUN_FINISHED", "TOOL_CALL_RESULT", "MESSAGES_SNAPSHOT", *sorted(NEW_IN_1_0))
)


def to_0x(event: bytes) -> bytes | None:
    """The event for a 0.x client; None for a type that 0.x lacks. One that is the same is returned as it is."""
    if not event.startswith(_DIFFERENT):
        return event
    decoded = decode_event(event)
    match decoded:
        case RunFinished(outcome=CancelledOutcome()):
            return encode(RunError("the run was cancelled", code="cancelled"))
        case RunFinished(outcome=SuccessOutcome()):
            decoded.outcome = SuccessOutcome()
        case RunStarted(input=started) if started is not None:
            _say_in_text(started.messages)
        case MessagesSnapshot():
            _say_in_text(decoded.messages)
        case ToolCallResult():
            decoded.content = _text(decoded.content)
        case RunFinished() | RunStarted():
            return event
        case _:
            return None
    return encode(decoded)


def _say_in_text(messages: list[Message]) -> None:
    for message in messages:
        if isinstance(message, ToolMessage):
            message.content = _text(message.content)


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
