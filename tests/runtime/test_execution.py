"""Whatever an agent ends with, its run has one terminal event, which is bounded as every other one is."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from goldenpath.runtime.engine import CLEANUP_TIMEOUT
from goldenpath.runtime.run import Run
from goldenpath.wire import events as ev
from tests.runtime.runs import Runs, principal, terminal, turns, until
from tests.runtime.stagehand import Stagehand

LIMIT = 2000


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    async with Runs(max_event_bytes=LIMIT).running() as running:
        yield running


async def _result(_: Run) -> str:
    return "x" * LIMIT


async def _question(run: Run) -> None:
    run.interrupt("approval", message="x" * LIMIT)


async def _sum(run: Run) -> str:
    """Each part is allowed, all together are not."""
    run.usage({"model": "m" * 900, "inputTokens": 1})
    run.pending("c" * 900)
    return "x" * 300


async def _usage(run: Run) -> None:
    run.usage({"model": "m" * LIMIT})


async def _pending(run: Run) -> None:
    run.pending("c" * LIMIT)


@pytest.mark.parametrize("move", [_result, _question, _sum, _usage, _pending])
async def test_a_last_event_over_the_limit_makes_way_for_an_error(runs: Runs, hand: Stagehand, move: Any) -> None:
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.tell("r1", move)
    events = await runs.over(accepted)
    assert terminal(events) == "payload_too_large"
    assert len(ev.encode(events[-1])) <= LIMIT
    assert (accepted.run.status, accepted.run.error) == ("failed", "payload_too_large")


async def test_a_last_event_of_the_largest_size_is_allowed(runs: Runs, hand: Stagehand) -> None:
    async def fitting(run: Run) -> str:
        thread, run_id = run.context.thread_id, run.context.run_id
        empty = ev.RunFinished(thread, run_id, result="", outcome=ev.SuccessOutcome())
        return "x" * (LIMIT - len(ev.encode(empty)))

    async def one_more(run: Run) -> str:
        return await fitting(run) + "x"

    for run_id, move, end in (("r1", fitting, "success"), ("r2", one_more, "payload_too_large")):
        accepted = await runs.start("waits", run_id)
        await until(functools.partial(hand.plays, run_id))
        hand.tell(run_id, move)
        events = await runs.over(accepted)
        assert terminal(events) == end
        assert end != "success" or len(ev.encode(events[-1])) == LIMIT


async def test_a_cancelled_run_stays_cancelled_whatever_it_counted(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.live["r1"].usage({"model": "m" * (LIMIT - 50), "inputTokens": 1})
    await runs.dispatcher.cancel(principal(), "t1", "r1")
    assert terminal(await runs.over(accepted)) == "cancelled"


async def test_an_agent_that_obeys_nobody_is_asked_again_and_again(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("stubborn")
    await until(lambda: hand.plays("r1"))
    await runs.dispatcher.cancel(principal(), "t1", "r1")
    await turns()
    assert accepted.run.finished_at is None
    for swallowed in range(1, 5):
        assert hand.cancels["r1"] == swallowed
        runs.clock.advance(runs.settings.cancel_grace)
        await turns()
    assert terminal(await runs.over(accepted)) == "cancelled"
    hand.tell("r1")
    await until(lambda: runs.engines.statistics().active == 0)


async def test_an_agent_that_outlives_its_time_is_ended_after_the_grace(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("stubborn")
    await until(lambda: hand.plays("r1"))
    runs.clock.advance(runs.settings.run_timeout)
    await turns()
    assert accepted.run.finished_at is None
    runs.clock.advance(runs.settings.cancel_grace)
    assert terminal(await runs.over(accepted)) == "timeout"
    assert hand.plays("r1")
    hand.tell("r1")
    await until(lambda: not hand.live)


@pytest.mark.parametrize("fault", ["the closing", "the history"])
async def test_a_run_whose_end_fails_has_an_end_and_gives_its_place_back(
    runs: Runs, hand: Stagehand, fault: str
) -> None:
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    waiting = await runs.start("quick", "r2")
    if fault == "the closing":
        hand.live["r1"].order.places["message", object()] = None  # type: ignore[index] # only a fault of ours
    else:
        accepted.log.append(b"no event")
    hand.tell("r1")
    await until(lambda: accepted.run.finished_at is not None)
    await until(lambda: waiting.run.finished_at is not None)
    await runs.settle()
    assert runs.admission.statistics().running == 0
    assert runs.scheduler.active == 0
    ended = await runs.dispatcher.run(principal(), "t1", "r1")
    assert ended.status == ("failed" if fault == "the closing" else "finished")
    if fault == "the closing":
        assert terminal(await runs.said(accepted)) == "internal"


async def _hangs() -> None:
    await asyncio.Event().wait()


async def test_stopping_a_run_that_cleans_up_leaves_its_end_as_it_was(runs: Runs, hand: Stagehand) -> None:
    """It is told after the grace, and the clean-up goes on."""
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.live["r1"].on_cleanup(_hangs)
    hand.tell("r1")
    await until(lambda: not hand.plays("r1"))
    await turns()
    await runs.dispatcher.cancel(principal(), "t1", "r1")
    await turns()
    assert accepted.run.finished_at is None
    runs.clock.advance(runs.settings.cancel_grace)
    assert terminal(await runs.over(accepted)) == "success"
    assert accepted.run.status == "finished"
    assert runs.engines.statistics().active == 1
    runs.clock.advance(CLEANUP_TIMEOUT)
    await until(lambda: runs.engines.statistics().active == 0)


async def test_a_run_out_of_time_while_it_cleans_up_ended_in_time(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.live["r1"].on_cleanup(_hangs)
    runs.clock.advance(runs.settings.run_timeout - 1)
    hand.tell("r1")
    await until(lambda: not hand.plays("r1"))
    await turns()
    runs.clock.advance(1 + runs.settings.cancel_grace)
    assert terminal(await runs.over(accepted)) == "success"
    runs.clock.advance(CLEANUP_TIMEOUT)
    await until(lambda: runs.engines.statistics().active == 0)


async def test_a_run_with_a_thread_at_work_has_its_end_and_keeps_its_place(runs: Runs, hand: Stagehand) -> None:
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), asyncio.Event()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(20)

    async def impatient(run: Run) -> None:
        call = asyncio.create_task(run.in_thread(block))
        await entered.wait()
        call.cancel()

    accepted = await runs.start("waits")
    await until(lambda: hand.plays("r1"))
    hand.tell("r1", impatient)
    assert terminal(await runs.over(accepted)) == "success"
    assert runs.scheduler.active == 1
    leave.set()
    await until(lambda: runs.scheduler.active == 0)
