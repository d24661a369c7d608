"""A cancel at every stage of a run: always one terminal event with everything closed before it, the text so far in the
history, and the place given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.contract.conftest import Join
from tests.contract.history import Accepted, History
from tests.contract.judge import judge
from tests.contract.witness import Link, Witness, end_of
from tests.serverprocess import ServerProcess


class Stage(NamedTuple):
    """Where a cancel comes: an agent, and the type of the event after which it waits."""

    agent: str
    after: str
    text: str = "so far"


STAGES = {
    "before-its-first-event": Stage("silent", "RUN_STARTED", ""),
    "in-a-message": Stage("never-ends", "TEXT_MESSAGE_CONTENT"),
    "in-a-tool-call": Stage("in-tool-call", "TOOL_CALL_ARGS"),
    "in-reasoning": Stage("in-reasoning", "REASONING_MESSAGE_CONTENT"),
    "in-a-step": Stage("in-step", "STEP_STARTED"),
    "during-a-sub-task": Stage("in-task", "TEXT_MESSAGE_CONTENT"),
    "in-a-plain-function": Stage("plain-works", "TEXT_MESSAGE_CONTENT"),
    "in-an-agent-that-takes-it-for-its-end": Stage("swallows", "TEXT_MESSAGE_END"),
    "in-an-agent-that-then-fails": Stage("fails-when-cancelled", "TEXT_MESSAGE_END"),
    "in-a-flood": Stage("floods", "TEXT_MESSAGE_CONTENT", "0 1 2"),
    "in-an-agent-that-ignores-it": Stage("stubborn", "TEXT_MESSAGE_END"),
    "in-a-plain-function-that-ignores-it": Stage("plain-stubborn", "TEXT_MESSAGE_END"),
}
TEXTS = {"floods": "1000000", "stubborn": "1", "plain-stubborn": "1"}


async def by_operation(user: Witness, link: Link, thread_id: str) -> None:
    """The operation `cancel` of one run."""
    assert (await link.ok("cancel", thread_id=thread_id, run_id="r"))["cancelled"] == ["r"]


async def by_thread(user: Witness, link: Link, thread_id: str) -> None:
    """The operation `cancel` of the whole thread."""
    assert (await link.ok("cancel", thread_id=thread_id))["cancelled"] == ["r"]


async def twice(user: Witness, link: Link, thread_id: str) -> None:
    """Two cancels at once, from two places."""
    async with user.link() as second:
        await asyncio.gather(
            link.ok("cancel", thread_id=thread_id, run_id="r"), second.ok("cancel", thread_id=thread_id, run_id="r")
        )


async def by_http(user: Witness, link: Link, thread_id: str) -> None:
    """The HTTP call."""
    answer = await user.post(f"/v1/threads/{thread_id}/runs/r/cancel")
    assert answer.status_code == 202
    assert answer.json()["run_id"] == "r"


async def by_interrupt(user: Witness, link: Link, thread_id: str) -> None:
    """Another run that goes first."""
    await link.run("echo", "instead", thread_id, "instead", on_busy="interrupt")


HOW = [by_operation, by_thread, twice, by_http, by_interrupt]


@pytest.mark.parametrize("name", STAGES)
async def test_a_run_is_cancelled_cleanly_wherever_it_is(
    site: ServerProcess, join: Join, history: History, name: str
) -> None:
    stage = STAGES[name]
    threads = [how.__name__ for how in HOW]
    user = await join(site, name)
    async with user.link() as link, user.link() as other:
        for thread_id, how in zip(threads, HOW, strict=True):
            beside = f"beside-{thread_id}"
            await other.run("never-ends", "beside it", beside, "r")
            await link.run(stage.agent, TEXTS.get(stage.agent, "go"), thread_id, "r")
            await link.saw(stage.after, thread_id, "r")
            await how(user, link, thread_id)
            assert await link.end(thread_id, "r") == "cancelled"
            # Once more, after the end: harmless.
            assert (await link.ok("cancel", thread_id=thread_id, run_id="r"))["cancelled"] == []
            assert (await user.post(f"/v1/threads/{thread_id}/runs/r/cancel")).json()["status"] == "cancelled"
            # The place is free again: of two places the other run holds one.
            assert await link.play("echo", "following", thread_id, "following") == "success"
            if how is by_interrupt:
                assert await link.end(thread_id, "instead") == "success"
            assert stage.text in json.dumps(await user.messages(thread_id))
            assert (beside, "r") not in user.runs
            await other.ok("cancel", thread_id=beside)
            await other.ended(beside, "r")
    await user.audit(threads)
    judge(history).require(closed=len(HOW) * 3, status=len(HOW) * 2, messages=len(HOW))


async def test_a_run_that_waits_behind_its_thread_is_cancelled_when_its_turn_comes(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "behind")
    async with user.link() as link:
        await link.run("never-ends", "go", "t", "first")
        for run_id in ("second", "third", "fourth"):
            assert (await link.run("echo", f"I am the {run_id}", "t", run_id))["status"] == "queued"
        assert (await link.ok("cancel", thread_id="t", run_id="third"))["cancelled"] == ["third"]
        assert (await link.ok("cancel", thread_id="t", run_id="third"))["cancelled"] in ([], ["third"])
        assert ("t", "third") not in user.runs
        await link.ok("cancel", thread_id="t", run_id="first")
        ends = {run_id: await link.end("t", run_id) for run_id in ("first", "second", "third", "fourth")}
        assert ends == {"first": "cancelled", "second": "success", "third": "cancelled", "fourth": "success"}
        assert [event["type"] for event in link.of_run("t", "third")] == ["RUN_STARTED", "RUN_FINISHED"]
        order = [run for _, _, run, event in link.events if event["type"] == "RUN_STARTED"]
        assert order == ["first", "second", "third", "fourth"]
        assert "I am the third" in json.dumps(await user.messages("t"))
    await user.audit(["t"])
    judge(history).require(ended_once=4, status=4)


async def test_a_whole_queue_is_cancelled_at_once(site: ServerProcess, join: Join, history: History) -> None:
    user = await join(site, "whole")
    async with user.link() as link:
        for number in range(10):
            await link.run("never-ends", "go", "t", f"r{number}")
        reply = await link.ok("cancel", thread_id="t")
        assert reply["cancelled"] == [f"r{number}" for number in range(10)]
        for number in range(10):
            assert await link.end("t", f"r{number}") == "cancelled"
        await link.play("echo", "after", "t", "after")
    await user.audit(["t"])
    judge(history).require(ended_once=11, status=11)


async def test_a_run_that_waits_for_a_place_is_cancelled_at_once(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "placeless")
    async with user.link() as link:
        for thread_id in ("a", "b"):
            await link.run("never-ends", "go", thread_id, "r")
        # One in a new thread, one in a thread that has a past and is not in use.
        await link.ok("cancel", thread_id="b")
        await link.ended("b", "r")
        await link.run("never-ends", "go", "c", "r")
        for thread_id in ("b", "d"):
            assert (await link.run("echo", "waiting", thread_id, "waiting"))["status"] == "queued"
            await link.ok("cancel", thread_id=thread_id, run_id="waiting")
            assert await link.end(thread_id, "waiting") == "cancelled"
            assert "waiting" in json.dumps(await user.messages(thread_id))
        await link.ok("cancel", thread_id="a")
        assert await link.play("echo", "after", "e", "after") == "success"
        await link.ok("cancel", thread_id="c")
        await link.ended("c", "r")
    await user.audit("abcde")
    judge(history).require(ended_once=6, status=6)


async def test_a_cancel_between_a_waiting_run_and_its_place_ends_it_once(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "racer")
    async with user.link() as link, user.link() as second:
        for number in range(40):
            # The first ends by itself about when the second is cancelled, before, in or after its beginning.
            await link.script("t", f"a{number}", {"do": "sleep", "ms": number % 8})
            await link.script("t", f"b{number}", {"do": "say", "text": "hello", "delay_ms": 1})
            await asyncio.sleep(0.001 * (number % 5))
            await second.ok("cancel", thread_id="t", run_id=f"b{number}")
            for name in "ab":
                assert await link.end("t", f"{name}{number}") in ("success", "cancelled")
    await user.audit(["t"])
    judge(history).require(ended_once=80, status=80)
    ends = [end_of(user.runs["t", f"b{number}"]) for number in range(40)]
    assert "cancelled" in ends


async def test_a_cancel_about_the_end_of_a_run_leaves_one_end(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "ender")
    ends = set()
    async with user.link() as link:
        for number in range(40):
            await link.script("t", f"r{number}", {"do": "sleep", "ms": 5}, {"do": "say", "text": "done"})
            await asyncio.sleep(0.0005 * (number % 20))
            reply = await link.ok("cancel", thread_id="t", run_id=f"r{number}")
            end = await link.end("t", f"r{number}")
            assert reply["cancelled"] or end == "success"
            ends.add(end)
    assert ends == {"cancelled", "success"}
    await user.audit(["t"])
    judge(history).require(ended_once=40, status=40)


async def test_leaving_cancels_the_runs_that_were_to_end_with_the_connection_and_no_others(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "goer")
    async with user.link() as watcher:
        for leave in ("close", "abort"):
            link = await user.connect()
            await link.run("never-ends", "go", f"{leave}-1", "stays")
            await link.run("never-ends", "go", f"{leave}-2", "goes", on_disconnect="cancel")
            await link.run("never-ends", "go", f"{leave}-2", "waits", on_disconnect="cancel")
            await link.saw("TEXT_MESSAGE_CONTENT", f"{leave}-2")
            for number in (1, 2):
                await watcher.ok("attach", thread_id=f"{leave}-{number}", after={"seq": 0})
            # A repeat by somebody else does not make the run that one's.
            async with user.link() as third:
                await third.run("never-ends", "go", f"{leave}-1", "stays", on_disconnect="cancel")
            if leave == "close":
                await link.close()
            else:
                link.abort()
            for run_id in ("goes", "waits"):
                assert await watcher.end(f"{leave}-2", run_id) == "cancelled"
            assert await user.status(f"{leave}-1", "stays") == "running"
            await watcher.ok("cancel", thread_id=f"{leave}-1")
            await watcher.ended(f"{leave}-1", "stays")
    await user.audit([f"{leave}-{number}" for leave in ("close", "abort") for number in (1, 2)])
    judge(history).require(ended_once=6, status=6)


async def test_deleting_a_thread_ends_its_runs_and_frees_their_places(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "deleter")
    async with user.link() as link:
        for _ in range(3):
            for agent in ("never-ends", "plain-works", "in-task", "stubborn"):
                await link.run(agent, "0.3", "t", "first")
                await link.saw("RUN_STARTED", "t", "first")
                for number in range(3):
                    await link.run("echo", "waiting", "t", f"waiting{number}")
                assert (await user.delete("t")).status_code == 204
                await link.until(lambda: "t" not in link.subscriptions)
                link.events.clear()
        # Both places are free.
        await link.run("never-ends", "go", "u", "r")
        await link.play("echo", "after", "v", "r")
        await link.ok("cancel", thread_id="u")
        await link.ended("u", "r")
    await user.audit("uv")
    judge(history).require(deleted=11)


@pytest.mark.parametrize("agent", ["in-tool-call", "plain-works", "stubborn", "plain-stubborn"])
async def test_sigterm_ends_every_run_and_a_restart_shows_it(
    launch: Callable[..., ServerProcess], join: Join, history: History, agent: str
) -> None:
    server = launch(drain_timeout="0.5", cancel_grace="0.5")
    user = await join(server, agent)
    async with user.link() as link:
        await link.run(agent, "3600", "t", "running")
        await link.saw("RUN_STARTED", "t")
        await link.run("echo", "waiting", "t", "waiting")
        await link.run(agent, "3600", "u", "leaving", on_disconnect="cancel")
        await link.saw("RUN_STARTED", "u")
        before = len(user.runs)
        assert await asyncio.to_thread(server.stop) == 0
        assert await link.closed() == 1001
        assert len(user.runs) == before
    await asyncio.to_thread(server.start)
    await user.audit(["t", "u"])
    assert end_of(user.runs["t", "running"]) == end_of(user.runs["t", "waiting"]) == "run_interrupted"
    assert end_of(user.runs["u", "leaving"]) == "cancelled"
    async with user.link() as link:
        await link.play("echo", "after", "t", "after")
    await user.audit(["t"])
    judge(history).require(ended_once=4, status=4, messages=3)
    assert len([record for record in history.records if isinstance(record, Accepted)]) == 4
