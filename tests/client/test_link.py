"""The connection: what it takes, how it ends, when it comes back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from typing import Any

import pytest

from goldenpath.client import (
    Backoff,
    Client,
    ClientClosed,
    ConnectionLost,
    Cursor,
    LinkSettings,
    ProtocolViolation,
    RequestError,
)
from goldenpath.clock import ManualClock
from goldenpath.wire import events as ev
from tests.client.connected import QUICK, connected, let_pass, numbers
from tests.client.cutting_proxy import CuttingProxy
from tests.client.scripted_server import Peer, ScriptedServer, event


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
