"""docs/protocol.md, WebSocket: `cancel`, `refresh`, `ping`, and the order of commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.gateway.users import User, program
from tests.serverprocess import ServerProcess
from tests.wsclient import Frame, WsClient, text_of

SLOW = program({"do": "say", "text": "partial"}, {"do": "sleep", "ms": 60_000})


async def start_slow(socket: WsClient, thread_id: str, run_id: str) -> None:
    await socket.ok("run", agent="scripted", text=SLOW, thread_id=thread_id, run_id=run_id)


def is_cancelled(events: list[Frame]) -> bool:
    last = events[-1]["event"]
    return bool(last["type"] == "RUN_FINISHED" and last["outcome"] == {"type": "cancelled"})


async def test_cancel_answers_at_once_and_the_run_ends_with_its_terminal_event(user: User) -> None:
    async with user.connect() as socket:
        await start_slow(socket, "t1", "r1")
        await socket.event("TEXT_MESSAGE_CONTENT")
        reply = await socket.ok("cancel", thread_id="t1", run_id="r1")
        assert reply["cancelled"] == ["r1"]
        assert sorted(reply) == ["cancelled", "ok", "re"]
        events = await socket.ended("t1", "r1")
        assert is_cancelled(events)
        assert events[-1]["event"]["type"] == "RUN_FINISHED"
    assert (await user.get("/v1/threads/t1/runs/r1"))["status"] == "cancelled"


async def test_a_cancelled_run_leaves_its_partial_text_in_the_history(user: User) -> None:
    async with user.connect() as socket:
        await socket.script({"do": "deltas", "count": 1000, "size": 3, "delay_ms": 5, "fill": "abc"}, thread_id="t1")
        await socket.event("TEXT_MESSAGE_CONTENT")
        (run_id,) = (await socket.ok("cancel", thread_id="t1"))["cancelled"]
        events = await socket.ended("t1", run_id)
        messages = (await user.get("/v1/threads/t1/messages"))["messages"]
    assert events[-2]["event"]["type"] == "TEXT_MESSAGE_END"
    assert messages[-1]["role"] == "assistant"
    assert messages[-1]["content"] == text_of(events)


async def test_cancel_without_a_run_id_stops_all_runs_of_the_thread_and_no_other(user: User) -> None:
    async with user.connect() as socket:
        await start_slow(socket, "t2", "other")
        for number in range(4):
            await start_slow(socket, "t1", f"r{number}")
        assert (await socket.ok("cancel", thread_id="t1"))["cancelled"] == ["r0", "r1", "r2", "r3"]
        for number in range(4):
            events = await socket.ended("t1", f"r{number}")
            assert events[0]["event"]["type"] == "RUN_STARTED"
            assert is_cancelled(events)
        assert (await user.get("/v1/threads/t2/runs/other"))["status"] == "running"


async def test_a_queued_run_that_is_cancelled_starts_and_ends_when_its_turn_comes(user: User) -> None:
    async with user.connect() as socket:
        for number in range(3):
            await start_slow(socket, "t1", f"r{number}")
        assert (await socket.ok("cancel", thread_id="t1", run_id="r1"))["cancelled"] == ["r1"]
        await socket.event("TEXT_MESSAGE_CONTENT", run_id="r0")
        assert socket.events("t1", "r1") == []
        await socket.ok("cancel", thread_id="t1", run_id="r0")
        await socket.event("TEXT_MESSAGE_CONTENT", run_id="r2")
        cancelled = socket.events("t1", "r1")
        assert [frame["event"]["type"] for frame in cancelled] == ["RUN_STARTED", "RUN_FINISHED"]
        assert cancelled[0]["event"]["input"]["messages"][0]["content"] == SLOW
        assert [frame["seq"] for frame in socket.events("t1")] == list(range(1, len(socket.events("t1")) + 1))
        order = list(dict.fromkeys(frame["run_id"] for frame in socket.events("t1")))
        assert order == ["r0", "r1", "r2"]


async def test_cancel_of_what_has_ended_or_of_an_idle_thread_is_ok_and_empty(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("x", thread_id="t1", run_id="r1")
        assert (await socket.ok("cancel", thread_id="t1", run_id="r1"))["cancelled"] == []
        assert (await socket.ok("cancel", thread_id="t1"))["cancelled"] == []
    assert (await user.get("/v1/threads/t1/runs/r1"))["status"] == "finished"


async def test_cancel_of_an_unknown_run_or_thread_is_not_found(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("x", thread_id="t1", run_id="r1")
        for fields in ({"thread_id": "t1", "run_id": "r2"}, {"thread_id": "t2"}, {"thread_id": "t2", "run_id": "r1"}):
            assert (await socket.refused("cancel", **fields))["code"] == "not_found"


async def test_a_cancel_needs_no_subscription(user: User) -> None:
    async with user.connect() as one, user.connect() as other:
        await start_slow(one, "t1", "r1")
        assert (await other.ok("cancel", thread_id="t1"))["cancelled"] == ["r1"]
        assert is_cancelled(await one.ended("t1", "r1"))
        assert other.events() == []


async def test_commands_of_one_socket_take_effect_in_order(user: User) -> None:
    async with user.connect() as socket:
        await socket.send(
            {"id": 1, "op": "run", "agent": "scripted", "text": SLOW, "thread_id": "t1", "run_id": "r1"},
            {"id": 2, "op": "run", "agent": "echo", "text": "x", "thread_id": "t1", "run_id": "r2"},
            {"id": 3, "op": "cancel", "thread_id": "t1", "run_id": "r2"},
            {"id": 4, "op": "detach", "thread_id": "t1"},
            {"id": 5, "op": "attach", "thread_id": "t1", "after": {"seq": 0}},
            {"id": 6, "op": "cancel", "thread_id": "t1"},
            {"id": 7, "op": "ping"},
        )
        await socket.reply(7)
        await socket.ended("t1", "r2")
        replies = {frame["re"]: frame for frame in socket.frames if "re" in frame}
        assert list(replies) == [1, 2, 3, 4, 5, 6, 7]
        assert replies[2]["status"] == "queued"
        # The queued run is stopped but not over: its turn has not come.
        assert (replies[3]["cancelled"], replies[6]["cancelled"]) == (["r2"], ["r1", "r2"])


async def test_a_hundred_commands_in_a_row_are_all_answered_in_order(user: User) -> None:
    async with user.connect() as socket:
        await socket.run("x", thread_id="t1")
        for number in range(100):
            await socket.send(
                {"id": number, "op": ["ping", "attach", "detach"][number % 3], "thread_id": "t1"}
                | ({} if number % 3 else {"op": "cancel"})
            )
        await socket.reply(99)
        assert [frame["re"] for frame in socket.frames if isinstance(frame.get("re"), int)] == list(range(100))


async def test_ping_tells_the_time(user: User) -> None:
    async with user.connect() as socket:
        reply = await socket.ok("ping")
    assert sorted(reply) == ["ok", "re", "time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", reply["time"])
    assert abs((datetime.fromisoformat(reply["time"]) - datetime.now(UTC)).total_seconds()) < 60


async def test_refresh_takes_a_new_token_of_the_same_user(user: User, site: ServerProcess) -> None:
    fresh = site.tokens(user.email)["access_token"]
    async with user.connect() as socket:
        reply = await socket.ok("refresh", token=fresh)
        assert sorted(reply) == ["expires_in", "ok", "re"]
        assert 800 < reply["expires_in"] <= 900
        # The socket is the new session's now: the old one's end does not touch it.
        assert (await user.http.post("/v1/auth/logout")).status_code == 204
        await socket.run("still here")


async def test_after_a_refresh_the_socket_ends_with_the_new_session(user: User, site: ServerProcess) -> None:
    fresh = site.tokens(user.email)["access_token"]
    async with user.connect() as socket:
        await socket.ok("refresh", token=fresh)
        headers = {"Authorization": f"Bearer {fresh}"}
        assert (await user.http.post("/v1/auth/logout", headers=headers)).status_code == 204
        assert (await socket.closed())[0] == 4401


async def test_refresh_with_another_users_token_is_forbidden(new_user: Callable[..., User]) -> None:
    one, other = new_user(), new_user()
    async with one.connect() as socket:
        error = await socket.refused("refresh", token=other.token)
        assert (error["code"], error["definite"]) == ("forbidden", True)
        await socket.run("mine", thread_id="t1")
        assert (await one.get("/v1/threads/t1"))["thread_id"] == "t1"
        # It stays on its own session.
        assert (await other.http.post("/v1/auth/logout")).status_code == 204
        await socket.settle()
        assert (await one.http.post("/v1/auth/logout")).status_code == 204
        assert (await socket.closed())[0] == 4401


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ä"])
async def test_refresh_with_a_bad_token_is_unauthorized_and_the_socket_stays(user: User, token: str) -> None:
    async with user.connect() as socket:
        assert (await socket.refused("refresh", token=token))["code"] == "unauthorized"
        await socket.run("still here")


async def test_logout_closes_the_sessions_sockets_and_no_others(user: User, site: ServerProcess) -> None:
    second = User(site, user.email)
    async with user.connect() as one, user.connect() as two, second.connect() as kept:
        for socket in (one, two, kept):
            await socket.welcome()
        assert (await user.http.post("/v1/auth/logout")).status_code == 204
        for socket in (one, two):
            assert (await socket.closed())[0] == 4401
        await kept.run("still here")
    await second.http.aclose()
