"""A client that can break every rule: bytes on a TCP socket, with just enough HTTP and RFC 6455 to break them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.serverprocess import ServerProcess
from tests.wsclient import PATIENCE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0, length: int | None = None
) -> bytes:
    """One WebSocket frame as a client sends it. `length`: what the head says instead of the truth."""
    size = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", mask_bit | 126, size)
    else:
        head += struct.pack("!BQ", mask_bit | 127, size)
    if not masked:
        return head + payload
    key = b"\x1a\x2b\x3c\x4d"
    repeated = key * (len(payload) // 4 + 1)
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return head + key + hidden.to_bytes(len(payload), "big")


def command(**fields: Any) -> bytes:
    """A text frame with one command."""
    return frame(TEXT, json.dumps(fields).encode())


def upgrade(token: str | None, *, drop: str = "", path: str = "/v1/ws", method: str = "GET", **headers: str) -> bytes:
    """An upgrade request. `headers` (underscores for hyphens) replace or add to the usual ones, `drop` removes one."""
    lines = {
        "host": "127.0.0.1",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
    }
    if token is not None:
        lines["authorization"] = f"Bearer {token}"
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines.pop(drop, None)
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


class HttpAnswer:
    """A response as it was read."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


class RawSocket:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._finished = False

    async def send(self, *parts: bytes) -> None:
        """Write, and wait until the system has taken it. That the server cut the connection meanwhile is no error."""
        try:
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
        except ConnectionError:
            pass

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self._finished = True
        self.writer.write_eof()

    async def answer(self) -> HttpAnswer:
        """Read one HTTP response. Raises `EOFError` when the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            status = int(status_line.split(" ")[1])
            body = b""
            if status != 101 and "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            return HttpAnswer(status, headers, body)

    async def frame(self) -> tuple[int, bytes]:
        """Read one WebSocket frame: its opcode and payload. Raises `EOFError` when the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            first, second = await self.reader.readexactly(2)
            assert first & 0x80, "the server sends whole messages"
            assert not first & 0x70
            assert not second & 0x80
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def text(self) -> list[dict[str, Any]]:
        """Read one text message: the objects of its lines."""
        opcode, payload = await self.frame()
        assert opcode == TEXT, (opcode, payload)
        return [json.loads(line) for line in payload.decode().split("\n")]

    async def reply(self) -> dict[str, Any]:
        """Read on to the next reply."""
        while True:
            for found in await self.text():
                if "re" in found:
                    return found

    async def ended(self) -> int | None:
        """Read to the end: the code of the server's close frame, None when it cut the connection without one."""
        code = None
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    if not self._finished:
                        self.writer.write(frame(CLOSE, payload[:2]))
        except (EOFError, ConnectionError):
            return code

    async def cut(self) -> bytes:
        """Read to the end: whatever comes."""
        data = b""
        try:
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(65536):
                    data += part
        except ConnectionError:
            pass
        return data


@asynccontextmanager
async def raw(server: ServerProcess, *, receive_buffer: int | None = None) -> AsyncIterator[RawSocket]:
    """A connection, with TLS where the server speaks it, cut at the end. `receive_buffer`: how many bytes the system
    takes in while nobody reads."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(
        sock=connection,
        limit=receive_buffer or 1 << 16,
        ssl=server.tls,
        server_hostname=None if server.tls is None else "127.0.0.1",
    )
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def upgraded(
    server: ServerProcess, token: str, headers: dict[str, str] | None = None, *, receive_buffer: int | None = None
) -> AsyncIterator[RawSocket]:
    """A WebSocket after its welcome."""
    async with raw(server, receive_buffer=receive_buffer) as connection:
        await connection.send(upgrade(token, **(headers or {})))
        answer = await connection.answer()
        assert answer.status == 101, answer.body
        assert (await connection.text())[0]["type"] == "welcome"
        yield connection
