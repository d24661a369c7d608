"""The figures for Prometheus, read from the parts' own statistics when somebody asks. No user ids as labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from goldenpath.histogram import Histogram
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.timeouts import LEVELS
from goldenpath.runtime.windows import Counts, Durations

Kind = Literal["gauge", "counter"]

KINDS: Final[dict[str, dict[Kind, tuple[str, ...]]]] = {
    "connections": {
        "gauge": ("connected", "users", "peak"),
        "counter": ("accepted", "refused", "refused_user", "refused_address", "refused_server"),
    },
    "engines": {"gauge": ("active", "create_seconds_max"), "counter": ("created", "cleaned", "create_seconds_total")},
    "admission": {
        "gauge": ("running", "waiting", "waiting_users", "peak"),
        "counter": ("admitted", "refused", "refused_quota", "refused_queue"),
    },
    "log": {
        "gauge": ("logs", "idle_logs", "quiet_bytes", "bytes", "followers", "last_commit_duration", "healthy"),
        "counter": ("commits", "events", "failures"),
    },
    "breakers": {
        "gauge": ("breakers", "open", "shared_open", "forced"),
        "counter": ("calls", "failures", "refused", "opened", "untracked"),
    },
    "degradation": {"gauge": ("level", "forced", "unrelieved"), "counter": ("changes", "refused")},
    "turns": {"gauge": ("working", "waiting"), "counter": ("taken", "refused")},
    "accounts": {
        "gauge": (
            "passwords_pending", "password_seconds", "failing_emails", "verified_tokens", "revoked_sessions",
        ),
        "counter": ("passwords_refused",),
    },
    "timeouts": {"counter": LEVELS},
    "alerts": {"gauge": ("pending", "firing"), "counter": ("fired", "resolved")},
    "alert_delivery": {"gauge": ("waiting",), "counter": ("delivered", "failed", "given_up")},
    "operators": {"gauge": ("pending",), "counter": ("recorded", "dropped")},
    "rates": {
        "gauge": ("users", "emails", "addresses"),
        "counter": (
            "commands_refused", "bytes_refused", "runs_refused", "logins_refused", "server_commands_refused",
            "server_bytes_refused", "server_runs_refused", "server_logins_refused", "addresses_refused",
        ),
    },
    "startup": {"gauge": ("waiting", "failed")},
    "isolation": {"gauge": (), "counter": ("violations",)},
    "rollback": {"gauge": ("in_effect", "triggers"), "counter": ("done", "undone")},
    "flags": {"gauge": ("rules", "broken", "unsaved"), "counter": ("changes",)},
    "overload": {"gauge": ("pressure", "lag", "wait", "taken"), "counter": ("refused",)},
    "stalls": {"gauge": ("longest",), "counter": ("count", "agents", "unexplained", "seconds")},
    "operator_page": {"gauge": ("viewers",), "counter": ("refused", "sent", "skipped")},
    "process": {"gauge": ("tasks", "allocated_blocks", "resident_bytes")},
}  # fmt: skip
"""Of each part's statistics: which figures go up and down, and which only grow."""

Statistics = Callable[[], msgspec.Struct]


def metric_name(part: str, field: str) -> str:
    """The metric of a field of a part's statistics; of a counter Prometheus adds `_total`."""
    return f"goldenpath_{part}_{field}"


def kind_of(part: str, field: str) -> Kind:
    """Whether a figure is a gauge or a counter. Raises LookupError where `KINDS` does not say so."""
    for kind, fields in KINDS.get(part, {}).items():
        if field in fields:
            return kind
    raise LookupError(f"{metric_name(part, field)} is neither a gauge nor a counter: say in KINDS what it is")


BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""The upper bounds of the buckets of every histogram, in seconds; above the last one is +Inf."""

DURATIONS: Final[dict[str, tuple[str, Callable[[Signals], Durations]]]] = {
    "connect": ("From a WebSocket upgrade's first byte to `welcome`.", lambda signals: signals.connect.took),
    "login": ("Log-ins that succeeded.", lambda signals: signals.login.took),
    "queue_wait": ("From a run's acceptance to its begin.", lambda signals: signals.queue_wait),
    "factory": ("From a run's place to its agent's first step.", lambda signals: signals.factory.took),
    "first_token": ("From a run's acceptance to its first words on disk.", lambda signals: signals.first_token),
    "run": ("From the begin to the end of runs that finished.", lambda signals: signals.run.took),
    "commit": ("Commits of the log.", lambda signals: signals.commit),
    "loop_lag": (
        "How much later than it should the event loop woke, five times a second.",
        lambda signals: signals.loop_lag,
    ),
}
"""The histograms `goldenpath_<name>_seconds`: what each means, and where it is recorded."""

COUNTS: Final[dict[str, tuple[str, Callable[[Signals], Counts]]]] = {
    "connect_refused": ("Upgrades refused: no token, a limit, draining.", lambda signals: signals.connect.refused),
    "connect_failed": ("Upgrades that failed by our fault.", lambda signals: signals.connect.failed),
    "connect_timed_out": ("Upgrades that timed out.", lambda signals: signals.connect.timed_out),
    "login_refused": ("Log-ins with a wrong password, or too many.", lambda signals: signals.login.refused),
    "login_failed": ("Log-ins that failed by our fault.", lambda signals: signals.login.failed),
    "login_timed_out": ("Log-ins that timed out.", lambda signals: signals.login.timed_out),
    "queue_timed_out": ("Runs whose turn did not come in time.", lambda signals: signals.queue_timeouts),
    "factory_failed": ("Engines that could not be made.", lambda signals: signals.factory.failed),
    "factory_timed_out": ("Engines that were not made in time.", lambda signals: signals.factory.timed_out),
    "run_failed": ("Runs that failed.", lambda signals: signals.run.failed),
    "run_timed_out": ("Runs whose agent took all its time.", lambda signals: signals.run.timed_out),
    "run_stopped": ("Runs that somebody stopped, or a shutdown.", lambda signals: signals.run.refused),
    "events_delivered": ("Events sent to those who follow a thread.", lambda signals: signals.delivered),
    "events_undelivered": ("Events that a connection ended without.", lambda signals: signals.undelivered),
}
"""The counters `goldenpath_<name>_total` that are recorded with them."""


class SignalsCollector(Collector):
    """What was recorded since the start, as histograms and counters."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def collect(self) -> Iterator[Metric]:
        for name, (meaning, durations) in DURATIONS.items():
            histogram = durations(self._signals).total()
            yield HistogramMetricFamily(
                f"goldenpath_{name}_seconds", meaning, buckets=cumulative(histogram), sum_value=histogram.total
            )
        for name, (meaning, counts) in COUNTS.items():
            yield CounterMetricFamily(f"goldenpath_{name}", meaning, value=float(counts(self._signals).total))


def cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """How many values are below each of `BOUNDS`, and in all. A value within 0.4 % of a bound may count on its other
    side."""
    counts = [0] * (len(BOUNDS) + 1)
    for middle, count in histogram.buckets():
        counts[bisect_left(BOUNDS, middle)] += count
    bounds = [*(format(bound, "g") for bound in BOUNDS), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(counts), strict=True)]


class StatisticsCollector(Collector):
    """Turns the frozen statistics records into metrics named `goldenpath_<part>_<field>`."""

    def __init__(self, parts: dict[str, Statistics]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        for part, statistics in self._parts.items():
            record = statistics()
            for field in record.__struct_fields__:
                name = metric_name(part, field)
                text = f"{part}: {field.replace('_', ' ')}"
                family = GaugeMetricFamily if kind_of(part, field) == "gauge" else CounterMetricFamily
                yield family(name, text, value=float(getattr(record, field)))


def registry_of(parts: dict[str, Statistics], signals: Signals) -> CollectorRegistry:
    """A registry of its own: nothing is global."""
    registry = CollectorRegistry()
    registry.register(SignalsCollector(signals))
    registry.register(StatisticsCollector(parts))
    return registry
