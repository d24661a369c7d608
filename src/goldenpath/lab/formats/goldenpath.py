"""Our own WebSocket: docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from goldenpath.lab.frames import UNREADABLE, FormatError, Frame, HistoryMessage, text_of

_decode_lines = msgspec.json.Decoder(Frame).decode_lines


class _Message(msgspec.Struct):
    id: str = ""
    role: str = ""
    content: Any = None


class _History(msgspec.Struct):
    messages: list[_Message]


class GoldenpathDecoder:
    """Each WebSocket message is whole: one frame a line."""

    __slots__ = ()

    def asked(self, thread: str, run: str) -> None:
        """Events say themselves what they belong to."""

    def feed(self, payload: bytes) -> list[Frame]:
        """The frames of one message. Raises `FormatError`."""
        try:
            return _decode_lines(payload)
        except UNREADABLE as error:
            raise FormatError(f"{error} in {bytes(payload[:200])!r}") from None


class GoldenpathFormat:
    """Events carry their thread, run and seq."""

    numbered = True
    fills_in = False

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options:
            raise ValueError(f"the goldenpath format has no options, but was given {', '.join(options)}")
        self._decoder = GoldenpathDecoder()

    def decoder(self) -> GoldenpathDecoder:
        """One for all connections: nothing is kept between messages."""
        return self._decoder

    def messages(self, body: bytes) -> list[HistoryMessage]:
        """The messages of GET /v1/threads/{thread_id}/messages. Raises `FormatError`."""
        try:
            history = msgspec.json.decode(body, type=_History)
        except UNREADABLE as error:
            raise FormatError(f"{error} in {body[:200]!r}") from None
        return [HistoryMessage(each.id, each.role, text_of(each.content)) for each in history.messages]
