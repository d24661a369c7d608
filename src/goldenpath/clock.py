"""Time as an argument: what to use instead of `time.time` and `asyncio.sleep`.

Everything in Goldenpath that needs the time takes a `Clock`. `SystemClock` is the real one; `ManualClock` stands
still until a test moves it, so that no test sleeps.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time. Safe to share; `sleep` belongs to the running event loop."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back: for durations and deadlines."""
        ...

    def time(self) -> float:
        """Seconds since the Unix epoch, UTC: for what is stored or shown."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`; 0 or less yields once. Cancelling is safe."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0, seconds))


class ManualClock:
    """A clock that moves only when told to. For tests: `advance` wakes the sleepers that became due, in order."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._start + self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds` (>= 0) and wake every sleeper that is due by then.

        Raises ValueError for a negative number.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        target = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
        self._now = target


def rfc3339(timestamp: float) -> str:
    """A Unix timestamp in seconds as RFC 3339 UTC with milliseconds, e.g. `2026-01-02T03:04:05.678Z`."""
    text = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
