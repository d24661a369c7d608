"""When the server rolls back by itself, and what it takes back next. Sans-I/O.

Something that is wrong, a bad signal or an incident, calls for the levels one after the other, the fastest and least
far-reaching first. After each there is a pause in which it may help; and what was measured before it says nothing of
whether it did. What is in effect already is not done again.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final, Literal

import msgspec

Level = Literal["flags", "timeouts", "code"]
"""What is taken back."""
LADDER: Final[tuple[Level, ...]] = ("flags", "timeouts", "code")
MAX_TRIGGERS: Final = 100
"""How many things may be wrong at once; more are not needed to know that something is."""


class Step(msgspec.Struct, frozen=True):
    """What to do now, and what for."""

    level: Level
    why: str


class RollbackPolicy:
    """What is wrong now, and when something was last done about it. `now` is on a time line that does not go back, in
    seconds. `cool_down`: for how long after a roll-back, or after one was undone, nothing more is done. `code`: whether
    the code may be rolled back without a person."""

    def __init__(self, cool_down: float, *, code: bool) -> None:
        self._cool_down = cool_down
        self._ladder = LADDER if code else LADDER[:-1]
        self._triggers: dict[str, tuple[str, float]] = {}
        self._acted_at: float | None = None

    @property
    def triggers(self) -> dict[str, str]:
        """What is wrong now, by name, and in words."""
        return {name: why for name, (why, _) in self._triggers.items()}

    def set(self, name: str, why: str | None, over: float = 0.0) -> None:
        """`name` is wrong from now on, `why` in words; None: it is not, or no more. `over`: so many seconds back goes
        what says so; nothing more is done for it until these lie after what was done last."""
        if why is None:
            self._triggers.pop(name, None)
        elif name in self._triggers or len(self._triggers) < MAX_TRIGGERS:
            self._triggers[name] = (why, over)

    def acted(self, now: float) -> None:
        """Somebody, or the server, rolled back or undid it: the cool-down begins."""
        self._acted_at = now

    def cooling(self, now: float) -> float:
        """For how many more seconds nothing is done."""
        return 0.0 if self._acted_at is None else max(0.0, self._acted_at + self._cool_down - now)

    def next_level(self, in_effect: Collection[Level]) -> Level | None:
        """The level that would be next where those `in_effect` are; None: there is none left."""
        return next((level for level in self._ladder if level not in in_effect), None)

    def decide(self, in_effect: Collection[Level], now: float) -> Step | None:
        """What to do at `now`; None: nothing, because nothing is wrong, it is too early, or no level is left."""
        level = self.next_level(in_effect)
        if level is None or self.cooling(now) > 0:
            return None
        since = math.inf if self._acted_at is None else now - self._acted_at
        reasons = [why for why, over in self._triggers.values() if over <= since]
        return Step(level, "; ".join(reasons)) if reasons else None
