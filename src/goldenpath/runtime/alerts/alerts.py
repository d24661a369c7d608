"""Which alerts fire. Sans-I/O.

The life of an alert is that of Prometheus's alerting rules (its `for` and `keep_firing_for`): *inactive*, *pending*
while the signal is wrong but not for long enough, *firing*, *resolved* when it has not been wrong for
`keep_firing_for`. One look in which the signal is right ends *pending*. A signal that nobody measured is neither right
nor wrong: it ends *pending*, too, because it was not wrong all the time; an alert that fires ends by silence only after
`keep_firing_for`, and the change says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from goldenpath.runtime.alerts.rules import Action, AlertRule, Severity

HISTORY: Final = 500
"""How many changes are remembered."""


class Reading(NamedTuple):
    """What a signal said."""

    value: float | None
    """None: nothing was measured."""
    samples: int = 1
    """Of how many events it is made."""


SILENCE: Final = Reading(None, 0)
"""What a signal says that cannot be read."""

State = Literal["inactive", "pending", "firing"]


class AlertChange(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fires, fires still, or is over. Times are Unix seconds."""

    alert: str
    state: Literal["firing", "resolved"]
    severity: Severity
    actions: tuple[Action, ...]
    summary: str
    signal: str
    bound: str
    """E.g. `> 0.05`."""
    value: float | None
    """Of the signal now; None: nothing was measured lately."""
    since: float
    """When the signal began to be wrong."""
    at: float
    reminder: bool = False
    """Whether it was told before: it fires still."""


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """How one alert stands, for people and pages. Times are Unix seconds."""

    name: str
    state: State
    severity: Severity
    actions: tuple[Action, ...]
    summary: str
    signal: str
    bound: str
    value: float | None
    """At the last look; None: nothing was measured."""
    since: float | None
    """When the signal began to be wrong; None: it is not."""


class AlertStatistics(msgspec.Struct, frozen=True):
    """How many alerts there are in which state, and what was fired since the start."""

    pending: int
    """Alerts whose signal is wrong, but not for long enough."""
    firing: int
    """Alerts that fire."""
    fired: int
    """Alerts that fired."""
    resolved: int
    """Alerts that were resolved."""


class _Alert:
    __slots__ = ("name", "rule", "since", "since_time", "state", "told", "value", "wrong")

    def __init__(self, name: str, rule: AlertRule) -> None:
        self.name = name
        self.rule = rule
        self.state: State = "inactive"
        self.value: float | None = None
        self.since = 0.0  # monotonic: since when it is wrong
        self.since_time = 0.0  # the same as Unix time
        self.wrong = 0.0  # monotonic: when it was wrong last
        self.told = 0.0  # monotonic: when it was told last


class Alerts:
    """All alerts of one server. Not thread-safe."""

    def __init__(self, rules: Mapping[str, AlertRule]) -> None:
        self._alerts = [_Alert(name, rule) for name, rule in rules.items() if not rule.off]
        self.history: deque[AlertChange] = deque(maxlen=HISTORY)
        """The last changes, the oldest first; reminders are not among them."""
        self._fired = self._resolved = 0

    @property
    def signals(self) -> frozenset[str]:
        """What has to be looked at."""
        return frozenset(alert.rule.signal for alert in self._alerts)

    def look(self, readings: Mapping[str, Reading], *, now: float, time: float) -> list[AlertChange]:
        """What `readings` (of all `signals`) change at `now`, in seconds that never go back. `time` is the same as
        Unix time."""
        changes = []
        for alert in self._alerts:
            reading = readings.get(alert.rule.signal, SILENCE)
            alert.value = reading.value if reading.samples >= alert.rule.min_samples else None
            change = self._next(alert, now, time)
            if change is not None:
                changes.append(change)
                if not change.reminder:
                    self.history.append(change)
        return changes

    def _next(self, alert: _Alert, now: float, time: float) -> AlertChange | None:
        rule, value = alert.rule, alert.value
        wrong = value is not None and rule.is_wrong(value)
        if wrong:
            alert.wrong = now
        if alert.state == "inactive" and wrong:
            alert.state, alert.since, alert.since_time = "pending", now, time
        if alert.state == "pending":
            if not wrong:
                alert.state = "inactive"
            elif now - alert.since >= rule.hold:
                alert.state, alert.told = "firing", now
                self._fired += 1
                return _change(alert, "firing", time)
            return None
        if alert.state == "firing":
            if not wrong and now - alert.wrong >= rule.keep_firing_for:
                alert.state = "inactive"
                self._resolved += 1
                return _change(alert, "resolved", time)
            if rule.repeat_every and now - alert.told >= rule.repeat_every:
                alert.told = now
                return _change(alert, "firing", time, reminder=True)
        return None

    def wrong(self, action: Action) -> dict[str, AlertRule]:
        """The rules, by name, of the alerts with this action that fire, and whose signal was wrong at the last look:
        one that fires still because it was wrong lately is none of them."""
        return {
            alert.name: alert.rule
            for alert in self._alerts
            if alert.state == "firing" and action in alert.rule.actions
            if alert.value is not None and alert.rule.is_wrong(alert.value)
        }

    def view(self) -> list[AlertView]:
        """How all alerts stand: those that fire first, then the pending ones, then by name."""
        order = {"firing": 0, "pending": 1, "inactive": 2}
        return [
            AlertView(
                name=alert.name,
                state=alert.state,
                severity=alert.rule.severity,
                actions=alert.rule.actions,
                summary=alert.rule.summary,
                signal=alert.rule.signal,
                bound=alert.rule.bound,
                value=alert.value,
                since=None if alert.state == "inactive" else alert.since_time,
            )
            for alert in sorted(self._alerts, key=lambda alert: (order[alert.state], alert.name))
        ]

    def statistics(self) -> AlertStatistics:
        states = [alert.state for alert in self._alerts]
        return AlertStatistics(
            pending=states.count("pending"),
            firing=states.count("firing"),
            fired=self._fired,
            resolved=self._resolved,
        )


def _change(alert: _Alert, state: Literal["firing", "resolved"], time: float, *, reminder: bool = False) -> AlertChange:
    rule = alert.rule
    return AlertChange(
        alert=alert.name,
        state=state,
        severity=rule.severity,
        actions=rule.actions,
        summary=rule.summary,
        signal=rule.signal,
        bound=rule.bound,
        value=alert.value,
        since=alert.since_time,
        at=time,
        reminder=reminder,
    )
