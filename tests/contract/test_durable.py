"""Nobody is told of anything before it is durable: what is said while the disk does not answer outlives a kill."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import HERE, Join
from tests.contract.history import History
from tests.contract.judge import judge
from tests.contract.witness import LOST, LinkLostError, Witness
from tests.serverprocess import ServerProcess

STATUS = {"success": "finished", "cancelled": "cancelled"}


@asynccontextmanager
async def no_commits(server: ServerProcess) -> AsyncIterator[None]:
    """Meanwhile no commit of the server returns: somebody else holds the database."""
    connection = sqlite3.connect(server.data_dir / "goldenpath.db", isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def idle(user: Witness) -> None:
    """Wait until no agent is at work."""
    async with asyncio.timeout(20):
        while (await user.get("/health")).json()["engines"]["active"]:
            pass


async def _answer(of: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await of
    except (*LOST, LinkLostError, httpx.TransportError):
        return None


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "not-killed"])
@pytest.mark.parametrize("end", ["success", "cancelled"])
async def test_an_end_is_told_when_it_is_durable_and_not_before(
    start_server: Callable[..., ServerProcess], join: Join, history: History, tmp_path: Path, end: str, killed: bool
) -> None:
    server = start_server(target="agents:app", cwd=HERE)
    user = await join(server, "waiter")
    links = [await user.connect() for _ in range(4)]
    link = links[0]
    await link.run("until-file", str(tmp_path / "go-on"), "t", "r")
    await link.saw("TEXT_MESSAGE_END", "t", "r")
    await link.run("echo", "next", "t", "next")
    await link.run("until-file", str(tmp_path / "go-on"), "u", "r")
    await link.saw("TEXT_MESSAGE_END", "u", "r")
    async with no_commits(server):
        if end == "success":
            (tmp_path / "go-on").touch()
        else:
            for thread_id in "tu":
                assert (await link.ok("cancel", thread_id=thread_id, run_id="r"))["cancelled"] == ["r"]
        await idle(user)
        asked: dict[str, Coroutine[Any, Any, Any]] = {
            "status": user.status("t", "r"),
            "thread": user.get("/v1/threads/t"),
            "messages": user.messages("t"),
            "cancel-over-http": user.post("/v1/threads/t/runs/r/cancel"),
            "cancel": links[1].call("cancel", thread_id="t", run_id="r"),
            "cancel-all": links[2].call("cancel", thread_id="u"),
            "repeat": links[3].call("run", agent="echo", text="again", thread_id="t", run_id="r"),
        }
        answers = {name: asyncio.create_task(_answer(call)) for name, call in asked.items()}
        for _ in range(20):
            await link.ok("ping")
            # What keeps nobody waiting tells what is durable.
            assert await user.status("t", "next") == "queued"
            for thread in (await user.get("/v1/threads")).json()["threads"]:
                assert thread["head"] == user.cursors[thread["thread_id"]][1]
        told = {name: answer.result() for name, answer in answers.items() if answer.done()}
        assert not told
        assert not user.runs
        if killed:
            await asyncio.to_thread(server.kill)
    results = {name: await answer for name, answer in answers.items()}
    runs = (("t", "r"), ("t", "next"), ("u", "r"))
    if killed:
        assert set(results.values()) == {None}
        await asyncio.to_thread(server.start)
        assert [await user.status(*run) for run in runs] == ["interrupted"] * 3
    else:
        assert [await link.end(*run) for run in runs] == [end, "success", end]
        assert results["status"] == STATUS[end]
        assert results["thread"].json()["runs"][0]["status"] == STATUS[end]
        assert results["cancel-over-http"].json()["status"] == STATUS[end]
        assert results["cancel"]["cancelled"] == results["cancel-all"]["cancelled"] == []
        assert results["repeat"]["status"] == STATUS[end]
    await user.audit(["t", "u"])
    judge(history).require(ended_once=3, status=3, kept=2)
