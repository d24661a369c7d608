"""Reading one stream."""

from __future__ import annotations

import asyncio

import pytest

from goldenpath.client import (
    Cursor,
)
from tests.client.connected import connected, numbers
from tests.client.scripted_server import Peer


async def test_a_cancelled_read_loses_nothing() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await go.wait()
        await peer.events(1, 2)
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        for _ in range(3):
            reading = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        go.set()
        assert await numbers(stream, 2) == [1, 2]


async def test_a_stream_has_one_reader_and_ends_quietly_when_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.until_closed()

    async with connected(script) as (client, _):
        async with await client.attach("t") as stream:
            reading = asyncio.create_task(anext(stream, None))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(stream)
        assert await reading is None
        assert [one async for one in stream] == []
