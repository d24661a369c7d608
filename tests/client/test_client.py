from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from goldenpath.client import (
    Attachment,
    Backoff,
    Client,
    ClientClosed,
    ConnectionLost,
    Cursor,
    Gap,
    LinkSettings,
    ProtocolViolation,
    RequestError,
    ThreadDetached,
)
from goldenpath.clock import ManualClock
from goldenpath.wire import events as ev
from tests.client.cutting_proxy import CuttingProxy
from tests.client.scripted_server import Peer, Script, ScriptedServer, event, snapshot, terminal

QUICK = LinkSettings(backoff=Backoff(base=0.001, cap=0.01), reconnect_for=5)


@asynccontextmanager
async def connected(*scripts: Script, **options: Any) -> AsyncIterator[tuple[Client, ScriptedServer]]:
    refusals = options.pop("refusals", ())
    async with (
        asyncio.timeout(20),
        ScriptedServer(*scripts, refusals=refusals) as server,
        Client(server.url, token="token", **{"link": QUICK, **options}) as client,
    ):
        yield client, server


async def numbers(stream: Attachment, count: int) -> list[int]:
    """The next events, by what each tells, checked against its place."""
    found = []
    for _ in range(count):
        delivery = await anext(stream)
        assert isinstance(delivery.event, ev.Custom)
        assert delivery.event.value == delivery.seq
        found.append(delivery.seq)
    return found


async def let_pass(clock: ManualClock, condition: Callable[[], bool], step: float = 0.5) -> None:
    """Move the clock on until something is so."""
    while not condition():
        clock.advance(step)
        await asyncio.sleep(0)


# --- runs and replies ---------------------------------------------------------------------------------------------


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


# --- resuming -----------------------------------------------------------------------------------------------------


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


# --- messages -----------------------------------------------------------------------------------------------------


async def test_messages_in_fragments_and_with_blank_lines_are_put_together() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        text = f"\n\n{json.dumps(event(1))}\n\n{json.dumps(event(2))}\n"
        await peer.connection.send([text[:20], text[20:21], text[21:]])
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 2) == [1, 2]


async def test_an_event_of_a_type_from_the_future_comes_as_raw() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.send(event(1) | {"event": {"type": "TELEPATHY", "thought": [1]}})
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert (await anext(stream)).event == ev.Raw(event={"type": "TELEPATHY", "thought": [1]}, source="unknown")


@pytest.mark.parametrize("message", ["{", "[]", '{"seq":"x"}', b"\x00"])
async def test_a_frame_that_cannot_be_read_ends_everything_with_a_clear_error(message: str | bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.connection.send(message)
        await peer.until_closed()

    async with connected(script) as (client, server):
        stream = await client.attach("t", after=Cursor(seq=0))
        with pytest.raises((ProtocolViolation, ConnectionLost)):
            await anext(stream)
        assert server.connections == 1


async def test_a_server_of_another_version_is_left_with_a_clear_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"type": "welcome", "protocol": 2, "connection_id": "c", "user_id": "u"})
        await peer.until_closed()

    async with connected(script) as (client, server):
        with pytest.raises(ProtocolViolation, match="version 2"):
            await client.ping()
        assert server.connections == 1


async def test_closing_while_the_server_hesitates_to_upgrade_leaves_no_connection() -> None:
    loop = asyncio.get_running_loop()
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await closing.wait()
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))[19:]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    closing = asyncio.Event()
    async with asyncio.timeout(20), await asyncio.start_server(hesitate, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Client(url, token="t", link=QUICK) as client:
            ping = loop.create_task(client.ping())
            await arrived.wait()
        with pytest.raises(ClientClosed):
            await ping
        closing.set()
        await gone.wait()


# --- connections that end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4500, 4503, 4508, 4599, None])
async def test_it_connects_again_where_the_close_code_says_so(code: int | None) -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1)
        if code is None:
            peer.abort()
        else:
            await peer.connection.close(code)

    async def second(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"), seq=1)
        await peer.events(2)
        await peer.until_closed()

    async with connected(first, second) as (client, server):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 2) == [1, 2]
        assert server.connections == 2


async def test_a_connection_that_ends_during_the_upgrade_is_tried_again_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "now"})
        await peer.until_closed()

    async with (
        asyncio.timeout(5),
        ScriptedServer(script) as server,
        CuttingProxy(server.port, cuts=3, longest=50, seed=1) as proxy,
        Client(proxy.url, token="t", link=QUICK) as client,
    ):
        assert await client.ping() == "now"
        assert client.statistics().failed_attempts == 3


