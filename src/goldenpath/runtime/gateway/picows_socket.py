"""The WebSocket of `goldenpath serve`: a connection that http_protocol.py hands over, framed by picows.

picows frames about twice as fast as the ASGI path and needs half the memory for a connection (docs/design/0002). What
depends on its version, which is pinned: `WSProtocol`, the server side's protocol class, is not exported and its
constructor is private; its factory is synchronous, so the token is checked before the hand-over; it delivers frames, so
messages are put together here; it wants a TCP socket.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from goldenpath.runtime.gateway.ws_transport import HIGH_WATER, WsConnection
from goldenpath.wire.errors import TOO_BIG

COPIED_BYTES: Final = 4096
"""Messages up to this size picows copies before it sends them."""
CLOSE_TIMEOUT: Final = 5.0
"""How long a peer has to answer a close frame, in seconds."""
READ_BUFFER: Final = 2048
READ_BYTES: Final = 16 * 1024
"""How much is read from one connection before others have their turn."""
IDLE_FRAMES: Final = 256
"""With more pings, pongs and fragments in one read it is a flood, of which nothing is read for a while."""
REST: Final = 0.1
"""For how long, in seconds."""
PROTOCOL_ERROR: Final = 1002


class PicowsLogs(logging.LoggerAdapter[logging.Logger]):
    """picows makes a child logger for every connection of a `Logger`; an adapter it takes as it is.

    What a client does wrong is no fault of the server: no client shall fill its log.
    """

    _THEIRS = ("WS parser error", "Protocol writing")

    def log(self, level: int, msg: object, *args: Any, **options: Any) -> None:
        theirs = isinstance(msg, str) and msg.startswith(self._THEIRS)
        super().log(logging.DEBUG if theirs else level, msg, *args, **options)


class PicowsSocket(WSListener):
    """`WsTransport` over picows, and the listener that puts its frames together."""

    __slots__ = (
        "_closed",
        "_closing",
        "_idle_frames",
        "_parts",
        "_parts_binary",
        "_paused",
        "_pong",
        "_resting",
        "_timer",
        "_transport",
        "_underlying",
        "connection",
        "max_message_bytes",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        self._transport: WSTransport
        self._underlying: asyncio.Transport
        self._parts: bytearray | None = None
        """The message so far, while one comes in fragments."""
        self._parts_binary = False
        self._pong: bytes | None = None
        """What the latest ping wants to hear."""
        self._paused = False
        """Whether the connection wants to hear nothing for now."""
        self._idle_frames = 0
        """How many frames of a read said nothing."""
        self._resting = False
        """Whether others have their turn."""
        self._closing = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.connection: WsConnection

    # --- WsTransport --------------------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        if self._closing:
            return
        size = len(message)
        if size <= COPIED_BYTES:
            self._transport.send(WSMsgType.TEXT, message)
            return
        # picows gives the event loop a view of its own buffer for the header of a larger message, and overwrites that
        # buffer with the next one: what a slow socket had not taken yet would reach the client as garbage.
        short = size < 1 << 16
        header = b"\x81\x7e" + size.to_bytes(2, "big") if short else b"\x81\x7f" + size.to_bytes(8, "big")
        self._underlying.write(header + message)

    def ping(self) -> None:
        if not self._closing:
            self._transport.send_ping()

    def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        self._transport.send_close(code, reason.encode()[:120])  # type: ignore[arg-type]
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        self._closing = True
        if not self._closed:
            self._transport.disconnect(graceful=False)

    @property
    def buffered(self) -> int:
        return 0 if self._closed else self._underlying.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._paused = True
        if not self._closed:
            self._underlying.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if not (self._resting or self._closed):
            self._underlying.resume_reading()

    # --- WSListener ---------------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._underlying = transport.underlying_transport
        # Below `HIGH_WATER`, so that whoever waits because of it is told.
        self._underlying.set_write_buffer_limits(high=HIGH_WATER // 2)
        self.connection.open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - picows' signature
        kind = frame.msg_type
        if self._pong is not None and kind not in (WSMsgType.PING, WSMsgType.PONG):
            self._answer_ping()
        if self._closing and kind != WSMsgType.CLOSE:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail("reserved bits are set")
        elif kind == WSMsgType.TEXT or kind == WSMsgType.BINARY:  # noqa: PLR1714 - a set would be slower here
            if self._parts is not None:
                self._fail("a new message inside another one")
            elif frame.fin:
                self.connection.on_message(frame.get_payload_as_bytes(), binary=kind == WSMsgType.BINARY)
            else:
                self._parts = bytearray(frame.get_payload_as_bytes())
                self._parts_binary = kind == WSMsgType.BINARY
        elif kind == WSMsgType.CONTINUATION:
            self._continue(frame)
        elif kind == WSMsgType.PING:
            self._pong = frame.get_payload_as_bytes()
            self._heard()
        elif kind == WSMsgType.PONG:
            self._heard()
        elif kind == WSMsgType.CLOSE:
            if not self._closing:
                self._closing = True
                self._transport.send_close(frame.get_close_code(), frame.get_close_message())
                # The peer may never read what is still to be sent.
                self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)
            self._transport.disconnect()

    def _continue(self, frame: WSFrame) -> None:
        if self._parts is None:
            self._fail("a continuation of nothing")
            return
        if len(self._parts) + frame.payload_size > self.max_message_bytes:
            self._parts = None
            self.connection.end(TOO_BIG, "the message is too big")
            return
        self._parts += frame.get_payload_as_bytes()
        if frame.fin:
            message, self._parts = bytes(self._parts), None
            self.connection.on_message(message, binary=self._parts_binary)
        else:
            self._heard()

    def on_read(self, *, more: bool) -> None:
        """All frames that a read brought were delivered; `more`: there may be more to read."""
        self._answer_ping()
        flooded, self._idle_frames = self._idle_frames > IDLE_FRAMES, 0
        if (more or flooded) and not (self._paused or self._closed):
            # The event loop would read on for as long as there is something.
            self._underlying.pause_reading()
            self._resting = True
            asyncio.get_running_loop().call_later(REST if flooded else 0, self._read_on)

    def _heard(self) -> None:
        """A frame came that only says that the client is there, or goes on."""
        self._idle_frames += 1
        self.connection.on_heard()

    def _answer_ping(self) -> None:
        """One pong for all pings that came together. Who does not read gets none: they would fill our memory."""
        if self._pong is not None and not self._closing and self.buffered < HIGH_WATER:
            self._transport.send_pong(self._pong)
        self._pong = None

    def _read_on(self) -> None:
        self._resting = False
        if not (self._paused or self._closed):
            self._underlying.resume_reading()

    def _fail(self, reason: str) -> None:
        self.connection.end(PROTOCOL_ERROR, reason)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self._closed = self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self.connection.on_closed()
        # Everything here refers to everything else: let go, so that it need not wait for the garbage collector.
        del self.connection, self._transport, self._underlying

    def pause_writing(self) -> None:
        """The connection asks `buffered` before it sends."""

    def resume_writing(self) -> None:
        if not self._closing:
            self.connection.on_drained()


class BoundedProtocol(WSProtocol):  # type: ignore[misc] # picows does not type it
    """picows' protocol, with a bound on what one read takes in.

    Alone it doubles its buffer whenever a read fills it: from a client that sends as fast as it can it would take in,
    and answer, megabytes in one turn.
    """

    socket: PicowsSocket
    _room = 0

    def get_buffer(self, size_hint: int) -> memoryview:
        room: memoryview = super().get_buffer(size_hint)[:READ_BYTES]
        self._room = len(room)
        return room

    def buffer_updated(self, count: int) -> None:
        super().buffer_updated(count)
        self.socket.on_read(more=count == self._room)


def hand_over(
    transport: asyncio.Transport,
    socket: PicowsSocket,
    key: bytes,
    subprotocol: str | None,
    early: bytes,
    logs: PicowsLogs,
) -> None:
    """Give a connection whose upgrade was accepted to picows, which answers it. `early`: what came after it."""

    def factory(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        extra = {"Sec-WebSocket-Protocol": subprotocol} if subprotocol else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), socket)

    protocol = BoundedProtocol(
        None, None, False, factory, logs, True, None, False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE, False,
        socket.max_message_bytes, None, READ_BUFFER,
    )  # fmt: skip
    # What picows needs of the upgrade, in the form it understands: it refuses Firefox's "keep-alive, Upgrade".
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: goldenpath\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )
    protocol.socket = socket
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    _feed(protocol, upgrade + early)


def _feed(protocol: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        room = protocol.get_buffer(len(view))
        count = min(len(room), len(view))
        room[:count] = view[:count]
        protocol.buffer_updated(count)
        view = view[count:]
