"""A server that does not do what servers do: real sockets, wrong answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CLOSE = b""
"""An answer: close without one."""
Answer = Callable[[str, str], bytes]
"""What is answered to a path and an upgrade's key (empty: no upgrade), before the connection is closed."""


def http(status: str, body: str, kind: str = "application/json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


OK = http("200 OK", "{}")


def stream(*events: str) -> bytes:
    """The beginning of a stream of events, which then is cut off."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = "".join(events)
    return f"{head}{len(body):x}\r\n{body}\r\n".encode()


def upgraded(key: str, *texts: bytes) -> bytes:
    """A handshake, and messages."""
    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"
    frames = b"".join(bytes([0x81, len(text)]) + text for text in texts)
    return f"{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode() + frames


@asynccontextmanager
async def impostor(answer: Answer, *, looked: bytes = OK, stays: bool = False) -> AsyncIterator[int]:
    """Listens while the block runs; gives the port. `looked`: the answer to GET. `stays`: WebSockets stay open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            key = re.search(r"sec-websocket-key: (\S+)", head, re.IGNORECASE)
            method, path, _ = head.split(" ", 2)
            looks = method == "GET" and not key  # whether anybody is there
            said = looked if looks else answer(path, key[1] if key else "")
            writer.write(said)
            await writer.drain()
            if stays and key and said:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
