"""Whoever blocks the event loop is found: the agent, the tool, the line; and nobody else is named."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.clock import ManualClock, SystemClock
from goldenpath.runtime.pulse import INTERVAL, Pulse
from goldenpath.runtime.stacks import Work, task_name
from goldenpath.runtime.stalls import PLACES, RECENT, TOLD_EVERY, Stall, StallDetector, Stalls
from tests.runtime.runs import turns

BOUND = 0.25
BLOCKED = 0.8


def stall(place: str | None = "agents.py:1 in blocks", seconds: float = 1.0, agent: str | None = "blocks") -> Stall:
    return Stall(0.0, seconds, Work(agent=agent, place=place))


# --- what is remembered and told --------------------------------------------------------------------------------------


def test_a_place_is_told_of_at_once_and_then_once_in_a_while_with_the_longest_since() -> None:
    stalls = Stalls()
    first = stalls.add(stall(seconds=0.3), 0)
    assert first is not None
    assert (first.stall.seconds, first.times) == (0.3, 1)
    for number in range(1, 10):
        assert stalls.add(stall(seconds=number / 2), number) is None
    later = stalls.add(stall(seconds=0.3), TOLD_EVERY)
    assert later is not None
    assert (later.stall.seconds, later.times) == (4.5, 10)


def test_each_place_is_told_of() -> None:
    stalls = Stalls()
    assert all(stalls.add(stall(place), 0) is not None for place in ("a.py:1", "a.py:2", None))


def test_what_is_counted_is_whose_they_were() -> None:
    stalls = Stalls()
    stalls.add(stall(), 0)
    stalls.add(stall("b.py:1", 0.5, agent=None), 0)
    stalls.add(stall(None, 3.0, agent=None), 0)
    found = stalls.statistics()
    assert (found.count, found.agents, found.unexplained) == (3, 1, 1)
    assert (found.seconds, found.longest) == (4.5, 3.0)


@given(st.lists(st.tuples(st.integers(0, 2 * PLACES), st.floats(0, 100)), max_size=3 * PLACES))
def test_memory_is_bounded_and_no_stall_is_told_of_twice(given_stalls: list[tuple[int, float]]) -> None:
    stalls, now, times = Stalls(), 0.0, 0
    for place, pause in given_stalls:
        now += pause
        told = stalls.add(stall(f"{place}.py:1"), now)
        times += told.times if told is not None else 0
        assert len(stalls.recent()) <= RECENT
    assert times <= len(given_stalls) == stalls.statistics().count


# --- the pulse --------------------------------------------------------------------------------------------------------


async def test_the_pulse_says_how_late_it_came() -> None:
    clock = ManualClock()
    pulse = Pulse(clock)
    heard: list[tuple[float, float]] = []
    pulse.listen(lambda late, now: heard.append((round(late, 3), round(now, 3))))
    pulse.start()
    await turns()
    clock.advance(3 * INTERVAL)
    pulse.stop()
    clock.advance(10 * INTERVAL)
    assert heard == [(0, 0), (0, 0.2), (0, 0.4), (0, 0.6)]


async def test_a_listener_that_fails_stops_nothing() -> None:
    clock = ManualClock()
    pulse = Pulse(clock)
    heard: list[float] = []

    def fails(late: float, now: float) -> None:
        heard.append(now)
        raise RuntimeError

    pulse.listen(fails)
    pulse.start()
    await turns()
    clock.advance(INTERVAL)
    pulse.stop()
    assert len(heard) == 2


# --- who did it -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watched(bound: float = BOUND) -> AsyncIterator[tuple[asyncio.Semaphore, StallDetector]]:
    """A detector of this loop, and what is released at each beat."""
    clock = SystemClock()
    pulse = Pulse(clock)
    detector = StallDetector(pulse, clock, bound)
    beats = asyncio.Semaphore(0)
    pulse.listen(lambda late, now: beats.release())
    pulse.start()
    detector.start()
    try:
        await beats.acquire()
        yield beats, detector
    finally:
        detector.stop()
        pulse.stop()


async def longest_of(work: Coroutine[Any, Any, None], name: str | None = None) -> Stall:
    """The longest stall while `work` runs as a task of this name."""
    async with watched() as (beats, detector):
        heard: list[Stall] = []
        detector.listen(heard.append)
        await asyncio.create_task(work, name=name)
        while not heard:
            await beats.acquire()
        assert detector.stalls.recent() == heard
        return max(heard, key=lambda each: each.seconds)


async def blocks() -> None:
    time.sleep(BLOCKED)


async def test_the_agent_and_its_line_are_named() -> None:
    seen = await longest_of(blocks(), task_name("planner", "r1"))
    assert seen.seconds > BLOCKED - INTERVAL - 0.05
    assert (seen.work.agent, seen.work.run_id, seen.work.tool) == ("planner", "r1", None)
    assert seen.work.place == f"{__file__}:{blocks.__code__.co_firstlineno + 1} in blocks"
    assert seen.work.stack[-1] == seen.work.place


async def test_of_a_library_that_blocks_the_line_that_called_it_is_named() -> None:
    async def waits() -> None:
        subprocess.run(["sleep", str(BLOCKED)], check=True)

    seen = await longest_of(waits())
    assert seen.work.place == f"{__file__}:{waits.__code__.co_firstlineno + 1} in waits"
    assert "subprocess.py" in "".join(seen.work.stack)
    assert seen.work.agent is None


async def test_a_callback_that_blocks_is_found() -> None:
    def call() -> None:
        time.sleep(BLOCKED)

    async def later() -> None:
        asyncio.get_running_loop().call_soon(call)

    seen = await longest_of(later(), task_name("planner", "r1"))
    assert seen.work.place == f"{__file__}:{call.__code__.co_firstlineno + 1} in call"
    assert seen.work.agent is None


async def test_where_nobody_blocks_nobody_is_named() -> None:
    async with watched() as (beats, detector):
        for _ in range(5):
            await beats.acquire()
        assert all(stall.work.place is None for stall in detector.stalls.recent())


async def test_a_bound_of_zero_watches_nothing() -> None:
    async with watched(0) as (beats, detector):
        before = threading.active_count()
        await blocks()
        await beats.acquire()
        assert detector.stalls.statistics().count == 0
        assert threading.active_count() == before


async def test_the_thread_ends_with_the_detector() -> None:
    async with watched():
        assert "goldenpath-stalls" in {thread.name for thread in threading.enumerate()}
    assert "goldenpath-stalls" not in {thread.name for thread in threading.enumerate()}


async def test_the_detector_can_be_switched_off_and_on_while_it_runs() -> None:
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    async with watched() as (beats, detector):
        detector.switch(on=False)
        assert "goldenpath-stalls" not in threads()
        await blocks()
        await beats.acquire()
        assert detector.stalls.statistics().count == 0
        detector.switch(on=True)
        detector.switch(on=True)
        assert "goldenpath-stalls" in threads()
    detector.switch(on=True)
    assert "goldenpath-stalls" not in threads()
