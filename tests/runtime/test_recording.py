"""What the parts record on the way of a run: each duration from where its meaning says, each end as what it was."""

from __future__ import annotations

import asyncio

import pytest

from goldenpath.runtime.run import Run
from tests.runtime.runs import Runs, until
from tests.runtime.stagehand import Stagehand


async def fail(_: Run) -> None:
    raise ValueError("no")


def ends(runs: Runs) -> dict[str, int]:
    """How runs have ended so far: what there was of each."""
    run = runs.signals.run
    counts = {
        "finished": run.took.total().count,
        "failed": run.failed.total,
        "timed_out": run.timed_out.total,
        "stopped": run.refused.total,
        "queue_timeouts": runs.signals.queue_timeouts.total,
    }
    return {name: count for name, count in counts.items() if count}


async def test_durations_count_from_where_their_meanings_say() -> None:
    async with Runs().running() as runs:
        speak, finish = asyncio.Event(), asyncio.Event()

        async def slow(run: Run) -> None:
            await speak.wait()
            async with run.message() as message:
                await message.write("one")
                await message.write("two")
                await finish.wait()

        runs.agents.add("slow", slow)
        accepted = await runs.start("slow")
        runs.clock.advance(2.0)
        speak.set()
        await until(lambda: runs.signals.first_token.total().count)
        runs.clock.advance(3.0)
        finish.set()
        await runs.over(accepted)
        read = runs.signals.read
        assert read("first_token_avg_ms", 5.0) == 2000.0
        assert runs.signals.samples("first_token_avg_ms", 5.0) == 1
        assert read("run_avg_ms", 5.0) == 5000.0
        assert read("queue_wait_avg_ms", 5.0) == 0.0
        assert read("factory_avg_ms", 5.0) == 0.0
        assert runs.signals.samples("commit_p99_ms", 5.0) == runs.event_log.commits.commits
        assert ends(runs) == {"finished": 1}


async def test_a_run_that_waits_tells_how_long_it_waited() -> None:
    async with Runs().running() as runs:
        stage = Stagehand(runs)
        first = await runs.start("waits", "r1")
        await until(lambda: stage.plays("r1"))
        second = await runs.start("quick", "r2")
        runs.clock.advance(4.0)
        stage.tell("r1")
        await runs.over(first)
        await runs.over(second)
        assert runs.signals.queue_wait.total().buckets()[-1][0] == pytest.approx(4.0, rel=0.004)


async def test_each_end_counts_as_what_it_was() -> None:
    async with Runs(run_timeout=10.0, queue_timeout=5.0).running() as runs:
        stage = Stagehand(runs)
        runs.agents.add("fails", fail)
        await runs.over(await runs.start("fails", "r1"))
        assert ends(runs) == {"failed": 1}
        stopped = await runs.start("waits", "r2")
        await until(lambda: stage.plays("r2"))
        queued = await runs.start("quick", "r3")
        runs.clock.advance(6.0)
        runs.scheduler.cancel(stopped.log)
        await runs.over(stopped)
        await runs.over(queued)
        assert ends(runs) == {"failed": 1, "stopped": 1, "queue_timeouts": 1}
        late = await runs.start("waits", "r4")
        await until(lambda: stage.plays("r4"))
        runs.clock.advance(11.0)
        await runs.over(late)
        assert ends(runs) == {"failed": 1, "stopped": 1, "queue_timeouts": 1, "timed_out": 1}
        assert runs.signals.read("agent_timeout_rate", 20.0) == 0.5
        assert runs.signals.read("run_failure_rate", 20.0) == 1.0


async def test_a_run_that_says_all_at_once_has_first_words_too_and_one_that_says_nothing_has_none() -> None:
    async def silent(_: Run) -> None:
        return

    async with Runs().running() as runs:
        Stagehand(runs)
        runs.agents.add("silent", silent)
        await runs.over(await runs.start("silent", "r1"))
        assert runs.signals.first_token.total().count == 0
        await runs.over(await runs.start("quick", "r2"))
        assert runs.signals.first_token.total().count == 1


async def test_an_engine_that_was_not_ready_in_time_is_no_time_out_of_its_agent() -> None:
    async with Runs().running() as earlier:
        Stagehand(earlier)
        await earlier.over(await earlier.start("quick", "r0"))
    async with Runs(earlier.store.store).running() as runs:
        Stagehand(runs)
        gate = runs.store.hold_read("messages", before=True)
        accepted = await runs.start("quick", "r1")
        runs.clock.advance(runs.settings.factory_timeout)
        gate.set()
        await runs.over(accepted)
        assert ends(runs) == {"failed": 1}
        assert runs.signals.read("factory_timeouts_1h", runs.clock.monotonic()) == 1.0
        assert runs.signals.read("agent_timeout_rate", runs.clock.monotonic()) == 0.0
