from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.degradation import HOLD, LEVELS, MEANINGS, RETRY_AFTER, Condition, Degradation, Level, watch
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import turns

TIERS = ("free", "early", "mid", "enterprise")
TAKEN: dict[Level, set[str]] = {
    "normal": set(TIERS),
    "shed_low": {"early", "mid", "enterprise"},
    "shed_most": {"enterprise"},
    "refuse": set(),
}


def under(unrelieved: float, *, can_write: bool = True) -> Condition:
    return Condition(unrelieved, can_write)


def taken(degradation: Degradation, tiers: tuple[str, ...] = TIERS) -> set[str]:
    """The tiers whose runs are taken."""
    found = set()
    for tier in tiers:
        try:
            degradation.check(tier)
        except RequestError as error:
            told = (error.code, error.row.retryable, error.row.definite, error.retry_after)
            if told != ("overloaded", True, True, RETRY_AFTER):
                raise
        else:
            found.add(tier)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_refuses_more_tiers_the_lowest_first(level: Level) -> None:
    degradation = Degradation(TIERS)
    degradation.force(level)
    assert taken(degradation) == TAKEN[level]
    view = degradation.view()
    assert (view.level, view.meaning, view.forced) == (level, MEANINGS[level], True)
    assert set(view.refused_tiers) == set(TIERS) - TAKEN[level]


def test_an_unknown_tier_goes_with_free() -> None:
    degradation = Degradation(TIERS)
    degradation.force("shed_low")
    assert taken(degradation, ("gold",)) == set()


def test_of_one_tier_nobody_goes_before_another() -> None:
    degradation = Degradation(("free",))
    for level in LEVELS[:-1]:
        degradation.force(level)
        assert taken(degradation, ("free",)) == {"free"}
    degradation.force("refuse")
    assert taken(degradation, ("free",)) == set()


def test_it_rises_at_once_and_falls_by_steps() -> None:
    degradation = Degradation(TIERS)
    assert degradation.observe(under(0.99), 0) == "normal"
    assert degradation.observe(under(2.5), 1) == "refuse"
    levels = [degradation.observe(under(0.1), 2 + second) for second in range(40)]
    steps = [(second, after) for second, (before, after) in enumerate(pairwise(levels), 1) if before != after]
    assert steps == [(HOLD, "shed_most"), (2 * HOLD, "shed_low"), (3 * HOLD, "normal")]


def test_at_the_edge_it_stays() -> None:
    degradation = Degradation(TIERS)
    degradation.observe(under(1.0), 0)
    for second in range(1, 100):
        assert degradation.observe(under(0.85 if second % 2 else 1.1), second) == "shed_low"
    for second in range(100, 200):  # once in a while it is as bad as before
        assert degradation.observe(under(0.9 if second % 9 == 0 else 0.1), second) == "shed_low"


def test_what_cannot_be_written_is_refused_as_long_as_that_lasts() -> None:
    degradation = Degradation(TIERS)
    assert degradation.observe(under(0.1, can_write=False), 0) == "refuse"
    assert degradation.observe(under(0.1), 1) == "normal"
    degradation.observe(under(1.2), 2)
    assert degradation.observe(under(1.2, can_write=False), 3) == "refuse"
    assert degradation.observe(under(1.2), 4) == "shed_low"


def test_an_operator_decides_until_they_leave_it_to_the_server_again() -> None:
    degradation = Degradation(TIERS)
    with capture_logs() as logs:
        degradation.force("refuse")
        assert degradation.observe(under(0.0), 1) == "refuse"
        degradation.force("normal")
        assert degradation.observe(under(9.0, can_write=False), 2) == "normal"
        degradation.force(None)
    assert degradation.level == "refuse"
    assert [(line["level"], line["forced"]) for line in logs] == [("refuse", True), ("normal", True), ("refuse", False)]
    taken(degradation)
    statistics = degradation.statistics()
    assert (statistics.level, statistics.forced, statistics.changes, statistics.refused) == (3, 0, 3, len(TIERS))


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 20)), max_size=60))
def test_it_is_never_below_what_is_asked_and_falls_only_after_the_hold(history: list[tuple[float, float]]) -> None:
    degradation = Degradation(TIERS)
    now, fell_at, level = 0.0, None, 0
    for pressure, seconds in history:
        now += seconds
        after = LEVELS.index(degradation.observe(under(pressure), now))
        assert after >= sum(pressure >= rise for rise in (1.0, 1.5, 2.0))
        if after < level:
            assert after == level - 1
            assert fell_at is None or now - fell_at >= HOLD * 0.999
            fell_at = now
        level = after


async def test_it_is_watched_each_second() -> None:
    clock, degradation = ManualClock(), Degradation(TIERS)
    conditions = [under(1.0), under(2.0)]
    watching = asyncio.create_task(watch(degradation, lambda: conditions[int(clock.monotonic() >= 1)], clock))
    await turns()
    assert degradation.level == LEVELS[1]
    clock.advance(1.0)
    await turns()
    assert degradation.level == LEVELS[3]
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_pressure_that_is_forgotten_falls_at_once_and_what_cannot_be_written_stays_refused() -> None:
    degradation = Degradation(TIERS)
    degradation.observe(under(100.0), 0.0)
    degradation.calm()
    assert degradation.level == "normal"
    assert degradation.observe(under(100.0, can_write=False), 1.0) == "refuse"
    degradation.calm()
    assert degradation.view().level == "refuse"
