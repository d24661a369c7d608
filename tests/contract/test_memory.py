"""What a server holds is bounded, whatever clients read and however much was said: measured on the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil
import pytest

from tests.contract.conftest import Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import Link, Witness
from tests.serverprocess import ServerProcess

MIB = 1 << 20


def memory(server: ServerProcess) -> int:
    """The resident memory of a server, in bytes."""
    return int(psutil.Process(server.pid).memory_info().rss)


async def until_head(user: Witness, thread_id: str, head: int) -> None:
    """Wait until a thread has so many events, without reading them."""
    async with asyncio.timeout(60):
        while (await user.http.get(f"/v1/threads/{thread_id}")).json()["head"] < head:
            await asyncio.sleep(0.05)


async def test_readers_that_never_read_cost_no_more_than_their_buffers_however_long_a_run_is(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    events, readers = 100_000, 20
    server = launch()
    user = await join(server, "long")
    async with user.link() as link:
        await link.run("floods", "20000", "warm", "r")  # fills pools and the allocator's arenas
        await link.ended("warm", "r")
    links = [await user.connect() for _ in range(readers)]
    await links[0].run("echo", "hello", "t", "hello")
    for link in links:
        await link.ok("attach", thread_id="t", after={"seq": 0})
        await link.until(lambda link=link: link.events and link.events[-1][3]["type"] == "RUN_FINISHED")
        link.connection.transport.pause_reading()
    before, head = memory(server), user.cursors["t"][1]
    async with user.link() as link:
        await link.run("floods", str(events), "t", "r")
        await link.ok("detach", thread_id="t")
        await until_head(user, "t", head + events + 4)
    growth = memory(server) - before
    # All events are 10 MiB of JSON: what is held of them for each of the readers would be seen.
    assert growth < 40 * MIB, f"{growth / MIB:.1f} MiB more"
    # Nobody lost anything: one of them reads on.
    links[-1].connection.transport.resume_reading()
    await links[-1].until(lambda: len(links[-1].events) == head + events + 4)
    judge(history).require(sequence=events, ended_once=3)


@pytest.mark.parametrize("followed", [False, True])
async def test_threads_without_a_run_cost_no_more_than_their_cache(
    launch: Callable[..., ServerProcess], join: Join, *, followed: bool
) -> None:
    server = launch(cache_bytes=str(MIB))
    users = [await join(server, f"user{number}") for number in range(8)]
    links = [await user.connect() for user in users]

    async def live(link: Link, first: int, last: int) -> None:
        for number in range(first, last):
            thread_id, run_id = f"t{number % 32 if followed else number}", f"r{number}"
            await link.script(thread_id, run_id, {"do": "deltas", "count": 20, "size": 200})
            await link.ended(thread_id, run_id)
            if not followed:
                await link.ok("detach", thread_id=thread_id)
            link.events.clear()

    async def round_of(first: int, last: int) -> int:
        async with asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(live(link, first, last))
        return memory(server)

    before = await round_of(0, 250)  # fills the pages that SQLite keeps
    growth = await round_of(250, 500) - before
    # The events and messages of the second round are over 12 MiB, without what each costs in objects.
    assert growth < 6 * MIB, f"{growth / MIB:.1f} MiB more"
    held = (await users[0].get("/health")).json()["event_log"]
    assert 0 < held["bytes"] <= MIB
