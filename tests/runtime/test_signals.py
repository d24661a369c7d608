"""Signals: named numbers that are unknown without samples, and right with them."""

from __future__ import annotations

import pytest

from goldenpath.runtime import signals
from goldenpath.runtime.gateway.faults import counted
from goldenpath.runtime.interfaces import StoreRefusedError, StoreTimedOutError
from goldenpath.runtime.signals import GAUGES, MADE, Attempts, Signals, UnknownSignal
from goldenpath.wire.errors import RequestError


def test_nothing_recorded_is_unknown_and_not_well() -> None:
    read = Signals().all(0.0)
    assert {name for name, value in read.items() if value is not None} == {
        name for name in MADE if name.endswith(("_refusals", "_timeouts", "stalls"))
    }
    assert read.keys() == {*MADE, *GAUGES}


def test_durations_are_told_in_milliseconds() -> None:
    made = Signals()
    for milliseconds in range(1, 101):
        made.connect.took.record(milliseconds / 1000, 0.0)
    assert made.read("connect_avg_ms", 0.0) == pytest.approx(50.5)
    assert made.read("connect_p95_ms", 0.0) == pytest.approx(95, rel=0.004)
    assert made.read("connect_p99_ms", 0.0) == pytest.approx(99, rel=0.004)
    assert made.samples("connect_p99_ms", 0.0) == 100


def test_rates_are_of_what_was_tried_and_leave_out_who_asked_amiss() -> None:
    made = Signals()
    for _ in range(96):
        made.connect.took.record(0.001, 0.0)
    made.connect.failed.add(0.0)
    made.connect.timed_out.add(0.0, 3)
    made.connect.refused.add(0.0, 1000)
    assert made.read("connect_failure_rate", 0.0) == 0.04
    assert made.read("connect_timeout_rate", 0.0) == 0.03
    assert made.samples("connect_timeout_rate", 0.0) == 100
    assert made.read("connect_refusals", 0.0) == made.samples("connect_refusals", 0.0) == 1000


@pytest.mark.parametrize(
    ("error", "way"),
    [
        (RequestError("overloaded", "too many logins on this server"), "refused"),
        (RequestError("rate_limited", "too many log-ins with this e-mail"), "refused"),
        (RequestError("unauthorized", "the password is wrong"), "refused"),
        (RequestError("timeout", "websocket_recv timed out after 5.0 s"), "timed_out"),
        (StoreTimedOutError("database timed out after 2.0 s"), "timed_out"),
        (RequestError("upstream_unavailable", "the identity provider does not answer"), "failed"),
        (StoreRefusedError(5.0), "failed"),
        (ValueError("a mistake"), "failed"),
    ],
)
def test_what_a_limit_refuses_is_no_failure_and_what_the_store_refuses_is(error: Exception, way: str) -> None:
    attempts = Attempts()
    attempts.fail(counted(error), 0.0)
    found = {name: getattr(attempts, name).over("5m", 0.0) for name in ("refused", "timed_out", "failed")}
    assert found == {**dict.fromkeys(found, 0), way: 1}


def test_events_that_nobody_got_lower_the_delivery_rate() -> None:
    made = Signals()
    made.delivered.add(0.0, 99)
    made.undelivered.add(0.0)
    assert made.read("event_delivery_rate", 0.0) == 0.99
    assert made.samples("event_delivery_rate", 0.0) == 100


def test_a_name_says_its_window() -> None:
    made = Signals()
    made.factory.timed_out.add(0.0, 3)
    made.factory.timed_out.add(3000.0, 4)
    made.factory.timed_out.add(3300.0, 5)
    names = ("factory_timeouts_1m", "factory_timeouts", "factory_timeouts_5m", "factory_timeouts_1h")
    assert [made.read(name, 3300.0) for name in names] == [5.0, 5.0, 5.0, 12.0]


def test_a_gauge_is_read_from_its_part() -> None:
    made = Signals()
    assert made.read("rss_mb", 0.0) is None
    assert made.samples("rss_mb", 0.0) == 0
    made.gauge("rss_mb", lambda: 84.5)
    assert made.read("rss_mb", 0.0) == made.all(0.0)["rss_mb"] == 84.5
    assert made.samples("rss_mb", 0.0) == 1


@pytest.mark.parametrize("name", ["", "_1h", "connect", "connect_avg_ms_2h", "rss_mb_1h", "loop_lag_p99_ms_1m_1m"])
def test_an_unknown_name_is_refused(name: str) -> None:
    made = Signals()
    for refused in (lambda: signals.check(name), lambda: made.read(name, 0.0), lambda: made.samples(name, 0.0)):
        with pytest.raises(UnknownSignal, match="there is no signal"):
            refused()
    with pytest.raises(UnknownSignal):
        made.gauge(name, lambda: None)


def test_every_name_can_be_checked_without_a_server() -> None:
    for name in (*MADE, *GAUGES, *(f"{name}_1h" for name in MADE)):
        signals.check(name)
