"""The server's frames as the client reads them: one shape for all, because a field's presence tells them apart."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from goldenpath.wire import events as ev
from goldenpath.wire.commands import CommandId, Limits
from goldenpath.wire.errors import ErrorBody

NO_EVENT: Final = msgspec.Raw(b"")


class ServerFrame(msgspec.Struct, gc=False):
    """One line from the server. An event's frame has `event`, a reply `re`, the others `type`."""

    thread_id: str = ""
    run_id: str | None = None
    seq: int = -1
    event: msgspec.Raw = NO_EVENT
    type: str | None = None
    re: CommandId | None = None
    ok: bool | None = None
    error: ErrorBody | None = None
    status: str = ""
    epoch: str = ""
    head: int = -1
    gap: bool = False
    cancelled: list[str] | None = None
    expires_in: float = 0.0
    time: str = ""
    reason: str = ""
    user_id: str = ""
    connection_id: str = ""
    protocol: int = 0
    heartbeat: float = 25.0
    limits: Limits | None = None


_decoder: Final = msgspec.json.Decoder(ServerFrame)
_values: Final = msgspec.json.Decoder(Any)


def decode_frame(line: bytes) -> ServerFrame:
    """One frame from one line. Raises `msgspec.DecodeError`."""
    return _decoder.decode(line)


def decode_event(raw: msgspec.Raw) -> ev.Event:
    """The event of a frame. One of a type or shape that this version does not know comes as `Raw` with
    `source` "unknown", so that a newer server breaks no client."""
    try:
        return ev.decode_event(raw)
    except msgspec.ValidationError:
        return ev.Raw(event=_values.decode(raw), source="unknown")
