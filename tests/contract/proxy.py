"""A TCP proxy that cuts connections after so many bytes, wherever that is: in a handshake, a frame, a length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self


class CuttingProxy:
    """Passes connections on to a port. `next_cut` says for each how many bytes of the server go through before both
    ends are reset; None: all."""

    def __init__(self, target: int, next_cut: Callable[[], int | None]) -> None:
        self.port = 0
        self.cuts = 0
        self._target = target
        self._next_cut = next_cut
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """Listen on a free port of loopback while the context is open."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        up = asyncio.create_task(self._pass_on(reader, upstream, None))
        down = asyncio.create_task(self._pass_on(upstream_reader, writer, self._next_cut()))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in (up, down):
                half.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for side in (writer, upstream):
                side.transport.abort()
                with contextlib.suppress(OSError):
                    await side.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None) -> None:
        left = cut
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    return
                if left is not None:
                    left -= len(data)
                writer.write(data)
                await writer.drain()
