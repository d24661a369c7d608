"""The HTTP of `goldenpath serve`: uvicorn's, with bounds on a request's head, and handing WebSockets over to picows."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import TYPE_CHECKING, Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from goldenpath.runtime.gateway.connection import Connection
from goldenpath.runtime.gateway.picows_socket import PicowsLogs, PicowsSocket, hand_over
from goldenpath.runtime.gateway.request import WRITE_TIMEOUT
from goldenpath.wire.errors import Problem, RequestError

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

PATH: Final = b"/v1/ws"
EARLY_BYTES: Final = 64 * 1024
"""How much a client may send before its upgrade was answered."""
MAX_HEAD: Final = 64 * 1024
"""How many bytes a request's line and headers may have."""

_STATUS_LINES: Final = {400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found"}


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands `/v1/ws` to picows. Use `protocol_class` to bind it to a gateway.

    It bounds what uvicorn leaves open: how long a request's head may be, and how long it may take to come, and how long
    a client may take nothing of an answer. A client that is silent for two heartbeats in the middle of a head is
    dropped, as a silent WebSocket is.
    """

    gateway: Gateway
    over_unix: bool
    """The other end of a Unix socket: picows needs TCP, so uvicorn's own WebSocket takes its upgrades."""
    logs: PicowsLogs

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._early: bytearray | None = None
        self._head_size: int | None = None
        """How much of a head came that is not complete; None outside of one."""
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs while a head is awaited."""
        self._write_timer: asyncio.TimerHandle | None = None
        """Runs while the client has not taken what was written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        self._stop_write_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {WRITE_TIMEOUT: {}}
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_over()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            raise ValueError("the head is too long")  # which the parser turns into an error of its own
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_is_over()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():  # refused before all of its body came
            self._await_head()
            self._head_size = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _watch_writing(self, left: int) -> None:
        """Cut the connection when after the write time-out no less than `left` bytes wait; else look again."""

        def look() -> None:
            now_left = self.transport.get_write_buffer_size()
            if now_left >= left:
                self.transport.abort()
            else:
                self._watch_writing(now_left)

        self._write_timer = self.loop.call_later(self.gateway.settings.write_timeout, look)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _await_head(self) -> None:
        self._head_size = 0
        if self._head_timer is None:
            patience = 2 * self.gateway.settings.heartbeat
            self._head_timer = self.loop.call_later(patience, self.transport.abort)

    def _head_is_over(self) -> None:
        self._head_size = None
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
        before = self._head_size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._begin_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._answer(RequestError("bad_request", "this is not HTTP, or its head is too long"))
        else:
            if before is not None and self._head_size is not None:
                self._head_size = before + len(data)
                if self._head_size > MAX_HEAD:
                    self._answer(RequestError("bad_request", "the request's head is too long"))

    def _begin_upgrade(self, early: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # An earlier request on this connection is being answered, and would go on into the WebSocket.
            self.transport.abort()
            return
        self._stop_write_timer()
        if self.over_unix:
            self.handle_websocket_upgrade()
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
            admitted = await gateway.admit(self.client[0] if self.client else None, self.headers)
        except RequestError as error:
            self._answer(error)
            return
        if self.transport.is_closing():
            return
        socket = PicowsSocket(gateway.settings.max_message_bytes)
        socket.full = gateway.peers.user_is_full(admitted.principal)
        socket.connection = Connection(gateway, socket, admitted.principal, admitted.address)
        key = dict(self.headers)[b"sec-websocket-key"]
        hand_over(self.transport, socket, key, admitted.handshake.subprotocol, bytes(self._early or b""), self.logs)
        self.parser = None  # type: ignore[assignment] # which refers back to this protocol, whose work is done

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


def protocol_class(gateway: Gateway, *, over_unix: bool) -> type[GatewayProtocol]:
    """The protocol class for `uvicorn.Config(http=...)` that serves this gateway."""
    logs = PicowsLogs(logging.getLogger("goldenpath.picows"), {})
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"gateway": gateway, "over_unix": over_unix, "logs": logs})
