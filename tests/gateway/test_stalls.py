"""Who blocks the event loop is found however the server is run: by itself, or mounted under an ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from tests.gateway.users import User, program
from tests.serverprocess import ServerProcess


def stalls_of_agents(site: ServerProcess) -> float:
    lines = httpx.get(f"{site.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("goldenpath_stalls_agents_total "))


async def test_an_agent_that_blocks_is_counted(site: ServerProcess, new_user: Callable[..., User]) -> None:
    user = new_user()
    before = stalls_of_agents(site)
    await user.run("t1", "r1", program({"do": "block", "ms": 800, "where": "thread"}), agent="scripted")
    assert stalls_of_agents(site) == before
    await user.run("t1", "r2", program({"do": "block", "ms": 800, "where": "loop"}), agent="scripted")
    async with asyncio.timeout(10):
        while stalls_of_agents(site) == before:
            await asyncio.sleep(0.1)
