"""Refusing new runs early, before everybody waits. Sans-I/O.

*When.* Two delays are watched: how late the event loop is, and how long a new run would wait for a place of the
process (Little's law: those who wait, by the rate at which they start). As in CoDel (Nichols and Jacobson, "Controlling
Queue Delay", ACM Queue 2012), what tells a queue that stands from one that only had a burst is the *least* delay of an
interval: here the least of the last `SUSTAINED` windows of one second. Of a window's lateness the median counts, by
time. So a stall, however long, is one window; a processor that is away for moments is none; what fills three windows
in a row is overload. The least delay, as a part of its bound, is the *pressure*.

*How much.* The part of new runs that is taken falls by a factor while the pressure is 1 or more, and rises by steps
while it is below `CALM`; between the two it stays. Additive increase, multiplicative decrease (Chiu and Jain 1989)
settles near what the server can do, and does not swing between everybody and nobody.

*Whose.* As in DAGOR (Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018) the higher tiers come
first, and within a tier it is users who are taken or not, by a hash that changes from epoch to epoch: who is in is
served well for a while, and a user who sends a thousand runs has no more chances than one who sends one. Who is out is
told when the dice are thrown again.

What runs or waits already is not touched.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from goldenpath.runtime.context import Principal
from goldenpath.wire.errors import RequestError

WINDOW: Final = 1.0
"""The least length of a window, in seconds."""
SUSTAINED: Final = 3
"""So many windows in a row must be late."""
STARTS: Final = 10
"""Over so many windows it is counted how many waiting runs start."""
CALM: Final = 0.5
"""The part of new runs that is taken rises below this pressure."""
FALL: Final = 0.7
"""What it is multiplied with in a window of overload."""
RISE: Final = 0.05
"""What is added to it in a calm window."""
LEAST: Final = 0.05
"""It is never less than this: somebody must find out that the server is well again."""
EPOCH: Final = 10.0
"""So long a user is in, or out, while the part that is taken stays the same, in seconds."""
_MEMORY: Final = 0.8
"""How much of how many asked in earlier windows counts in the next one."""


class Queue(msgspec.Struct, frozen=True):
    """Who waits for a place of the process."""

    waiting: int
    """Users whose next run waits for nothing else: it is their turn one after another."""
    admitted: int
    """Runs that got a place, since the start."""


class OverloadStatistics(msgspec.Struct, frozen=True):
    """How much there is to do, and how much of what is new is taken."""

    pressure: float
    """The sustained delay, as a part of its bound: 1 or more is overload."""
    lag: float
    """How late the event loop was in the last second, in seconds."""
    wait: float
    """How long a new run would wait for a place of the process, in seconds."""
    taken: float
    """The part of new runs that is taken, 0 to 1."""
    refused: int
    """Runs that were refused because of it."""


class Overload:
    """The overload control of one server. `tiers`: the lowest first. A bound of None is not watched. Belongs to the
    event loop's thread; `now` is monotonic seconds."""

    def __init__(self, tiers: Sequence[str], *, lag_bound: float | None, wait_bound: float | None) -> None:
        tiers = tiers if "free" in tiers else ("free", *tiers)  # what an unknown tier counts as
        self._lag_bound = lag_bound
        self._wait_bound = wait_bound
        self._beats: list[tuple[float, float]] = []
        """How late each beat of this window was, and the time that it stands for."""
        self._began: float | None = None
        self._beat_at = 0.0
        self._lag = self._wait = self._pressure = 0.0
        self._lags: deque[float] = deque(maxlen=SUSTAINED)
        """Of the latest windows: how late the event loop was."""
        self._late: deque[float] = deque(maxlen=SUSTAINED)
        """Of the latest windows: the delay as a part of its bound."""
        self._closed: deque[tuple[float, int]] = deque(maxlen=STARTS + 1)
        """When the latest windows ended, which a stall makes longer, and how many runs had a place by then."""
        self._taken = 1.0
        self._asked = dict.fromkeys(tiers, 0.0)
        """How many runs of each tier were asked for lately, the lowest tier first."""
        self._parts = dict.fromkeys(tiers, 1.0)
        """The part of each tier that is taken."""
        self._refused = 0

    @property
    def pressure(self) -> float:
        """The sustained delay, as a part of its bound: 1 or more is overload."""
        return self._pressure

    @property
    def unrelieved_lag(self) -> float:
        """How late the event loop stays though as few new runs are taken as may be, in seconds; 0 while there is still
        something to be done here. Where no lag is watched: how late it stays."""
        if self._lag_bound is not None and self._taken > LEAST:
            return 0.0
        return min(self._lags) if len(self._lags) == SUSTAINED else 0.0

    # --- watching -----------------------------------------------------------------------------------------------------

    def beat(self, late: float, now: float) -> bool:
        """The event loop came `late` seconds late. Returns whether a window is over: then `close` it."""
        if self._began is None:
            self._began = self._beat_at = now
            return False
        self._beats.append((late, now - self._beat_at))
        self._beat_at = now
        return now - self._began >= WINDOW

    def close(self, queue: Queue, now: float) -> None:
        """Judge the window that ends now."""
        self._lag = _median(self._beats)
        self._lags.append(self._lag)
        self._beats.clear()
        self._began = now
        self._closed.append((now, queue.admitted))
        self._wait = self._wait_of(queue.waiting)
        delays = ((self._lag, self._lag_bound), (self._wait, self._wait_bound))
        self._late.append(max((delay / bound for delay, bound in delays if bound is not None), default=0.0))
        self._pressure = min(self._late) if len(self._late) == SUSTAINED else 0.0
        if self._pressure >= 1:
            self._taken = max(LEAST, self._taken * FALL)
        elif max(self._late) < CALM:
            self._taken = min(1.0, self._taken + RISE)
        self._share()

    def _wait_of(self, waiting: int) -> float:
        (began, before), (ended, admitted) = self._closed[0], self._closed[-1]
        return waiting * (ended - began) / max(admitted - before, 1)

    def _share(self) -> None:
        """Share what is taken out among the tiers, the highest first."""
        left = self._taken * sum(self._asked.values())
        for tier in reversed(self._asked):
            asked = self._asked[tier]
            part = min(asked, left)
            left -= part
            self._parts[tier] = part / asked if asked > 0 and self._taken < 1 else self._taken
            self._asked[tier] = asked * _MEMORY

    # --- deciding -----------------------------------------------------------------------------------------------------

    def check(self, principal: Principal, now: float) -> None:
        """A user asks for a new run. Raises `RequestError` (`overloaded`) where it is not taken."""
        tier = principal.tier if principal.tier in self._parts else "free"
        self._asked[tier] += 1
        if self._taken >= 1:
            return
        user = principal.user_id
        # Everybody's epochs begin at another time: not all who were refused come back at once.
        epochs = now / EPOCH + _dice(user)
        if _dice(f"{math.floor(epochs)} {user}") < self._parts[tier]:
            return
        self._refused += 1
        retry_after = (1 - epochs % 1) * EPOCH
        raise RequestError("overloaded", "the server has too much to do; try again later", retry_after=retry_after)

    def statistics(self) -> OverloadStatistics:
        return OverloadStatistics(self._pressure, self._lag, self._wait, self._taken, self._refused)


def _dice(text: str) -> float:
    """A number from 0 to 1, always the same for `text`."""
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big") / (1 << 56)


def _median(beats: list[tuple[float, float]]) -> float:
    """The lateness that half of the time was not exceeded."""
    half = sum(seconds for _, seconds in beats) / 2
    for late, seconds in sorted(beats):
        half -= seconds
        if half <= 0:
            return late
    return 0.0
