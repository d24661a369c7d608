"""Many users at once: logged in, connected, each sending its messages one after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Self

from bench.load.tally import Tally
from bench.load.target import Target
from bench.load.user import User
from bench.meter import Meter, Usage

CONNECTING = 64
"""Connections opened at once."""


async def limited(work: Sequence[Callable[[], Awaitable[object]]], at_once: int) -> None:
    """Run all of `work`, at most `at_once` together; the first exception ends it."""
    queue = iter(work)

    async def worker() -> None:
        for item in queue:
            await item()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(work))):
            group.create_task(worker())


class Crowd:
    """A context manager that logs in and connects `users`, and closes the connections at the end."""

    def __init__(self, target: Target, users: range, *, read_buffer: int = 16 * 1024) -> None:
        self.target = target
        self.tally = Tally()
        self.users = [User(number, target, self.tally) for number in users]
        self._range = users
        self._read_buffer = read_buffer
        self._phase = 0

    async def __aenter__(self) -> Self:
        await self.target.login(self._range)
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for user in self.users:
            user.close()
        await asyncio.sleep(0.05)

    def drop(self) -> None:
        """Everyone vanishes at once, without a goodbye."""
        for user in self.users:
            user.drop()

    async def connect(self, at_once: int = CONNECTING) -> None:
        """Connect everyone who is not."""
        await limited(
            [partial(user.connect, self._read_buffer) for user in self.users if user.transport is None],
            at_once,
        )

    def reset(self) -> Tally:
        """Begin a new count."""
        self.tally = Tally()
        for user in self.users:
            user.tally = self.tally
        return self.tally

    async def stream(
        self,
        messages: int = 3,
        *,
        delay_ms: int = 0,
        over: float = 0.0,
        per_thread: int = 3,
        timeout: float = 60.0,
        server: int | None = None,
        seed: int = 1,
    ) -> tuple[Tally, Usage]:
        """Every user sends `messages`, the first at a random moment within `over` seconds, then each when the run
        before it ended. Returns when all ended or `timeout` seconds passed: what is missing then counts as failed.
        """
        tally = self.reset()
        tally.expected = messages * len(self.users)
        self._phase += 1
        waiting = set(self.users)
        done = asyncio.Event()

        def finished(user: User) -> None:
            waiting.discard(user)
            if not waiting:
                done.set()

        for user in self.users:
            user.on_done = finished
            user.plan(messages, delay_ms=delay_ms, per_thread=per_thread, prefix=f"bench{self._phase}-")
        schedule = random.Random(seed)
        offsets = sorted((schedule.random() * over, index) for index, _ in enumerate(self.users))
        meter = Meter(server)
        start = perf_counter() + 0.01
        try:
            async with asyncio.timeout(timeout):
                for offset, index in offsets:
                    wait = start + offset - perf_counter()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    self.users[index].send(start + offset)
                await done.wait()
        except TimeoutError:
            tally.failed["timeout"] += len(waiting)
        usage = meter.stop()
        await asyncio.sleep(0.02)  # for events that should not come any more
        for user in self.users:
            user.on_done = None
        return tally, usage
