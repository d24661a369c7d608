"""The alerts of a running server: looks at the signals again and again, tells who is to be told, acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.alerts.alerts import SILENCE, AlertChange, Alerts, Reading
from goldenpath.runtime.alerts.delivery import Delivery
from goldenpath.runtime.signals import Signals, reach

_logger = structlog.get_logger("goldenpath.alerts")

INTERVAL: Final = 5.0
"""Seconds between two looks."""


class SetTrigger(Protocol):
    """Is told, by an alert's name, why a roll-back is called for, and over how many seconds that was measured; and
    with None that it is no more. Must not wait."""

    def __call__(self, name: str, why: str | None, over: float, /) -> object: ...


class Alerting:
    """A roll-back is called for while an alert with that action fires and its signal is wrong. `listeners` are shown
    every change that is no reminder. Belongs to one event loop."""

    def __init__(
        self,
        alerts: Alerts,
        delivery: Delivery,
        signals: Signals,
        clock: Clock,
        *,
        set_trigger: SetTrigger,
    ) -> None:
        self.alerts = alerts
        self.delivery = delivery
        self._signals = signals
        self._clock = clock
        self._set_trigger = set_trigger
        self.listeners: list[Callable[[AlertChange], object]] = []
        self._calling: frozenset[str] = frozenset()
        """The alerts that call for a roll-back."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look every `INTERVAL` seconds while the context is open; at its end what is to be told is, for two seconds at
        most. Raises `AlertsError` where a receiver cannot be one."""
        task: asyncio.Task[None] | None = None
        try:
            await self.delivery.start()
            task = asyncio.create_task(self._watch(), name="goldenpath-alerts")
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await self.delivery.stop()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Look now. Whatever a signal, a listener or the roll-back raises is logged, and the others go on."""
        now = self._clock.monotonic()
        readings = {signal: self._reading(signal, now) for signal in self.alerts.signals}
        for change in self.alerts.look(readings, now=now, time=self._clock.time()):
            self._act(change)
        self._call_for_rollback()

    def test(self) -> list[str]:
        """Tell every receiver that this is a test. Returns their names."""
        now = self._clock.time()
        return self.delivery.tell(
            AlertChange(
                alert="test",
                state="firing",
                severity="info",
                actions=("page", "chat"),
                summary="This is a test: whoever reads it is told of alerts.",
                signal="test",
                bound="> 0",
                value=1.0,
                since=now,
                at=now,
            )
        )

    def _reading(self, signal: str, now: float) -> Reading:
        try:
            return Reading(self._signals.read(signal, now), self._signals.samples(signal, now))
        except Exception:
            _logger.exception("signal_not_read", signal=signal)
            return SILENCE

    def _act(self, change: AlertChange) -> None:
        log = _logger.info if change.state == "resolved" else _logger.warning
        log(f"alert_{change.state}", alert=change.alert, signal=change.signal, value=change.value, bound=change.bound)
        self.delivery.tell(change)
        if change.reminder:
            return
        for listener in self.listeners:
            self._do(partial(listener, change), change.alert)

    def _call_for_rollback(self) -> None:
        wrong = self.alerts.wrong("rollback")
        before, self._calling = self._calling, frozenset(wrong)
        for name in sorted(before - self._calling):
            self._do(partial(self._set_trigger, f"alert {name}", None, 0.0), name)
        for name in sorted(self._calling - before):
            rule = wrong[name]
            over = reach(rule.signal) + INTERVAL  # as the look may have been so long ago
            self._do(partial(self._set_trigger, f"alert {name}", f"{rule.signal} {rule.bound}", over), name)

    def _do(self, work: Callable[[], object], alert: str) -> None:
        try:
            work()
        except Exception:
            _logger.exception("alert_action_failed", alert=alert)
