"""A TCP proxy that makes the network bad: late, thin, silent, cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from random import Random
from time import perf_counter
from typing import Final

from goldenpath.lab.faults import Fault

_CHUNK: Final = 64 * 1024
_HELD: Final = 1024 * 1024
"""How many bytes one direction of a connection may hold back; then it is not read from any more."""
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a port of its own and passes everything on, as the faults that are on allow. For one event loop."""

    def __init__(self, host: str, port: int, random: Random) -> None:
        self._upstream = (host, port)
        self._random = random
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._faults: list[Fault] = []
        self.port = 0
        """Where it listens, once started."""

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset what is open. Harmless when repeated."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(*(link.gone.wait() for link in list(self._links)))

    def begin(self, fault: Fault) -> None:
        """A fault begins, for its share of the connections."""
        for link in list(self._links):
            self._afflict(link, fault)
        if fault.lasts:
            self._faults.append(fault)

    def end(self, fault: Fault) -> None:
        """A fault is over."""
        if fault in self._faults:
            self._faults.remove(fault)
        for link in list(self._links):
            link.relieve(fault)

    def _afflict(self, link: _Link, fault: Fault) -> None:
        if fault.share >= 1 or self._random.random() < fault.share:
            link.afflict(fault)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, self._random)
        self._links.add(link)
        try:
            for fault in self._faults:
                self._afflict(link, fault)
            upstream = await asyncio.open_connection(*self._upstream, limit=_CHUNK)
        except OSError:
            link.reset()
        else:
            await link.carry(reader, *upstream)
        finally:
            self._links.discard(link)
            link.gone.set()


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, random: Random) -> None:
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._random = random
        self._faults: dict[str, Fault] = {}
        self._changed = asyncio.Event()
        self._cut_after: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.gone = asyncio.Event()

    # --- faults -------------------------------------------------------------------------------------------------------

    def afflict(self, fault: Fault) -> None:
        """A fault begins on this connection."""
        if fault.kind == "reset":
            self.reset()
            return
        if fault.kind == "cut":
            self._cut_after = fault.value
        self._faults[fault.kind] = fault

    def relieve(self, fault: Fault) -> None:
        """A fault is over."""
        if self._faults.get(fault.kind) is not fault:
            return
        del self._faults[fault.kind]
        if fault.kind == "cut":
            self._cut_after = None
        if fault.kind == "halfopen":
            self.reset()
        self._changed.set()

    def reset(self) -> None:
        """Both sides get an RST."""
        for writer in (self._client, self._server):
            if writer is not None:
                with suppress(OSError, AttributeError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    # --- bytes --------------------------------------------------------------------------------------------------------

    async def carry(
        self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        """Pass bytes on until both sides have ended."""
        self._server = server
        self._tasks = [
            asyncio.create_task(self._pump(from_client, server, downstream=False)),
            asyncio.create_task(self._pump(from_server, self._client, downstream=True)),
        ]
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in (server, self._client):
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, downstream: bool) -> None:
        held: deque[tuple[float, bytes]] = deque()
        room, more = asyncio.Event(), asyncio.Event()
        room.set()
        size = 0

        async def deliver() -> None:
            nonlocal size
            while True:
                while not held:
                    more.clear()
                    await more.wait()
                due, data = held[0]
                if not data:
                    break
                await asyncio.sleep(max(0.0, due - perf_counter()))
                await self._until_open()
                held.popleft()
                size -= len(data)
                if size < _HELD:
                    room.set()
                await self._write(writer, data, downstream=downstream)
            with suppress(OSError):
                writer.write_eof()

        delivery = asyncio.create_task(deliver())
        try:
            due = 0.0
            while True:
                await room.wait()
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    data = b""
                due = max(due, perf_counter() + self._delay())
                held.append((due, data))
                size += len(data)
                if size >= _HELD:
                    room.clear()
                more.set()
                if not data:
                    await delivery
                    return
        finally:
            delivery.cancel()

    def _delay(self) -> float:
        latency, jitter = self._faults.get("latency"), self._faults.get("jitter")
        return (latency.value if latency else 0.0) + (self._random.uniform(0, jitter.value) if jitter else 0.0)

    async def _until_open(self) -> None:
        while "blackhole" in self._faults or "halfopen" in self._faults:
            self._changed.clear()
            await self._changed.wait()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, *, downstream: bool) -> None:
        if downstream and self._cut_after is not None:
            data, rest = data[: int(self._cut_after)], data[int(self._cut_after) :]
            self._cut_after -= len(data)
            writer.write(data)
            await writer.drain()
            if rest or self._cut_after <= 0:
                self.reset()
            return
        while data:
            thin = self._faults.get("bandwidth")
            piece = data if thin is None else data[: max(1, int(thin.value / 20))]
            data = data[len(piece) :]
            if thin is not None:
                await asyncio.sleep(len(piece) / thin.value)
            writer.write(piece)
            await writer.drain()
