"""Commands and streams over connections that come and go: replies, resuming, sharing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from goldenpath.client import (
    ClientClosed,
    Cursor,
    Gap,
    RequestError,
    ThreadDetached,
)
from goldenpath.wire import events as ev
from tests.client.connected import connected, numbers
from tests.client.scripted_server import Peer, event, snapshot, terminal


async def test_a_run_is_read_from_its_start_to_its_terminal_event() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("run")
        assert (command["agent"], command["text"], command["thread_id"]) == ("echo", "hi", "t")
        await peer.grant(command, seq=4)
        await peer.send(event(5, run_id="other"), event(6, run_id="mine"), terminal(7, run_id="mine"))
        await peer.until_closed()

    async with connected(script) as (client, server):
        run = await client.run("echo", text="hi", thread_id="t", run_id="mine")
        assert (run.thread_id, run.run_id, run.status) == ("t", "mine", "running")
        assert run.cursor == Cursor(seq=4, epoch="e")
        assert [type(one) for one in [one async for one in run]] == [ev.Custom, ev.RunFinished]
        assert run.cursor == Cursor(seq=7, epoch="e")
        assert isinstance(run.ended_with, ev.RunFinished)
        assert await run.wait() == run.ended_with
        assert server.tokens == ["token"]


async def test_a_refused_command_raises_what_the_server_said() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.refuse(await peer.command("run"), "quota_exceeded")
        await peer.refuse(await peer.command("attach"), "not_found")
        await peer.until_closed()

    async with connected(script) as (client, _):
        with pytest.raises(RequestError) as caught:
            await client.run("echo", text="hi")
        assert caught.value.code == "quota_exceeded"
        with pytest.raises(RequestError) as caught:
            await client.attach("t")
        assert caught.value.code == "not_found"


async def test_a_command_without_a_reply_is_sent_again_with_the_same_run_id() -> None:
    seen: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        seen.append(await peer.command("run"))
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        seen.append(await peer.command("run"))
        await peer.grant(seen[-1])
        await peer.send(terminal(1, run_id=seen[-1]["run_id"], thread_id=seen[-1]["thread_id"]))
        await peer.until_closed()

    async with connected(first, second) as (client, _):
        run = await client.run("echo", text="hi")
        assert isinstance(await run.wait(), ev.RunFinished)
        assert seen[0] | {"id": 0} == seen[1] | {"id": 0}
        assert client.statistics().repeated_commands == 1


async def test_a_command_over_the_servers_limit_is_refused_without_ending_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(max_message_bytes=500)
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "now"})
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "later"})
        await peer.until_closed()

    async with connected(script) as (client, server):
        assert await client.ping() == "now"
        with pytest.raises(RequestError) as caught:
            await client.run("echo", text="x" * 500)
        assert caught.value.code == "payload_too_large"
        assert await client.ping() == "later"
        assert server.connections == 1


async def test_a_run_whose_start_was_cancelled_leaves_no_subscription() -> None:
    left = asyncio.Event()
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("run")
        asked.set()
        await left.wait()
        await peer.grant(command)
        commands = {command["op"]: command for command in [await peer.command(), await peer.command()]}
        assert commands.keys() == {"ping", "detach"}
        await peer.send({"re": commands["ping"]["id"], "ok": True, "time": "now"})
        await peer.until_closed()

    async with connected(script) as (client, _):
        start = asyncio.create_task(client.run("echo", text="hi", thread_id="t"))
        await asked.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        left.set()
        assert await client.ping() == "now"


async def test_after_a_cut_reading_goes_on_behind_the_last_event_received() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("attach")
        assert command["after"] == {"seq": 0, "epoch": None}
        await peer.grant(command)
        await peer.events(1, 2, 3)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("attach")
        assert command["after"] == {"seq": 3, "epoch": "e"}
        await peer.grant(command, seq=3, head=5)
        await peer.events(4, 5)
        await peer.until_closed()

    async with connected(first, second) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 5) == [1, 2, 3, 4, 5]
        assert stream.cursor == Cursor(seq=5, epoch="e")
        statistics = client.statistics()
        assert (statistics.reconnects, statistics.duplicates, statistics.gaps) == (1, 0, 0)


async def test_the_cursor_is_behind_what_was_read_not_behind_what_came() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1, 2, 3)
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert stream.cursor == Cursor(seq=0, epoch="e")
        assert await numbers(stream, 2) == [1, 2]
        assert stream.cursor == Cursor(seq=2, epoch="e")


async def test_a_gap_is_raised_once_and_then_the_snapshot_and_the_rest_are_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"), epoch="f", seq=7, head=8, gap=True)
        await peer.send(snapshot(7), event(8))
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=3, epoch="e"))
        with pytest.raises(Gap) as caught:
            await anext(stream)
        assert (caught.value.after, caught.value.at) == (Cursor(seq=3, epoch="e"), Cursor(seq=7, epoch="f"))
        assert caught.value.snapshot
        assert stream.cursor == Cursor(seq=3, epoch="e")
        after_gap = await anext(stream)
        assert (after_gap.seq, after_gap.run_id, type(after_gap.event)) == (7, None, ev.MessagesSnapshot)
        assert await numbers(stream, 1) == [8]
        assert stream.cursor == Cursor(seq=8, epoch="f")
        assert client.statistics().gaps == 1


async def test_a_gap_ends_a_run_that_is_read() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("run"))
        await peer.events(1)
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"), epoch="f", seq=7, gap=True)
        await peer.send(snapshot(7))
        await peer.until_closed()

    async with connected(first, second) as (client, _):
        run = await client.run("echo", text="hi", thread_id="t", run_id="r")
        assert isinstance(await anext(run), ev.Custom)
        with pytest.raises(Gap):
            await anext(run)
        with pytest.raises(ClientClosed):
            await run.wait()


async def test_a_repeated_run_whose_events_are_gone_is_a_gap() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("run"), seq=7, gap=True)
        await peer.send(snapshot(7), event(8))
        await peer.until_closed()

    async with connected(script) as (client, _):
        run = await client.run("echo", text="hi", thread_id="t", run_id="r")
        with pytest.raises(Gap) as caught:
            await anext(run)
        assert (caught.value.at, caught.value.snapshot) == (Cursor(seq=7, epoch="e"), True)
        statistics = client.statistics()
        assert (statistics.gaps, statistics.duplicates, statistics.skipped, statistics.reconnects) == (1, 0, 0, 0)


async def test_what_a_server_repeats_is_dropped_and_what_it_skips_is_a_gap() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1, 2, 2, 1, 3, 6, 7)
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 3) == [1, 2, 3]
        with pytest.raises(Gap) as caught:
            await anext(stream)
        assert (caught.value.after, caught.value.at) == (Cursor(seq=3, epoch="e"), Cursor(seq=6, epoch="e"))
        assert not caught.value.snapshot
        assert await numbers(stream, 2) == [6, 7]
        statistics = client.statistics()
        assert (statistics.duplicates, statistics.skipped, statistics.gaps) == (2, 1, 1)


async def test_two_streams_of_one_thread_share_a_subscription_and_each_sees_everything() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"), head=3)
        await peer.events(1, 2, 3)
        command = await peer.command("attach")
        assert command["after"] == {"seq": 1, "epoch": "e"}
        await peer.grant(command, seq=1, head=3)
        await peer.events(2, 3, 4)
        await peer.until_closed()

    async with connected(script) as (client, _):
        first = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(first, 3) == [1, 2, 3]
        second = await client.attach("t", after=Cursor(seq=1, epoch="e"))
        assert await numbers(second, 3) == [2, 3, 4]
        assert await numbers(first, 1) == [4]
        assert client.statistics().duplicates == 0


async def test_a_thread_that_nobody_reads_is_left_when_something_comes() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1)
        assert (await peer.command("ping"))["op"] == "ping"
        await peer.events(2, 3)
        await peer.command("detach")
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "now"})
        await peer.until_closed()

    async with connected(script, second) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 1) == [1]
        await stream.aclose()
        assert await client.ping() == "now"


async def test_room_is_made_for_another_thread_when_the_server_allows_no_more() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(max_attached_threads=2)
        for thread in ("a", "b"):
            command = await peer.command("run")
            await peer.grant(command)
            await peer.send(terminal(1, thread, command["run_id"]))
        assert (await peer.command("detach"))["thread_id"] == "a"
        command = await peer.command("run")
        await peer.grant(command)
        await peer.send(terminal(1, "c", command["run_id"]))
        await peer.until_closed()

    async with connected(script) as (client, _):
        for thread in ("a", "b", "c"):
            await (await client.run("echo", text="hi", thread_id=thread)).wait()


async def test_a_deleted_thread_ends_its_streams() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1)
        await peer.send({"type": "detached", "thread_id": "t", "reason": "deleted"})
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 1) == [1]
        for _ in range(2):
            with pytest.raises(ThreadDetached, match="deleted"):
                await anext(stream)
