"""What one user may have at once, what all may have together, and who comes first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Join
from tests.contract.history import History, Opened, Saw
from tests.contract.judge import judge
from tests.contract.witness import Link, end_of
from tests.serverprocess import ServerProcess

WAITS = {"do": "sleep", "ms": 60_000}


@pytest.mark.parametrize("one_thread", [True, False], ids=["one-thread", "many-threads"])
async def test_a_user_runs_two_and_lets_sixteen_wait(
    site: ServerProcess, join: Join, history: History, one_thread: bool
) -> None:
    user, other = await join(site, f"many-{one_thread}"), await join(site, f"other-{one_thread}")
    running = 1 if one_thread else 2
    threads = ["t"] if one_thread else [f"t{number}" for number in range(20)]
    async with user.link() as link:
        limits = (link.welcome or {})["limits"]
        assert (limits["max_running"], limits["max_queued"]) == (2, 16)
        replies = [
            await link.script(threads[number % len(threads)], f"r{number}", WAITS) for number in range(running + 16)
        ]
        assert [reply["status"] for reply in replies] == ["running"] * running + ["queued"] * 16
        refused = await link.refused("run", agent="echo", text="one more", thread_id=threads[-1], run_id="more")
        assert (refused["code"], refused["retryable"], refused["definite"]) == ("quota_exceeded", True, True)
        assert refused["retry_after"] > 0
        body = {"threadId": "t", "runId": "more", "messages": [{"id": "m", "role": "user", "content": "one more"}]}
        answer = await user.post("/v1/agents/echo/run", json=body)
        assert answer.status_code == 429
        assert answer.json()["code"] == "quota_exceeded"
        assert int(answer.headers["Retry-After"]) >= 1
        # What was accepted before is still known, and an interruption that has no room interrupts nothing.
        assert (await link.script(threads[0], "r0", WAITS))["run_id"] == "r0"
        if not one_thread:
            await link.refused("run", agent="echo", text="first", thread_id="t0", run_id="more", on_busy="interrupt")
            assert await user.status("t0", "r0") == "running"
        async with other.link() as second:
            await second.play("echo", "unhindered", "t", "r")
        # As soon as one has left there is room for one.
        await link.ok("cancel", thread_id=replies[-1]["thread_id"], run_id=replies[-1]["run_id"])
        assert (await link.run("echo", "one more", threads[-1], "more"))["status"] == "queued"
        for thread_id in threads[:18]:
            await link.ok("cancel", thread_id=thread_id)
        for reply in replies:
            assert await link.end(reply["thread_id"], reply["run_id"]) == "cancelled"
        await link.ended(threads[-1], "more")
    await user.audit(sorted({reply["thread_id"] for reply in replies}))
    judge(history).require(ended_once=running + 17, status=running + 16)


@pytest.mark.parametrize(
    ("tier", "running", "queued"), [("early", 4, 16), ("mid", 8, 32), ("enterprise", 16, 64), ("unheard-of", 2, 16)]
)
async def test_a_tier_has_limits_of_its_own(
    site: ServerProcess, join: Join, tier: str, running: int, queued: int
) -> None:
    user = await join(site, f"tier-{tier}", tier=tier)
    threads = [f"t{number}" for number in range(running + queued)]
    async with user.link() as link:
        limits = (link.welcome or {})["limits"]
        assert (limits["max_running"], limits["max_queued"]) == (running, queued)
        statuses = []
        for thread_id in threads:
            statuses.append((await link.script(thread_id, "r", WAITS))["status"])
            await link.ok("detach", thread_id=thread_id)
        assert statuses == ["running"] * running + ["queued"] * queued
        assert (await link.refused("run", agent="echo", text="no", thread_id="t"))["code"] == "quota_exceeded"
        for thread_id in reversed(threads):
            await link.ok("cancel", thread_id=thread_id)
        for thread_id in threads:
            while await user.status(thread_id, "r") != "cancelled":
                pass


async def test_a_run_that_is_refused_interrupts_nothing(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(max_waiting="1", max_history_bytes="2000")
    user, other = await join(server, "polite"), await join(server, "crowd")
    async with user.link() as link, other.link() as second:
        await link.script("t", "r0", WAITS)
        await link.script("full", "r0", {"do": "deltas", "count": 100, "size": 40}, WAITS)
        await link.saw("TEXT_MESSAGE_END", "full", "r0")
        await link.script("full", "r1", WAITS)
        await link.ok("cancel", thread_id="full", run_id="r0")
        await link.saw("RUN_STARTED", "full", "r1")
        await second.script("t", "r0", WAITS)
        await second.script("t", "r1", WAITS)
        for thread_id, agent, code in (
            ("t", "echo", "queue_full"),
            ("t", "nobody", "unknown_agent"),
            ("t", "gate", "unknown_agent"),
            ("full", "echo", "payload_too_large"),
        ):
            asked = {"agent": agent, "text": "first", "thread_id": thread_id, "run_id": "no", "on_busy": "interrupt"}
            error = await link.refused("run", **asked)
            assert (error["code"], error["definite"]) == (code, True)
            assert (await user.get(f"/v1/threads/{thread_id}/runs/no")).status_code == 404
        assert [await user.status("t", "r0"), await user.status("full", "r1")] == ["running"] * 2
        # With room it does.
        await second.ok("cancel", thread_id="t", run_id="r1")
        await link.run("echo", "first", "t", "yes", on_busy="interrupt")
        assert await link.end("t", "r0") == "cancelled"
        assert await link.end("t", "yes") == "success"
        await link.ok("cancel", thread_id="full")
        await link.ended("full", "r1")
        await second.ok("cancel", thread_id="t")
        await second.ended("t", "r0")
        await second.ended("t", "r1")
    await user.audit(["t", "full"])
    judge(history).require(ended_once=6, status=6)


async def test_a_run_has_a_time_limit_from_its_beginning_on(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(run_timeout="0.4", cancel_grace="0.2")
    user = await join(server, "endless")
    async with user.link() as link:
        agents = ["never-ends", "silent", "in-tool-call", "plain-works", "floods", "stubborn"]
        for agent in agents:
            # What waits behind it has a time of its own.
            await link.run(agent, "1000000" if agent == "floods" else "0.8", agent, "r")
            await link.run("never-ends", "go", agent, "behind")
        for agent in agents:
            for run_id in ("r", "behind"):
                assert await link.end(agent, run_id) == "timeout"
            assert "TEXT_MESSAGE_CONTENT" in {event["type"] for event in link.of_run(agent, "behind")}
        assert await link.play("echo", "and now", "t", "r") == "success"
    await user.audit([*agents, "t"])
    judge(history).require(ended_once=13, closed=13, messages=7, status=13)


async def test_who_floods_delays_another_by_a_turn_at_most(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(max_engines="2")
    flooder = await join(server, "flooder")
    others = [await join(server, f"other{number}") for number in range(3)]
    links = [await user.connect() for user in (flooder, *others)]
    step = {"do": "sleep", "ms": 40}
    for number in range(18):
        await links[0].script(f"t{number}", "r", {"do": "sleep", "ms": 300} if number < 2 else step)
    for link in links[1:]:
        assert (await link.script("t", "r", step))["status"] == "queued"
    for user, link in zip(others, links[1:], strict=True):
        await link.ended("t", "r")
        assert end_of(user.runs["t", "r"]) == "success"
    for number in range(18):
        await links[0].ended(f"t{number}", "r")
    started = _starts(history)
    first_waiting = started.index(others[0].name)
    # Two ran already. From then on each of the four waiting users has a turn in each round.
    assert set(started[2:6]) == {flooder.name, *(user.name for user in others)}, started
    assert first_waiting < 6
    judge(history).require(ended_once=21)


def _starts(history: History) -> list[str]:
    """Whose run began, in the order in which that was seen."""
    users = {record.subscription: record.user for record in history.records if isinstance(record, Opened)}
    return [
        users[record.subscription]
        for record in history.records
        if isinstance(record, Saw) and b'"type":"RUN_STARTED"' in record.event
    ]


async def test_the_process_runs_no_more_than_its_engines(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(max_engines="3", max_waiting="6", cancel_grace="0.2")
    users = [await join(server, f"user{number}") for number in range(6)]
    links = [await user.connect() for user in users]

    async def start(link: Link, number: int) -> dict[str, Any]:
        return await link.call("run", agent="stubborn", text="0.6", thread_id=f"t{number}", run_id="r")

    replies = [await start(link, number) for number in range(2) for link in links]
    assert [reply.get("status") for reply in replies] == ["running"] * 3 + ["queued"] * 6 + [None] * 3
    for reply in replies[9:]:
        error = reply["error"]
        assert (error["code"], error["retryable"], error["definite"]) == ("queue_full", True, True)
        assert error["retry_after"] > 0
    # Those that are cancelled and do not stop keep their places until they do.
    for link in links[:3]:
        await link.ok("cancel", thread_id="t0")
    for user, link in zip(users, links, strict=True):
        await link.ended("t0", "r")
        health = (await user.get("/health")).json()
        assert health["engines"]["active"] <= 3
    for link in links[:3]:
        await link.ended("t1", "r")
    health = (await users[0].get("/health")).json()
    assert health["admission"]["peak"] == 3
    assert health["engines"]["created"] == 9
    for user in users:
        await user.audit(["t0"])
    judge(history).require(ended_once=9)


async def test_a_run_that_waits_too_long_ends_with_a_time_out(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(queue_timeout="0.4")
    user = await join(server, "patient")
    async with user.link() as link:
        for number in range(2):
            await link.script(f"t{number}", "r", WAITS)
        await link.script("t0", "behind", WAITS)
        await link.script("t2", "without-a-place", WAITS)
        assert await link.end("t2", "without-a-place") == "timeout"
        # Its thread is taken: its end is told when its turn comes.
        await link.ok("cancel", thread_id="t0", run_id="r")
        assert await link.end("t0", "behind") == "timeout"
        await link.ok("cancel", thread_id="t1")
        await link.ended("t1", "r")
        await link.play("echo", "and now", "t0", "after")
    await user.audit(["t0", "t1", "t2"])
    judge(history).require(ended_once=5, status=5, messages=3)


async def test_a_connection_follows_sixty_four_threads(site: ServerProcess, join: Join, history: History) -> None:
    user = await join(site, "follower")
    async with user.link() as link, user.link() as second:
        assert (link.welcome or {})["limits"]["max_attached_threads"] == 64
        for number in range(66):
            await second.play("echo", f"thread {number}", f"t{number}", "r1")
            if number >= 60:
                await second.ok("detach", thread_id=f"t{number}")
        for number in range(64):
            await link.ok("attach", thread_id=f"t{number}", after={"seq": 0})
        for op, fields in (("attach", {}), ("run", {"agent": "echo", "text": "no", "run_id": "r2"})):
            error = await link.refused(op, thread_id="t64", **fields)
            assert (error["code"], error["definite"]) == ("quota_exceeded", True)
        assert (await user.get("/v1/threads/t64/runs/r2")).status_code == 404
        # In those that are followed already everything goes on, and a place that is given up can be used.
        await link.run("echo", "here", "t63", "r2")
        await link.ok("attach", thread_id="t63", after={"seq": 0})
        await link.ended("t63", "r2")
        await link.ok("detach", thread_id="t0")
        await link.play("echo", "there", "t64", "r2")
        assert (await link.refused("attach", thread_id="t65"))["code"] == "quota_exceeded"
        # A deleted thread gives its place up too.
        await user.delete("t1")
        await link.until(lambda: "t1" not in link.subscriptions)
        await link.ok("attach", thread_id="t65", after={"seq": 0})
        await link.until(lambda: user.cursors["t65"][1] == 6)
    judge(history).require(resume=60, ended_once=60)


async def test_a_flood_of_commands_is_answered_in_order_and_holds_up_nobody(
    site: ServerProcess, join: Join, history: History
) -> None:
    user, other = await join(site, "hasty"), await join(site, "calm")
    async with user.link() as link, other.link() as second:
        await link.play("echo", "hello", "t", "r")
        asked = []
        for _ in range(500):
            asked += [link.post("attach", thread_id="t", after={"seq": 0}), link.post("detach", thread_id="t")]
        sending = asyncio.create_task(_send_all(link, asked))
        await second.run("echo", "unhindered", "t", "r")
        await second.ended("t", "r", patience=5)
        await sending
        replies = [await asyncio.wait_for(reply, 30) for _, reply in asked]
        assert [reply["re"] for reply in replies] == [command["id"] for command, _ in asked]
        assert all(reply["ok"] for reply in replies)
    await user.audit(["t"])
    judge(history).require(resume=500)


async def _send_all(link: Link, asked: list[Any]) -> None:
    for command, _ in asked:
        await link.send(json.dumps(command))
