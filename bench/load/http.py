"""Just enough of an HTTP/1.1 client for logging thousands of users in: one kept connection, one request at a time."""

from __future__ import annotations

import asyncio
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec


class HttpError(RuntimeError):
    """An answer other than 2xx."""


class Http:
    """One connection. Not for concurrent use; open several instead."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        self._streams = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._streams is not None:
            self._streams[1].close()

    async def request(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The decoded JSON of the answer, None without one. Raises `HttpError`."""
        if self._streams is None:
            raise HttpError("not connected")
        reader, writer = self._streams
        payload = b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(payload)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        answer = await reader.readexactly(length)
        if not 200 <= status < 300:
            raise HttpError(f"{method} {path}: {status} {answer[:200]!r}")
        return msgspec.json.decode(answer) if answer else None
