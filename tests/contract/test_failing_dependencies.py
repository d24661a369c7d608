"""What the server depends on fails: who asked for it is told what and when to come back, and everybody else goes on."""

from __future__ import annotations

import asyncio
import resource
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import HERE, Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import PATIENCE, Witness
from tests.runtime.agents.model_server import Conversation, answering, chunk, head, raw_endpoint
from tests.serverprocess import ServerProcess

RUN_TIMEOUT = 3.0
USERS = 6
"""One more than a breaker that all share looks at before it opens."""
ANSWER = answering(head(), chunk("stop", content="well"), b"data: [DONE]\n\n")


# --- a model endpoint -------------------------------------------------------------------------------------------------


async def hang(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await asyncio.Event().wait()


async def stop_in_the_middle(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Begins its answer and never goes on."""
    writer.write(head() + chunk(content="so far"))
    await asyncio.Event().wait()


async def trickle(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Is never silent for long, and says nothing: a byte a second."""
    writer.write(head())
    for byte in b"data: " + b" " * 3600:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def reset(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """Drops the connection."""
    writer.transport.abort()


FAULTS: dict[str, tuple[Conversation | None, str]] = {
    "hangs": (hang, "timeout"),
    "stops-in-the-middle": (stop_in_the_middle, "timeout"),
    "trickles": (trickle, "timeout"),
    "refuses": (None, "upstream_unavailable"),
    "resets": (reset, "upstream_unavailable"),
    "breaks-off": (answering(head(), chunk(content="so far")), "upstream_unavailable"),
    "500": (answering(head(status="500 Oops"), b"{}"), "upstream_unavailable"),
    "429": (answering(head("application/json", "429 Slow Down", "Retry-After: 7"), b"{}"), "upstream_unavailable"),
    "garbage": (answering(head(), b"data: {]\n\n" * 100), "upstream_unavailable"),
    "no-http": (answering(b"\x00\xff" * 1000), "upstream_unavailable"),
}
"""What an endpoint may do (None: nobody listens), and the code of the runs that meet it."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
        return port


async def echo_until(user: Witness, enough: asyncio.Event) -> None:
    """Run the echo agent again and again, ten times at least; each run has to go well and take no long time."""
    number = 0
    async with user.link() as link:
        while not enough.is_set() or number < 10:
            async with asyncio.timeout(RUN_TIMEOUT):
                assert await link.play("echo", f"text {number}", f"t{number % 4}", f"r{number}") == "success"
            number += 1
            await asyncio.sleep(0.01)


async def ask(user: Witness, run_id: str) -> dict[str, Any]:
    """One run of the model; its terminal event, and after how many seconds."""
    async with user.link() as link:
        began = time.monotonic()
        await link.run("openai", "hi", "model", run_id)
        end = await link.ended("model", run_id)
        return {**end, "seconds": time.monotonic() - began}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_model_endpoint_that_fails_is_told_in_time_and_left_alone_until_it_is_back(
    launch: Callable[..., ServerProcess], join: Join, history: History, fault: str
) -> None:
    converse, code = FAULTS[fault]
    port = free_port()
    server = launch(
        openai_base_url=f"http://127.0.0.1:{port}/v1",
        openai_model="m",
        run_timeout=f"{RUN_TIMEOUT}",
        cancel_grace="0.5",
        slow_model="1",
        breaker_recovery="0.3",
        breaker_recovery_bound="0.4",
    )
    users = [await join(server, f"user-{number}") for number in range(USERS)]
    other = await join(server, "other")
    enough = asyncio.Event()
    echoing = asyncio.create_task(echo_until(other, enough))
    try:
        async with _listening(converse, port):
            ends = await asyncio.gather(*(ask(user, "r1") for user in users))
            for end in ends:
                assert (end["type"], end["code"]) == ("RUN_ERROR", code), end
                assert end["seconds"] < RUN_TIMEOUT + 10
            # It is down for all: nobody else has to wait for what they would wait for.
            late = await join(server, "late")
            end = await ask(late, "r1")
            assert end["code"] in (code, "upstream_unavailable")
        async with _listening(ANSWER, port):
            async with asyncio.timeout(PATIENCE):
                for number in range(2, 1000):
                    end = await ask(late, f"r{number}")
                    if end["type"] == "RUN_FINISHED":
                        break
                    assert end["code"] in (code, "upstream_unavailable")
                    await asyncio.sleep(0.05)
            ends = await asyncio.gather(*(ask(user, "r2") for user in users))
            assert {end["type"] for end in ends} == {"RUN_FINISHED"}
    finally:
        enough.set()
        await echoing
    for user in users:
        await user.audit(["model"])
    judge(history).require(ended_once=2 * USERS, status=2 * USERS)


@asynccontextmanager
async def _listening(converse: Conversation | None, port: int) -> AsyncIterator[None]:
    if converse is None:
        yield
        return
    async with raw_endpoint(converse, port):
        yield


async def test_a_user_whose_requests_fail_is_refused_alone(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    asked: list[str] = []

    async def converse(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        text = body["messages"][-1]["content"]
        asked.append(text)
        failing = answering(head(status="500 Oops"), b"{}")
        await (failing if text == "poison" else ANSWER)(body, writer)

    async with raw_endpoint(converse) as endpoint:
        server = launch(openai_base_url=endpoint.base_url, openai_model="m")
        mallory, *users = [await join(server, name) for name in ("mallory", "ann", "bob", "cy", "dan", "eve")]
        async with mallory.link() as link:
            for number in range(12):
                await link.run("openai", "poison", f"p{number}", "r")
                assert await link.end(f"p{number}", "r") == "upstream_unavailable"
                ends = await asyncio.gather(*(ask(user, f"r{number}") for user in users))
                assert {end["type"] for end in ends} == {"RUN_FINISHED"}
            refused = await link.ended("p11", "r")
        assert "is not asked at present; try again in" in refused["message"]
        assert asked.count("poison") < 12
    judge(history).require(ended_once=12 * len(users))


# --- the database -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(server: ServerProcess) -> AsyncIterator[None]:
    """Somebody else has the database's write lock."""
    connection = sqlite3.connect(server.data_dir / "goldenpath.db", isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@asynccontextmanager
async def full(server: ServerProcess) -> AsyncIterator[None]:
    """No file of the server can grow."""
    log = server.data_dir / "goldenpath.db-wal"
    bound = log.stat().st_size
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (bound, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


async def register(user: Witness, email: str) -> httpx.Response:
    """Something that has to write, and is no run."""
    return await user.http.post("/v1/auth/register", json={"email": email, "password": "correct horse battery"})


@pytest.mark.parametrize("fails", [locked, full])
async def test_a_database_that_cannot_be_written_is_told_and_nothing_is_lost(
    start_server: Callable[..., ServerProcess], join: Join, history: History, tmp_path: Path, fails: Any
) -> None:
    server = start_server(
        target="agents:app", cwd=HERE, GOLDENPATH_BREAKER_RECOVERY="1", GOLDENPATH_BREAKER_RECOVERY_BOUND="2"
    )
    ann, bob = await join(server, "ann"), await join(server, "bob")
    ops = await join(server, "ops", permissions=["operator"])

    async def ready() -> bool:
        return bool((await bob.http.get("/readyz")).is_success)

    async def breaker_is(state: str) -> bool:
        views = (await ops.http.get("/v1/admin/breakers")).json()["dependencies"]
        states = [view["breaker"]["state"] for view in views if view["dependency"] == "database:write"]
        return states == [state]

    async with ann.link() as link, bob.link() as second:
        assert await second.play("echo", "before", "t", "r1") == "success"
        await link.run("until-file", str(tmp_path / "go-on"), "t", "r1")
        await link.saw("TEXT_MESSAGE_END", "t", "r1")
        async with fails(server):
            (tmp_path / "go-on").touch()
            await until(lambda: _not(ready()))
            # Nothing new is taken, and that is said at once; what is there can be read.
            error = await second.refused("run", agent="echo", text="now", thread_id="t", run_id="r2")
            assert (error["code"], error["retryable"], error["definite"]) == ("overloaded", True, True)
            assert error["retry_after"] > 0
            refused = await bob.post(
                "/v1/agents/echo/run",
                json={"threadId": "t", "runId": "r2", "messages": [{"id": "m", "role": "user", "content": "now"}]},
            )
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert int(refused.headers["Retry-After"]) >= 1
            assert [message["content"] for message in await bob.messages("t")] == ["before", "before"]
            assert (await second.ok("attach", thread_id="t", after={"seq": 0}))["gap"] is False
            await second.saw("RUN_FINISHED", "t", "r1")
            # Who would only wait for the database is told so.
            await until(lambda: breaker_is("open"))
            refused = await register(bob, "new@example.org")
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert ("t", "r1") not in ann.runs  # its end is in no log yet
            await link.ok("ping")
        await until(ready)
        assert await link.end("t", "r1") == "success"
        await until(lambda: breaker_is("closed"))
        assert (await register(bob, "new@example.org")).status_code == 201
        # The level of degradation follows within a second: a client does what it is told, and comes back.
        await until(lambda: _taken(second.call("run", agent="echo", text="after", thread_id="t", run_id="r3")))
        assert await second.end("t", "r3") == "success"
        assert await link.play("echo", "after", "t", "r2") == "success"
    for user in (ann, bob):
        await user.audit(["t"])
    judge(history).require(ended_once=4, status=4)


async def _taken(asked: Awaitable[Any]) -> bool:
    reply = await asked
    assert reply["ok"] or reply["error"]["code"] == "overloaded", reply
    return bool(reply["ok"])


async def _not(answer: Awaitable[bool]) -> bool:
    return not await answer
