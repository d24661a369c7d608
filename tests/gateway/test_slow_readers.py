"""docs/protocol.md, WebSocket: a reader to whom nothing could be written is closed with 4508, and costs nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.certificate import make_certificate
from tests.gateway.rawsocket import CLOSE, PING, PONG, TEXT, RawSocket, command, frame, raw, upgraded
from tests.gateway.transports import TRANSPORTS, Transport, faults, make_site
from tests.gateway.users import User, program, run_input
from tests.serverprocess import ServerProcess
from tests.wsclient import Frame

WRITE_TIMEOUT = 1.0
TICK = 1.0
SMALL = 16 * 1024
"""What a slow reader's system takes in for it, in bytes."""
SLEEPERS = 4
COUNT = 8_000
FLOOD = program({"do": "repeat", "times": COUNT, "steps": [{"do": "custom", "name": "flood", "value": "x" * 4_000}]})
"""32 MB of events, which leave nothing in the history."""
FLAT = 24 << 20
"""What the server may grow by while a flood of 32 MB waits for each of four that do not read, in bytes. A run of this
size costs it something too, and what it has freed the system does not always get back."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a short write time-out, and a small cache, so that memory shows what connections hold."""
    data_dir = tmp_path_factory.mktemp("hasty") / "data"
    running = ServerProcess(
        data_dir, GOLDENPATH_WRITE_TIMEOUT=str(WRITE_TIMEOUT), GOLDENPATH_CACHE_BYTES=str(1 << 20)
    ).start()
    yield running
    assert running.stop() == 0
    assert not faults(running), running.log()


def rss(server: ServerProcess) -> int:
    size: int = psutil.Process(server.pid).memory_info().rss
    return size


async def connections(server: ServerProcess) -> int:
    async with httpx.AsyncClient(base_url=server.url, verify=server.verify, timeout=20) as client:
        count: int = (await client.get("/health")).json()["connections"]["connected"]
        return count


async def until_connected(server: ServerProcess, wanted: int, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while await connections(server) != wanted:
            await asyncio.sleep(0.05)


async def serve_others(server: ServerProcess, seconds: float) -> None:
    """Run echo for another user again and again for `seconds`: each run ends."""
    other = User(server)
    start = time.monotonic()
    async with other.connect() as socket:
        while time.monotonic() - start < seconds:
            async with asyncio.timeout(30):
                await socket.run("is anybody there?", thread_id="t1")
    await other.http.aclose()


async def flooded(socket: RawSocket, thread_id: str) -> None:
    """Start a flood for a client that does not read."""
    await socket.send(command(id=1, op="run", agent="scripted", text=FLOOD, thread_id=thread_id, run_id="r1"))


async def is_over(user: User, thread_id: str) -> None:
    async with asyncio.timeout(60):
        while True:
            answer = await user.http.get(f"/v1/threads/{thread_id}/runs/r1")
            if answer.status_code == 200 and answer.json()["status"] not in ("queued", "running"):
                assert answer.json()["status"] == "finished"
                return
            await asyncio.sleep(0.05)


async def test_a_reader_that_never_reads_is_dropped_and_costs_no_memory(hasty: ServerProcess) -> None:
    user = User(hasty)
    async with user.connect() as reader:  # warm up: the same with a reader that reads
        await reader.run(FLOOD, agent="scripted", thread_id="warm")
        await reader.run("hello", thread_id="t1")
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(upgraded(hasty, user.token, receive_buffer=SMALL)) for _ in range(SLEEPERS)
        ]
        for socket in sockets:
            await socket.send(command(id=1, op="attach", thread_id="t1"))
            await socket.reply()
        before = rss(hasty)
        start = time.monotonic()
        await flooded(sockets[0], "t1")
        peak = 0
        while await connections(hasty):
            assert time.monotonic() - start < 60
            await serve_others(hasty, 0.3)
            peak = max(peak, rss(hasty) - before)
    assert peak < FLAT, f"{peak >> 20} MiB more"
    await is_over(user, "t1")  # the run did not mind
    await user.http.aclose()


