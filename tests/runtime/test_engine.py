"""An engine holds everything of one run, and leaves nothing behind, whatever the agent does."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from goldenpath.runtime.admission import Admission, Ticket
from goldenpath.runtime.engine import CLEANUP_TIMEOUT, Engine, EngineFactory, Outcome
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.run import Run
from goldenpath.runtime.spans import RunEndedError
from goldenpath.runtime.sync_run import SyncRun
from goldenpath.wire.errors import RequestError
from tests.runtime.logs import Logs
from tests.runtime.runs import make_run, turns, until


class Bench:
    """Engines on one log and one manual clock."""

    def __init__(self, logs: Logs, run: Run) -> None:
        self.logs = logs
        self.clock = logs.clock
        self.run = run
        self.admission: Admission[str] = Admission(max_running=4, max_waiting=4)
        self.factory = EngineFactory(logs.clock)

    def ticket(self, name: str = "t") -> Ticket[str]:
        return Ticket("ann", name, name, max_running=4, max_queued=4)

    def engine(self, function: Callable[[Any], Any], timeout: float | None = None) -> Engine:
        ticket = self.ticket()
        assert self.admission.submit(ticket)
        agent = Registry().add("agent", function, timeout=timeout)
        return self.factory.create(ticket, agent, lambda: self.run)

    async def execute(self, function: Callable[[Any], Any], timeout: float | None = None) -> Outcome:
        """Run to the end, with as much time as that needs."""
        return await self.logs.meanwhile(self.engine(function, timeout).execute())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    logs = Logs()
    async with logs.running():
        live = await logs.accept()
        live.begin()
        yield Bench(logs, make_run(logs, live))


async def _returns(run: Run) -> str:
    await asyncio.sleep(0)
    return run.context.run_id


async def _raises(_: Run) -> None:
    raise ValueError("broken")


async def _refuses(_: Run) -> None:
    raise RequestError("upstream_unavailable", "no model today")


async def _exits(_: Run) -> None:
    raise SystemExit(3)


async def _asks(run: Run) -> None:
    run.interrupt("approval", message="May I?")


async def _cancels_itself(_: Run) -> None:
    raise asyncio.CancelledError


async def _awaits_what_it_cancelled(run: Run) -> None:
    task = run.spawn(_hangs(run))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def _forgets_the_block(run: Run) -> None:
    message = run.message()
    await message.write("x")


async def _writes_after_the_block(run: Run) -> None:
    async with run.message() as message:
        pass
    await message.write("x")


async def _hangs(_: Run) -> None:
    await asyncio.Event().wait()


async def _task_raises(run: Run) -> None:
    run.spawn(_raises(run))
    await asyncio.Event().wait()


async def _emits_after_end(run: Run) -> None:
    run.ended = True
    await run.text("too late")


def _plain(run: SyncRun) -> str:
    return run.context.run_id


def _plain_raises(_: SyncRun) -> None:
    raise ValueError("broken")


def _plain_cancels_itself(_: object) -> None:
    raise asyncio.CancelledError


def _plain_stops_iteration(_: SyncRun) -> None:
    raise StopIteration


ENDS: dict[str, tuple[Callable[[Any], Any], str, str | None]] = {
    "returns": (_returns, "finished", None),
    "raises": (_raises, "failed", "agent_error"),
    "refuses": (_refuses, "failed", "upstream_unavailable"),
    "exits": (_exits, "failed", "agent_error"),
    "asks": (_asks, "interrupt", None),
    "cancels itself": (_cancels_itself, "failed", "agent_error"),
    "awaits what it cancelled": (_awaits_what_it_cancelled, "failed", "agent_error"),
    "forgets the block": (_forgets_the_block, "failed", "agent_error"),
    "writes after the block": (_writes_after_the_block, "failed", "agent_error"),
    "hangs": (_hangs, "failed", "timeout"),
    "a task raises": (_task_raises, "failed", "agent_error"),
    "emits after its end": (_emits_after_end, "cancelled", None),
    "plain": (_plain, "finished", None),
    "plain raises": (_plain_raises, "failed", "agent_error"),
    "plain cancels itself": (_plain_cancels_itself, "failed", "agent_error"),
    "plain stops iteration": (_plain_stops_iteration, "failed", "agent_error"),
}
"""Agents, with the kind and the error's code that their outcomes have."""


@pytest.mark.parametrize("end", ENDS)
async def test_an_agent_ends_as_it_did_and_what_it_registered_is_called_last_first(bench: Bench, end: str) -> None:
    function, kind, code = ENDS[end]
    called: list[int] = []
    for number in range(3):
        bench.run.on_cleanup(functools.partial(called.append, number))
    with capture_logs() as logged:
        outcome = await bench.execute(function, timeout=5)
    assert [line["event"] for line in logged] == ["agent_failed"] * (code == "agent_error")
    assert outcome.kind == kind
    assert (outcome.error.code if outcome.error else None) == code
    assert called == [2, 1, 0]
    assert bench.run.group is None
    assert bench.factory.statistics().active == 0


