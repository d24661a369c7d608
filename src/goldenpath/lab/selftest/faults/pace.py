"""Everything arrives, but late, or not for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from goldenpath.lab.selftest.connection import Connection, Socket
from goldenpath.lab.selftest.faults.fault import Faulty, caught_by
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.settings import Settings
from goldenpath.lab.selftest.thread_log import Run
from goldenpath.lab.selftest.turns import Turns


@caught_by("levels", "first_token", "steady")
class BlockingCall(Faulty):
    """An agent blocks the loop for one and a half seconds."""

    async def answer(self, run: Run) -> AsyncIterator[str]:
        if self.strikes(100):
            time.sleep(1.5)  # noqa: ASYNC251  # the fault itself
        async for delta in super().answer(run):
            yield delta


@caught_by("levels", "first_token", "steady")
class GrowingQueue(ReferenceServer):
    """Runs are accepted without bound, and take longer than the time between them."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.turns = Turns(1)


@caught_by("fairness", "slowed", "flood")
class FirstComeFirstServed(ReferenceServer):
    """Places go to who asked first, so that a flood of one user's stands before everybody."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.turns = _Queue(settings.places)


class _Queue(Turns):
    """One line for all, who may have all places."""

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.most = places

    async def take(self, user: str) -> None:
        await super().take("everybody")

    def give_back(self, user: str) -> None:
        super().give_back("everybody")


@caught_by("levels", "first_token", "slow_readers")
class OneWriter(ReferenceServer):
    """All sockets are written to in turn, so that one slow reader makes everybody wait."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self._one_at_a_time = asyncio.Lock()

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:
        async with self._one_at_a_time:
            await super().send(connection, socket, text)


@caught_by("levels", "success", "path")
class DroppedConnections(Faulty):
    """Connections break without a word."""

    async def send(self, connection: Connection, socket: Socket, text: str) -> None:
        if self.strikes(300):
            socket.abort()
            return
        await super().send(connection, socket, text)
