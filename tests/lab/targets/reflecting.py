"""A server that makes its answer of the whole request that it got; GET only shows that it is there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.lab.targets.impostor import OK

Reflecting = Callable[[bytes], bytes]


@asynccontextmanager
async def reflecting(answer: Reflecting) -> AsyncIterator[int]:
    """Listens while the block runs; gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
            looks = head.startswith(b"GET") and b"upgrade" not in head.lower()
            writer.write(OK if looks else answer(head + body))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
