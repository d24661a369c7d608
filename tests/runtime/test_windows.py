"""Rolling windows: what a naive list of everything would say, in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.windows import FRESH, SLICES, STEP, Counts, Durations, Span

SECONDS: dict[Span, float] = {"1m": 60.0, "5m": 300.0, "1h": 3600.0}
HISTORY = st.lists(st.tuples(st.floats(0.0, 900.0), st.floats(1e-6, 100.0)), max_size=60)
"""Pauses, and the values recorded after them."""


def in_window(moments: list[tuple[float, float]], span: Span, now: float) -> list[float]:
    """The values of the slices that have not become older than the span, by the definition."""
    length = SLICES[span][0] * STEP
    oldest = now // length - SLICES[span][1] + 1
    return [value for moment, value in moments if moment // length >= oldest]


def test_the_slices_of_a_span_are_as_long_as_the_span() -> None:
    for span, (steps, kept) in SLICES.items():
        assert steps * kept * STEP == SECONDS[span]


@given(history=HISTORY, later=st.floats(0.0, 4000.0))
def test_a_window_holds_its_slices_and_nothing_older(history: list[tuple[float, float]], later: float) -> None:
    durations, counts = Durations(), Counts()
    now, moments = 0.0, []
    for pause, value in history:
        now += pause
        moments.append((now, value))
        durations.record(value, now)
        counts.add(now)
        assert durations.over("1m", now).count == len(in_window(moments, "1m", now))
    now += later
    for span in SLICES:
        values = sorted(in_window(moments, span, now))
        found = durations.over(span, now)
        assert counts.over(span, now) == found.count == len(values)
        for percent in (50, 95, 99, 100):
            percentile = found.percentile(percent)
            if values:
                exact = values[max(1, math.ceil(len(values) * percent / 100)) - 1]
                assert percentile == pytest.approx(exact, rel=0.004)
            else:
                assert percentile is None
        if values:
            assert found.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-5)
        assert all(now - moment < SECONDS[span] for moment, _ in moments[len(moments) - len(values) :])
    assert counts.total == durations.total().count == len(history)


def test_what_is_read_may_be_changed_by_who_reads_it() -> None:
    durations = Durations()
    for now in (0.0, STEP, 2 * STEP):
        durations.record(1.0, now)
    durations.over("5m", 2 * STEP).merge(durations.over("5m", 2 * STEP))
    assert durations.over("5m", 2 * STEP).count == 3


def test_more_values_than_wait_in_one_step_are_all_counted() -> None:
    durations = Durations()
    for _ in range(2 * FRESH + 1):
        durations.record(0.25, 0.0)
    assert durations.over("1m", 0.0).count == 2 * FRESH + 1


def test_a_count_may_be_of_many_at_once() -> None:
    counts = Counts()
    counts.add(0.0, 40)
    counts.add(STEP, 2)
    assert (counts.over("1m", STEP), counts.over("1m", 65.0), counts.total) == (42, 2, 42)
