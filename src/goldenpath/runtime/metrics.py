"""The figures for Prometheus, read from the parts' own statistics when somebody asks. No user ids as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Kind = Literal["gauge", "counter"]

KINDS: Final[dict[str, dict[Kind, tuple[str, ...]]]] = {
    "connections": {"gauge": ("connected", "users", "peak"), "counter": ("accepted", "refused")},
    "engines": {"gauge": ("active", "create_seconds_max"), "counter": ("created", "cleaned", "create_seconds_total")},
    "admission": {"gauge": ("running", "waiting", "waiting_users", "peak"), "counter": ("admitted", "refused")},
    "log": {
        "gauge": ("logs", "idle_logs", "idle_bytes", "bytes", "followers", "last_commit_duration", "healthy"),
        "counter": ("commits", "events", "failures"),
    },
    "turns": {"gauge": ("working", "waiting"), "counter": ("taken", "refused")},
    "accounts": {
        "gauge": (
            "passwords_pending", "password_seconds", "failing_emails", "verified_tokens", "revoked_sessions",
        ),
        "counter": ("passwords_refused",),
    },
    "process": {"gauge": ("tasks", "allocated_blocks")},
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


def registry_of(parts: dict[str, Statistics]) -> CollectorRegistry:
    """A registry of its own: nothing is global."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(parts))
    return registry
