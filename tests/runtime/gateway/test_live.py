"""The live view of operators without a socket: who is shown what, and when nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.app import App
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dashboard.owners import IDENTITIES, Owners
from goldenpath.runtime.gateway.live import MAX_VIEWERS, LiveConnection
from goldenpath.runtime.gateway.operator_page import PATH
from goldenpath.runtime.gateway.ws_transport import HIGH_WATER
from goldenpath.runtime.operators import OPERATOR
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Settings
from goldenpath.wire.ids import SessionId, UserId
from goldenpath.wire.live import COLUMNS
from tests.runtime.gateway.test_connection import Wire


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Server]:
    app = App(Settings(environment="testing", data_dir=str(tmp_path), drain_timeout=0.0), clock=clock)
    async with app.lifespan():
        yield app.build()


def look(server: Server, *permissions: str, user: str = "ops", life: float = 600.0) -> tuple[LiveConnection, Wire]:
    granted = frozenset({OPERATOR, *permissions})
    principal = Principal(UserId(user), SessionId(f"session-{user}"), server.clock.time() + life, granted)
    wire = Wire()
    viewer = server.gateway.sockets[PATH].connect(wire, principal, None)
    assert isinstance(viewer, LiveConnection)
    viewer.open()
    return viewer, wire


def snapshots(wire: Wire) -> list[dict[str, Any]]:
    return [frame for frame in wire.frames if frame["type"] == "snapshot"]


async def test_a_viewer_is_greeted_and_shown_everything_then_only_what_changes(
    server: Server, clock: ManualClock
) -> None:
    server.operator_page.tick()
    _, wire = look(server)
    welcome, history, first = wire.frames
    assert (welcome["type"], welcome["user_id"]) == ("welcome", "ops")
    assert set(history["columns"]) == set(COLUMNS) == set(first["sample"])
    assert len({len(column) for column in history["columns"].values()}) == 1
    assert {"service", "users", "runs", "breakers", "flags", "alerts", "rollback", "degradation"} <= set(
        first["sections"]
    )
    server.operator_page.tick()
    server.degradation.force("shed_low")
    clock.advance(3.0)
    server.operator_page.tick()
    unchanged, changed = snapshots(wire)[1:]
    assert "flags" not in unchanged["sections"]
    assert changed["sections"]["degradation"]["level"] == "shed_low"
    assert "flags" not in changed["sections"]


async def test_who_has_not_taken_the_last_snapshot_gets_none_and_misses_nothing_that_holds(server: Server) -> None:
    _, slow = look(server)
    _, fast = look(server, user="other")
    slow.buffered = 1
    server.degradation.force("refuse")
    for _ in range(100):
        server.operator_page.tick()
    assert (len(snapshots(slow)), len(snapshots(fast))) == (1, 101)
    assert server.operator_page.statistics().skipped == 100
    slow.buffered = 0
    server.operator_page.tick()
    assert snapshots(slow)[-1]["sample"] == snapshots(fast)[-1]["sample"]


async def test_only_so_many_may_look(server: Server) -> None:
    viewers = [look(server, user=f"ops-{number}") for number in range(MAX_VIEWERS)]
    late, wire = look(server, user="late")
    assert (wire.closed, wire.frames) == ([4429], [])
    late.on_closed()
    viewers[0][0].on_closed()
    assert look(server, user="later")[1].closed == []
    assert server.operator_page.statistics().viewers == MAX_VIEWERS


async def test_users_have_names_that_tell_nothing_unless_the_viewer_may_see_them(server: Server) -> None:
    gateway = server.gateway
    gateway.peers.reserve(UserId("ann-of-example-org"), None)
    _, plain = look(server)
    _, entitled = look(server, IDENTITIES, user="other")
    hidden, shown = snapshots(plain)[0]["sections"], snapshots(entitled)[0]["sections"]
    assert "ann-of-example-org" not in json.dumps(hidden)
    assert [user["connections"] for user in hidden["users"]] == [1]
    assert [user["owner"] for user in shown["users"]] == ["ann-of-example-org"]


def test_a_name_is_always_the_same_and_another_with_another_secret() -> None:
    ours, others = Owners(b"x" * 32), Owners(b"y" * 32)
    assert ours.name("ann", identities=False) == ours.name("ann", identities=False)
    assert ours.name("ann", identities=False) not in (
        others.name("ann", identities=False),
        ours.name("bob", identities=False),
    )
    assert ours.name("ann", identities=True) == "ann"


async def test_a_view_ends_with_its_token_and_takes_no_lesser_one(server: Server) -> None:
    viewer, wire = look(server, life=30.0)
    assert wire.frames[-1]["type"] == "token_expiring"
    viewer.tick(server.clock.monotonic() + 31.0)
    assert wire.closed == [4401]
    ordinary = Principal(UserId("ops"), SessionId("s"), server.clock.time() + 600)
    assert not viewer._may_stay(ordinary)


async def test_other_commands_are_refused_and_who_reads_no_answers_is_not_listened_to(server: Server) -> None:
    viewer, wire = look(server)
    viewer.on_message(b'{"id":1,"op":"ping"}\n\n{"id":2,"op":"attach","thread_id":"t"}\nnonsense', binary=False)
    pong, refused, bad = wire.frames[-3:]
    assert (pong["re"], pong["ok"]) == (1, True)
    assert (refused["re"], refused["error"]["code"]) == (2, "bad_request")
    assert bad["error"]["code"] == "bad_frame"
    wire.buffered = HIGH_WATER
    viewer.on_message(b'{"id":3,"op":"ping"}', binary=False)
    assert viewer._paused
    viewer.on_drained()
    assert not viewer._paused


async def test_a_view_is_sent_away_with_everybody_when_the_server_drains(server: Server) -> None:
    viewer, wire = look(server)
    server.gateway.close_peers()
    assert wire.closed == [1001]
    server.operator_page.tick()
    count = len(wire.frames)
    viewer.tell(None)  # type: ignore[arg-type]
    assert len(wire.frames) == count
    assert server.operator_page.statistics().viewers == 0
