"""A client on a scripted server, and how its tests read and wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from goldenpath.client import (
    Attachment,
    Backoff,
    Client,
    LinkSettings,
)
from goldenpath.clock import ManualClock
from goldenpath.wire import events as ev
from tests.client.scripted_server import Script, ScriptedServer

QUICK = LinkSettings(backoff=Backoff(base=0.001, cap=0.01), reconnect_for=5)


@asynccontextmanager
async def connected(*scripts: Script, **options: Any) -> AsyncIterator[tuple[Client, ScriptedServer]]:
    refusals = options.pop("refusals", ())
    async with (
        asyncio.timeout(20),
        ScriptedServer(*scripts, refusals=refusals) as server,
        Client(server.url, token="token", **{"link": QUICK, **options}) as client,
    ):
        yield client, server


async def numbers(stream: Attachment, count: int) -> list[int]:
    """The next events, by what each tells, checked against its place."""
    found = []
    for _ in range(count):
        delivery = await anext(stream)
        assert isinstance(delivery.event, ev.Custom)
        assert delivery.event.value == delivery.seq
        found.append(delivery.seq)
    return found


async def let_pass(clock: ManualClock, condition: Callable[[], bool], step: float = 0.5) -> None:
    """Move the clock on until something is so."""
    while not condition():
        clock.advance(step)
        await asyncio.sleep(0)