async def test_what_an_agent_raises_is_told_by_its_kind_only(bench: Bench) -> None:
    outcome = await bench.execute(_raises)
    assert outcome.error is not None
    assert outcome.error.message == "the agent agent failed (ValueError); request request-1"


async def test_an_engine_that_is_cancelled_cleans_up_too(bench: Bench) -> None:
    called: list[str] = []
    bench.run.on_cleanup(lambda: called.append("clean"))
    task = asyncio.create_task(bench.engine(_hangs).execute())
    await turns()
    task.cancel()
    assert (await task).kind == "cancelled"
    assert called == ["clean"]


async def _clean_async(called: list[str], name: str) -> None:
    await asyncio.sleep(0)
    called.append(name)


async def _clean_hanging(called: list[str], name: str) -> None:
    called.append(name)
    await asyncio.Event().wait()


async def _clean_stubborn(called: list[str], name: str) -> None:
    called.append(name)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)


def _clean_raising(called: list[str], name: str) -> None:
    called.append(name)
    raise ValueError(name)


def _clean_exiting(called: list[str], name: str) -> None:
    called.append(name)
    raise SystemExit(name)


async def _clean_cancelling(called: list[str], name: str) -> None:
    called.append(name)
    raise asyncio.CancelledError


CLEANUPS: dict[str, Callable[[list[str], str], object]] = {
    "plain": lambda called, name: called.append(name),
    "async": _clean_async,
    "hanging": _clean_hanging,
    "stubborn": _clean_stubborn,
    "raising": _clean_raising,
    "exiting": _clean_exiting,
    "cancelling": _clean_cancelling,
}


@settings(max_examples=40, deadline=None)
@given(
    cleanups=st.lists(st.sampled_from(sorted(CLEANUPS)), max_size=6),
    end=st.sampled_from(["returns", "raises", "exits", "asks", "hangs", "a task raises"]),
    cancels=st.integers(0, 3),
)
def test_every_clean_up_is_called_once_last_first_whatever_happens(cleanups: list[str], end: str, cancels: int) -> None:
    """Also when the run is cancelled again and again meanwhile, as an execution does with an agent that hangs."""

    async def scenario() -> None:
        logs = Logs()
        async with logs.running():
            live = await logs.accept()
            bench = Bench(logs, make_run(logs, live))
            called: list[str] = []
            names = [f"{number} {kind}" for number, kind in enumerate(cleanups)]
            for name in names:
                bench.run.on_cleanup(functools.partial(CLEANUPS[name.split()[1]], called, name))
            task = asyncio.create_task(bench.engine(ENDS[end][0], timeout=1).execute())
            for _ in range(cancels):
                await turns(3)
                task.cancel()
            await logs.meanwhile(task)
            assert called == names[::-1]
            assert bench.factory.statistics().cleaned == 1

    asyncio.run(scenario())


async def test_each_clean_up_has_its_time_whoever_cancels_meanwhile(bench: Bench) -> None:
    called: list[str] = []
    bench.run.on_cleanup(functools.partial(_clean_async, called, "first"))
    bench.run.on_cleanup(functools.partial(_clean_hanging, called, "second"))
    bench.run.on_cleanup(functools.partial(_clean_hanging, called, "third"))
    engine = bench.engine(_returns)
    task = asyncio.create_task(engine.execute())
    for expected in (["third"], ["third", "second"]):
        for seconds in (0, CLEANUP_TIMEOUT - 1):
            bench.clock.advance(seconds)
            await turns()
            task.cancel()
            await turns()
            assert called == expected
            assert engine.outcome == Outcome("finished", result="r1")
        bench.clock.advance(1)
    assert (await task).kind == "finished"
    assert called == ["third", "second", "first"]


async def test_a_cancel_that_a_thread_raises_is_the_agents_error(bench: Bench) -> None:
    async def agent(run: Run) -> None:
        await run.in_thread(_plain_cancels_itself, run)

    outcome = await bench.engine(agent).execute()
    assert outcome.error is not None
    assert outcome.error.code == "agent_error"


async def test_threads_that_a_cancelled_agent_left_keep_its_engine(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), asyncio.Event()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(20)

    async def agent(run: Run) -> None:
        await run.in_thread(block)

    task = asyncio.create_task(bench.engine(agent).execute())
    await entered.wait()
    task.cancel()
    assert (await task).kind == "cancelled"
    assert bench.factory.statistics().active == 1
    leave.set()
    await until(lambda: bench.factory.statistics().active == 0)


async def test_a_clean_up_may_register_another(bench: Bench) -> None:
    called: list[str] = []

    def outer() -> None:
        called.append("outer")
        bench.run.on_cleanup(lambda: called.append("inner"))

    bench.run.on_cleanup(outer)
    await bench.execute(_returns)
    assert called == ["outer", "inner"]


async def test_the_agents_tasks_end_with_it(bench: Bench) -> None:
    ended: list[str] = []

    async def work(name: str, awaited: Awaitable[object]) -> None:
        try:
            await awaited
        finally:
            ended.append(name)

    async def agent(run: Run) -> str:
        run.spawn(work("quick", asyncio.sleep(0)))
        run.spawn(work("slow", run.clock.sleep(3)))
        return "said"

    task = asyncio.create_task(bench.engine(agent).execute())
    await turns()
    assert ended == ["quick"]
    assert not task.done()
    bench.clock.advance(3)
    assert (await task).result == "said"
    assert ended == ["quick", "slow"]
    with pytest.raises(RunEndedError):
        bench.run.spawn(_hangs(bench.run))


