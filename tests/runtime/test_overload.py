"""New runs are refused when everything takes long for a while, in part, early, and never where the server is well."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.overload import EPOCH, FALL, LEAST, SUSTAINED, Overload, Queue
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import principal

TIERS = ("free", "mid", "top")
BOUND = 0.15
BEAT = 0.2
NOBODY_WAITS = Queue(0, 0)


class Watched:
    """An overload control, and the time that passes for it."""

    def __init__(self, *, lag: float | None = BOUND, wait: float | None = 30.0) -> None:
        self.overload = Overload(TIERS, lag_bound=lag, wait_bound=wait)
        self.now = 100.0
        self.overload.beat(0.0, self.now)

    def beats(self, *lates: float, queue: Queue = NOBODY_WAITS) -> None:
        """The loop beats, each time so late."""
        for late in lates:
            self.now += BEAT + late
            if self.overload.beat(late, self.now):
                self.overload.close(queue, self.now)

    def late_for(self, seconds: float, late: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.beats(late)

    def refusal(self, user: str, tier: str = "free") -> RequestError | None:
        try:
            self.overload.check(principal(user, tier), self.now)
        except RequestError as refused:
            return refused
        return None

    def taken(self, tier: str = "free", users: int = 1000) -> float:
        """The part of so many users' runs that is taken."""
        return sum(self.refusal(f"user-{number}", tier) is None for number in range(users)) / users


def test_a_server_that_is_late_for_some_seconds_takes_a_part_of_the_new_runs() -> None:
    watched = Watched()
    watched.late_for(5 * SUSTAINED, 2 * BOUND)
    assert watched.overload.pressure == pytest.approx(2, rel=0.01)
    assert LEAST <= watched.overload.statistics().taken < 0.5
    assert watched.taken() == pytest.approx(watched.overload.statistics().taken, abs=0.05)


def test_it_does_so_within_seconds() -> None:
    watched = Watched()
    began = watched.now
    while watched.overload.statistics().taken == 1:
        watched.beats(2 * BOUND)
    assert watched.now - began < 2 * SUSTAINED


@given(st.lists(st.floats(0, BOUND * 0.99), max_size=200))
def test_a_server_that_is_never_later_than_the_bound_refuses_nobody(lates: list[float]) -> None:
    watched = Watched()
    watched.beats(*lates)
    assert watched.overload.statistics().taken == 1
    assert watched.taken(users=20) == 1


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(3.0, 20.0)), max_size=20))
def test_single_stalls_however_long_are_no_overload(stalls: list[tuple[float, float]]) -> None:
    """Somebody who blocks the loop is found (`stalls.py`), and refusing others would not help."""
    watched = Watched()
    for seconds, well in stalls:
        watched.beats(seconds)
        watched.late_for(well, 0.0)
    assert watched.overload.statistics().taken == 1


@given(st.lists(st.lists(st.floats(0, 0.3), min_size=1, max_size=2), max_size=60))
def test_moments_without_a_processor_are_no_overload(late: list[list[float]]) -> None:
    """Two beats of five may be late by twice the bound, for ever."""
    watched = Watched()
    for moments in late:
        watched.beats(0.0, 0.0, 0.0, 0.0, *moments, 0.0)
    assert watched.overload.statistics().taken == 1


def test_it_takes_everybody_again_when_it_is_well_a_little_at_a_time() -> None:
    watched = Watched()
    watched.late_for(20, 2 * BOUND)
    parts = []
    for _ in range(100):
        watched.late_for(1, 0.0)
        parts.append(watched.overload.statistics().taken)
    assert parts == sorted(parts)
    assert parts[0] < 0.2
    assert parts[-1] == 1
    assert max(after - before for before, after in itertools.pairwise(parts)) < 0.06


@given(st.lists(st.floats(0.5 * BOUND, 0.99 * BOUND), min_size=1, max_size=100))
def test_between_calm_and_overload_nothing_changes(lates: list[float]) -> None:
    watched = Watched()
    watched.late_for(6, 2 * BOUND)
    watched.beats(*[BOUND * 0.8] * 20)
    before = watched.overload.statistics().taken
    watched.beats(*lates)
    assert watched.overload.statistics().taken == before


@given(st.lists(st.floats(0, 10), max_size=300))
def test_somebody_is_always_taken_and_nobody_twice(lates: list[float]) -> None:
    watched = Watched()
    watched.beats(*lates)
    found = watched.overload.statistics()
    assert LEAST <= found.taken <= 1
    assert found.pressure >= 0


