"""The probes tell a supervisor and a load balancer what each needs to know."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from goldenpath.runtime.app import App
from goldenpath.runtime.interfaces import StoreError, ThreadKey
from goldenpath.runtime.settings import Settings
from goldenpath.wire.ids import ThreadId, UserId
from tests.runtime.runs import until


async def test_a_server_that_can_never_commit_again_is_not_alive(tmp_path: Path) -> None:
    app = App(Settings(environment="testing", data_dir=str(tmp_path), drain_timeout=0.0))
    answers: list[httpx.Response] = []
    with pytest.raises(StoreError):
        await _break_and_ask(app, answers)
    alive, *later = answers
    assert alive.status_code == 200
    assert [(answer.status_code, answer.json()["code"]) for answer in later] == [(503, "overloaded")] * 2


async def _break_and_ask(app: App, answers: list[httpx.Response]) -> None:
    no_row: Any = SimpleNamespace(run_id="r1")  # which only a fault of ours can bring about
    server = app.build()
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        await server.recovery.done.wait()
        answers.append(await client.get("/livez"))
        async with server.event_log.create(ThreadKey(UserId("ann"), ThreadId("t1"))) as log:
            server.gateway.commits.save(log, no_row)
            await until(lambda: not server.gateway.commits.healthy)
        answers += [await client.get(probe) for probe in ("/livez", "/readyz")]