async def test_a_task_that_raises_ends_the_agent_and_its_other_tasks(bench: Bench) -> None:
    ended: list[str] = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def agent(run: Run) -> None:
        run.spawn(waits("other"))
        run.spawn(_raises(run))
        await waits("agent")

    outcome = await bench.execute(agent)
    assert outcome.error is not None
    assert outcome.error.code == "agent_error"
    assert sorted(ended) == ["agent", "other"]


async def test_two_engines_share_no_tasks(bench: Bench) -> None:
    """What one agent's failure cancels is its own."""
    other = Bench(bench.logs, make_run(bench.logs, await bench.logs.accept("r2")))
    surviving = asyncio.create_task(other.engine(_hangs).execute())
    await turns()
    assert (await bench.execute(_task_raises)).kind == "failed"
    assert not surviving.done()
    surviving.cancel()
    await surviving


@pytest.mark.parametrize(("timeout", "limit"), [(None, 60), (7.5, 7.5), (600, 60)])
async def test_an_agent_has_the_shorter_of_its_own_time_and_the_runs(
    bench: Bench, timeout: float | None, limit: float
) -> None:
    engine = bench.engine(_hangs, timeout)
    assert engine.limit == limit
    task = asyncio.create_task(engine.execute())
    await turns()
    bench.clock.advance(limit - 0.001)
    await turns()
    assert not task.done()
    bench.clock.advance(0.001)
    outcome = await task
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == ("timeout", f"run timed out after {limit:.1f} s")


async def test_an_agent_that_ends_well_when_its_time_is_over_has_ended_well(bench: Bench) -> None:
    async def agent(_: Run) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "just in time"
        return "never"

    assert await bench.execute(agent, timeout=2) == Outcome("finished", result="just in time")


async def test_an_agents_own_timeout_error_is_not_the_runs(bench: Bench) -> None:
    async def agent(_: Run) -> None:
        raise TimeoutError("the model")

    outcome = await bench.execute(agent, timeout=2)
    assert outcome.error is not None
    assert outcome.error.code == "agent_error"


async def test_a_ticket_without_a_place_gets_no_engine(bench: Bench) -> None:
    agent = Registry().add("agent", _returns)
    ticket = bench.ticket()
    with pytest.raises(ValueError, match="no place"):
        bench.factory.create(ticket, agent, lambda: bench.run)
    bench.admission.submit(ticket)
    bench.admission.release(ticket)
    with pytest.raises(ValueError, match="no place"):
        bench.factory.create(ticket, agent, lambda: bench.run)
    assert bench.factory.statistics().created == 0


async def test_a_run_that_cannot_be_made_leaves_nothing(bench: Bench) -> None:
    agent = Registry().add("agent", _returns)
    ticket = bench.ticket()
    bench.admission.submit(ticket)

    def broken() -> Run:
        raise RequestError("internal", "no context")

    with pytest.raises(RequestError):
        bench.factory.create(ticket, agent, broken)
    statistics = bench.factory.statistics()
    assert (statistics.created, statistics.active, statistics.cleaned) == (0, 0, 0)


async def test_the_figures_tell_what_happened(bench: Bench) -> None:
    factory, agent = bench.factory, Registry().add("agent", _hangs)
    tickets = [bench.ticket(f"t{number}") for number in range(3)]
    assert all(bench.admission.submit(ticket) for ticket in tickets)

    def make(seconds: float) -> Run:
        bench.clock.advance(seconds)
        return bench.run

    engines = [
        factory.create(ticket, agent, functools.partial(make, seconds))
        for ticket, seconds in zip(tickets, (0.5, 2.0, 0.25), strict=True)
    ]
    tasks = [asyncio.create_task(engine.execute()) for engine in engines]
    await turns()
    statistics = factory.statistics()
    assert (statistics.created, statistics.active, statistics.cleaned) == (3, 3, 0)
    assert (statistics.create_seconds_total, statistics.create_seconds_max) == (2.75, 2.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks)
    statistics = factory.statistics()
    assert (statistics.created, statistics.active, statistics.cleaned) == (3, 0, 3)


async def test_a_cancelled_plain_function_keeps_its_engine_until_it_has_ended(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), asyncio.Event()

    def agent(_: SyncRun) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    task = asyncio.create_task(bench.engine(agent).execute())
    await entered.wait()
    for _ in range(3):
        task.cancel()
        await turns()
    assert bench.run.cancelled
    assert not task.done()
    assert bench.factory.statistics().active == 1
    leave.set()
    assert (await task).kind == "cancelled"


async def test_a_plain_function_that_returns_a_coroutine_is_awaited(bench: Bench) -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return "later"

    def agent(_: SyncRun) -> Awaitable[str]:
        return later()

    assert (await bench.execute(agent)).result == "later"
