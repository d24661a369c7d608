"""Time as an argument: what `SystemClock` does is what `ManualClock` does, but for who moves it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.clock import Clock, ManualClock, SystemClock, rfc3339, timeout


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@given(delays=st.lists(st.integers(1, 20), max_size=20), steps=st.lists(st.integers(0, 10), max_size=10))
def test_calls_come_when_they_are_due_in_their_order_and_once(delays: list[int], steps: list[int]) -> None:
    clock = ManualClock()
    called: list[tuple[int, int, float]] = []
    for number, delay in enumerate(delays):
        clock.call_later(delay, lambda n=number, d=delay: called.append((d, n, clock.monotonic())))
    for step in steps:
        clock.advance(step)
    expected = sorted((delay, number) for number, delay in enumerate(delays) if delay <= sum(steps))
    assert called == [(delay, number, float(delay)) for delay, number in expected]
    assert clock.monotonic() == sum(steps)
    assert clock.time() == 1_700_000_000 + sum(steps)


def test_a_cancelled_call_does_not_come() -> None:
    clock = ManualClock()
    called: list[str] = []
    first = clock.call_later(1, called.append, "first")
    clock.call_later(1, called.append, "second")
    first.cancel()
    clock.advance(1)
    first.cancel()
    assert called == ["second"]


def test_a_call_may_ask_for_the_next_one() -> None:
    clock = ManualClock()
    times: list[float] = []

    def tick() -> None:
        times.append(clock.monotonic())
        clock.call_later(2, tick)

    tick()
    clock.advance(5)
    assert times == [0, 2, 4]


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
async def test_what_is_due_already_comes_in_the_next_round(clock: Clock) -> None:
    called: list[int] = []
    clock.call_later(0, called.append, 1)
    clock.call_later(-1, called.append, 2)
    assert called == []
    await _turns()
    assert called == [1, 2]
    await clock.sleep(0)
    await clock.sleep(-1)


async def test_a_sleeper_that_was_cancelled_stops_nobody_else() -> None:
    clock = ManualClock()
    first, second = asyncio.create_task(clock.sleep(1)), asyncio.create_task(clock.sleep(1))
    await _turns()
    first.cancel()
    clock.advance(1)
    await second
    assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        ManualClock().advance(-0.1)


async def test_a_block_is_cut_at_its_time_and_not_before() -> None:
    clock = ManualClock()
    reached: list[str] = []

    async def work() -> None:
        async with timeout(clock, 3):
            await clock.sleep(2)
            reached.append("two")
            await clock.sleep(2)
            reached.append("four")

    task = asyncio.create_task(work())
    await _turns()
    clock.advance(2)
    await _turns()
    clock.advance(0.5)
    await _turns()
    assert not task.done()
    clock.advance(0.5)
    await _turns()
    assert reached == ["two"]
    with pytest.raises(TimeoutError):
        await task


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
async def test_a_block_that_has_no_time_is_cut_where_it_waits(clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        async with timeout(clock, 0) as limit:
            await asyncio.Event().wait()
    assert limit.expired()


async def test_a_block_that_ended_in_time_is_left_alone() -> None:
    clock = ManualClock()
    async with timeout(clock, 1) as limit:
        pass
    clock.advance(5)
    await _turns()
    assert not limit.expired()


async def test_cancelling_from_outside_is_no_timeout() -> None:
    clock = ManualClock()

    async def work() -> None:
        async with timeout(clock, 1):
            await clock.sleep(9)

    task = asyncio.create_task(work())
    await _turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_systems_time_is_shown_as_utc() -> None:
    assert rfc3339(1_700_000_000.1234) == "2023-11-14T22:13:20.123Z"
