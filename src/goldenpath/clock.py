"""Time as an argument: what to use instead of `time.time`, `asyncio.sleep`, `call_later` and `asyncio.timeout`.

Everything in Goldenpath that needs the time takes a `Clock`. `SystemClock` is the real one; `ManualClock` stands
still until a test moves it, so that no test sleeps.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """It does not come. Harmless when it has come, and when repeated."""
        ...


class Clock(Protocol):
    """A source of time. Safe to share; `sleep` and `call_later` belong to the running event loop."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back: for durations and deadlines."""
        ...

    def time(self) -> float:
        """Seconds since the Unix epoch, UTC: for what is stored or shown."""
        ...

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait `seconds`; 0 or less yields once. Cancelling is safe."""
        ...

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` on the event loop in `seconds`; 0 or less: in its next round."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(max(0, seconds))  # not awaited here: each coroutine on the way costs at every wake-up

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        return asyncio.get_running_loop().call_later(max(0, seconds), callback, *arguments)


class _ManualTimer:
    """A call that a `ManualClock` makes when it gets there."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class ManualClock:
    """A clock that moves only when told to. For tests: `advance` makes the calls that became due, in order."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._start = start
        self._timers: list[tuple[float, int, _ManualTimer]] = []
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
        timer = self.call_later(seconds, _wake, future)
        try:
            await future
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        timer = _ManualTimer(functools.partial(callback, *arguments))
        if seconds <= 0:
            asyncio.get_running_loop().call_soon(timer.fire)
        else:
            heapq.heappush(self._timers, (self._now + seconds, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds` (>= 0) and make every call, and wake every sleeper, that is due by then.

        Raises ValueError for a negative number.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        target = self._now + seconds
        while self._timers and self._timers[0][0] <= target:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            timer.fire()
        self._now = target


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Timeout:
    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = asyncio.timeout(None)
        self._timer: Timer | None = None

    async def __aenter__(self) -> asyncio.Timeout:
        await self._limit.__aenter__()
        self._timer = self._clock.call_later(self._seconds, self._limit.reschedule, 0)  # a moment long past: now
        return self._limit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)


def timeout(clock: Clock, seconds: float) -> AbstractAsyncContextManager[asyncio.Timeout, None]:
    """`asyncio.timeout` on `clock`: what is in the block longer than `seconds` is cancelled, and the block raises
    TimeoutError."""
    return _Timeout(clock, seconds)


def rfc3339(timestamp: float) -> str:
    """A Unix timestamp in seconds as RFC 3339 UTC with milliseconds, e.g. `2026-01-02T03:04:05.678Z`."""
    text = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
