"""A TCP proxy that cuts connections after seeded random numbers of bytes, as bad networks do: without a word."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Forwards to `target`, a port on loopback. Each connection is reset once it has carried a random number of bytes,
    up to `longest`, in both directions together, until `cuts` were made; those after pass whole, and `done` is set."""

    def __init__(self, target: int, *, cuts: int, longest: int, seed: int) -> None:
        self.target = target
        self._random = Random(seed)
        self._longest = longest
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.cuts_left = cuts
        self.done = asyncio.Event()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        budget = [self._random.randint(1, self._longest) if self.cuts_left > 0 else None]
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, budget)),
            asyncio.create_task(self._pump(far_reader, writer, budget)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if budget[0] is not None and budget[0] <= 0:
                self.cuts_left -= 1
                if self.cuts_left <= 0:
                    self.done.set()
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            for end in (writer, far_writer):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int | None]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                left = budget[0]
                if left is not None:
                    data = data[:left]
                    budget[0] = left - len(data)
                writer.write(data)
                await writer.drain()
                if budget[0] is not None and budget[0] <= 0:
                    return
