"""The event loop's pulse: a timer that says how late it came, five times a second.

Everybody on the loop waits as long as the pulse is late. Who has to know listens to it: signals, the overload
controller, the stall detector, whose thread sees the last beat become old while the loop stands still.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import CodeType
from typing import Final

import structlog

from goldenpath.clock import Clock, Timer
from goldenpath.runtime.stacks import codes_below

INTERVAL: Final = 0.2
"""The time from one beat to the next, in seconds."""

Listener = Callable[[float, float], None]
"""Called on the loop at each beat: how late it came, and the monotonic time, both in seconds."""

_logger = structlog.get_logger("goldenpath.pulse")


class Pulse:
    """Beats from `start` to `stop`, both called on the loop. `due` and `thread` may be read from any thread."""

    def __init__(self, clock: Clock) -> None:
        self.due = 0.0
        """When the next beat is to come, on the clock's monotonic time line."""
        self.thread: int | None = None
        """The loop's thread; None while it does not beat."""
        self.base: frozenset[CodeType] = frozenset()
        """The code that runs the loop, below whatever runs on it."""
        self._clock = clock
        self._listeners: list[Listener] = []
        self._timer: Timer | None = None

    def listen(self, listener: Listener) -> None:
        """Call `listener` at each beat. What it raises is logged."""
        self._listeners.append(listener)

    def start(self) -> None:
        self.due = self._clock.monotonic()
        self._timer = self._clock.call_later(0, self._begin)

    def _begin(self) -> None:
        self.base = codes_below()
        self.thread = threading.get_ident()
        self._beat()

    def _beat(self) -> None:
        now = self._clock.monotonic()
        late = max(0.0, now - self.due)
        for listener in self._listeners:
            try:
                listener(late, now)
            except Exception:
                _logger.exception("pulse_listener_failed")
        self.due = now + INTERVAL
        self._timer = self._clock.call_later(INTERVAL, self._beat)

    def stop(self) -> None:
        """Beat no more. Harmless when repeated."""
        self.thread = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
