"""A server that is asked for more than it can do refuses a part of the new runs at once, and the others are fast."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from goldenpath.runtime.overload import EPOCH
from goldenpath.runtime.settings import Settings
from tests.serverprocess import ServerProcess
from tests.wsclient import Frame, connected

AGENT = """
import asyncio
import time

from goldenpath import App, Run

app = App()


@app.agent("burns")
async def burns(run: Run) -> None:
    for _ in range(5):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)
    await run.text("done")
"""
"""Each run takes 0.1 s of the processor, in pieces: of many at once everybody waits for each."""
PATIENT = {"GOLDENPATH_AGENT_EXECUTION_TIMEOUT": "120", "GOLDENPATH_WEBSOCKET_RECV_TIMEOUT": "150"}
"""Such an agent says nothing until its end, and of many at once each takes long."""
USERS = 25
SETTLED = 6.0
"""After so many seconds those that were taken before the control knew have ended."""
IMPATIENT = 0.5
"""Users who are refused try again after so many seconds at most: they do not do what they are told."""


class Outcomes:
    """What became of the runs that were asked for."""

    def __init__(self) -> None:
        self.served: list[tuple[float, float]] = []
        """When each run that was taken was asked for, since the beginning, and how long it took (`processor`)."""
        self.running = 0
        self.together: list[tuple[float, int]] = []
        """When each of them was asked for, and how many there were at its end."""
        self.refused: list[Frame] = []
        self.refusals: list[float] = []
        """How long each refusal took (`processor`)."""

    def at_once(self, since: float = 0.0) -> float:
        """The median of how many there were at once, of those that were asked for since then."""
        return statistics.median(count for asked, count in self.together if asked >= since)

    def took(self, since: float = 0.0) -> float:
        """The median of how long those took that were asked for since then (`processor`)."""
        return statistics.median(took for asked, took in self.served if asked >= since)


def processor(server: ServerProcess) -> float:
    """Seconds that the server has had of the processor: the clock of these tests, because on a busy machine those on
    the wall say more of its other guests."""
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


async def keep_asking(
    server: ServerProcess, agent: str, number: int, began: float, seconds: float, outcomes: Outcomes
) -> None:
    """Ask for one run after another for so many seconds."""
    token = server.tokens(f"user-{number}@example.org")["access_token"]
    async with connected(server.ws_url, token) as socket:
        for turn in itertools.count():
            asked, before = time.monotonic(), processor(server)
            if asked - began > seconds:
                return
            reply = await socket.call("run", agent=agent, text="go", thread_id="t1", run_id=f"r{turn}")
            if reply["ok"]:
                outcomes.running += 1
                events = await socket.ended("t1", f"r{turn}")
                assert events[-1]["event"]["type"] == "RUN_FINISHED"
                outcomes.together.append((asked - began, outcomes.running))
                outcomes.running -= 1
                outcomes.served.append((asked - began, processor(server) - before))
            else:
                outcomes.refused.append(reply["error"])
                outcomes.refusals.append(processor(server) - before)
                await asyncio.sleep(min(reply["error"]["retry_after"], IMPATIENT))


async def load(server: ServerProcess, agent: str, seconds: float) -> Outcomes:
    outcomes = Outcomes()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(USERS):
            group.create_task(keep_asking(server, agent, number, began, seconds, outcomes))
    return outcomes


async def test_a_part_is_refused_at_once_and_the_others_are_fast(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    (tmp_path / "agents.py").write_text(AGENT)
    found = {}
    for name, seconds, env in (("without", 4.0, {}), ("with", 3 * SETTLED, {"GOLDENPATH_OVERLOAD_LAG": "0.1"})):
        server = start_server(target="agents:app", cwd=tmp_path, **PATIENT, **env)
        found[name] = await load(server, "burns", seconds)
        server.kill()
    without, controlled = found["without"], found["with"]
    assert not without.refused
    assert {error["code"] for error in controlled.refused} == {"overloaded"}
    assert all(0 < error["retry_after"] <= EPOCH for error in controlled.refused)
    assert controlled.at_once(since=SETTLED) < without.at_once() / 2
    assert controlled.took(since=SETTLED) < without.took()
    assert statistics.median(controlled.refusals) < controlled.took(since=SETTLED)


async def test_a_server_that_is_busy_and_well_refuses_nobody(start_server: Callable[..., ServerProcess]) -> None:
    """With the bounds of production, as many users, and runs that say something as fast as they can."""
    production = Settings(environment="production")
    assert production.overload_lag is not None
    server = start_server(GOLDENPATH_OVERLOAD_LAG=str(production.overload_lag))
    found = await load(server, "echo", SETTLED)
    assert found.served
    assert not found.refused
