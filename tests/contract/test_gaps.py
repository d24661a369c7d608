"""What is no longer held is told as a gap: the history up to a place, and from there exactly the rest."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from tests.contract.conftest import Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import PATIENCE, Json, Link, LinkLostError, Witness
from tests.serverprocess import ServerProcess

SMALL = {"segment_bytes": "2000", "retention_bytes": "20000", "retention_interval": "0.05"}
"""A log of these settings keeps about two of the runs of `fill`."""
RUN_EVENTS = 104
"""How many events a run of `fill` has, in about 12 kB. What follows it lags by no more, so nothing is lost to it."""


async def fill(link: Link, thread_id: str, *runs: str, size: int = 8) -> None:
    """Runs of some size, each followed to its end before the next begins."""
    for run_id in runs:
        await link.script(thread_id, run_id, {"do": "deltas", "count": RUN_EVENTS - 4, "size": size})
        await link.ended(thread_id, run_id)


async def removed(user: Witness, thread_id: str, after: Json) -> Json:
    """Wait until what follows a cursor is gone; the reply that says so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            # It may be removed just when it is sent: then the connection ends.
            with suppress(LinkLostError):
                async with user.link() as link:
                    reply = await link.ok("attach", thread_id=thread_id, after=after)
                    if reply["gap"]:
                        await link.saw("MESSAGES_SNAPSHOT", thread_id)
                        return reply
                    await link.ok("detach", thread_id=thread_id)


def stored(server: ServerProcess) -> int:
    """How many bytes of events the database of a server holds in segments."""
    with closing(sqlite3.connect(server.data_dir / "goldenpath.db")) as connection:
        (size,) = connection.execute("SELECT sum(length(events)) FROM segments").fetchone()
    return int(size)


# --- retention --------------------------------------------------------------------------------------------------------


