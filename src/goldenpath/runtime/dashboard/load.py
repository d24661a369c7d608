"""Which users cause the load of the last minute: runs, events and bytes of each. Sans-I/O.

The minute is slices of ten seconds, and each slice counts the heaviest users of each measure (`HeavyHitters`): memory
is bounded whatever the number of users. While no slice has more users than `ROOM`, the figures are exact.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from heapq import nlargest
from typing import Final, Literal

import msgspec

from goldenpath.runtime.dashboard.hitters import HeavyHitters

Measure = Literal["runs", "events", "bytes"]
MEASURES: Final[tuple[Measure, ...]] = ("runs", "events", "bytes")
SLICE: Final = 10.0
"""Seconds."""
SLICES: Final = 6
ROOM: Final = 256
"""How many users a slice counts of each measure."""


class UserLoad(msgspec.Struct, frozen=True):
    """What one user's runs caused in the last minute."""

    user_id: str
    runs: int
    """Runs that were accepted."""
    events: int
    bytes: int


class Load:
    """The load of the last minute, by user. `now` is on a time line that does not go back, in seconds."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._slices: deque[tuple[int, dict[Measure, HeavyHitters]]] = deque(maxlen=SLICES)

    def add(self, measure: Measure, user_id: str, weight: int, now: float) -> None:
        """Count `weight` for a user."""
        number = int(now // SLICE)
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append((number, {each: HeavyHitters(self._room) for each in MEASURES}))
        self._slices[-1][1][measure].add(user_id, weight)

    def top(self, most: int, now: float, besides: Iterable[str] = ()) -> list[UserLoad]:
        """The `most` heaviest users of each measure together, and those of `besides`; by events, the most first."""
        oldest = int(now // SLICE) - SLICES + 1
        sums: dict[Measure, Counter[str]] = {each: Counter() for each in MEASURES}
        for number, slices in self._slices:
            if number >= oldest:
                for measure, hitters in slices.items():
                    for key, weight in hitters:
                        sums[measure][key] += int(weight)
        shown = dict.fromkeys(besides)
        for counted in sums.values():
            shown.update(dict.fromkeys(nlargest(most, counted, key=counted.__getitem__)))
        found = [UserLoad(user, *(sums[each][user] for each in MEASURES)) for user in shown]
        return sorted(found, key=lambda load: (-load.events, -load.runs, load.user_id))
