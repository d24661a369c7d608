"""What `goldenpath serve` logs, and how: text for people in local, JSON elsewhere or where it is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldenpath.runtime.settings import NO_WAY_IN
from tests.gateway.users import User
from tests.serverprocess import ServerProcess

Launch = Callable[..., ServerProcess]

AGENTS = """
import time

from goldenpath import App, Run

app = App()


@app.agent("fails")
async def fails(run: Run) -> None:
    password = "of the user"
    raise ZeroDivisionError("mine")


@app.agent("blocks")
async def blocks(run: Run) -> None:
    time.sleep(2)


@app.agent("hangs")
async def hangs(run: Run) -> None:
    time.sleep(60)
"""


async def log_of(server: ServerProcess, agent: str, word: str) -> list[str]:
    """Run `agent`; the lines of the log when one of them has `word`."""
    user = User(server)
    async with user.connect() as socket:
        await socket.run("go", agent=agent)
    await user.http.aclose()
    async with asyncio.timeout(20):
        while word not in server.log():
            await asyncio.sleep(0.01)
    return server.log().splitlines()


@pytest.fixture
def serve(start_server: Launch, tmp_path: Path) -> Launch:
    """Starts a server with the agents of this page."""
    (tmp_path / "agents.py").write_text(AGENTS)
    return lambda **env: start_server(target="agents:app", cwd=tmp_path, **env)


@pytest.mark.parametrize("env", [{"ENVIRONMENT": "local"}, {"GOLDENPATH_LOG_FORMAT": "console"}])
async def test_people_read_a_traceback_whose_last_frames_are_the_agents(serve: Launch, env: dict[str, str]) -> None:
    lines = await log_of(serve(**env), "fails", "ZeroDivisionError: mine")
    begin = lines.index("Traceback (most recent call last):")
    assert "agent_failed" in lines[begin - 1]
    frames = [line for line in lines[begin:] if line.startswith("  File ")]
    assert len(frames) == 1
    assert "agents.py" in frames[0]
    assert lines[-1] == "ZeroDivisionError: mine"
    assert "of the user" not in "".join(lines).replace('password = "of the user"', "")


@pytest.mark.parametrize("env", [{}, {"ENVIRONMENT": "local", "GOLDENPATH_LOG_FORMAT": "json"}])
async def test_machines_read_json(serve: Launch, env: dict[str, str]) -> None:
    lines = await log_of(serve(**env), "fails", "ZeroDivisionError: mine")
    (failed,) = [line for line in map(json.loads, lines) if line["event"] == "agent_failed"]
    assert failed["exception"].splitlines()[-1] == "ZeroDivisionError: mine"
    assert failed["exception"].count("  File ") == 1


async def test_an_agent_that_blocks_the_loop_leaves_one_warning_with_how_long(serve: Launch) -> None:
    lines: list[Any] = [json.loads(line) for line in await log_of(serve(), "blocks", '"agent": "blocks"')]
    (told,) = [line for line in lines if line["event"] == "event_loop_stood_still" and line["agent"] is not None]
    assert told["level"] == "warning"
    assert told["longest_seconds"] >= 0.9
    assert told["agent"] == "blocks"
    assert told["place"].endswith("agents.py:17 in blocks")
    assert "run.in_thread" in told["advice"]


async def test_a_stall_that_may_not_end_is_told_of_before_it_does(serve: Launch) -> None:
    server = serve()
    user = User(server)
    async with user.connect() as socket:
        await socket.send({"id": 1, "op": "run", "agent": "hangs", "text": "go"})
        async with asyncio.timeout(20):
            while "event_loop_stands_still" not in server.log():
                await asyncio.sleep(0.05)
        (told,) = [line for line in map(json.loads, server.log().splitlines()) if "stands_still" in line["event"]]
        assert (told["agent"], told["place"].endswith("agents.py:22 in hangs")) == ("hangs", True)
        assert told["seconds"] >= 5
        server.kill()
    await user.http.aclose()


@pytest.mark.parametrize("registration", ["true", "false"])
async def test_a_server_that_nobody_new_can_log_in_to_says_so_at_its_start(
    start_server: Launch, registration: str
) -> None:
    production = {"ENVIRONMENT": "production", "GOLDENPATH_SECRET": "x" * 32, "GOLDENPATH_REGISTRATION": registration}
    server = start_server(**production)
    told = [line["why"] for line in map(json.loads, filter(_is_json, server.log().splitlines()))]
    assert told == ([NO_WAY_IN] if registration == "false" else [])


def _is_json(line: str) -> bool:
    return line.startswith("{")
