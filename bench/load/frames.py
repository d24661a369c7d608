"""What a server sends, decoded just far enough to check all of it. One C call decodes a whole WebSocket message."""

from __future__ import annotations

import msgspec


class Outcome(msgspec.Struct, gc=False):
    type: str


class Event(msgspec.Struct, gc=False):
    """The fields of an AG-UI event that the check needs."""

    type: str
    delta: str | None = None
    content: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    outcome: Outcome | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, gc=False):
    code: str
    retry_after: float | None = None


class Frame(msgspec.Struct, gc=False):
    """An event (`event` is set), a reply to a command (`re` is set), or a notice (`type` is set)."""

    event: Event | None = None
    seq: int = 0
    thread_id: str | None = None
    run_id: str | None = None
    re: int | None = None
    ok: bool = True
    epoch: str | None = None
    head: int = 0
    gap: bool = False
    error: ErrorBody | None = None
    type: str | None = None
    status: str | None = None


decode_lines = msgspec.json.Decoder(Frame).decode_lines
