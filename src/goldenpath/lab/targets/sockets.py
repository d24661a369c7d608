"""What adapters over a WebSocket share: one connection for each viewer, errors in the lab's words."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport, ws_connect

from goldenpath.lab.records import TOO_BIG
from goldenpath.lab.target import LARGEST, TargetError
from goldenpath.lab.targets.secrets import without_parameters
from goldenpath.lab.targets.unable import UnableClient
from goldenpath.lab.targets.web import raise_for_status, reason

_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
_RESET: Final = struct.pack("ii", 1, 0)
_LOGGER: Final = logging.getLogger("picows.client")
"""Given to each connection: to look it up takes a lock."""
_READ: Final = 4096
"""Bytes that a connection reads at once at first; it grows where more comes."""
_HANDSHAKE: Final = 60.0
"""Seconds that an upgrade may take."""


class _Socket(WSListener):
    """One WebSocket. Brings whole messages to the sink."""

    def __init__(self, client: SocketClient) -> None:
        self._client = client
        self._parts: list[bytes] = []
        self._size = 0
        """Of the parts."""
        self._refused = False
        self._code = 0
        self.transport: WSTransport | None = None
        self.connection = 0
        self.ours = False
        """Whether it is we who end it."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.connection = self._client.sink.opened(self._client.user, self._client.viewer)
        for name, value in transport.response.headers.items():
            self._overheard("a header of the upgrade", f"{name}: {value}".encode(errors="replace"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in _DATA:
            payload = frame.get_payload_as_bytes()
            if not frame.fin or self._parts:
                if not self._keep(transport, payload) or not frame.fin:
                    return
                payload = b"".join(self._parts)
                self._parts.clear()
                self._size = 0
            self._client.sink.received(self._client.user, self.connection, payload)
            if self._client.on_message is not None:
                self._client.on_message(payload)
        elif kind is WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self._code = int.from_bytes(payload[:2], "big")
            self._overheard("why the connection was closed", payload[2:])
            transport.send_close()  # a server may wait for the answer before it lets go
            transport.disconnect()
        elif kind is WSMsgType.PING:
            payload = frame.get_payload_as_bytes()
            transport.send_pong(payload)
            self._overheard("a ping", payload)
        elif kind is WSMsgType.PONG:
            self._overheard("a pong", frame.get_payload_as_bytes())

    def _overheard(self, place: str, payload: bytes) -> None:
        if payload:
            self._client.sink.overheard(self._client.user, place, payload)

    def _keep(self, transport: WSTransport, part: bytes) -> bool:
        """A part of a message; False where it is too large with it."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > LARGEST and not self._refused:
            self._refuse(TOO_BIG)
            transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
            transport.disconnect()
        if self._refused:
            self._parts[:] = [b""]  # what still comes goes on with it
        return not self._refused

    def _refuse(self, code: int) -> None:
        self._refused = self.ours = True
        self._code = code

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        self._ending = asyncio.ensure_future(self._lost(transport))  # why is known only after this call

    async def _lost(self, transport: WSTransport) -> None:
        try:
            await transport.wait_disconnected()
        except WSProtocolError as error:
            if not self.ours:
                self._refuse(int(error.args[0]))
        finally:
            self._client.lost(self, self._code)


class SocketClient(UnableClient):
    """One viewer with one WebSocket."""

    _socket: _Socket | None = None
    on_message: Callable[[bytes], None] | None = None
    """Shown each message after the sink was; None: nobody looks."""

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
                max_frame_size=LARGEST,
                enable_auto_pong=False,  # what a ping says is looked at
                logger_name=_LOGGER,
                use_aiofastnet=False,  # it makes connections in Python; the event loop does that itself
                read_buffer_init_size=_READ,
            )
        except WSError as error:
            self._overhear_refusal(error)
            raise _refusal(error) from None
        except TimeoutError:
            raise TargetError(
                "timeout", f"{without_parameters(url)}: the handshake takes longer than {_HANDSHAKE:g} s"
            ) from None
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
            raise TargetError("disconnected", "closed in the handshake") from None
        except OSError as error:
            raise TargetError("unreachable", f"{without_parameters(url)} cannot be reached: {reason(error)}") from None
        if opening.transport is None:
            raise TargetError("disconnected", "closed at once")
        self._socket = opening

    def _overhear_refusal(self, error: WSError) -> None:
        response = getattr(error, "response", None)
        headers = response.headers.items() if response is not None else ()
        for name, value in headers:
            self.sink.overheard(self.user, "a header of the refusal", f"{name}: {value}".encode(errors="replace"))
        self.sink.overheard(self.user, "the refusal of the connection", bytes(getattr(error, "raw_body", None) or b""))

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
