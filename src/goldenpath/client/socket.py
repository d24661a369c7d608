"""One WebSocket connection, on picows: whole messages in, bytes out, reading that can be paused.

picows, because it calls back for every frame: receiving frames that arrive one by one costs 10 us each of client CPU
against 24 us with the `websockets` package, whose `recv` wakes a task for each (100 connections, Python 3.11, either
event loop). In return messages have to be put together here, because picows hands over frames.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Final, NamedTuple, cast

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from goldenpath.client.api import refusal
from goldenpath.client.reconnect import ABNORMAL
from goldenpath.wire.errors import NORMAL

MAX_MESSAGE: Final = 64 << 20
"""The longest message that is accepted from a server, in bytes: a snapshot of a long history is one event."""
RECEIVE_BUFFER: Final = 1 << 18
NO_CODE: Final = 1005
"""The close code that stands for none."""


class End(NamedTuple):
    """How a connection ended."""

    code: int
    reason: str


class Socket(WSListener):
    """A connection. `on_message` is called for every text message, with its bytes; it must not raise.

    `heard` is set whenever anything arrives; who watches over the peer clears it. `ended` is set when a connection that
    was made is gone.
    """

    def __init__(self, on_message: Callable[[Socket, bytes], None]) -> None:
        self.heard = False
        self.was_connected = False
        self._is_abandoned = False
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._on_message = on_message
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._end = End(ABNORMAL, "the connection broke")

    def send(self, message: bytes) -> None:
        """Send a text message. Does nothing once the connection is gone: what is not answered is sent again."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, message)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        if self._transport is not None:
            self._transport.send_ping()

    def pause(self) -> None:
        """Take nothing more from the network until `resume`; what has been read already still comes."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.underlying_transport.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        """Say good-bye and close. Messages that still come are not handed on."""
        self._on_message = _ignore
        if self._transport is not None:
            self._end = End(code, reason)
            self.resume()
            self._transport.send_close(cast("WSCloseCode", code), reason.encode())
            self._transport.disconnect()

    def abort(self, reason: str) -> None:
        """Drop the connection without a word, for a peer that does not answer."""
        self._on_message = _ignore
        if self._transport is not None:
            self._end = End(ABNORMAL, reason)
            self._transport.disconnect(graceful=False)

    def abandon(self) -> None:
        """Nobody waits for this connection any more: drop it as soon as it is there."""
        self._is_abandoned = True
        self.abort("abandoned")

    # --- picows calls these -------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        if self._is_abandoned:
            transport.disconnect(graceful=False)
            return
        self.was_connected = True
        self._transport = transport
        # picows reads all that the system holds at once, and its buffer grows to that: so that bounds both, and what is
        # sent in vain when a slow stream is left out.
        transport.underlying_transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard = True
        kind = frame.msg_type
        if kind == WSMsgType.TEXT and frame.fin:
            self._on_message(self, frame.get_payload_as_bytes())
        elif kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._collect(frame)
        elif kind == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            code = int.from_bytes(payload[:2]) if payload else NO_CODE
            self._end = End(code, payload[2:].decode("utf-8", "replace"))
            transport.send_close(cast("WSCloseCode", code if payload else NORMAL))
            transport.disconnect()
        elif kind == WSMsgType.BINARY:
            self.close(1003, "binary message")

    def _collect(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._size += frame.payload_size
        if self._size > MAX_MESSAGE:
            self.close(1009, "message too long")
        elif frame.fin:
            message = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._on_message(self, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows gives it
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(self._end)


def _ignore(socket: Socket, message: bytes) -> None:
    """For a connection that is on its way out."""


async def open_socket(url: str, token: str, on_message: Callable[[Socket, bytes], None], timeout: float) -> Socket:  # noqa: ASYNC109 - it is picows's
    """Connect. `timeout` is for the upgrade, in seconds.

    Raises `RequestError` when the server refuses the upgrade, OSError or TimeoutError when there is no connection.
    Safe to cancel.
    """
    socket = Socket(on_message)
    try:
        await ws_connect(
            lambda: socket,
            url,
            extra_headers={"Authorization": f"Bearer {token}"},
            websocket_handshake_timeout=timeout,
            max_frame_size=MAX_MESSAGE,
            max_redirects=0,
        )
    except asyncio.CancelledError:
        socket.abandon()  # picows goes on with the upgrade
        raise
    except WSHandshakeError as error:
        if error.response is None:
            raise ConnectionError(str(error)) from error
        raise refusal(int(error.response.status), error.raw_body or b"") from error
    except WSError as error:
        raise ConnectionError(str(error)) from error
    if not socket.was_connected:
        # picows returns as if all was well when the connection ends during the upgrade.
        raise ConnectionError("the connection ended during the upgrade")
    return socket
