"""Whether users are well served, as named numbers: what health shows, alerts watch, and roll-backs are triggered by.

The parts record on their way what took how long and what failed (`Signals.connect`, `run`, ...); everybody else reads
by name. A name stands for the last five minutes; `_1m` or `_1h` behind it for the last minute or hour. None means
that nothing happened that the number could be made of: that is unknown, never well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from goldenpath.runtime.windows import SLICES, STEP, Counts, Durations, Span
from goldenpath.wire.errors import ErrorName, GoldenpathError

USUAL: Final[Span] = "5m"
"""The window of a name that does not say one."""
FAULTS: Final[frozenset[ErrorName]] = frozenset({"internal", "upstream_unavailable", "not_configured"})
"""What is told of faults of the server, or of what it depends on. By the others it refuses what was asked amiss, or too
often, `overloaded` included: whoever asked may be well served otherwise, and a roll-back would not help."""
_SUFFIXES: Final[dict[str, Span]] = {"_1m": "1m", "_5m": "5m", "_1h": "1h"}


class UnknownSignal(GoldenpathError, KeyError):
    """There is no signal of this name."""

    def __str__(self) -> str:
        return f"there is no signal {self.args[0]!r}; docs/signals.md lists them"


class Attempts:
    """What is tried again and again: how long it took where it succeeded, and how often it did not.

    `refused` is whoever asked amiss or too much; it is no failure. `failed` and `timed_out` are ours.
    """

    __slots__ = ("failed", "refused", "timed_out", "took")

    def __init__(self) -> None:
        self.took = Durations()
        self.refused = Counts()
        self.failed = Counts()
        self.timed_out = Counts()

    def fail(self, code: ErrorName, now: float) -> None:
        """Count one that ended with this error: a time-out, a fault of ours, or a refusal."""
        (self.timed_out if code == "timeout" else self.failed if code in FAULTS else self.refused).add(now)

    def tried(self, span: Span, now: float) -> int:
        """How many succeeded, failed or timed out in the last `span`."""
        return self.took.over(span, now).count + self.failed.over(span, now) + self.timed_out.over(span, now)


class Signals:
    """What the parts of one server record, and the signals made of it. Belongs to the event loop's thread.

    Recording takes a quarter of a microsecond; reading a signal merges its window and takes some ten.
    """

    def __init__(self) -> None:
        self.connect = Attempts()
        """WebSocket upgrades, from the first byte of the request to `welcome`."""
        self.factory = Attempts()
        """Engines: from the run's place to its agent's first step."""
        self.run = Attempts()
        """Runs, from their begin to their end; `refused` are those that somebody stopped."""
        self.login = Attempts()
        """Log-ins; `refused` are wrong passwords and too many attempts."""
        self.first_token = Durations()
        """From the acceptance of a run to its first words on disk, for all to see."""
        self.queue_wait = Durations()
        """From the acceptance of a run to its begin; 0 where it began at once."""
        self.queue_timeouts = Counts()
        """Runs that ended in the queue, because their turn did not come in time."""
        self.commit = Durations()
        """Commits of the log."""
        self.loop_lag = Durations()
        """How much later than it should the event loop woke, five times a second."""
        self.stalls = Counts()
        """How often the event loop stood still."""
        self.delivered = Counts()
        """Events sent to those who follow a thread."""
        self.undelivered = Counts()
        """Events that a connection ended without: its client was too slow, or the log could not be read."""
        self._gauges: dict[str, Callable[[], float | None]] = {}

    def gauge(self, name: str, read: Callable[[], float | None]) -> None:
        """Let the signal `name`, one of `GAUGES`, be read from the part that has it. Raises `UnknownSignal`."""
        if name not in GAUGES:
            raise UnknownSignal(name)
        self._gauges[name] = read

    def read(self, name: str, now: float) -> float | None:
        """The signal `name`; None: unknown. Raises `UnknownSignal`."""
        if name in GAUGES:
            gauge = self._gauges.get(name)
            return None if gauge is None else gauge()
        made, span = _made(name)
        return made.read(self, span, now)

    def samples(self, name: str, now: float) -> int:
        """How many events the signal `name` is made of: who acts on a rate asks whether these are enough. A gauge has
        one where it is known, a count as many as it counts. Raises `UnknownSignal`."""
        if name in GAUGES:
            return int(self.read(name, now) is not None)
        made, span = _made(name)
        return made.samples(self, span, now)

    def all(self, now: float) -> dict[str, float | None]:
        """Every signal over its usual window."""
        return {name: self.read(name, now) for name in (*MADE, *GAUGES)}


class Made(msgspec.Struct, frozen=True):
    """A signal that is made of what was recorded in a window."""

    meaning: str
    read: Callable[[Signals, Span, float], float | None]
    samples: Callable[[Signals, Span, float], int]


def check(name: str) -> None:
    """Raise `UnknownSignal` where no signal has this name: for rules, when they are read."""
    if name not in GAUGES:
        _made(name)


def reach(name: str) -> float:
    """How far back goes what the signal `name` is made of, in seconds; 0: it is of now. Raises `UnknownSignal`."""
    return 0.0 if name in GAUGES else STEP * math.prod(SLICES[_made(name)[1]])


def _made(name: str) -> tuple[Made, Span]:
    made = MADE.get(name)
    if made is not None:
        return made, USUAL
    made, span = MADE.get(name[:-3]), _SUFFIXES.get(name[-3:])
    if made is None or span is None:
        raise UnknownSignal(name)
    return made, span


_Durations = Callable[[Signals], Durations]
_Attempts = Callable[[Signals], Attempts]


def _mean(meaning: str, durations: _Durations) -> Made:
    def read(signals: Signals, span: Span, now: float) -> float | None:
        seconds = durations(signals).over(span, now).mean
        return None if seconds is None else round(seconds * 1000, 3)

    return Made(f"{meaning}: the mean, in ms", read, _count(durations))


def _percentile(meaning: str, durations: _Durations, percent: int) -> Made:
    def read(signals: Signals, span: Span, now: float) -> float | None:
        seconds = durations(signals).over(span, now).percentile(percent)
        return None if seconds is None else round(seconds * 1000, 3)

    return Made(f"{meaning}: what {percent} % do not exceed, in ms", read, _count(durations))


def _count(durations: _Durations) -> Callable[[Signals, Span, float], int]:
    return lambda signals, span, now: durations(signals).over(span, now).count


def _rate(meaning: str, attempts: _Attempts, *of: str) -> Made:
    """The share of what was tried that ended in one of the ways `of`."""

    def read(signals: Signals, span: Span, now: float) -> float | None:
        tries = attempts(signals)
        tried = tries.tried(span, now)
        return sum(getattr(tries, way).over(span, now) for way in of) / tried if tried else None

    return Made(f"{meaning}, as a share (0 to 1)", read, lambda signals, span, now: attempts(signals).tried(span, now))


def _number(meaning: str, count: Callable[[Signals], Counts]) -> Made:
    return Made(
        meaning,
        lambda signals, span, now: float(count(signals).over(span, now)),
        lambda signals, span, now: count(signals).over(span, now),
    )


def _delivery_rate(signals: Signals, span: Span, now: float) -> float | None:
    total = _delivery_samples(signals, span, now)
    return signals.delivered.over(span, now) / total if total else None


def _delivery_samples(signals: Signals, span: Span, now: float) -> int:
    return signals.delivered.over(span, now) + signals.undelivered.over(span, now)


def _times(name: str, meaning: str, durations: _Durations) -> dict[str, Made]:
    """Mean and percentiles of durations, named after them."""
    percentiles = {f"{name}_p{percent}_ms": _percentile(meaning, durations, percent) for percent in (50, 95, 99)}
    return {f"{name}_avg_ms": _mean(meaning, durations), **percentiles}


MADE: Final[dict[str, Made]] = {
    **_times("connect", "from a WebSocket upgrade's first byte to `welcome`", lambda signals: signals.connect.took),
    "connect_failure_rate": _rate("upgrades that failed or timed out", lambda s: s.connect, "failed", "timed_out"),
    "connect_timeout_rate": _rate("upgrades that timed out", lambda s: s.connect, "timed_out"),
    "connect_refusals": _number("upgrades refused: no token, a limit, draining", lambda s: s.connect.refused),
    **_times("factory", "from a run's place to its agent's first step", lambda signals: signals.factory.took),
    "factory_failure_rate": _rate("engines that failed or timed out", lambda s: s.factory, "failed", "timed_out"),
    "factory_timeouts": _number("engines that timed out", lambda s: s.factory.timed_out),
    **_times("first_token", "from a run's acceptance to its first words", lambda signals: signals.first_token),
    **_times("run", "from the begin to the end of runs that finished", lambda signals: signals.run.took),
    "run_failure_rate": _rate("runs that failed or timed out", lambda s: s.run, "failed", "timed_out"),
    "agent_timeout_rate": _rate("runs whose agent took all its time", lambda s: s.run, "timed_out"),
    **_times("queue_wait", "from a run's acceptance to its begin", lambda signals: signals.queue_wait),
    "queue_timeouts": _number("runs that waited in the queue until their time was over", lambda s: s.queue_timeouts),
    **_times("login", "log-ins that succeeded", lambda signals: signals.login.took),
    "login_failure_rate": _rate("log-ins that failed by our fault", lambda s: s.login, "failed", "timed_out"),
    "login_refusals": _number("log-ins with a wrong password, or too many", lambda s: s.login.refused),
    **_times("commit", "commits of the log", lambda signals: signals.commit),
    **_times("loop_lag", "how late the event loop woke", lambda signals: signals.loop_lag),
    "stalls": _number("times that the event loop stood still", lambda signals: signals.stalls),
    "event_delivery_rate": Made(
        "events delivered, of those and what connections ended without, as a share (0 to 1)",
        _delivery_rate,
        _delivery_samples,
    ),
}
"""The signals of windows, by name; each also with `_1m`, `_5m` or `_1h` behind it."""

GAUGES: Final[dict[str, str]] = {
    "connections": "WebSockets and SSE streams that are open",
    "runs_running": "runs that hold a place",
    "runs_waiting": "runs that wait for a place",
    "overload": "how long everything takes, as a part of what is borne, for 3 s or more: from 1 on runs are refused",
    "rss_mb": "memory of the process, in MiB",
    "breakers_open": "dependencies that nobody may ask: the circuit breaker that all share refuses every call",
    "rolled_back": "levels that are rolled back, by the server itself or by somebody: flags, time-outs, code",
    "startup_failures": "dependencies that said no, or were not there when the grace of the start was over",
    "log_healthy": "1 while commits succeed, 0 while they fail",
    "isolation_violations": "batches of events that were about to reach somebody else, and were not sent",
}
"""The signals that are what they are now, by name, and their meanings."""
