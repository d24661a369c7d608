"""The figures for Prometheus, read from the parts' own statistics when somebody asks. No user ids as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

GAUGES = frozenset(
    {
        "connected", "users", "peak", "active", "waiting", "running", "waiting_users", "logs", "idle_logs",
        "idle_bytes", "bytes", "followers", "last_commit_duration", "healthy", "create_seconds_max",
        "passwords_pending", "password_seconds", "failing_emails", "verified_tokens", "revoked_sessions",
    }
)  # fmt: skip
"""The figures that go up and down; every other one only grows."""

Statistics = Callable[[], msgspec.Struct]


def metric_name(part: str, field: str) -> str:
    """The metric of a field of a part's statistics; of a counter Prometheus adds `_total`."""
    return f"goldenpath_{part}_{field}"


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
                kind = GaugeMetricFamily if field in GAUGES else CounterMetricFamily
                yield kind(name, text, value=float(getattr(record, field)))


def registry_of(parts: dict[str, Statistics]) -> CollectorRegistry:
    """A registry of its own: nothing is global."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(parts))
    return registry
