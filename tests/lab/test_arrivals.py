"""Arrivals: as many as the rate says, when it says, the same for the same seed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.lab.arrivals import ArrivalRate, Batches, Looping, Stage, constant, ramp, spike, steps

RATES = st.floats(0, 50)
STAGES = st.lists(st.builds(Stage, st.floats(0, 20), RATES), min_size=1, max_size=5)


def times(arrivals: ArrivalRate | Batches, seed: int = 1) -> list[float]:
    return list(arrivals.times(Random(seed)))


def integral(arrivals: ArrivalRate) -> float:
    """How many are expected: the area under the rate."""
    area, rate = 0.0, arrivals.start
    for stage in arrivals.stages:
        area += (rate + stage.rate) / 2 * stage.duration
        rate = stage.rate
    return area


@given(STAGES, RATES, st.sampled_from([0.0, 1.0]))
def test_there_are_as_many_as_the_area_under_the_rate(stages: list[Stage], start: float, spread: float) -> None:
    arrivals = ArrivalRate(tuple(stages), start, spread)
    assert abs(len(times(arrivals)) - integral(arrivals)) <= 1 + len(stages) * 1e-6


@given(STAGES, RATES)
def test_all_are_within_the_load_and_in_order_where_nothing_is_left_to_chance(
    stages: list[Stage], start: float
) -> None:
    arrivals = ArrivalRate(tuple(stages), start, spread=0.0)
    got = times(arrivals)
    assert got == sorted(got)
    assert all(0 <= time <= arrivals.duration * (1 + 1e-9) + 1e-9 for time in got)


@given(STAGES, RATES)
def test_the_same_seed_gives_the_same_times(stages: list[Stage], start: float) -> None:
    arrivals = ArrivalRate(tuple(stages), start)
    assert times(arrivals, 7) == times(arrivals, 7)


def test_another_seed_gives_other_times() -> None:
    assert times(constant(10, 1), 1) != times(constant(10, 1), 2)


def test_a_constant_rate_is_spread_evenly_over_each_interval() -> None:
    got = times(constant(100, 10))
    assert len(got) == 1000
    assert [int(time * 100) for time in sorted(got)] == list(range(1000))
    phases = [time * 100 % 1 for time in got]
    assert 0.45 < sum(phases) / len(phases) < 0.55


def test_a_ramp_has_the_square_root_of_the_time_of_its_end() -> None:
    got = times(ArrivalRate((Stage(10, 20),), spread=0.0))
    assert len(got) == 100
    assert got[25] == pytest.approx(5.0)  # a quarter of the area lies in the first half


def test_ramp_steps_and_spike_change_the_rate_where_they_say() -> None:
    def within(arrivals: ArrivalRate, low: float, high: float) -> int:
        return sum(low <= time < high for time in times(arrivals))

    assert within(ramp(10, 30, 10), 0, 5) == pytest.approx(75, abs=1)
    assert within(steps((5, 50), 4), 4, 8) == pytest.approx(200, abs=1)
    peak = spike(5, 500, before=5, during=1, after=10)
    assert within(peak, 0, 5) == pytest.approx(25, abs=1)
    assert within(peak, 5, 6) == pytest.approx(500, abs=2)
    assert within(peak, 6, 16) == pytest.approx(50, abs=2)


def test_batches_come_at_once_and_the_last_may_be_smaller() -> None:
    arrivals = Batches(total=7, size=3, every=2.0)
    assert times(arrivals) == [0, 0, 0, 2, 2, 2, 4]
    assert arrivals.duration == 4


def test_a_closed_loop_ends_by_count_or_by_time() -> None:
    assert [Looping(iterations=2).goes_on(done, 1e9) for done in range(3)] == [True, True, False]
    assert [Looping(iterations=None, seconds=5).goes_on(10**9, at) for at in (4.9, 5.0)] == [True, False]
    assert 0 <= Looping(over=3).begin(Random(1)) <= 3
