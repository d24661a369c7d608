"""Roll-backs of a real server: what runs keeps its deadlines, and what a start that never got ready calls for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldenpath.runtime.flags import file
from goldenpath.runtime.rollback.cold_starts import FAILURES
from tests.gateway.test_admin import operator
from tests.gateway.users import User
from tests.runtime.alerts.receiver import receiving
from tests.serverprocess import ServerProcess
from tests.wsclient import text_of

SHORT = {
    "GOLDENPATH_AGENT_EXECUTION_TIMEOUT": "1",
    "GOLDENPATH_TOOL_TIMEOUT": "0.8",
    "GOLDENPATH_MODEL_CONNECT_TIMEOUT": "0.5",
}

SOONER = """
[rules.agent_timeout_spike]
min_samples = 3
for = 0

[receivers.on-call]
takes = ["page"]
webhook = "{url}"

[receivers.team]
takes = ["chat"]
webhook = "{team}"
"""
"""Alerts as they ship, but for fewer runs than 50 and less than a minute."""


@pytest.mark.parametrize("environment", ["local", "testing", "staging"])
async def test_rolled_back_time_outs_are_those_of_new_work_and_what_runs_keeps_its_own(
    environment: str, start_server: Callable[..., ServerProcess]
) -> None:
    secret = {"GOLDENPATH_SECRET": "s" * 32, "GOLDENPATH_BUILTIN_AGENTS": "true"}
    server = start_server(ENVIRONMENT=environment, **SHORT, **secret)
    user = User(server)
    slow = ({"do": "sleep", "ms": 2_000}, {"do": "say", "text": "done"})
    with operator(server) as ops:
        async with user.connect() as socket:
            before = await socket.script(*slow, thread_id="before", run_id="r")
            await socket.event("RUN_STARTED", "before")
            rolled = ops.post("/v1/admin/rollback", json={"level": "timeouts", "why": "too short"}).json()
            assert rolled["timeouts"] == {"factory": 30.0, "websocket_recv": 35.0, "agent_execution": 30.0}
            after = await socket.script(*slow, thread_id="after", run_id="r")
            (*_, ended) = await socket.ended(before["thread_id"], "r")
            assert (ended["event"]["type"], ended["event"]["code"]) == ("RUN_ERROR", "timeout")
            assert text_of(await socket.ended(after["thread_id"], "r")) == "done"
            undone = ops.post("/v1/admin/rollback/undo", json={"why": "over"}).json()
            assert (undone["level"], undone["restored"]) == ("timeouts", ["timeouts"])
            await socket.script(*slow, thread_id="later", run_id="r")
            (*_, late) = await socket.ended("later", "r")
            assert late["event"]["code"] == "timeout"
    await user.http.aclose()


async def test_runs_that_time_out_are_taken_back_by_the_server_itself(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """Somebody set a time-out that is too short: an alert fires, somebody is called, what was set is taken back,
    and that it was is told too."""
    async with receiving() as on_call, receiving() as team:
        rules = tmp_path / "alerts.toml"
        rules.write_text(SOONER.format(url=on_call.url, team=team.url))
        server = await asyncio.to_thread(start_server, GOLDENPATH_ALERTS_FILE=str(rules), **SHORT)
        user = User(server)
        slow = ({"do": "sleep", "ms": 2_000}, {"do": "say", "text": "done"})
        async with user.connect() as socket:
            for number in range(3):
                await socket.script(*slow, thread_id=f"t{number}", run_id="r")
            for number in range(3):
                assert (await socket.ended(f"t{number}", "r"))[-1]["event"]["code"] == "timeout"
            assert await on_call.alerts(1) == ["agent_timeout_spike firing"]
            row = await asyncio.to_thread(_last_rollback, server)
            assert (row["actor"], row["subject"]) == ("server", "flags")
            assert row["why"] == "agent_timeout_rate > 0.03"
            assert await team.alerts(1) == ["rolled_back firing"]
            await socket.script(*slow, thread_id="after", run_id="r")
            assert text_of(await socket.ended("after", "r")) == "done"
        await user.http.aclose()
        await asyncio.to_thread(server.stop)


def _last_rollback(server: ServerProcess) -> dict[str, Any]:
    with operator(server) as ops:
        deadline = time.monotonic() + 20
        while not (rows := ops.get("/v1/admin/rollback/history").json()["actions"]):
            assert time.monotonic() < deadline
        return dict(rows[0])


def test_starts_that_never_got_ready_roll_back_before_anything_is_tried(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server()
    assert server.stop() == 0
    marks = server.data_dir / "starts.json"
    assert json.loads(marks.read_bytes()) == []
    marks.write_text(json.dumps([time.time() - number for number in range(FAILURES)]))
    server.start()
    with operator(server) as ops:
        status: dict[str, Any] = ops.get("/v1/admin/rollback").json()
        (row,) = ops.get("/v1/admin/rollback/history").json()["actions"]
    assert (status["in_effect"], status["triggers"]) == (["flags"], {})
    assert (row["actor"], row["why"]) == ("server", "3 starts in a row did not get ready")
    assert json.loads(marks.read_bytes()) == []
    assert {"disable_timeout_optimizations", "force_legacy_timeouts"} <= set(file.read(server.data_dir / "flags.toml"))


def test_a_roll_back_outlives_the_process(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    with operator(server) as ops:
        ops.post("/v1/admin/rollback", json={"level": "timeouts", "why": "too short"})
    server.kill()
    server.start()
    with operator(server) as ops:
        status = ops.get("/v1/admin/rollback").json()
        assert (status["in_effect"], status["timeouts"]["agent_execution"]) == (["timeouts"], 30.0)
        assert ops.post("/v1/admin/rollback/undo", json={"why": "over"}).json()["level"] == "timeouts"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("rollback", {"level": "flags"}, "bad_request"),
        ("rollback", {"level": "everything", "why": "x"}, "bad_request"),
        ("rollback", {"level": "code", "why": "x"}, "not_configured"),
        ("rollback/undo", {"why": ""}, "bad_request"),
        ("rollback/undo", {"why": "x"}, "not_found"),
        ("incidents", {"severity": "P9", "why": "x"}, "bad_request"),
    ],
)
def test_what_cannot_be_is_refused(server: ServerProcess, path: str, body: dict[str, Any], code: str) -> None:
    with operator(server) as ops:
        assert ops.post(f"/v1/admin/{path}", json=body).json()["code"] == code
