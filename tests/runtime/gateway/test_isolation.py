"""What is somebody else's is not sent, even where everything before the last look went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from goldenpath import App, Settings
from goldenpath.runtime.gateway.request import Request
from goldenpath.runtime.gateway.sse import SseStream
from goldenpath.runtime.interfaces import ThreadKey
from goldenpath.runtime.server import Server
from goldenpath.wire.errors import INTERNAL
from goldenpath.wire.ids import ThreadId, UserId
from tests.runtime.gateway.test_connection import connect, ends, run

ANNS = ThreadKey(UserId("ann"), ThreadId("t"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which ann has had a run."""
    app = App(Settings(environment="testing", data_dir=str(tmp_path), drain_timeout=0.0))
    async with app.lifespan():
        server = app.build()
        await server.recovery.done.wait()
        connection, wire = connect(server)
        run(connection, "r1")
        await wire.until(ends("r1"))
        yield server


def told(logs: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(log["log_level"], log["reader"]) for log in logs if log["event"] == "isolation_violated"]


async def test_a_connection_that_follows_somebody_elses_thread_gets_nothing_and_is_closed(server: Server) -> None:
    connection, wire = connect(server, "bob")
    with capture_logs() as logs:
        async with server.event_log.open(ANNS) as log:
            assert log is not None
            connection._subscriptions.subscribe(log, 0)
    assert wire.closed == [INTERNAL]
    assert not any("event" in frame for frame in wire.frames)
    assert told(list(map(dict, logs))) == [("critical", "bob")]
    assert server.gateway.isolation.violations == 1
    assert server.signals.read("isolation_violations", 0.0) == 1.0


async def test_the_owner_of_the_thread_and_other_connections_stay(server: Server) -> None:
    ann, anns_wire = connect(server)
    bob, _ = connect(server, "bob")
    async with server.event_log.open(ANNS) as log:
        assert log is not None
        bob._subscriptions.subscribe(log, 0)
    run(ann, "r2")
    await anns_wire.until(ends("r2"))
    assert anns_wire.closed == []
    assert server.gateway.isolation.violations == 1


async def test_a_stream_of_somebody_elses_thread_ends_with_nothing_in_it(server: Server) -> None:
    bob, _ = connect(server, "bob")
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    asked = Request({"type": "http", "headers": []}, receive, 30.0)
    reservation = server.gateway.peers.reserve(UserId("bob"), None)
    assert reservation is not None
    with capture_logs() as logs:
        async with server.event_log.open(ANNS) as log:
            assert log is not None
            stream = SseStream(server.gateway, bob.principal, reservation, log, 0)
            async with asyncio.timeout(10):
                await stream.serve(asked, send, None)
        asked.close()
    assert b"".join(message.get("body", b"") for message in sent) == b""
    assert told(list(map(dict, logs))) == [("critical", "bob")]
    assert server.gateway.isolation.violations == 1


async def test_whoever_reads_what_is_theirs_violates_nothing(server: Server) -> None:
    connection, wire = connect(server)
    run(connection, "r2")
    await wire.until(ends("r2"))
    assert server.gateway.isolation.violations == 0


async def test_a_server_that_refuses_new_runs_or_violated_something_is_degraded(server: Server) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.site), base_url="http://test") as client:
        assert (await client.get("/health")).json()["status"] == "ok"
        server.degradation.force("shed_low")
        found = (await client.get("/health")).json()
        assert (found["status"], found["degradation"]) == ("degraded", "shed_low")
        server.degradation.force(None)
        server.gateway.isolation.violated(ANNS, UserId("bob"))
        async with asyncio.timeout(10):
            while (found := (await client.get("/health")).json())["status"] == "ok":
                await asyncio.sleep(0.02)
    assert found["breaches"] == ["isolation_violations < 1"]
