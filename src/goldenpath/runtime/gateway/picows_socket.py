"""The WebSocket of `goldenpath serve`: uvicorn reads the HTTP upgrade, then hands the socket to picows.

picows frames about twice as fast as the ASGI path and needs half the memory for a connection (docs/design/0002). What
depends on its version, which is pinned: `WSProtocol`, the server side's protocol class, is not exported and its
constructor is private; its factory is synchronous, so the token is checked before the hand-over; it delivers frames, so
messages are put together here; it wants a TCP socket.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import TYPE_CHECKING, Any, Final

import httptools
import msgspec
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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from goldenpath.runtime.gateway.connection import Connection
from goldenpath.runtime.gateway.handshake import Handshake, read_handshake
from goldenpath.wire.errors import TOO_BIG, TOO_MANY_CONNECTIONS, Problem, RequestError

if TYPE_CHECKING:
    from goldenpath.runtime.context import Principal
    from goldenpath.runtime.gateway.gateway import Gateway

PATH: Final = b"/v1/ws"
CLOSE_TIMEOUT: Final = 5.0
"""How long a peer has to answer a close frame, in seconds."""
READ_BUFFER: Final = 2048
EARLY_BYTES: Final = 64 * 1024
"""How much a client may send before its upgrade was answered."""
MAX_HEAD: Final = 64 * 1024
"""How many bytes a request's line and headers may have."""
PROTOCOL_ERROR: Final = 1002

