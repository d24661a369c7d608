"""A user's heavy calls share one turn, are bounded, and end when their clients leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from goldenpath.runtime import turns as turns_module
from goldenpath.runtime.app import App
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Settings
from goldenpath.wire.ids import UserId
from tests.runtime.runs import until

Message = dict[str, Any]
PATHS = ("messages", "ends", "events?after=999&epoch=another")


class Client:
    """One HTTP call of an ASGI server, whose client can leave."""

    def __init__(self, app: App, token: str, path: str, method: str = "GET", body: bytes = b"") -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._body: bytes | None = body
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
            "headers": [(b"host", b"test"), (b"authorization", f"Bearer {token}".encode())], "http_version": "1.1",
        }  # fmt: skip
        self.task = asyncio.create_task(self._call(app, scope))

    async def _call(self, app: App, scope: Message) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        await app(scope, self._receive, send)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def answer(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))


class Site:
    def __init__(self, app: App, server: Server) -> None:
        self.app, self.server = app, server
        self.token = ""
        self.user_id = UserId("")

    def ask(self, path: str, **options: Any) -> Client:
        return Client(self.app, self.token, path, **options)

    @property
    def turns(self) -> Any:
        return self.server.statistics["turns"]()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server whose user has the thread t1."""
    app = App(Settings(environment="testing", data_dir=str(tmp_path), simulation_key="k" * 16, drain_timeout=0.0))
    async with app.lifespan():
        server = app.build()
        await server.recovery.done.wait()
        site = Site(app, server)
        tokens = await server.accounts.simulate("k" * 16, "ann@example.org", (), "free")
        site.token, site.user_id = tokens.access_token, UserId(tokens.user_id)
        body = b'{"threadId":"t1","runId":"r1","messages":[{"id":"m1","role":"user","content":"hello"}]}'
        await finished(site.ask("/v1/agents/echo/run", method="POST", body=body).task)
        yield site


async def finished(awaitable: Awaitable[object]) -> None:
    await asyncio.wait_for(awaitable, 20)


def at_work(site: Site) -> Any:
    """The user's turn, taken by something that does not end."""
    return site.server.dispatcher._turns.turn(site.user_id)


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_that_waits_ends_when_its_client_leaves(site: Site, path: str) -> None:
    async with at_work(site):
        before = site.turns
        client = site.ask(f"/v1/threads/t1/{path}")
        await until(lambda: site.turns != before)
        client.left.set()
        await finished(client.task)
        assert client.sent == []
        assert site.turns == before
        assert len(site.server.gateway.peers) == 0


@pytest.mark.parametrize("path", PATHS)
async def test_all_heavy_calls_of_a_user_share_one_turn(site: Site, path: str) -> None:
    async with at_work(site):
        client = site.ask(f"/v1/threads/t1/{path}")
        await until(lambda: site.turns.waiting == 1)
        assert client.sent == []
    await until(lambda: client.sent)
    client.left.set()
    await finished(client.task)
    assert client.sent[0]["status"] == 200


@pytest.mark.parametrize("path", PATHS)
async def test_beyond_the_bound_a_call_is_refused(site: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_WAITING", 0)
    async with at_work(site):
        client = site.ask(f"/v1/threads/t1/{path}")
        await finished(client.task)
        assert client.sent[0]["status"] == 429
        assert (b"retry-after", b"1") in client.sent[0]["headers"]
        assert client.answer["code"] == "rate_limited"


async def test_a_command_is_carried_out_though_its_client_left(site: Site) -> None:
    client = site.ask("/v1/threads/t1", method="DELETE")
    client.left.set()
    await finished(client.task)
    gone = site.ask("/v1/threads/t1")
    await finished(gone.task)
    assert gone.sent[0]["status"] == 404
