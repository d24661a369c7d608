"""Commands have the effect that the protocol says, at the moment it says, or none."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from goldenpath.runtime.run import Run
from goldenpath.runtime.settings import TierLimits
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.stores.sqlite_log import SCHEMA, SqliteLog
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import Runs, kinds, principal, terminal, turns, until
from tests.runtime.stagehand import Stagehand

ANN = principal()


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    async with Runs().running() as running:
        yield running


@asynccontextmanager
async def refused(code: str) -> AsyncIterator[None]:
    """What is in the block is refused with `code`."""
    with pytest.raises(RequestError) as error:
        yield
    assert error.value.code == code


# --- start ------------------------------------------------------------------------------------------------------------


async def test_a_run_is_accepted_when_that_is_durable_and_not_before(runs: Runs, hand: Stagehand) -> None:
    runs.store.hold_commits()
    starting = asyncio.create_task(runs.start("waits"))
    await turns()
    assert "r1" in hand.live  # its agent need not wait for the disk
    assert not starting.done()
    with pytest.raises(TimeoutError):  # for everybody else there is no thread yet
        await asyncio.wait_for(runs.dispatcher.run(ANN, "t1", "r1"), 0.05)
    runs.store.release_commits()
    accepted = await starting
    assert (accepted.seq, accepted.status, accepted.known) == (0, "running", False)
    assert accepted.log.durable
    hand.tell("r1")
    assert terminal(await runs.over(accepted)) == "success"


async def test_a_run_id_is_accepted_once(runs: Runs, hand: Stagehand) -> None:
    await runs.over(await runs.start("quick", "r0"))
    first = await runs.start("waits", "r1")
    again = await runs.start("quick", "r1", text="something else", on_busy="reject")
    assert (again.known, again.status, again.run) == (True, "running", first.run)
    assert again.seq == first.run.first_seq - 1 > 0
    hand.tell("r1")
    events = await runs.over(first)
    later = await runs.start("no such agent", "r1")
    assert (later.known, later.status, later.seq) == (True, "finished", again.seq)
    assert await runs.said(first) == events


async def test_the_store_is_asked_only_for_run_ids_that_somebody_chose() -> None:
    async with Runs().running() as earlier:
        Stagehand(earlier)
        await earlier.over(await earlier.start("quick", "old"))
    async with Runs(earlier.store.store).running() as runs:
        Stagehand(runs)
        for run_id, asked in ((None, 0), ("new", 1), (None, 1)):
            await runs.over(await runs.start("quick", run_id))
            assert runs.store.reads.count("run") == asked


async def test_of_many_with_one_run_id_one_is_accepted_also_where_the_store_must_be_asked() -> None:
    async with Runs().running() as earlier:
        Stagehand(earlier)
        await earlier.over(await earlier.start("quick", "old"))
    async with Runs(earlier.store.store).running() as runs:
        Stagehand(runs)
        found = await asyncio.gather(*(runs.start("quick", "new") for _ in range(5)))
        assert sorted(accepted.known for accepted in found) == [False, True, True, True, True]
        old = await runs.start("quick", "old")
        assert (old.known, old.status) == (True, "finished")
        assert old.seq == 0


async def test_one_user_knows_nothing_of_a_run_id_of_another(runs: Runs, hand: Stagehand) -> None:
    first = await runs.start("waits", "r1", user="ann")
    second = await runs.start("quick", "r1", user="bob")
    assert not second.known
    assert second.log is not first.log
    async with refused("not_found"):
        await runs.dispatcher.cancel(principal("eve"), "t1", "r1")
    assert terminal(await runs.over(second)) == "success"
    assert "r1" in hand.live


async def test_cancelling_who_asks_does_not_undo_what_was_asked(runs: Runs, hand: Stagehand) -> None:
    runs.store.hold_commits()
    starting = asyncio.create_task(runs.start("waits"))
    await turns()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    runs.store.release_commits()
    again = await runs.start("waits")
    assert again.known
    hand.tell("r1")
    assert terminal(await runs.over(again)) == "success"


# --- busy -------------------------------------------------------------------------------------------------------------


async def test_a_thread_runs_one_after_the_other(runs: Runs, hand: Stagehand) -> None:
    accepted = [await runs.start("waits", f"r{number}") for number in range(3)]
    assert [each.status for each in accepted] == ["running", "queued", "queued"]
    for each in accepted:
        await until(functools.partial(hand.plays, each.run.run_id))
        hand.tell(each.run.run_id)
        assert terminal(await runs.over(each)) == "success"
    order = [run_id for run_id, _ in await runs.whole()]
    assert order == sorted(order)


async def test_who_would_not_wait_is_told_that_the_thread_is_busy(runs: Runs, hand: Stagehand) -> None:
    first = await runs.start("waits", "r1", on_busy="reject")
    async with refused("thread_busy"):
        await runs.start("quick", "r2", on_busy="reject")
    async with refused("not_found"):
        await runs.dispatcher.run(ANN, "t1", "r2")
    hand.tell("r1")
    await runs.over(first)
    assert terminal(await runs.over(await runs.start("quick", "r2", on_busy="reject"))) == "success"


async def test_an_interrupt_cancels_what_runs_and_what_waits_in_this_thread_only(runs: Runs, hand: Stagehand) -> None:
    first, second = await runs.start("waits", "r1"), await runs.start("waits", "r2")
    other = await runs.start("waits", "r3", thread="t2")
    last = await runs.start("waits", "r4", on_busy="interrupt")
    await until(lambda: "r4" in hand.live)
    assert [terminal(await runs.over(each)) for each in (first, second)] == ["cancelled", "cancelled"]
    assert other.run.status == "running"
    hand.tell("r4")
    assert terminal(await runs.over(last)) == "success"
    assert list(dict.fromkeys(run_id for run_id, _ in await runs.whole())) == ["r1", "r2", "r4"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"tiers": {"free": TierLimits(1, 2)}}, "quota_exceeded"), ({"max_waiting": 2}, "queue_full")],
)
async def test_a_queue_that_is_full_refuses_and_an_interrupt_takes_what_its_thread_leaves(
    settings: dict[str, Any], code: str
) -> None:
    async with Runs(**settings).running() as runs:
        hand = Stagehand(runs)
        await runs.start("waits", "r1", thread="t1")
        await runs.start("waits", "r2", thread="t1")
        await runs.start("waits", "r3", thread="t1")
        async with refused(code):
            await runs.start("waits", "r4", thread="t1")
        assert list(hand.live) == ["r1"]
        last = await runs.start("waits", "r5", thread="t1", on_busy="interrupt")
        await until(lambda: list(hand.live) == ["r5"])
        hand.tell("r5")
        assert terminal(await runs.over(last)) == "success"


async def test_a_refusal_cancels_nothing_also_where_the_user_was_allowed_more_before() -> None:
    tiers = {"free": TierLimits(1, 1), "mid": TierLimits(1, 4)}
    async with Runs(tiers=tiers).running() as runs:
        hand = Stagehand(runs)
        await runs.start("waits", "r1", tier="mid")
        for number in range(2, 6):
            await runs.start("waits", f"r{number}", thread="t1" if number < 4 else f"t{number}", tier="mid")
        async with refused("quota_exceeded"):
            await runs.start("waits", "r6", on_busy="interrupt", tier="free")
        await turns()
        assert list(hand.live) == ["r1"]
        async with runs.dispatcher.opened(ANN, "t1") as log:
            rows = {row.run_id: row.status for row in await runs.dispatcher.runs(log)}
        assert rows == {"r1": "running", "r2": "queued", "r3": "queued"}


async def test_an_interrupt_by_a_user_who_is_allowed_more_now_starts_at_once() -> None:
    async with Runs(tiers={"free": TierLimits(1, 4), "mid": TierLimits(2, 4)}).running() as runs:
        hand = Stagehand(runs)
        await runs.start("waits", "r1", thread="t1")
        second = await runs.start("waits", "r2", thread="t2")
        third = await runs.start("waits", "r3", thread="t2", on_busy="interrupt", tier="mid")
        assert third.status == "running"
        assert terminal(await runs.over(second)) == "cancelled"
        await until(lambda: "r3" in hand.live)
        hand.tell("r3")
        assert terminal(await runs.over(third)) == "success"


async def test_a_run_that_waited_too_long_ends_when_its_turn_comes(runs: Runs, hand: Stagehand) -> None:
    first, second = await runs.start("waits", "r1"), await runs.start("waits", "r2")
    await turns()
    runs.clock.advance(runs.settings.queue_timeout - 0.001)
    await turns()
    third = await runs.start("waits", "r3")
    assert runs.admission.statistics().waiting == 2
    # The first one's own time is over, too, a moment before: both end, and the one that came later goes on.
    runs.clock.advance(0.001)
    await until(lambda: list(hand.live) == ["r3"])
    assert terminal(await runs.over(first)) == "timeout"
    events = await runs.over(second)
    assert kinds(events) == ["RUN_STARTED", "RUN_ERROR"]
    assert terminal(events) == "timeout"
    hand.tell("r3")
    assert terminal(await runs.over(third)) == "success"


async def test_a_run_that_got_its_place_in_time_is_not_ended_by_the_queues_time(runs: Runs, hand: Stagehand) -> None:
    await runs.start("waits", "r1")
    second = await runs.start("waits", "r2")
    await until(lambda: "r1" in hand.live)
    runs.clock.advance(runs.settings.queue_timeout - 1)
    hand.tell("r1")
    await until(lambda: "r2" in hand.live)
    runs.clock.advance(2)
    await turns()
    hand.tell("r2")
    assert terminal(await runs.over(second)) == "success"


async def test_sixty_four_threads_of_a_user_all_get_their_turn() -> None:
    """Two at once, as the tier says, in the order in which they came, while another user waits for nobody."""
    async with Runs(tiers={"free": TierLimits(2, 64)}).running() as runs:
        hand = Stagehand(runs)
        accepted = [await runs.start("waits", f"r{number}", thread=f"t{number}") for number in range(64)]
        assert [each.status for each in accepted] == ["running"] * 2 + ["queued"] * 62
        other = await runs.start("quick", "r", user="bob")
        assert terminal(await runs.over(other)) == "success"
        for number in range(64):
            await until(functools.partial(hand.plays, f"r{number}"))
            assert len(hand.live) == min(2, 64 - number)
            hand.tell(f"r{number}")
            assert terminal(await runs.over(accepted[number])) == "success"
        assert runs.admission.statistics().peak == 3
        assert runs.engines.statistics().active == 0


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_what_cannot_be_run_is_refused_and_leaves_nothing(runs: Runs) -> None:
    Stagehand(runs)
    async with refused("unknown_agent"):
        await runs.start("nobody")
    runs.store.failing_commits = 1
    committing = asyncio.create_task(runs.event_log.commits.committed())
    await until(lambda: not runs.event_log.commits.healthy)
    async with refused("overloaded"):
        await runs.start("quick")
    await runs.meanwhile(committing)
    runs.scheduler.refuse_new_runs()
    async with refused("draining"):
        await runs.start("quick")
    assert runs.event_log.statistics().logs == 0
    assert await runs.dispatcher.threads(ANN.user_id, 10, None) == []


async def test_a_thread_whose_history_is_full_takes_no_new_run_but_knows_the_old(runs: Runs) -> None:
    async with Runs(max_history_bytes=1000).running() as small:
        Stagehand(small)
        await small.over(await small.start("quick", "r1", text="x" * 1000))
        async with refused("payload_too_large"):
            await small.start("quick", "r2")
        assert (await small.start("quick", "r1")).known


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_nobody_is_told_of_an_end_before_it_is_durable(runs: Runs, hand: Stagehand) -> None:
    accepted = await runs.start("waits")
    await runs.settle()
    runs.store.hold_commits()
    hand.tell("r1")
    await until(lambda: accepted.run.finished_at is not None)
    asked = (
        asyncio.create_task(runs.dispatcher.run(ANN, "t1", "r1")),
        asyncio.create_task(runs.dispatcher.runs(accepted.log)),
        asyncio.create_task(runs.dispatcher.messages(ANN, "t1")),
        asyncio.create_task(runs.start("quick", "r1")),
    )
    await turns(50)
    assert not any(task.done() for task in asked)
    runs.store.release_commits()
    run, listed, history, known = await asyncio.gather(*asked)
    assert (run.status, listed[0].status, known.status) == ("finished", "finished", "finished")
    assert history[1] == accepted.run.last_seq


# --- cancel -----------------------------------------------------------------------------------------------------------


async def test_a_cancel_names_what_was_active_and_each_ends(runs: Runs, hand: Stagehand) -> None:
    accepted = [await runs.start("waits", f"r{number}") for number in range(3)]
    await until(lambda: hand.live)
    assert await runs.dispatcher.cancel(ANN, "t1", "r1") == ["r1"]
    assert await runs.dispatcher.cancel(ANN, "t1", None) == ["r0", "r1", "r2"]
    assert [terminal(await runs.over(each)) for each in accepted] == ["cancelled"] * 3
    assert await runs.dispatcher.cancel(ANN, "t1", None) == []
    assert await runs.dispatcher.cancel(ANN, "t1", "r0") == []
    for thread, run_id in (("t1", "r9"), ("t9", None), ("t9", "r1")):
        async with refused("not_found"):
            await runs.dispatcher.cancel(ANN, thread, run_id)


# --- delete -----------------------------------------------------------------------------------------------------------


async def test_a_thread_may_be_deleted_under_its_runs(runs: Runs, hand: Stagehand) -> None:
    first, second = await runs.start("waits", "r1"), await runs.start("waits", "r2")
    await until(lambda: hand.live)
    await runs.dispatcher.delete(ANN, "t1")
    await until(lambda: not hand.live)
    assert first.run.finished_at == second.run.finished_at == runs.clock.time()
    async with refused("not_found"):
        await runs.dispatcher.run(ANN, "t1", "r1")
    assert runs.admission.statistics().waiting == 0
    again = await runs.start("quick", "r1")
    assert not again.known
    assert again.log.epoch != first.log.epoch
    assert terminal(await runs.over(again)) == "success"
    assert runs.engines.statistics().active == 0


async def test_a_thread_may_be_deleted_under_an_agent_that_obeys_nobody(runs: Runs, hand: Stagehand) -> None:
    await runs.start("stubborn", "r1")
    await until(lambda: hand.live)
    await runs.dispatcher.delete(ANN, "t1")
    again = await runs.start("quick", "r1")
    assert terminal(await runs.over(again)) == "success"

    async def speak(run: Run) -> None:
        await run.text("into the void")

    runs.clock.advance(10)
    hand.tell("r1", speak)
    await until(lambda: not hand.live and runs.engines.statistics().active == 0)
    assert b"void" not in b"".join(event for _, event in await runs.whole())


async def test_a_thread_may_be_deleted_while_the_history_of_its_run_is_read() -> None:
    async with Runs().running() as earlier:
        Stagehand(earlier)
        await earlier.over(await earlier.start("quick", "r0"))
    async with Runs(earlier.store.store).running() as runs:
        hand = Stagehand(runs)
        gate = runs.store.hold_read("messages")
        accepted = await runs.start("waits", "r1")
        await runs.dispatcher.delete(ANN, "t1")
        gate.set()
        await until(lambda: accepted.run.finished_at is not None)
        await until(lambda: runs.admission.statistics().running == 0)
        assert not hand.live
        async with refused("not_found"):
            await runs.dispatcher.messages(ANN, "t1")


async def test_what_is_deleted_stays_deleted_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "goldenpath.db", [SCHEMA])
    await database.open()
    try:
        for store in (MemoryLog(), SqliteLog(database)):
            async with Runs(store).running() as runs:
                hand = Stagehand(runs)
                await runs.start("waits", "r1")
                await until(functools.partial(hand.plays, "r1"))
                await runs.meanwhile(runs.dispatcher.delete(ANN, "t1"))
            async with Runs(store).running() as runs:
                assert await runs.dispatcher.threads(ANN.user_id, 10, None) == []
                async with refused("not_found"):
                    await runs.dispatcher.messages(ANN, "t1")
    finally:
        await database.close()


# --- drain ------------------------------------------------------------------------------------------------------------


async def test_a_drain_gives_runs_their_time_and_no_more(runs: Runs, hand: Stagehand) -> None:
    """One ends in time, one is cut, and what waits does not begin any more."""
    first, second = await runs.start("waits", "r1", thread="t1"), await runs.start("waits", "r2", thread="t2")
    waiting = [await runs.start("waits", "r3", thread="t1"), await runs.start("waits", "r4", thread="t4")]
    await until(lambda: len(hand.live) == 2)
    draining = asyncio.create_task(runs.scheduler.drain(10))
    await turns()
    async with refused("draining"):
        await runs.start("quick", "r5", thread="t5")
    assert (await runs.start("quick", "r1", thread="t1")).known
    assert terminal(await runs.over(waiting[1])) == "run_interrupted"
    hand.tell("r1")
    assert terminal(await runs.over(first)) == "success"
    assert terminal(await runs.over(waiting[0])) == "run_interrupted"
    runs.clock.advance(9.999)
    await turns()
    assert second.run.finished_at is None
    runs.clock.advance(0.001)
    assert terminal(await runs.over(second)) == "run_interrupted"
    assert second.run.status == "interrupted"
    await draining
    assert runs.scheduler.abandoned == 0


async def test_a_drain_ends_when_the_last_run_does(runs: Runs, hand: Stagehand) -> None:
    await runs.start("waits", "r1")
    await until(lambda: hand.live)
    draining = asyncio.create_task(runs.scheduler.drain(10))
    await turns()
    assert not draining.done()
    hand.tell("r1")
    await asyncio.wait_for(draining, 10)
    assert runs.clock.monotonic() == 0


async def test_a_drain_leaves_agents_that_swallow_every_cancel(runs: Runs, hand: Stagehand) -> None:
    """Their runs end all the same, and what waited behind them too."""
    stubborn = [await runs.start("stubborn", f"r{number}", thread=f"t{number}") for number in range(2)]
    behind = await runs.start("quick", "r9", thread="t0")
    await until(lambda: len(hand.live) == 2)
    draining = asyncio.create_task(runs.scheduler.drain(10))
    await turns()
    for seconds in (10, 2, 0.5):
        assert not draining.done()
        runs.clock.advance(seconds)
        await turns()
    await asyncio.wait_for(draining, 10)
    assert runs.scheduler.abandoned == 2
    assert [terminal(await runs.over(each)) for each in (*stubborn, behind)] == ["run_interrupted"] * 3
    assert all(swallowed >= 2 for swallowed in hand.cancels.values())
    await runs.scheduler.drain(10)
    for number in range(2):
        hand.tell(f"r{number}")
    await until(lambda: runs.scheduler.abandoned == 0)


async def test_a_drain_without_runs_is_over_at_once(runs: Runs) -> None:
    await asyncio.wait_for(runs.scheduler.drain(10), 10)
    assert runs.scheduler.draining


async def test_whoever_repeats_a_drain_waits_for_it(runs: Runs, hand: Stagehand) -> None:
    await runs.start("waits", "r1")
    await until(lambda: hand.live)
    drains = [asyncio.create_task(runs.scheduler.drain(10)) for _ in range(2)]
    await turns()
    assert [drain.done() for drain in drains] == [False, False]
    drains[0].cancel()
    await turns()
    assert not drains[1].done()
    hand.tell("r1")
    await asyncio.wait_for(drains[1], 10)
    assert hand.live == {}


@asynccontextmanager
async def unreadable(**settings: Any) -> AsyncIterator[tuple[Runs, Stagehand]]:
    """A process whose store has the thread t1 with a history, and cannot read it while `reads_fail`."""
    async with Runs().running() as earlier:
        Stagehand(earlier)
        await earlier.over(await earlier.start("quick", "r0"))
    async with Runs(earlier.store.store, **settings).running() as runs:
        yield runs, Stagehand(runs)


@pytest.mark.parametrize("queued", [False, True])
async def test_a_drain_leaves_no_task_that_waits_for_a_history(queued: bool) -> None:
    """Neither of a run that has its place nor of one that was stopped in the queue; the next start ends it."""
    tiers = {"free": TierLimits(max_running=1)}
    async with unreadable(tiers=tiers) as (runs, hand):
        if queued:
            await runs.start("waits", "r1", thread="t2")
            await until(lambda: hand.live)
        gate = runs.store.hold_read("messages", before=True)
        accepted = await runs.start("waits", "r2")
        runs.store.reads_fail = True
        gate.set()
        await runs.dispatcher.cancel(ANN, "t1", "r2")
        await runs.meanwhile(runs.scheduler.drain(0))
        await turns()
        asked = runs.store.reads.count("messages")
        runs.clock.advance(60)
        await turns()
        assert runs.store.reads.count("messages") == asked > 0
        assert runs.scheduler.abandoned == 0
        assert accepted.run.finished_at is None
        runs.store.reads_fail = False
    async with Runs(runs.store.store).running() as runs:
        assert (await runs.dispatcher.run(ANN, "t1", "r2")).status == "interrupted"
        assert [message.content for message in await runs.history()] == ["hello", "quick", "hello"]


async def test_a_stop_while_the_history_cannot_be_read_loses_nothing_that_its_user_said() -> None:
    async with unreadable() as (runs, hand):
        gate = runs.store.hold_read("messages", before=True)
        accepted = await runs.start("waits", "r1", text="do not lose this")
        await runs.dispatcher.cancel(ANN, "t1", "r1")
        runs.clock.advance(runs.settings.cancel_grace)
        await turns()
        assert accepted.run.finished_at is None
        gate.set()
        assert terminal(await runs.over(accepted)) == "cancelled"
        assert not hand.live
        assert (await runs.history())[-1].content == "do not lose this"


async def test_a_place_is_given_back_when_the_end_is_durable_and_not_before(runs: Runs, hand: Stagehand) -> None:
    first = await runs.start("waits", "r1")
    second = await runs.start("quick", "r2")
    runs.store.hold_commits()
    hand.tell("r1")
    await until(lambda: first.run.finished_at is not None)
    await turns()
    assert second.run.status == "queued"
    assert runs.admission.statistics().running == 1
    runs.store.release_commits()
    assert terminal(await runs.over(second)) == "success"
    assert runs.admission.statistics().running == 0
