"""What a session asked for before it ended does not begin after it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec

from goldenpath.runtime.app import App
from goldenpath.runtime.settings import Settings
from tests.gateway.users import run_input

CREDENTIALS = {"email": "ann@example.org", "password": "correct horse"}


async def test_a_run_whose_body_ends_after_the_logout_is_none() -> None:
    app = App(Settings(environment="testing", database=":memory:"))
    body = msgspec.json.encode(run_input("t1", "r1"))
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        tokens = (await client.post("/v1/auth/register", json=CREDENTIALS)).json()
        token = {"Authorization": f"Bearer {tokens['access_token']}"}

        async def coming() -> AsyncIterator[bytes]:
            yield body[:10]  # asked for once it is known who asks
            assert (await client.post("/v1/auth/logout", headers=token)).status_code == 204
            yield body[10:]

        answer = await client.post("/v1/agents/echo/run", content=coming(), headers=token)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        tokens = (await client.post("/v1/auth/login", json=CREDENTIALS)).json()
        token = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await client.get("/v1/threads", headers=token)).json()["threads"] == []