_STATUS_LINES: Final = {400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """picows makes a child logger for every connection of a `Logger`; an adapter it takes as it is.

    What a client does wrong is no fault of the server: no client shall fill its log.
    """

    _THEIRS = ("WS parser error", "Protocol writing")

    def log(self, level: int, msg: object, *args: Any, **options: Any) -> None:
        theirs = isinstance(msg, str) and msg.startswith(self._THEIRS)
        super().log(logging.DEBUG if theirs else level, msg, *args, **options)


class PicowsSocket(WSListener):
    """`WsTransport` over picows, and the listener that puts its frames together."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max = max_message_bytes
        self._transport: WSTransport
        self._underlying: asyncio.Transport
        self._parts: bytearray | None = None
        """The message so far, while one comes in fragments."""
        self._parts_binary = False
        self._closing = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.connection: Connection
        self.full = False
        """The user has no connection left: greet with a close."""

    # --- WsTransport --------------------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        if not self._closing:
            self._transport.send(WSMsgType.TEXT, message)

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
        if not self._closed:
            self._underlying.pause_reading()

    def resume_reading(self) -> None:
        if not self._closed:
            self._underlying.resume_reading()

    # --- WSListener ---------------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._underlying = transport.underlying_transport
        if self.full:
            self.close(TOO_MANY_CONNECTIONS, "too many connections")
        else:
            self.connection.open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - picows' signature
        kind = frame.msg_type
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
            self._transport.send_pong(frame.get_payload_as_bytes())
            self.connection.on_heard()
        elif kind == WSMsgType.PONG:
            self.connection.on_heard()
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
        if len(self._parts) + frame.payload_size > self._max:
            self._parts = None
            self.connection.end(TOO_BIG, "the message is too big")
            return
        self._parts += frame.get_payload_as_bytes()
        if frame.fin:
            message, self._parts = bytes(self._parts), None
            self.connection.on_message(message, binary=self._parts_binary)
        else:
            self.connection.on_heard()

    def _fail(self, reason: str) -> None:
        self.connection.end(PROTOCOL_ERROR, reason)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self._closed = self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.full:
            self.connection.on_closed()

    def pause_writing(self) -> None:
        """The connection asks `buffered` before it sends."""

    def resume_writing(self) -> None:
        if not self._closing:
            self.connection.on_drained()


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands `/v1/ws` to picows. Use `protocol_class` to bind it to a gateway.

    It bounds what uvicorn leaves open: how long a request's head may be, and how long it may take to come. A client
    that is silent for two heartbeats in the middle of one is dropped, as a silent WebSocket is.
    """

    gateway: Gateway
    _quiet: _Quiet

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._early: bytearray | None = None
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs while a head is awaited."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_size += len(name) + len(value)

    def on_headers_complete(self) -> None:
        self._head_is_over()
        if self._head_size + len(self.url) > MAX_HEAD:
            raise ValueError("the head is too long")  # which the parser turns into an error of its own
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_size = 0
        if self._head_timer is None:
            patience = 2 * self.gateway.settings.heartbeat
            self._head_timer = self.loop.call_later(patience, self.transport.abort)

    def _head_is_over(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            # The client may speak before we answered its upgrade; not much, though.
            self._early += data
            if len(self._early) > EARLY_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        head = self._head_timer
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._begin_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._answer(RequestError("bad_request", "this is not HTTP, or its head is too long"))
        else:
            if head is not None and head is self._head_timer:  # all of it was a part of one head
                self._head_size += len(data)
                if self._head_size > MAX_HEAD:
                    self._answer(RequestError("bad_request", "the request's head is too long"))

    def _begin_upgrade(self, early: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # An earlier request on this connection is being answered, and would go on into the WebSocket.
            self.transport.abort()
            return
        self._early = bytearray(early)
        self.connections.discard(self)
        self.gateway.spawn(self._upgrade())

    async def _upgrade(self) -> None:
        """Check everything, then hand over."""
        gateway = self.gateway
        try:
            path = self.url.partition(b"?")[0]
            if path != PATH:
                raise RequestError("not_found", "there is no WebSocket at this path")  # noqa: TRY301
            self._check_upgrade()
            gateway.check_open()
            address = gateway.proxies.client_address(self.client[0] if self.client else None, self.headers)
            gateway.peers.check_room(address)
            handshake = read_handshake(self.headers, gateway.settings.allowed_origins)
            principal = await gateway.authenticate(handshake.token)
        except RequestError as error:
            self._answer(error)
            return
        if self.transport.is_closing():
            return
        self._hand_over(handshake, principal, address)

    def _check_upgrade(self) -> None:
        headers = dict(self.headers)
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        if self.scope["method"] != "GET" or self.scope["http_version"] != "1.1" or has_body:
            raise RequestError("bad_request", "this is not a WebSocket upgrade")
        if headers.get(b"sec-websocket-version") != b"13":
            raise RequestError("bad_request", "only version 13 of the WebSocket protocol is spoken here")
        try:
            key = base64.b64decode(headers.get(b"sec-websocket-key", b""), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 16:
            raise RequestError("bad_request", "Sec-WebSocket-Key is not 16 bytes in base 64")

    def _hand_over(self, handshake: Handshake, principal: Principal, address: str | None) -> None:
        gateway = self.gateway
        settings = gateway.settings
        socket = PicowsSocket(settings.max_message_bytes)
        socket.full = gateway.peers.user_is_full(principal)
        socket.connection = Connection(gateway, socket, principal, address)

        def factory(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            extra = {"Sec-WebSocket-Protocol": handshake.subprotocol} if handshake.subprotocol else None
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), socket)

        protocol = WSProtocol(
            None, None, False, factory, self._quiet, True, None, False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE, False,
            settings.max_message_bytes, None, READ_BUFFER,
        )  # fmt: skip
        # What picows needs of the upgrade, in the form it understands: it refuses Firefox's "keep-alive, Upgrade".
        headers = dict(self.headers)
        upgrade = (
            b"GET %b HTTP/1.1\r\nHost: goldenpath\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % (PATH, headers[b"sec-websocket-key"])
        )
        early = bytes(self._early or b"")
        transport = self.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        _feed(protocol, upgrade + early)

    def _answer(self, error: RequestError) -> None:
        """Refuse with a problem document and close."""
        row = error.row
        body = msgspec.json.encode(Problem.of(error))
        extra = b"WWW-Authenticate: Bearer\r\n" if row.status == 401 else b""
        if error.retry_after is not None:
            extra += b"Retry-After: %d\r\n" % max(1, round(error.retry_after))
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n%bConnection: close\r\n"
            b"\r\n%b" % (row.status, _STATUS_LINES.get(row.status, row.title.encode()), len(body), extra, body)
        )
        self.transport.close()


def _feed(protocol: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        room = protocol.get_buffer(len(view))
        count = min(len(room), len(view))
        room[:count] = view[:count]
        protocol.buffer_updated(count)
        view = view[count:]


def protocol_class(gateway: Gateway) -> type[GatewayProtocol]:
    """The protocol class for `uvicorn.Config(http=...)` that serves this gateway."""
    quiet = _Quiet(logging.getLogger("goldenpath.picows"), {})
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"gateway": gateway, "_quiet": quiet})
