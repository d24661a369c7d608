"""Whatever becomes of a run, it leaves nothing that only the garbage collector could find: everybody waits for that."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog

from goldenpath.runtime.run import Run
from goldenpath.runtime.sync_run import SyncRun
from goldenpath.wire.errors import RequestError
from tests.runtime.runs import Runs, principal, turns, until

RUNS = 20


async def _speaks(run: Run) -> None:
    await run.text("hello")
    run.spawn(run.text("and more"))
    run.on_cleanup(lambda: None)


def _plain(run: SyncRun) -> None:
    run.text("hello")


async def _fails(run: Run) -> None:
    try:
        await run.state_delta([{"op": "unheard of"}])
    except ValueError as error:
        raise KeyError("the effect") from error


async def _refuses(_: Run) -> None:
    raise RequestError("agent_error", "no")


async def _asks(run: Run) -> None:
    run.interrupt("why")


async def _fails_in_a_task(run: Run) -> None:
    run.spawn(_fails(run))
    await asyncio.get_running_loop().create_future()


async def _waits(_: Run) -> None:
    await asyncio.get_running_loop().create_future()


AGENTS: dict[str, Callable[..., object]] = {
    "speaks": _speaks,
    "plain": _plain,
    "fails": _fails,
    "refuses": _refuses,
    "asks": _asks,
    "fails in a task": _fails_in_a_task,
}


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    runs = Runs()
    for name, agent in AGENTS.items():
        runs.agents.add(name.replace(" ", "-"), agent)
    runs.agents.add("waits", _waits)
    async with runs.running():
        yield runs


async def garbage_of(call: Callable[[str], Awaitable[object]]) -> Counter[str]:
    """The types of what many such calls leave for the collector."""
    with structlog.testing.capture_logs():  # what shows a traceback in colours leaves cycles of its own
        return await _garbage_of(call)


async def _garbage_of(call: Callable[[str], Awaitable[object]]) -> Counter[str]:
    await call("warm")
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(RUNS):
            await call(str(number))
        await turns()
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_run_that_ended_by_itself(runs: Runs, agent: str) -> None:
    async def call(name: str) -> None:
        accepted = await runs.start(agent.replace(" ", "-"), name, thread=name)
        await until(lambda: accepted.run.finished_at is not None)
        await runs.settle()

    assert not await garbage_of(call)


async def test_a_run_that_was_cancelled(runs: Runs) -> None:
    async def call(name: str) -> None:
        accepted = await runs.start("waits", name, thread=name)
        await turns()
        await runs.dispatcher.cancel(principal(), name, None)
        await until(lambda: accepted.run.finished_at is not None)
        await runs.settle()

    assert not await garbage_of(call)


async def test_a_run_that_was_refused(runs: Runs) -> None:
    for number in range(18):
        await runs.start("waits", f"r{number}", thread=f"t{number}")

    async def call(name: str) -> None:
        # Not `pytest.raises`: what it gives us refers to this frame, and is in it.
        code = ""
        try:
            await runs.start("waits", name, thread=name)
        except RequestError as error:
            code = error.code
        assert code == "quota_exceeded"

    assert not await garbage_of(call)
