"""Samples: rates are differences, percentiles those of the last minute; the history is bounded."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.dashboard.history import History
from goldenpath.runtime.dashboard.sampler import Reading, Sampler
from goldenpath.runtime.signals import Signals
from goldenpath.wire.live import COLUMNS


def reading(**changes: int) -> Reading:
    return Reading(**{**dict.fromkeys(Reading.__struct_fields__, 0), **changes})


def test_rates_are_those_since_the_sample_before() -> None:
    now_read = reading(events=100, ended=7, failed=1)
    sampler = Sampler(lambda: now_read, Signals())
    first = sampler.sample(10.0, 1000.0)
    assert (first.events_per_s, first.runs_per_s, first.failures_per_s) == (0, 0, 0)
    now_read = reading(events=160, ended=10, failed=2, rss_bytes=3 << 20, running=4)
    second = sampler.sample(12.0, 1002.0)
    assert (second.events_per_s, second.runs_per_s, second.failures_per_s) == (30, 1.5, 0.5)
    assert (second.time, second.rss_mb, second.runs_running) == (1002.0, 3.0, 4)
    assert sampler.sample(12.0, 1002.0).events_per_s == 0  # no time has passed


def test_percentiles_are_of_the_last_minute_and_unknown_where_nothing_happened() -> None:
    signals = Signals()
    sampler = Sampler(reading, signals)
    assert sampler.sample(0.0, 0.0).first_token_p95_ms is None
    for milliseconds in range(1, 101):
        signals.first_token.record(milliseconds / 1000, 5.0)
    sampler.sample(6.0, 6.0)  # reads the other half
    sample = sampler.sample(7.0, 7.0)
    assert sample.first_token_p50_ms is not None
    assert abs(sample.first_token_p50_ms - 50) < 0.5
    sampler.sample(200.0, 200.0)
    assert sampler.sample(201.0, 201.0).first_token_p50_ms is None


@given(count=st.integers(0, 40), kept=st.integers(1, 20))
def test_the_history_is_the_newest_samples_in_equal_columns(count: int, kept: int) -> None:
    history, sampler = History(kept), Sampler(reading, Signals())
    for number in range(count):
        history.add(sampler.sample(float(number), float(number)))
    columns = history.columns()
    assert set(columns) == set(COLUMNS)
    assert {len(column) for column in columns.values()} == {min(count, kept)} == {len(history)}
    assert columns["time"] == [float(number) for number in range(max(0, count - kept), count)]
    assert msgspec.json.decode(msgspec.json.encode(columns)) == columns
