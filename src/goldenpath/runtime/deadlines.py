"""Deadlines, inherited through a request: a child never outlives its parent, and who fires is known.

A `Deadline` is data: when, which level of the time-outs set it, and how long that was. `Deadlines` starts them on the
server's clock, bounds blocks of code by them, and counts those that fire.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import msgspec

from goldenpath.clock import Clock, Timer
from goldenpath.runtime.timeouts import LEVELS, CurrentTimeouts, Level
from goldenpath.wire.errors import RequestError


class TimedOut(RequestError):
    """A deadline passed (`timeout`). `level` says which time-out fired, `seconds` after how long."""

    def __init__(self, level: Level, seconds: float) -> None:
        super().__init__("timeout", f"{level} timed out after {seconds:.1f} s")
        self.level = level
        self.seconds = seconds


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """Until when something may take. `at` is on the clock's monotonic time line; `seconds` is what `level` gave."""

    at: float
    level: Level
    seconds: float

    def child(self, level: Level, seconds: float, now: float) -> Deadline:
        """The deadline of a part that may take `seconds` from `now`: this one where that would be later."""
        at = now + seconds
        return Deadline(at, level, seconds) if at < self.at else self

    def remaining(self, now: float) -> float:
        """Seconds left; never below 0."""
        return max(0.0, self.at - now)


class TimeoutStatistics(msgspec.Struct, frozen=True):
    """How often each level of the time-outs fired since the start."""

    run: int
    """Runs that took all their time."""
    queue: int
    """Runs that waited too long for a place."""
    factory: int
    """Runs whose engine was not ready in time."""
    websocket_recv: int
    """Commands and calls whose answer was not ready in time."""
    agent_execution: int
    """Runs whose agent made no progress for too long."""
    tool: int
    """Calls of tools that took too long."""
    model: int
    """Model endpoints that were silent for too long."""
    model_connect: int
    """Model endpoints that could not be reached in time."""
    database: int
    """Reads of the database that took too long."""
    orchestration: int
    """Starts whose time was over before all that they depend on was there."""
    startup: int
    """Rounds of the start's checks that took too long."""
    health_wait: int
    """Services that did not become healthy in time."""
    health_check: int
    """Checks of a service that took too long."""
    api_response: int
    """Answers of a service that took too long."""


class Deadlines:
    """Starts deadlines by the time-outs in force, and counts those that fire. Belongs to one event loop."""

    def __init__(self, clock: Clock, timeouts: CurrentTimeouts) -> None:
        self.clock = clock
        self.timeouts = timeouts
        self._fired: dict[Level, int] = dict.fromkeys(LEVELS, 0)

    def start(self, level: Level, seconds: float | None = None) -> Deadline:
        """A deadline with no parent, from now; `seconds`: None takes those of `level` in force."""
        given = self.timeouts.now.of(level) if seconds is None else seconds
        return Deadline(self.clock.monotonic() + given, level, given)

    def fired(self, level: Level, seconds: float) -> TimedOut:
        """Count that `level` fired after `seconds`. Returns the error that says so."""
        self._fired[level] += 1
        return TimedOut(level, seconds)

    def within(self, deadline: Deadline) -> AbstractAsyncContextManager[None]:
        """Cancel what is in the block at `deadline`; the block then raises `TimedOut`, and it is counted."""
        return _Within(self, deadline)

    def statistics(self) -> TimeoutStatistics:
        return TimeoutStatistics(**self._fired)


class _Within:
    """`asyncio.timeout` on the server's clock, in half of its time: commands that hardly wait pass through here."""

    __slots__ = ("_cancelling", "_deadline", "_deadlines", "_fired", "_task", "_timer")

    def __init__(self, deadlines: Deadlines, deadline: Deadline) -> None:
        self._deadlines = deadlines
        self._deadline = deadline
        self._fired = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        clock = self._deadlines.clock
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._timer: Timer = clock.call_later(self._deadline.remaining(clock.monotonic()), self._fire)

    def _fire(self) -> None:
        self._fired = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Where somebody else cancels too, or the block ended by itself, that counts.
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            deadline = self._deadline
            raise self._deadlines.fired(deadline.level, deadline.seconds) from None
