"""Time-outs fire in a real server: who waited is told which one, and after how long; everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.contract.conftest import Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import PATIENCE
from tests.runtime.auth.key_server import AUDIENCE, KeyServer, SigningKey, serve_keys
from tests.serverprocess import ServerProcess

Launch = Callable[..., ServerProcess]
KEY = SigningKey.ec("key-1")


def fired(server: ServerProcess, level: str) -> float:
    """How often this time-out has fired."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"goldenpath_timeouts_{level}_total "))


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """The port of an endpoint that is there, and takes no connection: it is not even refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_model_endpoint_that_takes_no_connection(launch: Launch, join: Join, history: History) -> None:
    with full_backlog() as port:
        server = launch(openai_base_url=f"http://127.0.0.1:{port}/v1", openai_model="m", model_connect_timeout="0.5")
        ann, bob = await join(server, "ann"), await join(server, "bob")
        async with ann.link() as asking, bob.link() as other:
            await asking.run("openai", "hi", "t", "r1")
            assert await other.play("echo", "meanwhile", "t", "r1") == "success"
            end = await asking.ended("t", "r1")
            assert (end["code"], end["message"]) == ("timeout", "model_connect timed out after 0.5 s")
            assert await asking.play("echo", "after", "t", "r2") == "success"
    assert fired(server, "model_connect") == 1
    judge(history).require(ended_once=3)


@contextlib.contextmanager
def stuck(server: ServerProcess) -> Iterator[None]:
    """Whoever begins to read the database waits: its read locks are taken, as a file system that hangs has it.

    Source: https://www.sqlite.org/walformat.html, "WAL Locks": five read locks of one byte each from byte 123 on.
    """
    with (server.data_dir / "goldenpath.db-shm").open("r+b") as shared:
        fcntl.lockf(shared, fcntl.LOCK_EX, 5, 123)
        yield


async def test_a_database_that_does_not_answer(launch: Launch, join: Join, history: History) -> None:
    server = launch(database_timeout="0.5", cache_bytes="0")
    ann, bob = await join(server, "ann"), await join(server, "bob")
    async with ann.link() as reading, bob.link() as other:
        assert await reading.play("echo", "before", "t", "r1") == "success"
        with stuck(server):
            began = time.monotonic()
            asked = asyncio.create_task(ann.get("/v1/threads"))
            while not asked.done():
                assert (await other.call("ping"))["ok"]
                await asyncio.sleep(0.02)
            answer = await asked
            assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
            assert answer.json()["detail"] == "database timed out after 0.5 s"
            assert time.monotonic() - began < PATIENCE
        assert (await ann.get("/v1/threads")).status_code == 200
        assert await other.play("echo", "after", "t", "r1") == "success"
    assert fired(server, "database") == 1
    judge(history).require(ended_once=2)


async def test_a_command_whose_answer_takes_too_long(launch: Launch, join: Join, history: History) -> None:
    """The disk takes nothing for a while. The run was accepted, and goes on: who asks again finds it."""
    server = launch(websocket_recv_timeout="0.5")
    ann, bob = await join(server, "ann"), await join(server, "bob")
    async with ann.link() as asking, bob.link() as other:
        assert await other.play("echo", "before", "t", "r1") == "success"
        connection = sqlite3.connect(server.data_dir / "goldenpath.db", isolation_level=None, timeout=10)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            error = await asking.refused("run", agent="echo", text="hi", thread_id="t", run_id="r1")
            assert (error["code"], error["message"]) == ("timeout", "websocket_recv timed out after 0.5 s")
            assert (error["retryable"], error["definite"]) == (True, False)
            assert [message["content"] for message in await bob.messages("t")] == ["before", "before"]
            assert (await other.call("ping"))["ok"]
        async with asyncio.timeout(PATIENCE):
            while not (await asking.call("run", agent="echo", text="hi", thread_id="t", run_id="r1"))["ok"]:
                await asyncio.sleep(0.05)
        assert await asking.end("t", "r1") == "success"
    assert fired(server, "websocket_recv") >= 1
    await ann.audit(["t"])
    judge(history).require(ended_once=2)


@pytest.fixture
def provider() -> Iterator[KeyServer]:
    """An identity provider that does not answer."""
    with serve_keys() as server:
        server.keys, server.gate = [KEY.jwk()], threading.Event()
        yield server
        server.gate.set()


async def test_an_identity_provider_that_does_not_answer(launch: Launch, join: Join, provider: KeyServer) -> None:
    issuer: dict[str, Any] = {"issuer": provider.issuer, "audience": AUDIENCE, "jwks_url": provider.jwks_url}
    server = launch(issuers=json.dumps([{**issuer, "algorithms": [KEY.algorithm]}]), websocket_recv_timeout="2")
    bob = await join(server, "bob")
    now = time.time()
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, "jti": "1"}
    headers = {"Authorization": f"Bearer {KEY.sign({**claims, 'email': 'ann@example.org'})}"}
    async with bob.link() as other, httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, verify=False) as ann:
        asked = asyncio.create_task(ann.get("/v1/auth/me", headers=headers))
        connecting = asyncio.create_task(connect(server.ws_url, additional_headers=headers, proxy=None).__aenter__())
        assert await other.play("echo", "meanwhile", "t", "r1") == "success"
        answer = await asked
        with pytest.raises(InvalidStatus) as refused:
            await connecting
    assert (answer.status_code, refused.value.response.status_code) == (504, 504)
    for problem in (answer.json(), json.loads(refused.value.response.body or b"")):
        assert (problem["code"], problem["detail"]) == ("timeout", "websocket_recv timed out after 2.0 s")
