from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.app import App
from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway import gateway
from goldenpath.runtime.gateway.connection import Connection
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Issuer, Settings
from goldenpath.runtime.turns import LONG
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId
from tests.runtime.auth.key_server import serve_keys
from tests.runtime.runs import turns, until
from tests.wsclient import PATIENCE

Frame = dict[str, Any]


class Wire:
    """A WebSocket that takes everything at once and keeps it."""

    def __init__(self) -> None:
        self.buffered = 0
        self.frames: list[Frame] = []
        self.closed: list[int] = []
        self._news = asyncio.Event()

    def send(self, message: bytes) -> None:
        self.frames += [json.loads(line) for line in message.split(b"\n")]
        self._news.set()

    def ping(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)

    def abort(self) -> None:
        self.closed.append(0)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame that is wanted, sent before or yet to come."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = next(filter(wanted, self.frames), None)
                if found is not None:
                    return found
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    app = App(Settings(environment="testing", data_dir=str(tmp_path), drain_timeout=0.0, max_connections_per_user=1))
    async with app.lifespan():
        server = app.build()
        await server.recovery.done.wait()
        yield server


def connect(server: Server, user: str = "ann") -> tuple[Connection, Wire]:
    principal = Principal(UserId(user), SessionId(f"session-{user}"), server.clock.time() + 600)
    wire = Wire()
    connection = Connection(server.gateway, wire, principal, server.gateway.peers.reserve(principal.user_id, None))
    connection.open()
    return connection, wire


def run(connection: Connection, name: str, **fields: Any) -> None:
    command = {"id": name, "op": "run", "agent": "echo", "thread_id": "t", "run_id": name, "text": "hello", **fields}
    connection.on_message(json.dumps(command).encode(), binary=False)


def ends(name: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.get("run_id") == name and frame.get("event", {}).get("type") == "RUN_FINISHED"


async def test_a_connection_forgets_the_runs_of_its_own_that_have_ended(server: Server) -> None:
    connection, wire = connect(server)
    for number in range(20):
        run(connection, f"r{number}", on_disconnect="cancel")
        await wire.until(ends(f"r{number}"))
    assert len(connection._own_runs) == 1
    connection.on_closed()
    assert connection._own_runs == []


async def test_whoever_finds_no_room_is_told_by_a_close_code_and_by_nothing_else(server: Server) -> None:
    first, _ = connect(server)
    second, wire = connect(server)
    assert (wire.closed, wire.frames) == ([4429], [])
    run(second, "r1")
    second.on_closed()
    assert wire.frames == []
    assert list(server.gateway.peers) == [first]
    first.on_closed()
    assert connect(server)[1].closed == []


async def test_whoever_comes_in_while_the_server_begins_to_drain_is_sent_away(server: Server) -> None:
    server.scheduler.refuse_new_runs()
    server.gateway.close_peers()
    _, wire = connect(server)
    assert wire.closed == [1001]


async def test_whose_session_ends_on_the_way_in_is_sent_away(server: Server) -> None:
    await server.accounts.logout(Principal(UserId("ann"), SessionId("session-ann"), server.clock.time() + 600))
    _, wire = connect(server)
    assert wire.closed == [4401]


async def test_a_connection_that_closes_sends_no_event_any_more(server: Server) -> None:
    connection, wire = connect(server)
    run(connection, "r1")
    await wire.until(ends("r1"))
    seen = len(wire.frames)
    connection.end(1001, "bye")
    other, follower = connect(server, "bob")
    run(connection, "r2")
    run(other, "r1")
    await follower.until(ends("r1"))
    assert len(wire.frames) == seen
    assert len(connection._subscriptions) == 0


async def test_a_reader_is_kept_while_it_takes_something_and_closed_when_it_does_not(tmp_path: Path) -> None:
    clock = ManualClock()
    app = App(Settings(environment="testing", data_dir=str(tmp_path), write_timeout=3.0), clock=clock)
    server = app.build()
    connection, wire = connect(server)
    wire.buffered = HIGH_WATER  # whatever it takes, there is more for it
    for _ in range(10):
        clock.advance(2.0)
        connection.tick(clock.monotonic())
        connection.on_drained()
    assert wire.closed == []
    clock.advance(3.0)
    connection.tick(clock.monotonic())
    assert wire.closed == [4508]


async def test_a_long_command_waits_for_its_users_turn_and_for_nobody_elses(tmp_path: Path) -> None:
    """A megabyte of JSON can take the event loop for many milliseconds; on many sockets it would take it for good."""
    clock = ManualClock()
    server = App(Settings(environment="testing", data_dir=str(tmp_path)), clock=clock).build()
    (busy, wire), (bob, other) = connect(server), connect(server, "bob")
    long_ping = json.dumps({"id": "long", "op": "ping", "padding": "x" * LONG}).encode()
    async with server.gateway.reading(busy.principal, LONG):
        clock.advance(1.0)  # what was read took so long
    for connection in (busy, bob):
        connection.on_message(long_ping, binary=False)
        connection.on_message(b'{"id":"short","op":"ping"}', binary=False)
    await other.until(lambda frame: frame.get("re") == "short")
    await turns()
    assert [frame["re"] for frame in wire.frames if "re" in frame] == []
    clock.advance(1.0)
    await wire.until(lambda frame: frame.get("re") == "short")
    assert [frame["re"] for frame in wire.frames if "re" in frame] == ["long", "short"]


async def test_who_hangs_up_after_waiting_long_has_timed_out_and_who_changes_its_mind_has_not(tmp_path: Path) -> None:
    clock = ManualClock()
    server = App(Settings(environment="testing", data_dir=str(tmp_path)), clock=clock).build()
    server.gateway.upgrade_abandoned(clock.monotonic())
    assert server.signals.connect.timed_out.total == 0
    clock.advance(gateway.PATIENCE)
    server.gateway.upgrade_abandoned(0.0)
    assert server.signals.connect.timed_out.total == 1


async def test_an_upgrade_whose_identity_provider_hangs_times_out_and_counts_as_such(tmp_path: Path) -> None:
    clock = ManualClock()
    with serve_keys() as keys:
        keys.gate = threading.Event()
        issuer = Issuer(keys.issuer, "goldenpath", keys.jwks_url)
        app = App(Settings(environment="testing", data_dir=str(tmp_path), issuers=(issuer,)), clock=clock)
        parts = ({"alg": "RS256", "kid": "k"}, {"iss": keys.issuer})
        token = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts) + b".c2ln"
        async with app.lifespan():
            server = app.build()
            headers = [(b"host", b"here"), (b"authorization", b"Bearer " + token)]
            upgrade = asyncio.create_task(server.gateway.admit_upgrade(server.gateway.sockets["/v1/ws"], None, headers))
            await until(lambda: keys.requests >= 2)  # one is the look of the start
            clock.advance(server.settings.websocket_recv_timeout)
            with pytest.raises(RequestError, match="websocket_recv timed out"):
                await upgrade
            assert server.signals.read("connect_timeout_rate", clock.monotonic()) == 1.0
            keys.gate.set()
