"""AG-UI 1.0 messages and run input as typed structs.

Python names are snake_case, wire names camelCase. An absent optional value is left out, as AG-UI asks. Decoding
tolerates unknown fields, because AG-UI may add some; wrong types raise `msgspec.ValidationError`.
The shapes follow the AG-UI 1.0 schema (https://docs.ag-ui.com).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec


class Shape(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """The base of everything AG-UI: camelCase on the wire, defaults left out."""


class FunctionCall(Shape):
    name: str
    arguments: str


class ToolCall(Shape):
    id: str
    function: FunctionCall
    encrypted_value: str | None = None
    metadata: dict[str, Any] | None = None
    type: Literal["function"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        self.type = "function"


Content = str | list[dict[str, Any]]
"""Plain text, or AG-UI content parts (text, image, audio, video, document), kept as they came."""


class _AnyMessage(Shape, tag_field="role", kw_only=True):
    id: str
    subagent_run_id: str | None = None
    metadata: dict[str, Any] | None = None


class _Message(_AnyMessage, kw_only=True):
    encrypted_value: str | None = None


class DeveloperMessage(_Message, tag="developer"):
    content: str
    name: str | None = None


class SystemMessage(_Message, tag="system"):
    content: str
    name: str | None = None


class UserMessage(_Message, tag="user"):
    content: Content
    name: str | None = None

    @property
    def text(self) -> str:
        """The text of this message: its content, or its text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part["text"] for part in self.content if isinstance(part.get("text"), str))


class AssistantMessage(_Message, tag="assistant"):
    content: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(_Message, tag="tool"):
    tool_call_id: str
    content: Content
    error: str | None = None


class ActivityMessage(_AnyMessage, tag="activity"):
    activity_type: str
    content: dict[str, Any]


class ReasoningMessage(_Message, tag="reasoning"):
    content: str


Message = (
    DeveloperMessage | SystemMessage | UserMessage | AssistantMessage | ToolMessage | ActivityMessage | ReasoningMessage
)

# --- run input ------------------------------------------------------------------------------------------------------


class Tool(Shape):
    name: str
    description: str
    parameters: Any = None
    metadata: dict[str, Any] | None = None


class Context(Shape):
    description: str
    value: str


class ResumeEntry(Shape):
    """The answer to one interrupt of an earlier run."""

    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None
    metadata: dict[str, Any] | None = None


PROTOCOL_VERSION_PATTERN: Final = r"[01]\.[0-9]+([.+-].*)?"
"""The versions of AG-UI that are spoken: 0.x and 1.x."""


class RunAgentInput(Shape):
    """What a client sends to start a run. Over WebSocket both ids may be absent: the server then makes them."""

    thread_id: str | None = None
    run_id: str | None = None
    protocol_version: str | msgspec.UnsetType = msgspec.UNSET
    parent_run_id: str | None = None
    state: Any = None
    messages: list[Message] = []
    tools: list[Tool] | None = None
    context: list[Context] | None = None
    forwarded_props: Any = None
    resume: list[ResumeEntry] | None = None


class StartedInput(Shape):
    """The input that RUN_STARTED repeats: `messages` are those that are new in the thread."""

    thread_id: str
    run_id: str
    messages: list[Message]
    protocol_version: str | None = None
    parent_run_id: str | None = None
    state: Any = None
    tools: list[Tool] | None = None
    context: list[Context] | None = None
    forwarded_props: Any = None
    resume: list[ResumeEntry] | None = None

    def __post_init__(self) -> None:
        # AG-UI 0.x clients require these three to be present.
        if self.tools is None:
            self.tools = []
        if self.context is None:
            self.context = []


_message_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_input_decoder = msgspec.json.Decoder(RunAgentInput)


def decode_message(data: bytes | str) -> Message:
    """One message from JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError` (its parent)."""
    return _message_decoder.decode(data)


def decode_run_input(data: bytes | str) -> RunAgentInput:
    """A run's input from JSON. Raises as `decode_message` does."""
    return _input_decoder.decode(data)
