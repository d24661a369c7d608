"""What adapters over a WebSocket share: one connection for each viewer, errors in the lab's words."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from goldenpath.lab.target import TargetError
from goldenpath.lab.targets.unable import UnableClient
from goldenpath.lab.targets.web import raise_for_status, reason

_RESET: Final = struct.pack("ii", 1, 0)
_HANDSHAKE: Final = 60.0
"""Seconds that an upgrade may take."""


class _Socket(WSListener):
    """One WebSocket. Brings whole messages to the sink."""

    def __init__(self, client: SocketClient) -> None:
        self._client = client
        self._parts: list[bytes] = []
        self._code = 0
        self.transport: WSTransport | None = None
        self.connection = 0
        self.ours = False
        """Whether it is we who end it."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.connection = self._client.sink.opened(self._client.user, self._client.viewer)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            payload = frame.get_payload_as_bytes()
            if not frame.fin or self._parts:
                self._parts.append(payload)
                if not frame.fin:
                    return
                payload = b"".join(self._parts)
                self._parts.clear()
            self._client.sink.received(self._client.user, self.connection, payload)
        elif kind is WSMsgType.CLOSE:
            self._code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            transport.send_close()  # a server may wait for the answer before it lets go
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self.transport = None
        self._client.lost(self, self._code)


class SocketClient(UnableClient):
    """One viewer with one WebSocket."""

    _socket: _Socket | None = None

    @property
    def connection(self) -> int:
        return self._socket.connection if self._socket is not None else 0

    async def open(self, url: str, headers: Mapping[str, str]) -> None:
        """Connect. Raises `TargetError`."""
        opening = _Socket(self)
        try:
            await ws_connect(
                lambda: opening,
                url,
                extra_headers=dict(headers),
                websocket_handshake_timeout=_HANDSHAKE,
                max_redirects=0,
            )
        except WSError as error:
            raise _refusal(error) from None
        except TimeoutError:
            raise TargetError("timeout", f"{url}: the handshake takes longer than {_HANDSHAKE:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
            raise TargetError("disconnected", "closed in the handshake") from None
        except OSError as error:
            raise TargetError("unreachable", f"{url} cannot be reached: {reason(error)}") from None
        if opening.transport is None:
            raise TargetError("disconnected", "closed at once")
        self._socket = opening

    def lost(self, socket_: _Socket, code: int) -> None:
        """A WebSocket is gone."""
        connection, socket_.connection = socket_.connection, 0
        if not connection:
            return  # it never was there, or is known to be gone
        if self._socket is socket_:
            self._socket = None
        record = self.sink.closed(self.user, connection, ours=socket_.ours, code=code)
        if self.on_closed is not None:
            self.on_closed(record, 0)

    def send(self, message: Any) -> None:
        """Send JSON in a text message. Raises `TargetError` where there is no connection."""
        if self._socket is None or self._socket.transport is None:
            raise TargetError("disconnected", "there is no connection")
        self._socket.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))

    def drop(self) -> None:
        dropped = self._socket
        if dropped is None or dropped.transport is None:
            return
        dropped.ours = True
        underlying = dropped.transport.underlying_transport
        with suppress(OSError, AttributeError):
            underlying.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        underlying.abort()
        self.lost(dropped, 0)

    def pause(self, *, reading: bool) -> None:
        if self._socket is None or self._socket.transport is None:
            return
        underlying = self._socket.transport.underlying_transport
        if reading:
            underlying.resume_reading()
        else:
            underlying.pause_reading()

    async def close(self) -> None:
        if self._socket is None or self._socket.transport is None:
            return
        self._socket.ours = True
        transport = self._socket.transport
        transport.send_close()
        transport.disconnect()
        await transport.wait_disconnected()


def _refusal(error: WSError) -> TargetError:
    """What a refused upgrade says."""
    response = getattr(error, "response", None)
    body = getattr(error, "raw_body", None) or b""
    if response is None:
        return TargetError("garbage", str(error), definite=False)
    try:
        raise_for_status(int(response.status), bytes(body))
    except TargetError as refusal:
        return refusal
    return TargetError("garbage", str(error))
