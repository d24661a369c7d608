"""Agents that do everything wrong: each run ends once and well, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import Link, Witness
from tests.serverprocess import ServerProcess

ENDS = {
    "raises": "agent_error",
    "raises-base": "agent_error",
    "exits": "agent_error",
    "exits-in-task": "agent_error",
    "interrupted-in-task": "agent_error",
    "exits-in-thread": "agent_error",
    "plain-exits": "agent_error",
    "plain-raises": "agent_error",
    "group-raises": "agent_error",
    "generator-exits": "agent_error",
    "half-pair": "timeout",
    "result-object": "agent_error",
    "result-cycle": "agent_error",
    "result-surrogate": "agent_error",
    "result-changes": "agent_error",
    "result-big": "payload_too_large",
    "question-object": "agent_error",
    "pending-object": "agent_error",
    "writes-number": "agent_error",
    "emits-wrong-type": "agent_error",
    "names-number": "agent_error",
    "emits-deep": "agent_error",
    "emits-surrogate": "agent_error",
    "emits-run-events": "agent_error",
    "emits-out-of-order": "agent_error",
    "too-big": "payload_too_large",
    "short": "timeout",
    "cancels-itself": "agent_error",
    "emits-lines": "success",
    "emits-open": "success",
    "emits-late": "success",
    "plain-emits-late": "success",
    "leaves-task": "success",
    "cleanup-raises": "success",
}
"""How a run of each agent ends: the code of its RUN_ERROR, or the outcome of its RUN_FINISHED."""


@pytest.mark.parametrize("agent", ENDS)
async def test_a_run_ends_once_and_well_whatever_its_agent_does(
    site: ServerProcess, join: Join, history: History, agent: str
) -> None:
    user, other = await join(site, f"{agent}-a"), await join(site, f"{agent}-b")
    async with user.link() as link, other.link() as second:
        await second.run("never-ends", "wait", "other", "r1")
        assert await link.play(agent, user.marker, "t", "r1") == ENDS[agent]
        # Its place is free, its thread works, and the other user's run goes on.
        for number in range(3):
            await link.run("echo", f"again {number}", "t", f"again{number}")
        assert await link.end("t", "again2") == "success"
        assert ("other", "r1") not in other.runs
        await second.ok("cancel", thread_id="other")
        await second.ended("other", "r1")
    await user.audit(["t"])
    await other.audit(["other"])
    text = str(await user.messages("t"))
    assert "so far" in text
    assert "a secret of the agent" not in str(user.runs)
    judge(history).require(ended_once=5, messages=2, private=20, status=5)


async def test_every_misbehaving_agent_is_tried(site: ServerProcess, join: Join) -> None:
    user = await join(site, "catalogue", permissions=["gate"])
    names = {agent["name"] for agent in (await user.get("/v1/agents")).json()["agents"]}
    elsewhere = {
        "echo", "scripted", "floods", "never-ends", "stubborn", "plain-stubborn", "plain-works", "blocks", "swallows",
        "fails-when-cancelled", "cleanup-hangs", "silent", "in-tool-call", "in-reasoning", "in-step", "in-task", "gate",
        "until-file",
    }  # fmt: skip
    assert names - set(ENDS) == elsewhere


async def test_a_clean_up_that_hangs_is_left_after_its_time(site: ServerProcess, join: Join, history: History) -> None:
    user = await join(site, "hanging")
    async with user.link() as link:
        await link.run("cleanup-hangs", "go", "t", "r1")
        await link.saw("TEXT_MESSAGE_END", "t")
        assert await link.end("t", "r1") == "success"
        await link.run("cleanup-hangs", "go", "t", "r2")
        await link.until(lambda: len([e for e in link.of_run("t", "r2") if e["type"] == "TEXT_MESSAGE_END"]) == 1)
        await link.ok("cancel", thread_id="t", run_id="r2")
        assert await link.end("t", "r2") == "success"  # its agent has ended: a cancel does not change how
    await user.audit(["t"])
    judge(history).require(ended_once=2, messages=1)


async def test_a_hundred_thousand_events_arrive_whole_while_others_work(
    site: ServerProcess, join: Join, history: History, long_run: bool
) -> None:
    count = 100_000 if long_run else 20_000
    user, other = await join(site, "flooder"), await join(site, "neighbour")
    async with user.link() as link, other.link() as second:
        await link.run("floods", str(count), "t", "r1")
        for number in range(20):
            await second.play("echo", other.marker, "t", f"r{number}")
        await link.ended("t", "r1", patience=120)
        text = "".join(e["delta"] for e in link.of_run("t", "r1") if e["type"] == "TEXT_MESSAGE_CONTENT")
        assert text == "".join(f"{number} " for number in range(count))
    await user.audit(["t"])
    await other.audit(["t"])
    judge(history).require(ended_once=21, unchanged=2 * count)


async def test_a_plain_function_that_blocks_is_noticed_by_nobody(
    site: ServerProcess, join: Join, history: History
) -> None:
    user, other = await join(site, "plain"), await join(site, "bystander")
    async with user.link() as link, other.link() as second:
        for number in (1, 2):
            await link.run("plain-stubborn", "5", f"t{number}", "r1")
            await link.saw("TEXT_MESSAGE_END", f"t{number}")
        slowest = await _slowest(second, other, until=lambda: ("t2", "r1") in user.runs)
        assert slowest < 4  # nobody waited for the 5 seconds that it blocks
    await other.audit(["t"])
    judge(history).require(ended_once=10)


async def test_an_async_agent_that_blocks_makes_others_wait_and_lose_nothing(
    site: ServerProcess, join: Join, history: History
) -> None:
    user, other = await join(site, "blocking"), await join(site, "waiting")
    async with user.link() as link, other.link() as second:
        await second.script("s", "r1", {"do": "deltas", "count": 300, "delay_ms": 10})
        await link.run("blocks", "5", "t", "r1")
        slowest = await _slowest(second, other, until=lambda: ("t", "r1") in user.runs)
        assert slowest > 3
        assert await second.end("s", "r1") == "success"
        assert len(second.of_run("s", "r1")) == 304
        assert not second.lost
    await other.audit(["t", "s"])
    judge(history).require(ended_once=2, unchanged=600)


async def _slowest(link: Link, user: Witness, until: Callable[[], bool]) -> float:
    """The longest time that a short run took while waiting for `until`, in seconds."""
    slowest = 0.0
    number = 0
    while not until():
        number += 1
        began = time.monotonic()
        await link.play("echo", user.marker, "t", f"r{number}")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.05)
    return slowest


async def test_an_agent_that_emits_after_its_end_changes_nothing(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "late")
    async with user.link() as link:
        for number, agent in enumerate(("emits-late", "plain-emits-late")):
            await link.play(agent, "go", "t", f"r{number}")
            # While the agent's remains still try: another run streams in the same thread.
            await link.script("t", f"next{number}", {"do": "deltas", "count": 60, "delay_ms": 10})
            await link.ended("t", f"next{number}")
        assert all("late" not in str(event[3]) for event in link.events)
    await user.audit(["t"])
    judge(history).require(ended_once=4, contiguous=1)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose runs may take 1.5 seconds, and half a second to stop."""
    from tests.contract.conftest import HERE, assert_sound

    server = ServerProcess(
        tmp_path_factory.mktemp("impatient") / "data",
        target="agents:app",
        cwd=HERE,
        GOLDENPATH_RUN_TIMEOUT="1.5",
        GOLDENPATH_CANCEL_GRACE="0.5",
        GOLDENPATH_DRAIN_TIMEOUT="0.5",
    ).start()
    yield server
    server.kill()
    assert_sound(server)


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("never-ends", "go"), ("silent", "go"), ("in-task", "go"), ("in-tool-call", "go"), ("plain-works", "go"),
        ("stubborn", "6"), ("plain-stubborn", "6"),
    ],
)  # fmt: skip
async def test_a_run_that_does_not_end_is_ended_by_its_time_limit(
    impatient: ServerProcess, join: Join, history: History, agent: str, text: str
) -> None:
    user = await join(impatient, agent)
    async with user.link() as link:
        await link.run(agent, text, "t", "r1")
        # Before the stubborn ones give in.
        assert await link.end("t", "r1", patience=6) == "timeout"
        # The place is free when the agent has really ended: at once, or when it stops being stubborn.
        assert await link.play("echo", "and now", "t", "r2") == "success"
    await user.audit(["t"])
    judge(history).require(ended_once=2, messages=1, status=2)
