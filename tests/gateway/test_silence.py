"""docs/protocol.md, WebSocket: a ping after a heartbeat of silence, the end after two; the same for half requests."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.rawsocket import PING, PONG, command, frame, raw, upgraded
from tests.gateway.transports import Transport, faults, make_site
from tests.gateway.users import User
from tests.serverprocess import ServerProcess

HEARTBEAT = 0.5
TICK = 1.0
"""How late the server may be, in seconds: it looks at its connections once a second."""
SLACK = 3.0
"""What a busy machine may add."""


@pytest.fixture(scope="module")
def impatient(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose heartbeat is short."""
    data_dir = tmp_path_factory.mktemp(f"impatient-{transport.name}") / "data"
    running = make_site(transport, data_dir, GOLDENPATH_HEARTBEAT=str(HEARTBEAT)).start()
    yield running
    running.stop()
    assert not faults(running), running.log()


@pytest.fixture(scope="module")
def impatient_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`goldenpath serve`, whose HTTP is its own."""
    running = ServerProcess(tmp_path_factory.mktemp("impatient") / "data", GOLDENPATH_HEARTBEAT=str(HEARTBEAT)).start()
    yield running
    running.stop()
    assert not faults(running), running.log()


def connected_now(server: ServerProcess) -> int:
    health = httpx.get(f"{server.url}/health", verify=False, timeout=20).json()
    count: int = health["connections"]["connected"]
    return count


async def test_a_client_that_follows_in_silence_stays_connected(impatient: ServerProcess) -> None:
    user = User(impatient)
    # Without a bound its library reads on, and answers pings, though nobody takes the messages.
    async with user.connect(max_queue=None) as listener, user.connect() as speaker:
        assert (await listener.welcome())["heartbeat"] == HEARTBEAT
        await speaker.run("first", thread_id="t1")
        await listener.ok("attach", thread_id="t1")
        # Six heartbeats in which the listener sends no command, only the pongs that its library sends.
        start = time.monotonic()
        while time.monotonic() - start < 6 * HEARTBEAT + TICK:
            await speaker.run("more", thread_id="t1")
        await speaker.run("last", thread_id="t1", run_id="last")
        await listener.ended("t1", "last")
    await user.http.aclose()


async def test_a_silent_client_is_pinged_and_stays_when_it_answers(
    impatient: ServerProcess, transport: Transport
) -> None:
    if not transport.own_pings:
        pytest.skip("this server pings in a rhythm of its own")
    token = impatient.tokens("pong@example.org")["access_token"]
    async with upgraded(impatient, token) as socket:
        for _ in range(4):
            start = time.monotonic()
            opcode, payload = await socket.frame()
            assert opcode == PING
            assert HEARTBEAT - 0.1 < time.monotonic() - start < HEARTBEAT + TICK + SLACK
            await socket.send(frame(PONG, payload))
        await socket.send(command(id=1, op="ping"))
        assert (await socket.reply())["re"] == 1


async def test_a_client_that_speaks_is_not_pinged(impatient: ServerProcess, transport: Transport) -> None:
    if not transport.own_pings:
        pytest.skip("this server pings in a rhythm of its own")
    token = impatient.tokens("speaker@example.org")["access_token"]
    async with upgraded(impatient, token) as socket:
        start = time.monotonic()
        for number in itertools.count():
            await socket.send(command(id=number, op="ping"))
            assert (await socket.reply())["re"] == number  # `reply` fails at a ping
            if time.monotonic() - start > HEARTBEAT + 1.5 * TICK:
                break


async def test_a_client_that_answers_no_ping_is_dropped_after_two_heartbeats(
    impatient: ServerProcess, transport: Transport
) -> None:
    if not transport.own_pings:
        pytest.skip("this server drops nobody, or in a rhythm of its own")
    token = impatient.tokens("dead@example.org")["access_token"]
    async with upgraded(impatient, token) as socket:
        start = time.monotonic()
        assert await socket.ended() is None  # cut: there is nobody to say good-bye to
        assert 2 * HEARTBEAT - 0.1 < time.monotonic() - start < 2 * HEARTBEAT + TICK + SLACK
    assert connected_now(impatient) == 0


HALVES = {
    "nothing": b"",
    "half a line": b"GET /livez HT",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-",
    "half a second request": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li",
}


@pytest.mark.parametrize("name", HALVES)
async def test_half_a_request_is_dropped_after_two_heartbeats(impatient_serve: ServerProcess, name: str) -> None:
    async with raw(impatient_serve) as socket:
        start = time.monotonic()
        await socket.send(HALVES[name])
        await socket.cut()
        assert 2 * HEARTBEAT - 0.1 < time.monotonic() - start < 2 * HEARTBEAT + SLACK


async def test_a_head_that_trickles_in_is_dropped_too(impatient_serve: ServerProcess) -> None:
    async with raw(impatient_serve) as socket:
        cut = asyncio.create_task(socket.cut())
        for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10_000:
            await socket.send(bytes([byte]))
            await asyncio.wait([cut], timeout=0.02)
            if cut.done():
                break
        assert cut.done()


async def test_a_body_that_does_not_come_is_answered_with_timeout(impatient_serve: ServerProcess) -> None:
    async with raw(impatient_serve) as socket:
        await socket.send(b'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"email":')
        problem = (await socket.answer()).problem()
        assert (problem["code"], problem["retryable"]) == ("timeout", True)
        await socket.cut()  # and it does not wait for the rest either


async def test_an_idle_connection_between_requests_is_kept(impatient_serve: ServerProcess) -> None:
    async with raw(impatient_serve) as socket:
        for _ in range(2):
            await socket.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await socket.answer()).status == 200
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4 * HEARTBEAT):
                    await socket.reader.read(1)
