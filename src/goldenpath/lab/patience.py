"""How long a user waits for the end of a run: as long as something comes, but not for ever."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from goldenpath.lab.operations import too_long
from goldenpath.lab.progress import Progress
from goldenpath.lab.records import Invoke
from goldenpath.lab.stream import SeenRun
from goldenpath.lab.target import TargetError

AT_MOST: Final = 2.0
"""How many times their patience a user waits for a run of which something still comes."""
_EARLY: Final = 0.002
"""Seconds by which a timer may be early."""


class Patience:
    """Gives up when nothing has come of a run for `seconds` (TimeoutError), or it still goes on after `AT_MOST` times
    as long (`TargetError`, `slow`), both from when it was sent. `end` this."""

    def __init__(self, op: Invoke, end: asyncio.Future[SeenRun], progress: Progress, seconds: float) -> None:
        self._op = op
        self._end = end
        self._progress = progress
        self._seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if self._end.done():
            return
        now, (sent, heard) = perf_counter(), self._progress.heard(self._op)
        due = min(heard + self._seconds, sent + AT_MOST * self._seconds)
        if now < due - _EARLY:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._look)
        elif due < heard + self._seconds:
            self._end.set_exception(TargetError("slow", f"it still went on after {now - sent:.3g} s", definite=False))
        else:
            self._end.set_exception(too_long(self._seconds))

    def end(self) -> None:
        """It is over, one way or the other."""
        self._timer.cancel()
