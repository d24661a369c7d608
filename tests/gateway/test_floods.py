"""A client that sends as fast as it can takes nothing from others: neither their turns nor the server's memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest

from tests.gateway.rawsocket import CONTINUATION, PING, PONG, TEXT, RawSocket, command, frame, upgraded
from tests.gateway.users import User
from tests.serverprocess import ServerProcess

SOCKETS = 6
SECONDS = 2.5
LONG = 0.5
"""A run that takes this many seconds was kept from its turn; undisturbed it takes 3 ms."""
MEGABYTE = 1 << 20


@asynccontextmanager
async def flooding(server: ServerProcess, message: bytes, *, reads: bool) -> AsyncIterator[None]:
    """Send `message` again and again on several sockets of one user, each until the server takes no more."""
    user = User(server)

    async def send(socket: RawSocket) -> None:
        for _ in range(100):
            await socket.send(message * 10)  # as much at once as the system takes

    async def read(socket: RawSocket) -> None:
        while await socket.reader.read(MEGABYTE):
            pass

    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(upgraded(server, user.token)) for _ in range(SOCKETS)]
        tasks = [asyncio.create_task(send(socket)) for socket in sockets]
        if reads:
            tasks += [asyncio.create_task(read(socket)) for socket in sockets]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    await user.http.aclose()


async def long_runs(server: ServerProcess) -> list[float]:
    """Run echo for another user again and again; the times of the runs that were kept waiting."""
    other = User(server)
    times = []
    async with other.connect() as socket:
        start = time.monotonic()
        while (began := time.monotonic()) - start < SECONDS:
            await socket.run("is anybody there?", thread_id="t1")
            times.append(time.monotonic() - began)
    await other.http.aclose()
    return [seconds for seconds in times if seconds > LONG]


async def test_a_flood_of_commands_does_not_starve_the_commits_of_others(server: ServerProcess) -> None:
    message = frame(TEXT, b"\n".join([b'{"id":1,"op":"ping"}'] * 10_000))
    async with flooding(server, message, reads=False):
        held = await long_runs(server)
    assert len(held) < 2, held  # one may be this machine's own doing


async def test_large_commands_wait_outside(server: ServerProcess) -> None:
    message = command(id=1, op="attach", thread_id="t1", padding="x" * (MEGABYTE - 1_000))
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    async with flooding(server, message, reads=True):
        held = await long_runs(server)
        grown = process.memory_info().rss - before
    assert len(held) < 2, held
    assert grown < 64 * MEGABYTE, f"{grown // MEGABYTE} MiB more"


async def test_a_message_of_blank_lines_costs_no_more_than_its_size(server: ServerProcess) -> None:
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    async with flooding(server, frame(TEXT, b"\n" * MEGABYTE), reads=True):
        await long_runs(server)
        grown = process.memory_info().rss - before
    assert grown < 64 * MEGABYTE, f"{grown // MEGABYTE} MiB more"


async def test_pings_that_come_at_once_are_answered_by_one_pong(server: ServerProcess) -> None:
    """As RFC 6455, 5.5.3, allows: the answer to the latest."""
    count = 20_000
    user = User(server)
    async with upgraded(server, user.token) as socket:
        await socket.send(b"".join(frame(PING, b"%d" % number) for number in range(count)))
        heard: list[int] = []
        while not heard or heard[-1] != count - 1:
            opcode, payload = await socket.frame()
            assert opcode == PONG
            heard.append(int(payload))
    assert heard == sorted(heard)
    assert len(heard) < count / 20
    await user.http.aclose()


@pytest.mark.parametrize("opcode", [PING, PONG, CONTINUATION])
async def test_of_a_flood_of_frames_that_say_nothing_little_is_read_at_once(server: ServerProcess, opcode: int) -> None:
    """They cost their sender nothing: on a few sockets they would take every other turn."""
    count = 20_000
    user = User(server)
    beginning = frame(TEXT, b"", fin=False) if opcode == CONTINUATION else b""
    async with upgraded(server, user.token) as socket:
        began = time.monotonic()
        await socket.send(beginning, frame(opcode, b"", fin=opcode != CONTINUATION) * count, frame(PING, b"last"))
        while (await socket.frame()) != (PONG, b"last"):
            pass
        assert time.monotonic() - began > 0.3
    await user.http.aclose()