async def test_a_log_that_is_too_big_loses_its_beginning_and_every_cursor_there_is_told(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(**SMALL)
    user = await join(server, "big")
    async with user.link() as link, user.link() as late:
        await fill(link, "t", *(f"r{number}" for number in range(10)))
        epoch, head = user.cursors["t"]
        assert head == 10 * RUN_EVENTS
        await removed(user, "t", {"epoch": epoch, "seq": head - 3 * RUN_EVENTS})
        async with asyncio.timeout(PATIENCE):
            while stored(server) > int(SMALL["retention_bytes"]):  # the last of it may go a little later
                await user.get("/health")
        gaps = []
        for seq in range(head, -1, -13):
            late.events.clear()
            reply = await late.ok("attach", thread_id="t", after={"epoch": epoch, "seq": seq})
            await late.until(lambda n=1 if reply["gap"] else head - seq: len(late.events) == n)
            gaps.append(reply["gap"])
        assert gaps == sorted(gaps)
        assert gaps.index(True) * 13 < 3 * RUN_EVENTS
        assert not any(gaps[: RUN_EVENTS // 13])
        # Over SSE the same, and then what follows.
        begun = asyncio.Event()

        def enough(event: Json) -> bool:
            begun.set()
            return bool(event["type"] == "RUN_FINISHED" and event["runId"] == "last")

        following = asyncio.create_task(user.follow("t", (epoch, 0), None, enough))
        await begun.wait()
        await fill(link, "t", "last")
        events = await asyncio.wait_for(following, PATIENCE)
        assert [event["type"] for event in events[:2]] == ["MESSAGES_SNAPSHOT", "RUN_STARTED"]
        assert events[1:] == link.of_run("t", "last")
    await user.audit(["t"])
    judge(history, gaps=True).require(ended_once=11, messages=2, resume=80, kept=80)


async def test_a_gap_in_the_middle_of_a_run_shows_the_text_so_far_and_then_the_rest(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    user = await join(launch(**SMALL), "middle")
    async with user.link() as link, user.link() as late:
        await fill(link, "t", *(f"r{number}" for number in range(5)))
        epoch, head = user.cursors["t"]
        await removed(user, "t", {"seq": 0})
        await link.script("t", "live", {"do": "deltas", "count": 200, "delay_ms": 2})
        for number in range(1, 15):
            await link.until(lambda n=number: link.events[-1][1] >= head + 12 * n)
            reply = await late.ok("attach", thread_id="t", after={"epoch": epoch, "seq": number})
            assert reply["gap"]
            assert head < reply["seq"] <= reply["head"] < head + 204
        await link.ended("t", "live")
        await late.until(lambda: late.events[-1][3]["type"] == "RUN_FINISHED")
        begin = max(index for index, (*_, event) in enumerate(late.events) if event["type"] == "MESSAGES_SNAPSHOT")
        assert [seq for _, seq, _, _ in late.events[begin:]] == list(range(reply["seq"], head + 205))
    await user.audit(["t"])
    judge(history, gaps=True).require(ended_once=6, messages=10, resume=15)


async def test_a_reader_that_falls_behind_what_is_held_is_sent_away_and_comes_back_with_a_gap(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    user = await join(launch(segment_bytes="20000", retention_bytes="200000", retention_interval="0.05"), "slow")
    slow = await user.connect()
    await slow.play("echo", "hello", "t", "hello")
    # Nothing is read from here on: more than the sockets hold is written, and what is behind them is removed.
    slow.connection.transport.pause_reading()
    async with user.link() as link:
        epoch, seq = user.cursors["t"]
        await link.ok("attach", thread_id="t", after={"seq": 0})
        await fill(link, "t", *(f"r{number}" for number in range(80)), size=1000)
        await removed(user, "t", {"epoch": epoch, "seq": seq + 77 * RUN_EVENTS})
        slow.connection.transport.resume_reading()
        assert await slow.closed() == 4508
        _, position, _, _ = slow.events[-1]
        assert seq < position < seq + 77 * RUN_EVENTS
        async with user.link() as again:
            reply = await again.ok("attach", thread_id="t", after={"epoch": epoch, "seq": position})
            assert reply["gap"]
            await fill(link, "t", "last")
            await again.ended("t", "last")
            await again.until(lambda: len(again.events) == 1 + RUN_EVENTS)
    await user.audit(["t"])
    judge(history, gaps=True).require(ended_once=82, messages=2, resume=4)


async def test_what_is_too_old_is_a_gap_also_after_a_kill_and_the_history_stays(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(retention_age="1", retention_interval="0.1", cache_bytes="0")
    user = await join(server, "old")
    async with user.link() as link:
        await fill(link, "t", "r0", "r1", "r2")
    epoch, head = user.cursors["t"]
    reply = await removed(user, "t", {"epoch": epoch, "seq": 7})
    assert (reply["epoch"], reply["seq"], reply["head"]) == (epoch, head, head)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert len(await user.messages("t")) == 6
    async with user.link() as link:
        for seq in (0, head - 1, head):
            reply = await link.ok("attach", thread_id="t", after={"epoch": epoch, "seq": seq})
            assert (reply["gap"], reply["seq"]) == (seq < head, head)
        await fill(link, "t", "r3")
        assert [seq for _, seq, _, _ in link.events if seq > head] == list(range(head + 1, head + RUN_EVENTS + 1))
    await user.audit(["t"])
    judge(history, gaps=True).require(ended_once=4, messages=2, kept=4)


async def test_a_run_goes_on_over_all_bounds_and_a_kill_keeps_what_it_said(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch(**{**SMALL, "retention_age": "0.05"})
    user = await join(server, "active")
    async with user.link() as link, user.link() as late:
        await fill(link, "t", "r0")
        _, head = user.cursors["t"]
        await removed(user, "t", {"seq": 0})
        # Older and bigger than what is kept, but not over.
        await link.script("t", "long", {"do": "deltas", "count": 1000, "delay_ms": 1, "size": 20})
        await link.until(lambda: link.events[-1][1] >= head + 500)
        reply = await late.ok("attach", thread_id="t", after={"epoch": user.cursors["t"][0], "seq": head})
        assert not reply["gap"]
        await late.until(lambda: late.events and late.events[-1][1] >= head + 500)
        await asyncio.to_thread(server.kill)
        await link.closed()
    await asyncio.to_thread(server.start)
    text = "".join(event["delta"] for event in link.of_run("t", "long") if event["type"] == "TEXT_MESSAGE_CONTENT")
    assert text in json.dumps(await user.messages("t"))
    assert await user.status("t", "long") == "interrupted"


async def test_a_repeated_run_whose_events_are_gone_is_told_as_far_as_it_is_known(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    user = await join(launch(**SMALL), "repeats")
    async with user.link() as link:
        await fill(link, "t", *(f"r{number}" for number in range(6)))
        epoch, _ = user.cursors["t"]
        await removed(user, "t", {"epoch": epoch, "seq": RUN_EVENTS})
        body = {"threadId": "t", "runId": "r1", "protocolVersion": "1.0", "messages": []}
        answer = await user.post("/v1/agents/echo/run", json=body)
        lines = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        assert [event["type"] for event in lines] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
        assert {lines[0]["runId"], lines[2]["runId"]} == {"r1"}
        assert lines[1]["messages"] == await user.messages("t")
        # A socket is told of the gap and gets the history, and what follows: one that follows the thread keeps its
        # place.
        async with user.link() as again:
            reply = await again.run("echo", "again", "t", "r1")
            assert (reply["status"], reply["gap"]) == ("finished", True)
            assert await again.saw("MESSAGES_SNAPSHOT", "t") == lines[1]
            repeated = await link.run("echo", "again", "t", "r1")
            assert (repeated["status"], repeated["seq"], "gap" in repeated) == ("finished", RUN_EVENTS, False)
            await fill(link, "t", "last")
            await again.until(lambda: len(again.events) == 1 + RUN_EVENTS)
            head = reply["seq"]
            assert [seq for _, seq, _, _ in again.events] == list(range(head, head + RUN_EVENTS + 1))
    await user.audit(["t"])
    judge(history, gaps=True).require(ended_once=7, messages=1, status=1)


# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_cursor_of_a_deleted_log_is_a_gap_in_the_next_log_of_its_name(
    site: ServerProcess, join: Join, history: History
) -> None:
    user = await join(site, "renewed")
    async with user.link() as link:
        cursors: list[tuple[str, int]] = []
        for number in range(4):
            await fill(link, "t", *(f"r{number}.{again}" for again in range(4 - number)))
            epoch, head = user.cursors["t"]
            assert epoch not in {epoch for epoch, _ in cursors}
            # The new log is shorter than the old one: a position fits it, or lies above its head.
            for old in [(epoch, seq) for epoch, seq in cursors for seq in (0, 1, head, seq)]:
                link.events.clear()
                reply = await link.ok("attach", thread_id="t", after={"epoch": old[0], "seq": old[1]})
                assert (reply["gap"], reply["epoch"], reply["seq"]) == (True, epoch, head)
                await link.until(lambda: link.events)
                (snapshot,) = await user.follow("t", old, None, lambda event: event["type"] == "MESSAGES_SNAPSHOT")
                assert snapshot == link.events[0][3]
                assert len(snapshot["messages"]) == 2 * (4 - number)
            cursors.append((epoch, head))
            await user.delete("t")
            await link.until(lambda: "t" not in link.subscriptions)
    judge(history, gaps=True).require(deleted=40, messages=3)


@pytest.mark.parametrize("after", [None, {"seq": 0}, {"epoch": "another", "seq": 5}], ids=["now", "start", "gap"])
async def test_who_follows_a_thread_while_it_is_deleted_is_told_so_or_never_followed_it(
    site: ServerProcess, join: Join, history: History, after: Json | None
) -> None:
    user = await join(site, f"late-{(after or {}).get('seq')}")
    fields = {} if after is None else {"after": after}
    links = [await user.connect() for _ in range(6)]
    followers: set[Link] = set()
    all_follow = asyncio.Event()
    followed = 0

    async def attach(link: Link) -> None:
        """Again and again until there is no such thread."""
        nonlocal followed
        while (reply := await link.call("attach", thread_id="t", **fields))["ok"]:
            followed += 1
            followers.add(link)
            if len(followers) == len(links):
                all_follow.set()
        assert reply["error"]["code"] == "not_found"
        await link.until(lambda: not link.subscriptions)
        await link.ok("ping")

    async with user.link() as first:
        for number in range(15):
            await first.script("t", f"r{number}", {"do": "deltas", "count": 5000, "delay_ms": 1})
            followers.clear()
            all_follow.clear()
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                for link in links:
                    group.create_task(attach(link))
                await all_follow.wait()
                assert (await user.delete("t")).status_code == 204
            await first.until(lambda: not first.subscriptions)
    assert followed > len(links) * 15
    for link in links:
        assert [notice["type"] for notice in link.notices] == ["welcome"] + ["detached"] * 15
        await link.close()
    judge(history, gaps=True).require(deleted=50, sequence=30)
