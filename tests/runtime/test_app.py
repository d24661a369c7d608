"""The app as an ASGI app that somebody else starts, or forgets to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from goldenpath import App
from goldenpath.runtime.app import NOT_STARTED
from goldenpath.runtime.settings import Settings


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
