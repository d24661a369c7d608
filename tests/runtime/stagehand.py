"""Agents whose every move a test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from goldenpath.runtime.run import Run
from tests.runtime.runs import Runs

Move = Callable[[Run], Awaitable[object]]


class Stagehand:
    """Registers agents on `runs`: `waits` says a word and does what it is told next, `stubborn` does so whatever
    cancels it, `quick` says one word."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self.live: dict[str, Run] = {}
        """The runs whose agents are at work, by their ids."""
        self.cancels: dict[str, int] = {}
        """How many cancels each stubborn agent swallowed."""
        self._moves: dict[str, asyncio.Future[Move]] = {}
        runs.agents.add("waits", self._waits)
        runs.agents.add("stubborn", self._stubborn)
        runs.agents.add("quick", self._quick)

    def tell(self, run_id: str, move: Move | None = None) -> None:
        """Let the agent of a run go on: make `move`, or just end."""
        self._moves.pop(run_id).set_result(move or _nothing)

    def plays(self, run_id: str) -> bool:
        """Whether the agent of this run is at work."""
        return run_id in self.live

    @property
    def waiting(self) -> set[str]:
        """The runs whose agents wait to be told."""
        return {run_id for run_id, future in self._moves.items() if not future.done()}

    async def die(self) -> None:
        """Leave only what the store has, as kill -9 does. Agents that obey nobody end unheard."""
        self._runs.kill()
        for run_id in self.waiting:
            self.tell(run_id)
        async with asyncio.timeout(20):
            while len(asyncio.all_tasks()) > 1:
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
                await asyncio.sleep(0)

    def _told(self, run: Run) -> asyncio.Future[Move]:
        future: asyncio.Future[Move] = asyncio.get_running_loop().create_future()
        self._moves[run.context.run_id] = future
        return future

    async def _waits(self, run: Run) -> object:
        run_id = run.context.run_id
        future = self._told(run)
        self.live[run_id] = run
        try:
            await run.text("here")
            return await (await future)(run)
        finally:
            self._moves.pop(run_id, None)
            del self.live[run_id]

    async def _stubborn(self, run: Run) -> object:
        run_id = run.context.run_id
        future = self._told(run)
        self.live[run_id] = run
        self.cancels[run_id] = 0
        try:
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
                    continue
                self.cancels[run_id] += 1
            return await future.result()(run)
        finally:
            del self.live[run_id]

    async def _quick(self, run: Run) -> None:
        await run.text("quick")


async def _nothing(_: Run) -> None:
    return
