from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.clock import ManualClock
from goldenpath.runtime.deadlines import Deadline, Deadlines, TimedOut
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.timeouts import LEVELS, CurrentTimeouts, Level
from tests.runtime.runs import turns

LOCAL = Settings().timeouts


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def deadlines(clock: ManualClock) -> Deadlines:
    return Deadlines(clock, CurrentTimeouts(LOCAL))


@given(st.lists(st.tuples(st.sampled_from(LEVELS), st.floats(0.01, 100), st.floats(0, 50)), min_size=1, max_size=8))
def test_no_child_outlives_its_parent_and_who_fires_is_known(chain: list[tuple[Level, float, float]]) -> None:
    now = 0.0
    level, seconds, _ = chain[0]
    deadline = Deadline(seconds, level, seconds)
    set_by = {(level, seconds)}
    for level, seconds, later in chain[1:]:
        now += later
        child = deadline.child(level, seconds, now)
        set_by.add((level, seconds))
        assert child.at <= deadline.at
        assert child.at <= max(now + seconds, 0)
        assert (child.level, child.seconds) in set_by
        assert child.remaining(now) >= 0
        deadline = child


async def test_a_time_out_says_which_level_fired_after_how_long_and_is_counted(
    clock: ManualClock, deadlines: Deadlines
) -> None:
    async def work() -> None:
        async with deadlines.within(deadlines.start("agent_execution", 10.0)):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await turns()
    clock.advance(9.999)
    await turns()
    assert not task.done()
    clock.advance(0.001)
    with pytest.raises(TimedOut) as caught:
        await task
    assert (caught.value.code, caught.value.level, caught.value.seconds) == ("timeout", "agent_execution", 10.0)
    assert caught.value.message == "agent_execution timed out after 10.0 s"
    assert deadlines.statistics().agent_execution == 1
    assert task.cancelling() == 0


@pytest.mark.parametrize(("outer", "inner", "fires"), [(3.0, 5.0, "run"), (5.0, 3.0, "tool"), (4.0, 4.0, "run")])
async def test_of_two_the_one_that_is_due_first_fires_and_only_that_is_counted(
    clock: ManualClock, deadlines: Deadlines, outer: float, inner: float, fires: str
) -> None:
    async def work() -> None:
        whole = deadlines.start("run", outer)
        async with deadlines.within(whole), deadlines.within(whole.child("tool", inner, clock.monotonic())):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await turns()
    clock.advance(min(outer, inner))
    with pytest.raises(TimedOut) as caught:
        await task
    assert caught.value.level == fires
    counted = deadlines.statistics()
    assert (counted.run, counted.tool) == ((1, 0) if fires == "run" else (0, 1))


async def test_what_ends_in_time_is_not_disturbed_and_leaves_no_timer(clock: ManualClock, deadlines: Deadlines) -> None:
    async with deadlines.within(deadlines.start("database")):
        await asyncio.sleep(0)
    clock.advance(100)
    await turns()
    with pytest.raises(ValueError, match="its own"):
        async with deadlines.within(deadlines.start("database")):
            raise ValueError("its own")
    assert deadlines.statistics().database == 0


async def test_a_cancel_from_outside_stays_a_cancel(clock: ManualClock, deadlines: Deadlines) -> None:
    async def work() -> None:
        async with deadlines.within(deadlines.start("database")):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await turns()
    task.cancel()
    clock.advance(LOCAL.database)  # both at once: whoever cancelled wants it ended
    with pytest.raises(asyncio.CancelledError):
        await task