@pytest.mark.parametrize("code", [1000, 1002, 1009, 4400, 4403, 4409, 4429, 4442])
async def test_it_stays_away_where_the_close_code_says_so(code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.events(1)
        await peer.connection.close(code, "because")

    async with connected(script) as (client, server):
        stream = await client.attach("t", after=Cursor(seq=0))
        assert await numbers(stream, 1) == [1]
        with pytest.raises(ConnectionLost, match="because") as caught:
            await anext(stream)
        assert caught.value.code == code
        with pytest.raises(ConnectionLost):
            await client.ping()
        assert server.connections == 1


async def test_an_expired_token_that_cannot_be_renewed_is_unauthorized() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.connection.close(4401, "the token expired")

    async with connected(script) as (client, server):
        with pytest.raises(RequestError, match="the token expired") as caught:
            await client.ping()
        assert caught.value.code == "unauthorized"
        assert server.connections == 1


def problem(code: str, status: int, retry_after: float | None = None) -> tuple[int, dict[str, Any]]:
    return status, {
        "type": f"urn:goldenpath:error:{code}",
        "title": "",
        "status": status,
        "detail": "not now",
        "code": code,
        "retryable": False,
        "retry_after": retry_after,
    }


async def test_a_refused_upgrade_raises_its_problem_document() -> None:
    async def never(peer: Peer) -> None:
        raise AssertionError

    async with connected(never, refusals=[problem("forbidden", 403)]) as (client, _):
        with pytest.raises(RequestError, match="not now") as caught:
            await client.ping()
        assert caught.value.code == "forbidden"


async def test_an_overloaded_server_is_asked_again_not_before_it_said() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "now"})
        await peer.until_closed()

    clock = ManualClock()
    refusals = [problem("overloaded", 503, retry_after=7.0), (502, {}), (503, {})]
    async with connected(script, refusals=refusals, clock=clock) as (client, server):
        ping = asyncio.create_task(client.ping())
        await let_pass(clock, lambda: len(server.tokens) == 1, step=0)
        await let_pass(clock, lambda: client.statistics().failed_attempts == 1, step=0)
        clock.advance(6.9)
        await asyncio.sleep(0)
        assert len(server.tokens) == 1
        await let_pass(clock, ping.done)
        assert ping.result() == "now"
        assert client.statistics().failed_attempts == 3


async def test_it_gives_up_when_there_was_no_useful_connection_for_long_enough() -> None:
    clock = ManualClock()
    settings = LinkSettings(backoff=Backoff(base=1, cap=10), reconnect_for=60)
    async with asyncio.timeout(20), Client("http://127.0.0.1:1", token="t", link=settings, clock=clock) as client:
        ping = asyncio.create_task(client.ping())
        await let_pass(clock, ping.done)
        with pytest.raises(ConnectionLost) as caught:
            await ping
        assert caught.value.definite
        assert 60 <= clock.monotonic() < 75
        assert client.statistics().failed_attempts >= 7


async def test_connections_that_are_of_no_use_do_not_reset_the_backoff() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.connection.close(4503)

    clock = ManualClock()
    settings = LinkSettings(backoff=Backoff(base=1, cap=10), reconnect_for=60)
    async with connected(script, clock=clock, link=settings) as (client, server):
        ping = asyncio.create_task(client.ping())
        await let_pass(clock, ping.done)
        with pytest.raises(ConnectionLost, match="4503"):
            await ping
        assert server.connections < 40


async def test_a_silent_server_is_asked_for_a_sign_and_then_left() -> None:
    arrived = asyncio.Event()
    over = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.welcome()
        peer.connection.transport.pause_reading()
        arrived.set()
        await over.wait()
        peer.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        await peer.send({"re": (await peer.command("ping"))["id"], "ok": True, "time": "now"})
        await peer.until_closed()

    clock = ManualClock()
    async with connected(silent, second, clock=clock) as (client, server):
        ping = asyncio.create_task(client.ping())
        await arrived.wait()
        await let_pass(clock, lambda: client.statistics().connections == 1, step=0)
        clock.advance(24)
        assert server.connections == 1
        await let_pass(clock, ping.done)
        assert ping.result() == "now"
        over.set()


async def test_a_server_that_answers_pings_is_kept() -> None:
    finished = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        finished.set()
        await peer.until_closed()

    clock = ManualClock()
    async with connected(script, clock=clock) as (client, server):
        await client.attach("t")
        await finished.wait()
        for _ in range(20):
            clock.advance(25)
            for _ in range(50):  # time for a ping and a pong
                await asyncio.sleep(0)
        assert server.connections == 1


async def test_closing_says_good_bye_and_ends_what_waits() -> None:
    closed: list[int | None] = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.command("ping")
        code, _ = await peer.until_closed()
        closed.append(code)

    async with connected(script) as (client, _):
        stream = await client.attach("t")
        reading = asyncio.create_task(anext(stream))
        asking = asyncio.create_task(client.ping())
        while client.statistics().commands < 2:
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await reading
        with pytest.raises(ClientClosed):
            await asking
        with pytest.raises(ClientClosed):
            await client.ping()
        await client.aclose()
    assert closed == [1000]


# --- reading ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_read_loses_nothing() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await go.wait()
        await peer.events(1, 2)
        await peer.until_closed()

    async with connected(script) as (client, _):
        stream = await client.attach("t", after=Cursor(seq=0))
        for _ in range(3):
            reading = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        go.set()
        assert await numbers(stream, 2) == [1, 2]


async def test_a_stream_has_one_reader_and_ends_quietly_when_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.grant(await peer.command("attach"))
        await peer.until_closed()

    async with connected(script) as (client, _):
        async with await client.attach("t") as stream:
            reading = asyncio.create_task(anext(stream, None))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(stream)
        assert await reading is None
        assert [one async for one in stream] == []
