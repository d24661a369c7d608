"""The event loop stands still: who blocked it, where, for how long.

A thread looks at the pulse. When the next beat is overdue by more than the bound it takes the stack of the loop's
thread; when the beat comes at last, that says how long the stall was. What the loop itself does for it, and what the
thread costs it while all is well, is in docs/design/0007. `Stalls` is the memory of it, without threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.pulse import Pulse
from goldenpath.runtime.stacks import Work, work_of

RECENT: Final = 32
"""So many stalls are remembered."""
PLACES: Final = 256
"""Of so many places it is known when they were told of last."""
TOLD_EVERY: Final = 60.0
"""The log tells of one place no more often than this, in seconds."""
HANGING: Final = 5.0
"""A stall that goes on for so many seconds is told of before it ends: it may not."""
SHORTEST_WAIT: Final = 0.02
"""The thread looks no more often than this, in seconds."""
NOBODY: Final = Work()

ADVICE: Final = "who blocks the loop keeps everybody waiting: make the agent a plain function, or call run.in_thread"

_logger = structlog.get_logger("goldenpath.stalls")


class Stall(msgspec.Struct, frozen=True):
    """The event loop stood still once."""

    at: float
    """When it ended, in seconds since the Unix epoch."""
    seconds: float
    """How long."""
    work: Work
    """What the loop was doing; nothing where the whole process stood still, or did not get a processor."""


class StallStatistics(msgspec.Struct, frozen=True):
    """How often and how long the event loop stood still since the start."""

    count: int
    """Stalls."""
    agents: int
    """Those of them that an agent's run was seen to cause."""
    unexplained: int
    """Those in which no code was seen at work: the machine was too busy, or the process was stopped."""
    seconds: float
    """Seconds of all stalls together."""
    longest: float
    """The longest, in seconds."""


class Told(msgspec.Struct, frozen=True):
    """What the log is to be told of one place."""

    stall: Stall
    """The longest there since the last time."""
    times: int
    """How many there were."""


class _Place:
    __slots__ = ("longest", "times", "told_at")

    def __init__(self) -> None:
        self.told_at = float("-inf")
        self.times = 0
        self.longest: Stall | None = None


class Stalls:
    """The stalls of one loop. Sans-I/O; belongs to the loop's thread. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._recent: deque[Stall] = deque(maxlen=RECENT)
        self._places: OrderedDict[str | None, _Place] = OrderedDict()
        self._count = self._agents = self._unexplained = 0
        self._seconds = self._longest = 0.0

    def add(self, stall: Stall, now: float) -> Told | None:
        """Remember a stall. Returns what the log is to be told now, if anything."""
        self._recent.append(stall)
        self._count += 1
        self._agents += stall.work.agent is not None
        self._unexplained += stall.work.place is None
        self._seconds += stall.seconds
        self._longest = max(self._longest, stall.seconds)
        place = self._places.setdefault(stall.work.place, _Place())
        self._places.move_to_end(stall.work.place)
        if len(self._places) > PLACES:
            self._places.popitem(last=False)
        place.times += 1
        if place.longest is None or stall.seconds > place.longest.seconds:
            place.longest = stall
        if now - place.told_at < TOLD_EVERY:
            return None
        told = Told(place.longest, place.times)
        place.told_at, place.times, place.longest = now, 0, None
        return told

    def recent(self) -> list[Stall]:
        """The latest stalls, the newest last."""
        return list(self._recent)

    def statistics(self) -> StallStatistics:
        return StallStatistics(self._count, self._agents, self._unexplained, self._seconds, self._longest)


Listener = Callable[[Stall], None]


class StallDetector:
    """Watches the loop that `pulse` beats on. `start` and `stop` are called there; `listen` before.

    `bound` in seconds: a stall is what is longer; 0: nothing is watched.
    """

    def __init__(self, pulse: Pulse, clock: Clock, bound: float) -> None:
        self.stalls = Stalls()
        self._pulse = pulse
        self._clock = clock
        self._bound = bound
        self._listeners: list[Listener] = []
        self._seen: tuple[float, Work] | None = None
        """Which beat is overdue, and what the loop was seen doing instead. Written by the thread, read by the loop."""
        self._end = threading.Lock()
        """Held while the thread is to watch. A bare lock: its wake-ups cost half of an Event's."""
        self._thread: threading.Thread | None = None
        self._on, self._started = True, False
        pulse.listen(self._on_beat)

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the loop after each stall."""
        self._listeners.append(listener)

    def switch(self, on: bool) -> None:
        """Off: nothing is watched between `start` and `stop`, and the thread ends."""
        self._on = on
        if self._started and not on:
            self._end_thread()
        elif self._started:
            self._begin_thread()

    def start(self) -> None:
        self._started = True
        self._begin_thread()

    def _begin_thread(self) -> None:
        if self._bound > 0 and self._on and self._thread is None:
            loop = asyncio.get_running_loop()
            self._end = threading.Lock()  # the thread before holds the old one
            self._end.acquire()
            thread = threading.Thread(target=self._watch, args=(loop,), name="goldenpath-stalls", daemon=True)
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """Watch no more. Harmless when repeated, and where nothing was started."""
        self._started = False
        self._end_thread()

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._end.release()
            self._thread.join()
            self._thread = None

    # --- on the loop --------------------------------------------------------------------------------------------------

    def _on_beat(self, late: float, now: float) -> None:
        if not (self._on and 0 < self._bound < late):
            return
        seen, self._seen = self._seen, None
        work = seen[1] if seen is not None and seen[0] == self._pulse.due else NOBODY
        stall = Stall(self._clock.time(), round(late, 3), work)
        told = self.stalls.add(stall, now)
        if told is not None:
            _tell("event_loop_stood_still", told.stall.work, longest_seconds=told.stall.seconds, times=told.times)
        for listener in self._listeners:
            listener(stall)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        pulse, hangs = self._pulse, -1.0
        wait = self._bound
        while not self._end.acquire(timeout=wait):
            thread, due = pulse.thread, pulse.due
            if thread is None:  # it does not beat yet, or any more
                continue
            overdue = self._clock.monotonic() - due
            if overdue <= self._bound:
                wait = max(self._bound - overdue, SHORTEST_WAIT)
                continue
            wait = self._bound
            if self._seen is None or self._seen[0] != due:
                work = work_of(thread, loop, pulse.base)
                if pulse.due == due:  # else it was over before its stack was taken
                    self._seen = (due, work)
            elif overdue > HANGING and hangs != due:
                hangs = due
                _tell("event_loop_stands_still", self._seen[1], seconds=round(overdue, 1))


def _tell(event: str, work: Work, **facts: float) -> None:
    _logger.warning(
        event,
        **facts,
        agent=work.agent,
        run_id=work.run_id,
        tool=work.tool,
        place=work.place,
        frames=list(work.stack),
        advice=ADVICE if work.place else "the process did not get on: is the machine too busy, or was it suspended?",
    )
