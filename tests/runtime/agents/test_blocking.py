"""An agent that blocks the event loop is named, with its line; one that does so where it may is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from goldenpath import App, Run, Settings
from goldenpath.runtime.agents.tools import FunctionTool
from goldenpath.runtime.run import Run as AnyRun
from goldenpath.runtime.stalls import Stall
from goldenpath.runtime.sync_run import SyncRun
from tests.runtime.agents.stage import Stage

BLOCKED = 0.8


async def blocks() -> None:
    time.sleep(BLOCKED)


LINE = f"{__file__}:{blocks.__code__.co_firstlineno + 1} in blocks"


async def in_itself(run: Run) -> None:
    await blocks()


async def in_a_task(run: Run) -> None:
    await run.spawn(blocks())


async def in_a_cleanup(run: Run) -> None:
    run.on_cleanup(blocks)


async def in_a_tool(run: AnyRun) -> None:
    await FunctionTool(blocks, name="look_up").call(run, "{}")


async def in_a_thread(run: Run) -> None:
    await run.in_thread(time.sleep, BLOCKED)


def in_a_plain_function(run: SyncRun) -> None:
    time.sleep(BLOCKED)


@asynccontextmanager
async def stage_of(data_dir: Path, agent: Callable[[Any], Any]) -> AsyncIterator[Stage]:
    """A server in this process whose agent `blocks` is this one."""
    app = App(Settings(environment="testing", data_dir=str(data_dir)))
    app.agents.add("blocks", agent)
    async with app.lifespan():
        yield Stage(app, app.build())


@pytest.mark.parametrize(
    ("agent", "tool"), [(in_itself, None), (in_a_task, None), (in_a_cleanup, None), (in_a_tool, "look_up")]
)
async def test_who_blocks_is_named(tmp_path: Path, agent: Callable[[Any], Any], tool: str | None) -> None:
    async with stage_of(tmp_path, agent) as stage:
        await who_blocks_is_named(stage, tool)


async def who_blocks_is_named(stage: Stage, tool: str | None) -> None:
    ended = asyncio.Event()
    found: list[Stall] = []

    def heard(stall: Stall) -> None:
        found.append(stall)
        ended.set()

    stage.server.stalls.listen(heard)
    played = await stage.play("blocks", "go")
    assert played.finished
    await ended.wait()
    works = [stall.work for stall in found if stall.work.place == LINE]
    assert [(work.agent, work.tool) for work in works] == [("blocks", tool)]
    assert stage.server.stalls.stalls.statistics().agents == 1
    assert stage.server.signals.read("stalls", stage.server.clock.monotonic()) == len(found)


@pytest.mark.parametrize("agent", [in_a_thread, in_a_plain_function])
async def test_who_blocks_a_thread_of_its_own_is_not(tmp_path: Path, agent: Callable[[Any], Any]) -> None:
    async with stage_of(tmp_path, agent) as stage:
        assert (await stage.play("blocks", "go")).finished
        assert stage.server.stalls.stalls.statistics().agents == 0
