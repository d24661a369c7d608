"""A server whose database is memory: everything works, nothing is written, and nothing outlives the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.serverprocess import ServerProcess
from tests.wsclient import connected, text_of


async def test_a_server_in_memory_serves_resumes_and_forgets(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(GOLDENPATH_DATABASE=":memory:")
    account = {"email": "ann@example.com", "password": "correct horse battery"}
    async with httpx.AsyncClient(base_url=server.url) as http:
        tokens: dict[str, Any] = (await http.post("/v1/auth/register", json=account)).json()
        assert (await http.post("/v1/auth/login", json=account)).status_code == 200
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with connected(server.ws_url, tokens["access_token"]) as client:
            events = await client.run("kept in memory", thread_id="t1", run_id="r1")
            assert text_of(events) == "kept in memory"
        async with connected(server.ws_url, tokens["access_token"]) as client:
            reply = await client.ok("attach", thread_id="t1", after={"seq": 0})
            assert (reply["gap"], reply["head"]) == (False, len(events))
            assert text_of(await client.ended("t1", "r1")) == "kept in memory"
        history = (await http.get("/v1/threads/t1/messages", headers=bearer)).json()
        assert [message["role"] for message in history["messages"]] == ["user", "assistant"]
        server.kill()
        server.start()
        assert (await http.get("/v1/threads", headers=bearer)).status_code == 401
        assert (await http.post("/v1/auth/login", json=account)).status_code == 401
        again = (await http.post("/v1/auth/register", json=account)).json()
        bearer = {"Authorization": f"Bearer {again['access_token']}"}
        assert (await http.get("/v1/threads", headers=bearer)).json()["threads"] == []
    assert server.stop() == 0
    assert not server.data_dir.exists()
