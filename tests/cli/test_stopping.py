"""SIGTERM and SIGINT: runs get the drain time, clients are told, and the exit code is 0 if nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.gateway.users import User, program, run_input
from tests.serverprocess import ServerProcess

Launch = Callable[..., ServerProcess]
GOING_AWAY = (1001, "the server is shutting down")
SAY = {"do": "say", "text": "so far"}
FOR_EVER = program(SAY, {"do": "sleep", "ms": 600_000})


async def status(user: User, thread_id: str, run_id: str) -> str:
    found: str = (await user.get(f"/v1/threads/{thread_id}/runs/{run_id}"))["status"]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_runs_end_and_refuses_new_ones(launch: Launch, number: signal.Signals) -> None:
    server = launch()
    user = User(server)
    async with user.connect() as socket, user.connect() as other:
        await socket.script({"do": "say", "text": "a"}, {"do": "sleep", "ms": 1_500}, thread_id="t1", run_id="r1")
        await other.welcome()
        server.signal(number)
        assert await socket.closed() == GOING_AWAY
        assert await other.closed() == GOING_AWAY
        # The run is at work. Who asks is told what to do.
        assert (await user.http.get("/livez")).status_code == 200
        for answer in (
            await user.http.get("/readyz"),
            await user.http.post("/v1/agents/echo/run", json=run_input("t2", "r2")),
            await user.http.get("/v1/threads/t1/events"),
        ):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            problem = answer.json()
            assert (problem["code"], problem["retryable"]) == ("draining", True)
        with pytest.raises(InvalidStatus) as refused:
            async with user.connect():
                pass
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body or b"")["code"] == "draining"
        assert (await user.http.get("/health")).json()["status"] == "draining"
        assert await status(user, "t1", "r1") == "running"
    assert server.wait() == 0
    assert "goldenpath: 1 run(s) may go on for 10 s; Ctrl-C once more ends them" in server.log()
    server.start()
    assert await status(user, "t1", "r1") == "finished"
    assert (await user.http.get("/v1/threads/t2")).status_code == 404
    await user.http.aclose()


async def test_the_stream_of_a_run_goes_on_in_the_drain_to_the_run_s_end(launch: Launch) -> None:
    server = launch()
    user = User(server)
    body = run_input("t1", "r1", json.dumps({"steps": [{"do": "deltas", "count": 20, "delay_ms": 50}]}))
    async with user.stream("POST", "/v1/agents/scripted/run", json=body) as stream:
        await stream.until("TEXT_MESSAGE_CONTENT")
        server.signal(signal.SIGTERM)
        seen = await stream.rest()
    assert (seen[-1].type, len([message for message in seen if message.type == "TEXT_MESSAGE_CONTENT"])) == (
        "RUN_FINISHED", 19,
    )  # fmt: skip
    assert server.wait() == 0
    await user.http.aclose()


async def test_the_stream_of_a_run_that_the_drain_cuts_says_so_and_so_does_its_replay(launch: Launch) -> None:
    server = launch(GOLDENPATH_DRAIN_TIMEOUT="0.2")
    user = User(server)
    body = run_input("t1", "r1", FOR_EVER)
    async with user.stream("POST", "/v1/agents/scripted/run", json=body) as stream:
        seen = await stream.until("TEXT_MESSAGE_END")
        server.signal(signal.SIGTERM)
        seen += await stream.rest()
    assert server.wait() == 0
    server.start()
    messages = await user.run("t1", "r1", FOR_EVER, agent="scripted")  # the same run id: a replay
    assert [message.data for message in messages] == [message.data for message in seen]
    assert (messages[-1].type, messages[-1].data["code"]) == ("RUN_ERROR", "run_interrupted")
    await user.http.aclose()


async def test_an_agent_that_swallows_every_cancel_does_not_hold_the_process(launch: Launch) -> None:
    server = launch(GOLDENPATH_DRAIN_TIMEOUT="0.1", GOLDENPATH_CANCEL_GRACE="0.1")
    user = User(server)
    async with user.connect() as socket:
        await socket.script({"do": "ignore_cancel", "ms": 60_000}, thread_id="t1", run_id="r1")
        await socket.event("RUN_STARTED")
        server.signal(signal.SIGTERM)
        assert await socket.closed() == GOING_AWAY
    assert server.wait(20) == 0
    server.start()
    assert await status(user, "t1", "r1") == "interrupted"
    await user.http.aclose()


async def started(server: ServerProcess, user: User, **options: Any) -> None:
    """Start a run, then the stop of the server; returns when that has begun."""
    async with user.connect() as socket:
        await socket.ok("run", agent="scripted", thread_id="t1", run_id="r1", **options)
        await socket.event("RUN_STARTED")
        server.signal(signal.SIGTERM)
        assert await socket.closed() == GOING_AWAY


async def test_a_second_sigterm_changes_nothing(launch: Launch) -> None:
    server = launch()
    user = User(server)
    await started(server, user, text=program({"do": "sleep", "ms": 1_000}))
    for _ in range(3):
        server.signal(signal.SIGTERM)
    assert server.wait() == 0
    server.start()
    assert await status(user, "t1", "r1") == "finished"
    await user.http.aclose()


async def test_a_second_ctrl_c_waits_for_nobody(launch: Launch) -> None:
    server = launch(GOLDENPATH_DRAIN_TIMEOUT="600")
    user = User(server)
    await started(server, user, text=FOR_EVER)
    server.signal(signal.SIGINT)
    assert server.wait(20) == 0
    server.start()
    assert await status(user, "t1", "r1") == "interrupted"
    await user.http.aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_the_very_beginning_is_clean(launch: Launch, number: signal.Signals) -> None:
    server = launch(ready=False)
    server.signal(number)
    assert server.wait() == 0


async def test_a_client_that_reads_nothing_does_not_hold_the_process(launch: Launch) -> None:
    server = launch(GOLDENPATH_DRAIN_TIMEOUT="0.1")
    user = User(server)
    flood = program({"do": "repeat", "times": 4_000, "steps": [{"do": "custom", "name": "x", "value": "x" * 4_000}]})
    async with user.stream("POST", "/v1/agents/scripted/run", json=run_input("t1", "r1", flood)):
        async with asyncio.timeout(20):
            while await status(user, "t1", "r1") == "running":
                await asyncio.sleep(0.05)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 15) == 0
    await user.http.aclose()


# --- a store that fails -----------------------------------------------------------------------------------------------


TABLES = ("journal", "segments", "runs")


class Store:
    """The database of a server, from outside: it can be made to refuse every commit."""

    def __init__(self, server: ServerProcess) -> None:
        self._path = server.data_dir / "goldenpath.db"

    def _execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self._path, timeout=20)) as connection, connection:
            connection.execute(statement)

    def fail(self) -> None:
        for table in TABLES:
            self._execute(
                f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )

    def work(self) -> None:
        for table in TABLES:
            self._execute(f"DROP TRIGGER no_{table}")


async def until(user: User, path: str, wanted: int) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (answer := await user.http.get(path)).status_code != wanted:
            await asyncio.sleep(0.02)
    found: dict[str, Any] = answer.json()
    return found


async def until_metric(user: User, name: str, wanted: float) -> None:
    """Wait for a figure, which may be a moment old."""
    async with asyncio.timeout(20):
        while True:
            text = (await user.http.get("/metrics")).text
            (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
            if float(line.split(" ")[1]) == wanted:
                return
            await asyncio.sleep(0.02)


async def test_a_store_that_fails_takes_the_server_out_of_traffic_and_loses_nothing(launch: Launch) -> None:
    server = launch()
    user = User(server)
    store = Store(server)
    async with user.connect() as socket:
        before = await socket.run("before", thread_id="t1")
        assert (await user.get("/health"))["status"] == "ok"
        await until_metric(user, "goldenpath_log_healthy", 1)
        store.fail()
        run = {"op": "run", "agent": "echo", "text": "meanwhile", "thread_id": "t1", "run_id": "r2"}
        await socket.send({"id": "r2", **run})
        problem = await until(user, "/readyz", 503)
        assert (problem["code"], problem["retryable"]) == ("overloaded", True)
        assert (await user.http.get("/livez")).status_code == 200
        assert (await user.get("/health"))["status"] == "degraded"
        await until_metric(user, "goldenpath_log_healthy", 0)
        async with user.connect() as other:  # who reads is served, and sees nothing that is not durable
            assert (await other.ok("attach", thread_id="t1", after={"seq": 0}))["head"] == before[-1]["seq"]
        assert not socket.events("t1", "r2")
        store.work()
        await until(user, "/readyz", 200)
        events = await socket.ended("t1", "r2")
        assert [frame["seq"] for frame in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
        await until_metric(user, "goldenpath_log_healthy", 1)
    await user.http.aclose()


async def test_a_server_is_not_ready_before_what_was_interrupted_has_its_end(launch: Launch) -> None:
    server = launch()
    user = User(server)
    async with user.connect() as socket:
        await socket.ok("run", agent="scripted", text=FOR_EVER, thread_id="t1", run_id="r1")
        await socket.event("TEXT_MESSAGE_END")
    server.kill()
    store = Store(server)
    store.fail()
    server.start(ready=False)
    problem = (await user.http.get("/readyz")).json()
    assert (problem["status"], problem["code"], problem["retryable"]) == (503, "overloaded", True)
    assert (await user.http.get("/livez")).status_code == 200
    assert (await user.get("/health"))["status"] == "degraded"
    await until_metric(user, "goldenpath_log_healthy", 0)
    store.work()
    await until(user, "/readyz", 200)
    assert await status(user, "t1", "r1") == "interrupted"
    assert (await user.get("/health"))["status"] == "ok"
    await user.http.aclose()


@pytest.mark.parametrize("step", [{"do": "sleep", "ms": 60_000}, {"do": "ignore_cancel", "ms": 60_000}])
async def test_a_stop_with_a_store_that_fails_ends_too_and_says_what_is_lost(
    start_server: Launch, step: dict[str, Any]
) -> None:
    server = start_server(GOLDENPATH_DRAIN_TIMEOUT="0.1", GOLDENPATH_CANCEL_GRACE="0.1")
    user = User(server)
    async with user.connect() as socket:
        await socket.ok("run", agent="scripted", text=program(SAY, step), thread_id="t1", run_id="r1")
        await socket.event("TEXT_MESSAGE_END")
        Store(server).fail()
        server.signal(signal.SIGTERM)
        assert await socket.closed() == GOING_AWAY
        assert await asyncio.to_thread(server.wait, 25) == 1
    assert "goldenpath: what came last could not be written: writing goldenpath.db: the disk is full" in server.log()
    Store(server).work()
    server.start()
    assert await status(user, "t1", "r1") == "interrupted"
    await user.http.aclose()
