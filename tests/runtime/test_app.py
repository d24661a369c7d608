"""The app as an ASGI app that somebody else starts, or forgets to."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from goldenpath import App, Run
from goldenpath.runtime.app import NOT_STARTED
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dispatcher import RunRequest
from goldenpath.runtime.settings import Settings
from goldenpath.wire.ids import RequestId, SessionId, UserId
from tests.runtime.runs import until


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Settings(environment="testing", data_dir=str(tmp_path)))


async def test_who_mounts_it_without_its_lifespan_is_told_so(app: App) -> None:
    host = FastAPI()
    host.mount("/", app)
    credentials = {"email": "ann@example.com", "password": "correct horse"}
    with capture_logs() as logged:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://host") as client:
            for answer in (
                await client.get("/readyz"),
                await client.get("/livez"),
                await client.post("/v1/auth/register", json=credentials),
            ):
                assert answer.status_code == 503
                assert answer.headers["content-type"] == "application/problem+json"
                assert (answer.json()["code"], answer.json()["detail"]) == ("not_configured", NOT_STARTED)
    assert [(line["event"], line["error"]) for line in logged] == [("not_started", NOT_STARTED)]


async def test_a_websocket_of_an_app_that_was_never_started_is_refused(app: App) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/v1/ws", "headers": [], "extensions": {"websocket.http.response": {}}}
    await app(scope, receive, send)
    assert sent[0]["status"] == 503
    assert NOT_STARTED.encode() in sent[1]["body"]


async def test_who_enters_the_lifespan_is_served(app: App) -> None:
    host = FastAPI()
    host.mount("/", app)
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://host") as client,
    ):
        assert (await client.get("/livez")).status_code == 200


async def test_a_host_that_cancels_the_stop_leaves_nothing_at_work(app: App) -> None:
    @app.agent("endless")
    async def endless(run: Run) -> None:
        await run.text("begun")
        await asyncio.Event().wait()

    ready = asyncio.Event()

    async def host() -> None:
        async with app.lifespan():
            ready.set()
            await asyncio.Event().wait()

    hosting = asyncio.create_task(host())
    await ready.wait()
    server = app.build()
    ann = Principal(UserId("usr_ann"), SessionId("ses_1"), math.inf)
    async with server.dispatcher.start(ann, RunRequest("endless", "go"), RequestId("req_1")):
        await until(lambda: server.scheduler.engines.statistics().active)
    hosting.cancel()
    await until(lambda: server.scheduler.draining)
    hosting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hosting
    left = {task.get_name() for task in asyncio.all_tasks()}
    assert not left & {"goldenpath-ticks", "goldenpath-dashboard"}
    assert server.pulse.thread is None


async def test_a_start_that_fails_leaves_nothing_of_what_it_began(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fails(thread: threading.Thread) -> None:
        if thread.name == "goldenpath-stalls":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fails)
    before = asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        async with app.lifespan():
            pass
    assert asyncio.all_tasks() == before
    assert app.build().pulse.thread is None
