"""The HTTP of `goldenpath serve`: uvicorn's, with bounds on a request's head, and handing WebSockets over to picows."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.handshake import WebSocketVersionError, read_key
from goldenpath.runtime.gateway.picows_socket import PicowsLogs, PicowsSocket, hand_over
from goldenpath.runtime.gateway.request import WRITE_TIMEOUT, Answer, problem
from goldenpath.wire.errors import RequestError

if TYPE_CHECKING:
    from goldenpath.runtime.gateway.gateway import Gateway

EARLY_BYTES: Final = 64 * 1024
"""How much a client may send before its upgrade was answered."""
MAX_HEAD: Final = 64 * 1024
"""How many bytes a request's line and headers may have."""
MAX_HEADERS: Final = 256
"""How many headers and trailers a request may have: each takes as long as a thousand bytes of one."""
MAX_PARTS: Final = 2048
"""A body may come in so many parts, however small, and one more for each `PART_BYTES` of it."""
PART_BYTES: Final = 64

_VERSIONS: Final = {"1.0", "1.1"}


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands the paths of `Gateway.sockets` to picows. Use `protocol_class` to bind it to a
    gateway.

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
        self._asked_at = 0.0
        """When the request began to come."""
        self._head_size: int | None = None
        """How much of a head came that is not complete; None outside of one."""
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs while a head is awaited."""
        self._parts_left = MAX_PARTS * PART_BYTES
        """How many bytes the parts of the body that come may still fall short of `PART_BYTES` each."""
        self._fault = "this is not HTTP"
        """What is wrong with a request that cannot be parsed."""
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
        self._asked_at = self.gateway.clock.monotonic()
        self.scope["extensions"] = {WRITE_TIMEOUT: {}}
        self._parts_left = MAX_PARTS * PART_BYTES
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also of a trailer. Raises ValueError, which the parser turns into an error of its own."""
        if len(self.headers) >= MAX_HEADERS:
            self._fault = f"a request has at most {MAX_HEADERS} headers"
            raise ValueError(self._fault)
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Raises as `on_header`."""
        self._parts_left += len(body) - PART_BYTES
        if self._parts_left < 0:
            self._fault = "the body comes in too many parts that are too small"
            raise ValueError(self._fault)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._head_is_over()
        self._check_head()
        super().on_headers_complete()

    def _check_head(self) -> None:
        """Raises ValueError, which the parser turns into an error of its own."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        version = self.parser.get_http_version()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._fault = "the request's head is too long"
        elif version not in _VERSIONS:
            self._fault = "only HTTP/1.1 and HTTP/1.0 are spoken here"
        elif hosts > 1 or (hosts == 0 and version == "1.1"):
            self._fault = "a request has one Host header"
        else:
            return
        raise ValueError(self._fault)

    def on_message_complete(self) -> None:
        self._head_is_over()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():  # refused before all of its body came
            self._await_head()
            self._head_size = None
        self._watch_rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_rest()

    def cut_if_stuck(self) -> None:
        """Cut the connection where the client has not taken what was written: the server ends."""
        if self.flow.write_paused:
            self.transport.abort()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _watch_rest(self) -> None:
        """Watch that the client takes what waits for it. Also too little to pause for: unread it would keep even a
        connection that was closed."""
        left = self.transport.get_write_buffer_size()
        if left and self._write_timer is None:
            self._watch_writing(left)

    def _watch_writing(self, left: int) -> None:
        """Cut the connection when after the write time-out no less than `left` bytes wait; else look again."""

        def look() -> None:
            self._write_timer = None
            now_left = self.transport.get_write_buffer_size()
            if now_left >= left:
                self.transport.abort()
            elif now_left:
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
            self._answer(problem(RequestError("bad_request", self._fault)))
        else:
            if before is not None and self._head_size is not None:
                self._head_size = before + len(data)
                if self._head_size > MAX_HEAD:
                    self._answer(problem(RequestError("bad_request", "the request's head is too long")))

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
            path = gateway.sockets.get(self.url.partition(b"?")[0].decode("latin-1"))
            if path is None:
                raise RequestError("not_found", "there is no WebSocket at this path")  # noqa: TRY301
            key = read_key(self.scope["method"], self.scope["http_version"], self.headers)
            upgrade = await gateway.admit_upgrade(path, self.client, self.headers)
        except WebSocketVersionError as error:
            self._answer(problem(error, status=426, headers=((b"sec-websocket-version", b"13"),)))
            return
        except RequestError as error:
            self._answer(problem(error))
            return
        socket = PicowsSocket(path.max_message_bytes)
        socket.connection = connection = upgrade.connect(socket)
        try:
            if self.transport.is_closing():
                gateway.upgrade_abandoned(self._asked_at)
            else:
                hand_over(self.transport, socket, key, upgrade.subprotocol, bytes(self._early or b""), self.logs)
                gateway.upgraded(self._asked_at, upgrade)
        except Exception as error:  # noqa: BLE001 - told and logged
            fault = told(error, "upgrade_failed")
            gateway.upgrade_broke()
            if self.transport.get_protocol() is self:
                self._answer(problem(fault))
            else:  # picows may have answered
                self.transport.abort()
        finally:
            if connection not in gateway.peers:  # it never opened
                gateway.peers.remove(connection)
        self.parser = None  # type: ignore[assignment] # which refers back to this protocol, whose work is done

    def _answer(self, given: Answer) -> None:
        """Refuse and close."""
        headers = b"".join(b"%b: %b\r\n" % header for header in given.head)
        status = b"%d %b" % (given.status, HTTPStatus(given.status).phrase.encode())
        self.transport.write(b"HTTP/1.1 %b\r\n%bconnection: close\r\n\r\n%b" % (status, headers, given.body))
        self.transport.close()
        self._watch_rest()


def protocol_class(gateway: Gateway, *, over_unix: bool) -> type[GatewayProtocol]:
    """The protocol class for `uvicorn.Config(http=...)` that serves this gateway."""
    logs = PicowsLogs(logging.getLogger("goldenpath.picows"), {})
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"gateway": gateway, "over_unix": over_unix, "logs": logs})
