"""Health in blocks: the keys that others rely on, unknown where nothing happened, and which promises are not kept."""

from __future__ import annotations

import msgspec
import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime import signals
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.health import ENOUGH, LEVELS, ServiceLevel, breaches, performance
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.startup import Finding


def test_the_blocks_have_the_keys_that_dashboards_read() -> None:
    blocks = msgspec.to_builtins(performance(Signals(), 0.0, "staging"))
    assert blocks["websocket_performance"] == {
        "avg_connection_time_ms": None,
        "p95_connection_time_ms": None,
        "timeout_failure_rate": None,
        "environment": "staging",
    }
    assert blocks["factory_performance"] == {
        "avg_creation_time_ms": None,
        "timeout_failures_1h": 0,
        "success_rate": None,
    }
    assert blocks["isolation"] == {"violations": 0}
    assert blocks["breaches"] == []


def test_the_blocks_say_what_was_recorded() -> None:
    made = Signals()
    for milliseconds in range(1, 101):
        made.connect.took.record(milliseconds / 1000, 0.0)
    made.factory.took.record(0.25, 0.0)
    for _ in range(3):
        made.factory.timed_out.add(0.0)
    blocks = performance(made, 0.0, "local")
    assert blocks.websocket_performance.avg_connection_time_ms == pytest.approx(50.5)
    assert blocks.websocket_performance.p95_connection_time_ms == pytest.approx(95.0, rel=0.004)
    assert blocks.websocket_performance.timeout_failure_rate == 0.0
    assert blocks.factory_performance.avg_creation_time_ms == 250.0
    assert (blocks.factory_performance.timeout_failures_1h, blocks.factory_performance.success_rate) == (3, 0.25)


def test_anybody_reads_of_what_kind_a_dependency_is_and_not_which() -> None:
    breakers = Breakers(ManualClock(), lambda: 0.0, {})
    for name in ("model:llm.example.com", "tool:payroll"):
        with breakers.call(name, None, what="it"):
            pass
        breakers.force(name, "open")
    findings = [Finding("identity provider:https://login.example.com", "problem", "no answer")]
    blocks = performance(Signals(), 0.0, "local", breakers, findings)
    assert blocks.breakers.refused == ["model", "tool"]
    assert blocks.dependencies[0].what == "identity provider"
    assert blocks.breaches == ["identity provider is there"]
    assert b"example.com" not in msgspec.json.encode(blocks)
    breakers.switch(on=False)
    assert performance(Signals(), 0.0, "local", breakers).breakers.refused == []  # everybody may ask


def test_every_level_is_of_a_signal_that_there_is() -> None:
    for level in LEVELS:
        signals.check(level.signal)


def test_what_is_promised_has_these_bounds() -> None:
    promised = {level.text for level in LEVELS}
    assert promised >= {"connect_p95_ms < 5000", "connect_timeout_rate < 0.01"}
    assert promised >= {"factory_avg_ms < 1000", "factory_timeouts_1h < 5", "factory_failure_rate < 0.01"}
    assert promised >= {"agent_timeout_rate < 0.02", "event_delivery_rate > 0.99", "isolation_violations < 1"}


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.signal)
def test_a_promise_is_kept_before_its_bound_and_broken_from_it_on(level: ServiceLevel) -> None:
    class Measured(Signals):
        value = 0.0

        def read(self, name: str, now: float) -> float | None:
            return self.value if name == level.signal else None

        def samples(self, name: str, now: float) -> int:
            return level.enough

    made = Measured()
    well = level.bound * (1.001 if level.above else 0.999)
    for made.value, broken in ((well, []), (level.bound, [level.text])):
        assert breaches(made, 0.0) == broken


def test_a_slow_connect_breaches_its_level_and_a_fast_one_does_not() -> None:
    made = Signals()
    made.connect.took.record(4.9, 0.0)
    assert breaches(made, 0.0) == []
    made.connect.took.record(5.1, 0.0)
    assert breaches(made, 0.0) == ["connect_p95_ms < 5000"]
    assert breaches(made, 1000.0) == []


def test_a_rate_is_judged_only_where_there_is_enough_of_it() -> None:
    made = Signals()
    made.run.timed_out.add(0.0, ENOUGH - 1)
    assert breaches(made, 0.0) == []
    made.run.timed_out.add(0.0)
    assert breaches(made, 0.0) == ["agent_timeout_rate < 0.02"]


def test_events_must_be_delivered_and_none_to_somebody_else() -> None:
    made = Signals()
    violations = [0.0]
    made.gauge("isolation_violations", lambda: violations[0])
    made.delivered.add(0.0, 1000)
    assert breaches(made, 0.0) == []
    made.undelivered.add(0.0, 100)
    violations[0] = 1.0
    assert breaches(made, 0.0) == ["event_delivery_rate > 0.99", "isolation_violations < 1"]
