"""When the event loop stood still: everybody waited meanwhile, mostly for an async agent that blocks. Sans-I/O."""

from __future__ import annotations

from typing import Final

STALL: Final = 0.5
"""A tick that comes so many seconds late tells of a stall."""
INTERVAL: Final = 10.0
"""Stalls are told of no more often than this, in seconds."""


class Stalls:
    """The longest stall since one was told. `now` is on a time line that does not go back, in seconds."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._told_at = float("-inf")

    def note(self, late: float, now: float) -> float | None:
        """Take a tick that came `late` seconds late. Returns the stall to tell of now; None: nothing. A stall may have
        been longer than this by the time between two ticks."""
        if late >= STALL:
            self._longest = max(self._longest, late)
        if self._longest == 0.0 or now - self._told_at < INTERVAL:
            return None
        longest, self._longest, self._told_at = self._longest, 0.0, now
        return longest
