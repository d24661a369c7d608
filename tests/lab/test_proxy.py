"""The bad network: what goes in comes out, unless a fault says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import perf_counter

import pytest

from goldenpath.lab.faults import parse_fault
from goldenpath.lab.proxy import Proxy

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """An echo server behind a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Ends:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy("127.0.0.1", server.sockets[0].getsockname()[1], Random(1))
    await proxy.start()
    clients = Echo(proxy)
    try:
        yield clients
    finally:
        await clients.close()
        await proxy.stop()
        server.close()


async def said(ends: Ends, data: bytes) -> bytes:
    """What comes back."""
    ends[1].write(data)
    return await ends[0].readexactly(len(data))


async def test_without_faults_every_byte_comes_through_in_order_and_an_end_is_an_end() -> None:
    async with echo() as clients:
        reader, writer = await clients.connect()
        payload = bytes(range(256)) * 8192  # more than it may hold back at once
        writer.write(payload)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert await reader.read(-1) == payload


async def test_latency_is_added_in_both_directions_and_keeps_the_order() -> None:
    async with echo() as clients:
        ends = await clients.connect()
        await said(ends, b"warm")
        fault = parse_fault("latency=50ms@0")
        clients.proxy.begin(fault)
        begin = perf_counter()
        ends[1].write(b"first ")
        await asyncio.sleep(0)
        assert await said(ends, b"second") == b"first "
        assert perf_counter() - begin >= 0.1
        assert await ends[0].readexactly(6) == b"second"
        clients.proxy.end(fault)


async def test_latency_that_is_over_delays_nothing() -> None:
    async with echo() as clients:
        ends = await clients.connect()
        fault = parse_fault("latency=600s@0")
        clients.proxy.begin(fault)
        clients.proxy.end(fault)
        async with asyncio.timeout(60):
            await said(ends, b"at once")


async def test_bandwidth_is_what_it_says() -> None:
    async with echo() as clients:
        ends = await clients.connect()
        clients.proxy.begin(parse_fault("bandwidth=100kB@0"))
        begin = perf_counter()
        await said(ends, b"x" * 20_000)
        assert perf_counter() - begin >= 0.2


@pytest.mark.parametrize("kind", ["blackhole", "halfopen"])
async def test_nothing_crosses_a_silent_network(kind: str) -> None:
    async with echo() as clients:
        ends = await clients.connect()
        await said(ends, b"before")
        fault = parse_fault(f"{kind}@0")
        clients.proxy.begin(fault)
        ends[1].write(b"lost?")
        answer = asyncio.ensure_future(ends[0].read(5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.1)
        clients.proxy.end(fault)
        if kind == "blackhole":
            assert await answer == b"lost?"  # what was under way comes when the network is back
        else:
            with pytest.raises(ConnectionResetError):
                await answer


async def test_a_reset_hits_its_share_of_the_connections() -> None:
    async with echo() as clients:
        all_ends = [await clients.connect() for _ in range(40)]
        for ends in all_ends:
            await said(ends, b"hello")
        clients.proxy.begin(parse_fault("reset~0.5@0"))
        alive = 0
        for ends in all_ends:
            try:
                alive += await said(ends, b"still there") == b"still there"
            except (ConnectionResetError, asyncio.IncompleteReadError, BrokenPipeError):
                continue
        assert 10 <= alive <= 30


async def test_a_cut_comes_after_so_many_bytes_and_hits_new_connections_too() -> None:
    async with echo() as clients:
        fault = parse_fault("cut=1000@0")
        clients.proxy.begin(fault)
        reader, writer = await clients.connect()
        writer.write(b"x" * 5_000)
        got = bytearray()

        async def read() -> None:
            while chunk := await reader.read(65536):
                got.extend(chunk)

        with pytest.raises(ConnectionResetError):
            await read()
        assert len(got) <= 1_000
        clients.proxy.end(fault)
        assert await said(await clients.connect(), b"whole" * 1_000) == b"whole" * 1_000


async def test_a_target_that_is_down_resets_the_client() -> None:
    proxy = Proxy("127.0.0.1", 1, Random(1))
    await proxy.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
    finally:
        await proxy.stop()
