"""How long an agent has been silent, decided without I/O.

Nothing is done for an event: whoever watches looks a few times within the limit whether something happened since the
look before. Silence is therefore found late by an eighth of the limit at most, and never early.
"""

from __future__ import annotations

from typing import Final

LOOKS: Final = 8
"""How often within the limit somebody looks."""


class Silence:
    """Since when nothing has happened. `limit` is how long that may be, in seconds, above 0."""

    __slots__ = ("_limit", "_mark", "_since")

    def __init__(self, limit: float, mark: int, now: float) -> None:
        self._limit = limit
        self._mark = mark
        self._since = now

    def look(self, mark: int, now: float, *, excused: bool) -> float | None:
        """Seconds until the next look; None: silent for too long. `mark` is another whenever something happened, and
        `excused` is who waits for what has a limit of its own."""
        if excused or mark != self._mark:
            self._mark = mark
            self._since = now
        left = self._since + self._limit - now
        return None if left <= 0 else min(left, self._limit / LOOKS)
