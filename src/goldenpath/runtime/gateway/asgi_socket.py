"""The WebSocket over plain ASGI: works in any ASGI server, and when the app is mounted inside another one.

ASGI has no pings and no look into the socket's buffer: the server's own pings take the place of ours, it drops who does
not answer them, and what waits in our queue for `send` to return counts as buffered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import nullcontext
from typing import Any

from starlette.types import Receive, Scope, Send

from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.request import problem
from goldenpath.runtime.gateway.upgrade import SocketPath, Upgrade
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER, WsConnection
from goldenpath.wire.errors import TOO_BIG, RequestError

_CLOSE_TIMEOUT = 5.0


class AsgiSocket:
    """`WsTransport` over an accepted ASGI WebSocket."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[tuple[dict[str, Any], int]] = deque()
        self._queued = 0
        self._work = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._closing = False
        self.ended = asyncio.Event()
        self.connection: WsConnection
        self.reader: asyncio.Task[None]

    def send(self, message: bytes) -> None:
        if not self._closing:
            self._put({"type": "websocket.send", "text": message.decode()}, len(message))

    def ping(self) -> None:
        """Leave it to the server below, which sends pings of its own and keeps the answers to itself."""
        self.connection.on_heard()

    def close(self, code: int, reason: str) -> None:
        if not self._closing:
            self._closing = True
            self._put({"type": "websocket.close", "code": code, "reason": reason[:120]}, 0)
            asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self.ended.set)

    def abort(self) -> None:
        self._closing = True
        self.ended.set()

    @property
    def buffered(self) -> int:
        return self._queued

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def _put(self, event: dict[str, Any], size: int) -> None:
        self._queue.append((event, size))
        self._queued += size
        self._work.set()

    async def write_loop(self) -> None:
        """Hand the queue to the server until the close frame is out."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                event, size = self._queue.popleft()
                if event["type"] == "websocket.close":
                    # granian holds a close back for as long as somebody waits for a message.
                    self.reader.cancel()
                    await asyncio.wait([self.reader])
                    await self._send(event)
                    return
                await self._send(event)
                self._queued -= size
                if self._queued < HIGH_WATER // 2:
                    self.connection.on_drained()

    async def read_loop(self, receive: Receive, max_message_bytes: int) -> None:
        """Hand messages to the connection until the client is gone."""
        connection = self.connection
        while True:
            await self._reading.wait()
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            message = text.encode(errors="surrogatepass") if text is not None else event.get("bytes") or b""
            if len(message) > max_message_bytes:
                connection.end(TOO_BIG, "the message is too big")
            else:
                connection.on_message(message, binary=text is None)


async def serve_asgi_socket(gateway: Gateway, path: SocketPath, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI WebSocket of `path` from its upgrade to its end."""
    await receive()  # websocket.connect
    asked_at = gateway.clock.monotonic()
    try:
        upgrade = await gateway.admit_upgrade(path, scope.get("client"), scope["headers"])
    except RequestError as error:
        await refuse_upgrade(scope, send, error)
        return
    with upgrade.reservation or nullcontext():
        await send({"type": "websocket.accept", "subprotocol": upgrade.subprotocol})
        await _serve_accepted(gateway, upgrade, asked_at, receive, send)


async def _serve_accepted(gateway: Gateway, upgrade: Upgrade, asked_at: float, receive: Receive, send: Send) -> None:
    socket = AsgiSocket(send)
    socket.connection = connection = upgrade.connect(socket)
    reader = asyncio.create_task(socket.read_loop(receive, upgrade.path.max_message_bytes))
    writer = asyncio.create_task(socket.write_loop())
    socket.reader = reader
    # The writer cancels the reader before it closes: the connection is not at its end then.
    reader.add_done_callback(lambda task: None if task.cancelled() else socket.ended.set())
    writer.add_done_callback(lambda _: socket.ended.set())
    try:
        connection.open()
        gateway.upgraded(asked_at, upgrade)
        await socket.ended.wait()
    finally:
        connection.on_closed()
        reader.cancel()
        writer.cancel()
        # An error here is the socket's: the client is gone, and nothing is lost, because the log has it all.
        await asyncio.gather(reader, writer, return_exceptions=True)


async def refuse_upgrade(scope: Scope, send: Send, error: RequestError) -> None:
    """Answer the upgrade with a problem document where the server can, else refuse it plainly (403)."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    given = problem(error)
    await send({"type": "websocket.http.response.start", "status": given.status, "headers": given.head})
    await send({"type": "websocket.http.response.body", "body": given.body})
