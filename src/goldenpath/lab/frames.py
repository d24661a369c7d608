"""What a target sent, in the one form that the checkers know: that of our own WebSocket (docs/protocol.md).

A format turns what came on one connection into frames. Formats of other servers fill in what their wire leaves out.
Fields stand in the order in which our server writes them: so they are decoded fastest.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec


class Outcome(msgspec.Struct, gc=False):
    """How a run finished: `success`, `interrupt`, `cancelled`."""

    type: str


class Message(msgspec.Struct, gc=False):
    """One message of a snapshot, as far as it is checked."""

    role: str = ""
    content: Any = None
    """A text, or a list of parts of which some are texts."""

    @property
    def text(self) -> str:
        return text_of(self.content)


class Input(msgspec.Struct, gc=False):
    """What a run was asked, as the target repeats it."""

    messages: list[Message] = []


class Event(msgspec.Struct, gc=False, rename="camel"):
    """An AG-UI event, as far as it is checked."""

    type: str
    message_id: str | None = None
    delta: str | list[Any] | None = None
    """A text's next piece; a list where it is a JSON patch."""
    tool_call_id: str | None = None
    step_name: str | None = None
    subagent_run_id: str | None = None
    content: str | dict[str, Any] | list[Any] | None = None
    value: Any = None
    """Of a custom event: anything."""
    messages: list[Message] | None = None
    outcome: Outcome | None = None
    code: str | None = None
    message: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    input: Input | None = None
    """Of RUN_STARTED, where the target says what it was asked."""


class ErrorBody(msgspec.Struct, gc=False):
    """Why a command was refused."""

    code: str
    message: str = ""
    definite: bool = True
    retry_after: float | None = None


class Frame(msgspec.Struct, gc=False):
    """An event (`event` is set), a reply (`re` is set) or a notice (`type` is set)."""

    thread_id: str | None = None
    run_id: str | None = None
    seq: int = 0
    """Of an event: its number, 0 where the target does not number. Of a reply: where the subscription begins."""
    event: Event | None = None
    re: int | str | None = None
    ok: bool = True
    epoch: str | None = None
    """Of a reply: it began a subscription of `thread_id` after `seq` of this epoch."""
    head: int = 0
    """Of a reply to an attach: the number of the thread's last event."""
    gap: bool = False
    error: ErrorBody | None = None
    type: str | None = None
    status: str | None = None
    cancelled: list[str] | None = None
    """Of the reply to a cancel: the runs that it ends; None where the target does not say."""


def text_of(content: Any) -> str:
    """The text of an AG-UI message's content."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class FormatError(ValueError):
    """What came is not what the format says; the message says where."""


UNREADABLE: Final = (ValueError, RecursionError)
"""What decoding raises: what is no JSON, no UTF-8 or not of the type that was asked for, a number of too many digits;
and JSON in which things lie deeper in each other than a reader goes, or whoever writes them out again."""


class Decoder(Protocol):
    """Reads one connection. May keep what is incomplete until its rest comes."""

    def asked(self, thread: str, run: str) -> None:
        """A run is asked for on this connection: for formats whose events do not say what they belong to."""
        ...

    def feed(self, payload: bytes) -> list[Frame]:
        """The frames that are complete now. Raises `FormatError`; the connection cannot be read any further then."""
        ...


class Format(Protocol):
    """How a target writes what it sends."""

    numbered: bool
    """Whether events carry a seq."""
    fills_in: bool
    """Whether it makes events that the wire does not have, which carry no seq: of others each has to."""

    def decoder(self) -> Decoder:
        """For a new connection."""
        ...

    def messages(self, body: bytes) -> list[HistoryMessage]:
        """What an answer with a thread's history says. Raises `FormatError`."""
        ...


class HistoryMessage(msgspec.Struct, frozen=True):
    """One message of a thread's history."""

    id: str
    role: str
    text: str


TERMINAL: Final = frozenset(("RUN_FINISHED", "RUN_ERROR"))