async def test_a_reader_that_wakes_up_finds_4508_behind_what_was_sent(hasty: ServerProcess) -> None:
    user = User(hasty)
    async with upgraded(hasty, user.token, receive_buffer=SMALL) as socket:
        await flooded(socket, "t1")
        await serve_others(hasty, WRITE_TIMEOUT + 2 * TICK)
        seqs: list[int] = []
        while True:
            opcode, payload = await socket.frame()
            if opcode == CLOSE:
                break
            if opcode == TEXT:
                lines = [json.loads(line) for line in payload.split(b"\n")]
                seqs += [line["seq"] for line in lines if "event" in line]
        assert int.from_bytes(payload[:2], "big") == 4508
        assert seqs == list(range(1, len(seqs) + 1))
    # Coming back with the cursor gives exactly the rest.
    async with user.connect() as back:
        epoch = (await back.ok("attach", thread_id="t1"))["epoch"]
        await back.ok("attach", thread_id="t1", after={"epoch": epoch, "seq": seqs[-1]})
        events = await back.ended("t1", "r1")
        assert [frame["seq"] for frame in events] == list(range(seqs[-1] + 1, events[-1]["seq"] + 1))
        assert events[-1]["seq"] == COUNT + 2
    await user.http.aclose()


def sse_run(user: User) -> bytes:
    """The request for a flood over SSE."""
    body = json.dumps(run_input("t1", "r1", FLOOD)).encode()
    head = (
        f"POST /v1/agents/scripted/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def test_an_sse_reader_that_never_reads_is_dropped(hasty: ServerProcess) -> None:
    user = User(hasty)
    async with raw(hasty, receive_buffer=SMALL) as socket:
        before = rss(hasty)
        await socket.send(sse_run(user))
        await until_connected(hasty, 1)
        await until_connected(hasty, 0, WRITE_TIMEOUT + 3 * TICK + 10)
        assert rss(hasty) - before < FLAT
    await is_over(user, "t1")
    await user.http.aclose()


@pytest.mark.parametrize("host", TRANSPORTS[1:], ids=lambda host: host.name)
async def test_under_another_server_an_sse_reader_that_never_reads_is_given_up(host: Transport, tmp_path: Path) -> None:
    """Its socket is that server's to close."""
    site = make_site(host, tmp_path / "data", GOLDENPATH_WRITE_TIMEOUT=str(WRITE_TIMEOUT)).start()
    user = User(site)
    async with raw(site, receive_buffer=SMALL) as socket:
        await socket.send(sse_run(user))
        await until_connected(site, 1)
        await until_connected(site, 0, WRITE_TIMEOUT + 3 * TICK + 10)
    await is_over(user, "t1")
    await user.http.aclose()
    site.stop()
    assert not faults(site), site.log()


async def test_pings_that_nobody_wants_the_pongs_of_cost_no_memory(hasty: ServerProcess) -> None:
    user = User(hasty)
    async with upgraded(hasty, user.token, receive_buffer=SMALL) as socket:
        before = rss(hasty)
        pings = frame(PING, b"x" * 125) * 1_000
        await flood_with(socket, [pings] * 2_000)
        assert rss(hasty) - before < FLAT
    await user.http.aclose()


async def test_commands_that_nobody_wants_the_replies_of_cost_no_memory(hasty: ServerProcess) -> None:
    user = User(hasty)
    lines = (b'{"id":1,"op":"ping"}', b'{"id":1,"op":"attach"}', json.dumps({"id": "x" * 128, "op": 1}).encode())
    before = rss(hasty)
    async with AsyncExitStack() as stack:
        flooding = []
        for line in lines:
            socket = await stack.enter_async_context(upgraded(hasty, user.token, receive_buffer=SMALL))
            flooding.append(flood_with(socket, [frame(TEXT, b"\n".join([line] * 1_000))] * 200))
        await asyncio.gather(*flooding)
        await until_connected(hasty, 0)
        assert rss(hasty) - before < FLAT
    await user.http.aclose()


async def flood_with(socket: RawSocket, parts: list[bytes]) -> None:
    """Send as much as the server takes, until it is done or the server takes no more."""
    sending: asyncio.Task[Any] = asyncio.create_task(socket.send(*parts))
    await asyncio.wait([sending], timeout=WRITE_TIMEOUT + 2 * TICK)
    sending.cancel()


async def test_a_reader_that_says_good_bye_and_reads_nothing_is_cut(hasty: ServerProcess) -> None:
    user = User(hasty)
    async with upgraded(hasty, user.token, receive_buffer=SMALL) as socket:
        await flooded(socket, "t1")
        await is_over(user, "t1")
        await socket.send(frame(CLOSE, b"\x03\xe8"))
        await until_connected(hasty, 0)
    await user.http.aclose()


def client_ports(server: ServerProcess) -> set[int]:
    """The ports of the clients that the server has a connection to."""
    connections = psutil.Process(server.pid).net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


# --- answers to plain requests ----------------------------------------------------------------------------------------


async def test_an_answer_that_nobody_reads_is_cut(hasty: ServerProcess) -> None:
    """Not only streams: the history of a thread may have megabytes."""
    user = User(hasty)
    await user.run("t1", "r1", program({"do": "deltas", "count": 2_000, "size": 2_000}), agent="scripted")
    get = f"GET /v1/threads/t1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n"
    async with raw(hasty, receive_buffer=SMALL) as socket:
        await socket.send(get.encode())
        begin = await socket.reader.read(1)
        port = socket.writer.get_extra_info("sockname")[1]
        async with asyncio.timeout(WRITE_TIMEOUT + 10):
            while port in client_ports(hasty):
                await asyncio.sleep(0.05)
        assert 1 < len(begin + await socket.cut()) < 4_000_000
    await user.http.aclose()


# --- slow is not stuck ------------------------------------------------------------------------------------------------

SIZES = (1, 3_900, 4_200, 9_000, 66_000)
"""Around the sizes at which a frame is sent in another way, or has another head."""


@pytest.fixture(params=["plain", "tls"])
def patient(
    request: pytest.FixtureRequest, start_server: Callable[..., ServerProcess], tmp_path: Path
) -> ServerProcess:
    return start_server(**(make_certificate(tmp_path).env if request.param == "tls" else {}))


async def test_what_a_slow_reader_gets_is_whole(patient: ServerProcess) -> None:
    times = 60
    wanted = [chr(97 + number) * size for number, size in enumerate(SIZES)]
    steps: list[Frame] = []
    for value in wanted:  # each in a commit, and so in a message, of its own
        steps += [{"do": "custom", "name": "part", "value": value}, {"do": "sleep", "ms": 2}]
    text = program({"do": "repeat", "times": times, "steps": steps})
    user = User(patient)
    async with upgraded(patient, user.token, receive_buffer=SMALL) as socket:
        await socket.send(command(id=0, op="run", agent="scripted", text=text, thread_id="t1", run_id="r1"))
        await is_over(user, "t1")  # everything waits for the socket by now
        values: list[str] = []
        seqs: list[int] = []
        replies = pings = 0
        while not seqs or seqs[-1] < 2 + times * len(SIZES):
            if pings < 200:  # small frames between the large ones
                pings += 1
                await socket.send(command(id=pings, op="ping"), frame(PING, b"x" * 100))
            opcode, payload = await socket.frame()
            if opcode == PONG:
                assert payload == b"x" * 100
                continue
            assert opcode == TEXT
            for line in map(json.loads, payload.split(b"\n")):
                if "event" not in line:
                    replies += line["ok"]
                    continue
                seqs.append(line["seq"])
                if line["event"]["type"] == "CUSTOM":
                    values.append(line["event"]["value"])
        assert seqs == list(range(1, len(seqs) + 1))
        assert values == wanted * times
        while replies < pings + 1:
            opcode, payload = await socket.frame()
            if opcode == TEXT:
                replies += sum(json.loads(line)["ok"] for line in payload.split(b"\n"))
    await user.http.aclose()
