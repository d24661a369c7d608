from __future__ import annotations

import asyncio

from goldenpath.client import Cursor
from goldenpath.clock import ManualClock
from tests.client.connected import connected, let_pass, numbers
from tests.client.scripted_server import LogScript

EVENTS = 3000
PADDING = 2000
BUFFER = 100_000


async def test_a_stream_that_is_not_read_stops_the_network_then_lags_and_catches_up() -> None:
    log = LogScript(EVENTS, PADDING)
    clock = ManualClock()
    async with connected(log, clock=clock, buffer=BUFFER) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 1) == [1]
        while not client.statistics().pauses:
            await asyncio.sleep(0)
        received = client.statistics().bytes_received
        assert received < EVENTS * PADDING // 2
        for _ in range(200):
            await asyncio.sleep(0)
        assert client.statistics().bytes_received == received
        await let_pass(clock, lambda: "detach" in log.commands)
        assert await numbers(stream, EVENTS - 1) == list(range(2, EVENTS + 1))
        statistics = client.statistics()
        assert (statistics.lags, statistics.duplicates, statistics.gaps, statistics.connections) == (1, 0, 0, 1)
        assert log.commands == ["attach", "detach", "attach"]


async def test_a_reader_that_is_a_little_slow_only_makes_reading_pause() -> None:
    log = LogScript(EVENTS, PADDING)
    async with connected(log, clock=ManualClock(), buffer=BUFFER) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        read = 0
        while read < EVENTS:
            while read < EVENTS - 200 and not stream.is_full:
                await asyncio.sleep(0)
            await numbers(stream, 20)
            read += 20
        statistics = client.statistics()
        assert statistics.pauses >= 3
        assert (statistics.lags, statistics.duplicates, statistics.gaps) == (0, 0, 0)
        assert log.commands == ["attach"]


async def test_a_reply_does_not_wait_for_a_stream_that_is_not_read() -> None:
    log = LogScript(EVENTS, PADDING)
    async with connected(log, clock=ManualClock(), buffer=BUFFER) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        while not client.statistics().pauses:
            await asyncio.sleep(0)
        assert await client.ping() == "now"
        assert await numbers(stream, EVENTS) == list(range(1, EVENTS + 1))
        assert client.statistics().lags >= 1


async def test_a_stream_that_is_not_read_holds_no_other_up_and_little_memory() -> None:
    log = LogScript(EVENTS, PADDING)
    async with connected(log, buffer=BUFFER, patience=0.01) as (client, _):
        forgotten = await client.attach("t", after=Cursor(seq=0))
        reading = await client.attach("t", after=Cursor(seq=0))
        for _ in range(20):
            await numbers(reading, EVENTS // 20)
            assert forgotten.buffered_bytes < BUFFER + (4 << 20)
        assert client.statistics().lags >= 1
        assert await numbers(forgotten, EVENTS) == list(range(1, EVENTS + 1))
        assert (client.statistics().duplicates, client.statistics().gaps) == (0, 0)
