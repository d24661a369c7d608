"""What `/health` says of how well users are served: the signals of the last minutes in blocks, and what breaches a
service level. Sans-I/O.

A breach is the first of two levels: what was promised is not kept. The second, that somebody must get up at night, is
an alert's: the rules of alerts have later bounds, and wait for a duration.
"""

from __future__ import annotations

import operator
from typing import Final, NamedTuple

import msgspec

from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.dependencies import kind_of
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.startup import Finding, Verdict

ENOUGH: Final = 20
"""A rate is judged from so many samples on: of three upgrades one that failed says nothing."""


class WebSocketPerformance(msgspec.Struct, frozen=True):
    """WebSocket upgrades in the last five minutes, from the first byte of the request to `welcome`."""

    avg_connection_time_ms: float | None
    p95_connection_time_ms: float | None
    timeout_failure_rate: float | None
    environment: str


class FactoryPerformance(msgspec.Struct, frozen=True):
    """The making of engines: a run's history, context and engine, once it has its place."""

    avg_creation_time_ms: float | None
    timeout_failures_1h: int
    success_rate: float | None


class RunPerformance(msgspec.Struct, frozen=True):
    """Runs in the last five minutes. The first token counts from the acceptance to when it is durable."""

    p50_first_token_ms: float | None
    p95_first_token_ms: float | None
    p95_duration_ms: float | None
    failure_rate: float | None
    agent_timeout_rate: float | None


class QueuePerformance(msgspec.Struct, frozen=True):
    """Runs that waited for a place."""

    p95_wait_ms: float | None
    timeouts_1h: int


class LoginPerformance(msgspec.Struct, frozen=True):
    """Log-ins in the last five minutes. A wrong password is no failure."""

    avg_ms: float | None
    p95_ms: float | None
    failure_rate: float | None


class DatabasePerformance(msgspec.Struct, frozen=True):
    """Commits of the log to the database in the last five minutes; `healthy` is whether the last one succeeded."""

    avg_commit_ms: float | None
    p99_commit_ms: float | None
    healthy: bool


class EventLoop(msgspec.Struct, frozen=True):
    """How late the event loop woke in the last five minutes: everybody waits so long."""

    avg_lag_ms: float | None
    p99_lag_ms: float | None


class DeliveryPerformance(msgspec.Struct, frozen=True):
    """Events delivered in the last five minutes, of those and what connections ended without. These are not lost: who
    comes back gets them."""

    event_delivery_rate: float | None


class IsolationState(msgspec.Struct, frozen=True):
    """Batches of events that were about to reach somebody else. They were not sent; more than 0 is a fault of ours."""

    violations: int


class BreakersState(msgspec.Struct, frozen=True):
    """The circuit breakers that all users share."""

    dependencies: int
    """Dependencies that were asked lately."""
    refused: list[str]
    """The kinds of those that nobody may ask at present, such as `model`: which one is for operators to know."""


class DependencyState(msgspec.Struct, frozen=True):
    """Something that the server depends on, as it was found at the start, or since. Operators are told more."""

    what: str
    """Its kind, such as `identity provider`: anybody may read it."""
    verdict: Verdict


class Performance(msgspec.Struct, frozen=True):
    """The blocks, and what is wrong: service levels that are breached, dependencies that are missing."""

    breaches: list[str]
    websocket_performance: WebSocketPerformance
    factory_performance: FactoryPerformance
    run_performance: RunPerformance
    queue_performance: QueuePerformance
    login_performance: LoginPerformance
    database_performance: DatabasePerformance
    event_loop: EventLoop
    delivery: DeliveryPerformance
    isolation: IsolationState
    breakers: BreakersState
    dependencies: list[DependencyState]


class ServiceLevel(NamedTuple):
    """A promise about a signal: it is below `bound`, or above where `above` says so. Unknown keeps it."""

    signal: str
    bound: float
    above: bool = False
    enough: int = 1
    """How many samples it takes to judge."""

    @property
    def text(self) -> str:
        """As it is told where it is breached."""
        return f"{self.signal} {'>' if self.above else '<'} {self.bound:g}"


LEVELS: Final = (
    ServiceLevel("connect_p95_ms", 5000.0),
    ServiceLevel("connect_timeout_rate", 0.01, enough=ENOUGH),
    ServiceLevel("connect_failure_rate", 0.05, enough=ENOUGH),
    ServiceLevel("factory_avg_ms", 1000.0),
    ServiceLevel("factory_timeouts_1h", 5.0),
    ServiceLevel("factory_failure_rate", 0.01, enough=ENOUGH),
    ServiceLevel("agent_timeout_rate", 0.02, enough=ENOUGH),
    ServiceLevel("event_delivery_rate", 0.99, above=True, enough=ENOUGH),
    ServiceLevel("isolation_violations", 1.0),
)
"""What is promised: how long connecting and making an engine take, how often they fail, what is delivered; and
isolation, of which nothing is tolerated."""


def breaches(signals: Signals, now: float) -> list[str]:
    """The levels that are not kept, each as the promise that it is."""
    found = []
    for level in LEVELS:
        value = signals.read(level.signal, now)
        kept = operator.gt if level.above else operator.lt
        if value is not None and not kept(value, level.bound) and signals.samples(level.signal, now) >= level.enough:
            found.append(level.text)
    return found


def performance(
    signals: Signals,
    now: float,
    environment: str,
    breakers: Breakers | None = None,
    dependencies: list[Finding] | None = None,
) -> Performance:
    """The blocks at `now`, in monotonic seconds. Takes a millisecond."""
    dependencies = dependencies or []

    def read(name: str) -> float | None:
        return signals.read(name, now)

    failed = read("factory_failure_rate")
    return Performance(
        breaches=breaches(signals, now)
        + [f"{kind_of(finding.what)} is there" for finding in dependencies if finding.verdict == "problem"],
        websocket_performance=WebSocketPerformance(
            avg_connection_time_ms=read("connect_avg_ms"),
            p95_connection_time_ms=read("connect_p95_ms"),
            timeout_failure_rate=read("connect_timeout_rate"),
            environment=environment,
        ),
        factory_performance=FactoryPerformance(
            avg_creation_time_ms=read("factory_avg_ms"),
            timeout_failures_1h=int(read("factory_timeouts_1h") or 0),
            success_rate=None if failed is None else 1.0 - failed,
        ),
        run_performance=RunPerformance(
            p50_first_token_ms=read("first_token_p50_ms"),
            p95_first_token_ms=read("first_token_p95_ms"),
            p95_duration_ms=read("run_p95_ms"),
            failure_rate=read("run_failure_rate"),
            agent_timeout_rate=read("agent_timeout_rate"),
        ),
        queue_performance=QueuePerformance(read("queue_wait_p95_ms"), int(read("queue_timeouts_1h") or 0)),
        login_performance=LoginPerformance(read("login_avg_ms"), read("login_p95_ms"), read("login_failure_rate")),
        database_performance=DatabasePerformance(
            read("commit_avg_ms"), read("commit_p99_ms"), read("log_healthy") != 0.0
        ),
        event_loop=EventLoop(read("loop_lag_avg_ms"), read("loop_lag_p99_ms")),
        delivery=DeliveryPerformance(read("event_delivery_rate")),
        isolation=IsolationState(int(read("isolation_violations") or 0)),
        breakers=BreakersState(
            dependencies=0 if breakers is None else len(breakers.snapshot()),
            refused=[] if breakers is None else sorted({kind_of(name) for name in breakers.refused()}),
        ),
        dependencies=[DependencyState(kind_of(finding.what), finding.verdict) for finding in dependencies],
    )
