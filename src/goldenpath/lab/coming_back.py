"""A viewer who lost the connection and comes back: again and again, until it is there."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Final

RECONNECT_AFTER: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each attempt to come back, with jitter; the last repeats."""


class ComingBack:
    """`attempt` connects and reads on, and says whether the viewer is back; it may not raise."""

    def __init__(self, attempt: Callable[[], Awaitable[bool]], chance: random.Random) -> None:
        self._attempt = attempt
        self._random = chance
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The connection was lost. Nothing where it is about to come back already."""
        if not self.is_under_way:
            self._task = asyncio.ensure_future(self._come_back())

    def begin_again(self) -> None:
        """It is missed. Nothing where it never was lost."""
        if self._task is not None:
            self.begin()

    @property
    def is_under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    async def wait(self) -> None:
        """Until it is back; at once for the attempt itself. Cancelling it leaves the attempts alone."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.shield(self._task)

    async def _come_back(self) -> None:
        """The connection may be lost again meanwhile: then another one is tried."""
        for attempt in itertools.count():
            pause = RECONNECT_AFTER[min(attempt, len(RECONNECT_AFTER) - 1)]
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            if await self._attempt():
                return

    async def end(self) -> None:
        """The viewer leaves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
