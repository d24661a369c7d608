"""Which time-out ends a run, what its user is told, and what does not count as an agent's silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from goldenpath.runtime.agents.tools import FunctionTool
from goldenpath.runtime.run import Run
from goldenpath.runtime.settings import LEGACY
from goldenpath.wire import events as ev
from tests.runtime.runs import Runs, terminal, turns, until
from tests.runtime.stagehand import Stagehand

TESTING: dict[str, Any] = {"agent_execution_timeout": 10.0, "factory_timeout": 10.0, "tool_timeout": 8.0}


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    async with Runs(**TESTING).running() as running:
        yield running


@pytest.fixture
def hand(runs: Runs) -> Stagehand:
    return Stagehand(runs)


def said_of_it(events: list[ev.Event]) -> str:
    assert terminal(events) == "timeout"
    last = events[-1]
    assert isinstance(last, ev.RunError)
    return last.message


async def pass_time(runs: Runs, seconds: float, step: float = 0.25) -> None:
    for _ in range(round(seconds / step)):
        runs.clock.advance(step)
        await turns(5)


async def test_an_agent_that_makes_no_progress_is_ended(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    await pass_time(runs, 9.75)
    assert accepted.run.finished_at is None
    with structlog.testing.capture_logs() as logs:
        await pass_time(runs, 1.75)
    (told,) = [entry for entry in logs if entry["event"] == "agent_silent"]
    assert (told["agent"], told["seconds"]) == ("waits", 10.0)
    assert "silence=SECONDS" in told["advice"]
    assert said_of_it(await runs.over(accepted)) == "agent_execution timed out after 10.0 s"
    assert runs.deadlines.statistics().agent_execution == 1


async def test_an_agent_that_streams_may_take_far_longer(runs: Runs, hand: Stagehand) -> None:
    async def stream(run: Run) -> None:
        async with run.message() as message:
            for _ in range(20):
                await message.write("word ")
                await run.clock.sleep(9.0)

    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.tell("r1", stream)
    await pass_time(runs, 185, 1.0)
    assert terminal(await runs.over(accepted)) == "success"


async def test_an_agent_that_is_stubborn_is_ended_after_the_grace(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("stubborn")
    await until(lambda: hand.plays("r1"))
    await pass_time(runs, 10 + 1.25 + runs.settings.cancel_grace)
    assert said_of_it(await runs.over(accepted)) == "agent_execution timed out after 10.0 s"
    hand.tell("r1")
    await until(lambda: not runs.scheduler.active)


async def test_an_agent_may_ask_for_more_time_without_progress(runs: Runs, hand: Stagehand) -> None:
    async def quiet(run: Run) -> None:
        await run.clock.sleep(25)

    async def bounded(run: Run) -> None:
        async with run.within(30):
            await run.clock.sleep(25)

    async def too_long(run: Run) -> None:
        async with run.within(30):
            await run.clock.sleep(35)

    runs.agents.add("slow", quiet, silence=30.0)
    runs.agents.add("bounded", bounded)
    runs.agents.add("late", too_long)
    slow, patient = await runs.start("slow"), await runs.start("bounded", "r2", thread="t2")
    late = await runs.start("late", "r3", thread="t3", user="bob")
    await turns()
    await pass_time(runs, 31)
    assert terminal(await runs.over(slow)) == "success"
    assert terminal(await runs.over(patient)) == "success"
    assert said_of_it(await runs.over(late)) == "tool timed out after 30.0 s"


async def test_waiting_for_the_disk_is_no_silence(runs: Runs, hand: Stagehand) -> None:
    async def flood(run: Run) -> None:
        async with run.message() as message:
            for _ in range(200):
                await message.write("x")

    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    runs.store.hold_commits()
    hand.tell("r1", flood)
    await turns()
    await pass_time(runs, 30)
    runs.store.release_commits()
    assert terminal(await runs.over(accepted)) == "success"


@pytest.mark.parametrize("own", [None, 3.0])
async def test_a_tool_that_hangs_is_ended_by_its_own_level(runs: Runs, hand: Stagehand, own: float | None) -> None:
    async def search() -> str:
        await asyncio.Event().wait()
        return ""

    tool = FunctionTool(search, timeout=own)
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.tell("r1", lambda run: tool.call(run, "{}"))
    await turns()
    await pass_time(runs, 8)
    assert said_of_it(await runs.over(accepted)) == f"tool timed out after {own or 8.0:.1f} s"
    assert runs.deadlines.statistics().tool == 1


async def test_a_history_that_cannot_be_read_ends_the_run_as_soon_as_it_can(runs: Runs, hand: Stagehand) -> None:
    first = await runs.start("quick")
    await runs.over(first)
    log = first.log
    log.transcript = None
    gate = runs.store.hold_read("messages", before=True)
    second = await runs.start("quick", "r2")
    await turns()
    await pass_time(runs, 11)
    assert second.run.finished_at is None
    gate.set()
    assert said_of_it(await runs.over(second)) == "factory timed out after 10.0 s"
    assert runs.deadlines.statistics().factory == 1
    assert len(await runs.history()) == 3  # what its user said is kept


async def test_a_run_that_waits_too_long_is_told_so() -> None:
    async with Runs(queue_timeout=5.0).running() as runs:
        hand = Stagehand(runs)
        first = await runs.start("waits")
        await until(lambda: hand.plays("r1"))
        second = await runs.start("quick", "r2")
        await pass_time(runs, 5)
        hand.tell("r1")
        await runs.over(first)
        assert said_of_it(await runs.over(second)) == "queue timed out after 5.0 s"
        assert runs.deadlines.statistics().queue == 1


async def test_a_run_keeps_the_time_outs_that_it_began_with(runs: Runs, hand: Stagehand) -> None:
    before = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    runs.deadlines.timeouts.replace(LEGACY, "test")
    after = await runs.start("waits", "r2", thread="t2")
    await until(lambda: hand.plays("r2"))
    await pass_time(runs, 11.5)
    assert said_of_it(await runs.over(before)) == "agent_execution timed out after 10.0 s"
    assert after.run.finished_at is None
    await pass_time(runs, 22.5)
    assert said_of_it(await runs.over(after)) == "agent_execution timed out after 30.0 s"