def test_settles_near_what_the_server_can_do_and_does_not_swing() -> None:
    """A server that can do 100 runs a second, of which 200 are asked for; what is too much makes it late."""
    watched = Watched()
    late, parts, lates = 0.0, [], []
    for _ in range(600):
        late = min(max(0.0, late + (200 * watched.overload.statistics().taken - 100) / 100 * 0.1), 2.0)
        watched.late_for(1, late)
        parts.append(watched.overload.statistics().taken)
        lates.append(late)
    settled = parts[100:]
    assert 0.35 < sum(settled) / len(settled) < 0.6
    assert min(settled) > LEAST
    assert sum(late > 2 * BOUND for late in lates[100:]) < 0.4 * len(settled)
    assert sum(after / before < FALL * 0.9 for before, after in itertools.pairwise(settled)) == 0


def test_the_higher_tiers_come_first() -> None:
    watched = Watched()
    for _ in range(4 * SUSTAINED):
        for tier, users in (("free", 60), ("mid", 30), ("top", 5)):
            watched.taken(tier, users)
        watched.late_for(1, 2 * BOUND)
        parts = [watched.taken(tier) for tier in ("top", "mid", "free")]
        assert parts == sorted(parts, reverse=True)
        assert all(higher == 1 or lower == 0 for higher, lower in itertools.pairwise(parts))
    assert parts[0] > 0 == parts[-1]


def test_an_unknown_tier_is_free() -> None:
    watched = Watched()
    watched.late_for(8, 2 * BOUND)
    seen = [(watched.refusal(f"user-{n}") is None, watched.refusal(f"user-{n}", "gold") is None) for n in range(50)]
    assert all(free == gold for free, gold in seen)


def test_a_user_who_asks_a_thousand_times_has_no_more_chances() -> None:
    watched = Watched()
    watched.late_for(8, 2 * BOUND)
    for number in range(20):
        assert len({watched.refusal(f"user-{number}") is None for _ in range(50)}) == 1


def test_who_is_refused_is_told_when_the_dice_are_thrown_again_and_everybody_has_a_turn() -> None:
    watched = Watched()
    watched.late_for(8, 2 * BOUND)
    waits: list[float] = []
    turns: Counter[str] = Counter()
    part = watched.overload.statistics().taken
    for _ in range(100):
        for number in range(50):
            refused = watched.refusal(f"user-{number}")
            turns[f"user-{number}"] += refused is None
            if refused is not None:
                assert refused.code == "overloaded"
                assert refused.retry_after is not None
                waits.append(refused.retry_after)
        watched.now += EPOCH
    assert all(0 < wait <= EPOCH for wait in waits)
    assert max(waits) - min(waits) > 0.8 * EPOCH  # not all come back at once
    assert min(turns.values()) > 0
    assert sum(turns.values()) / 5000 == pytest.approx(part, abs=0.05)


def test_what_is_left_when_as_few_as_may_be_are_taken_is_for_somebody_else() -> None:
    watched = Watched()
    while watched.overload.statistics().taken > LEAST:
        assert watched.overload.unrelieved_lag == 0
        watched.beats(2 * BOUND)
    assert watched.overload.unrelieved_lag == 2 * BOUND
    watched.beats(*[0.0] * 20)
    assert watched.overload.unrelieved_lag == 0


def test_where_nobody_is_refused_here_all_of_it_is() -> None:
    watched = Watched(lag=None)
    watched.beats(*[2 * BOUND] * 20)
    assert watched.overload.unrelieved_lag == 2 * BOUND


def test_a_queue_that_would_take_too_long_is_overload() -> None:
    """Ten start in a second; for a thousand who wait that is 100 s."""
    watched = Watched(lag=None)
    admitted = 0
    for _ in range(20):
        admitted += 10
        for _ in range(5):
            watched.beats(0.0, queue=Queue(1000, admitted))
    assert watched.overload.statistics().wait == pytest.approx(100, rel=0.15)
    assert watched.overload.statistics().taken < 1


def test_a_queue_that_moves_is_none() -> None:
    watched = Watched(lag=None)
    for second in range(60):
        for _ in range(5):
            watched.beats(0.0, queue=Queue(1000, 500 * second))
    assert watched.overload.statistics().taken == 1


def test_a_few_who_wait_for_long_runs_are_none() -> None:
    watched = Watched(lag=None)
    watched.beats(*[0.0] * 100, queue=Queue(2, 5))
    assert watched.overload.statistics().taken == 1


def test_the_wait_is_told_by_how_long_windows_were() -> None:
    watched = Watched()
    for started in range(0, 30, 3):
        watched.beats(3 - BEAT, queue=Queue(20, started))  # a stall: each window has 3 s, and three runs start in each
    assert watched.overload.statistics().wait == pytest.approx(20.0)


def test_without_bounds_nothing_is_refused() -> None:
    watched = Watched(lag=None, wait=None)
    watched.beats(*[3.0] * 50, queue=Queue(10_000, 0))
    assert watched.taken(users=20) == 1
