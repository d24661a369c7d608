"""Feature flags of a real server, changed while clients use it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.rule import Rule
from tests.gateway.test_admin import client, operator
from tests.gateway.users import User
from tests.serverprocess import SIMULATION_KEY, ServerProcess
from tests.wsclient import text_of

OFF = {"stage": "off", "why": "a test"}


@pytest.fixture
def ops(server: ServerProcess) -> Iterator[httpx.Client]:
    """A client of an operator; afterwards all rules are gone."""
    with operator(server) as found:
        yield found
        for flag in found.get("/v1/admin/flags").json()["flags"]:
            if flag["rule"]:
                found.delete(f"/v1/admin/flags/{flag['name']}", params={"why": "cleaning up"})


def put(ops: httpx.Client, flag: str, **rule: Any) -> dict[str, Any]:
    answer = ops.put(f"/v1/admin/flags/{flag}", json={"why": "a test", **rule})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_tier_that_nobody_has_is_refused_because_it_would_shut_everybody_out(ops: httpx.Client) -> None:
    refused = ops.put("/v1/admin/flags/new_runs", json={"why": "a test", "tiers": ["free", "fre"]})
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
    assert "there is no tier 'fre'; there are free, " in refused.text
    assert (
        next(flag for flag in ops.get("/v1/admin/flags").json()["flags"] if flag["name"] == "new_runs")["rule"] is None
    )


def test_the_flags_are_listed_with_their_rules(server: ServerProcess, ops: httpx.Client) -> None:
    put(ops, "agent.echo", stage="canary", tiers=["mid"])
    listed = ops.get("/v1/admin/flags").json()
    flags = {flag["name"]: flag for flag in listed["flags"]}
    assert {"new_runs", "registration", "agent.echo", "agent.scripted", "timeouts"} <= set(flags)
    rule = flags["agent.echo"]["rule"]
    assert (rule["stage"], rule["tiers"], rule["why"]) == ("canary", ["mid"], "a test")
    assert flags["new_runs"]["rule"] is None
    assert (listed["file"], listed["problem"]) == (str(server.data_dir / "flags.toml"), None)


def test_a_change_is_saved_recorded_and_taken_back(server: ServerProcess, ops: httpx.Client) -> None:
    me = ops.get("/v1/auth/me").json()["user_id"]
    changed = put(ops, "new_runs", stage="off")
    assert (changed["changed"], changed["saved"], changed["flag"]["rule"]["by"]) == (True, True, me)
    assert put(ops, "new_runs", stage="off")["changed"] is False
    assert "new_runs" in file.read(server.data_dir / "flags.toml")
    back = ops.delete("/v1/admin/flags/new_runs", params={"why": "over"}).json()
    assert (back["changed"], back["flag"]["rule"]) == (True, None)
    last, first = ops.get("/v1/admin/actions", params={"area": "flag", "limit": 2}).json()["actions"]
    assert (first["action"], first["after"], last["action"], last["before"]) == (
        "set",
        {"stage": "off"},
        "clear",
        {"stage": "off"},
    )
    assert (last["actor"], last["why"]) == (me, "over")


@pytest.mark.parametrize(
    ("flag", "body", "code"),
    [
        ("nope", OFF, "not_found"),
        ("no pe", OFF, "bad_request"),
        ("new_runs", {"stage": "off"}, "bad_request"),
        ("new_runs", {"stage": "off", "why": " "}, "bad_request"),
        ("new_runs", {"stage": "of", "why": "x"}, "bad_request"),
        ("new_runs", {"percent": 101, "why": "x"}, "bad_request"),
        ("new_runs", {"variant": "on", "why": "x"}, "bad_request"),
        ("new_runs", {"enabled": False, "why": "x"}, "bad_request"),
        ("timeouts", {"why": "x"}, "bad_request"),
    ],
)
def test_what_cannot_be_is_refused(ops: httpx.Client, flag: str, body: dict[str, Any], code: str) -> None:
    answer = ops.put(f"/v1/admin/flags/{flag}", json=body)
    assert answer.json()["code"] == code, answer.text


async def test_new_runs_are_refused_while_those_that_run_go_on(server: ServerProcess, ops: httpx.Client) -> None:
    user = User(server)
    async with user.connect() as socket:
        running = await socket.script({"do": "say", "text": "a" * 80, "delay_ms": 50})
        put(ops, "new_runs", stage="off")
        refused = await socket.refused("run", agent="echo", text="hello")
        assert (refused["code"], refused["retryable"]) == ("overloaded", True)
        assert text_of(await socket.ended(running["thread_id"], running["run_id"])) == "a" * 80
        ops.delete("/v1/admin/flags/new_runs", params={"why": "over"})
        assert text_of(await socket.run("hello")) == "hello"
    await user.http.aclose()


async def test_an_agent_is_for_those_it_is_rolled_out_to(server: ServerProcess, ops: httpx.Client) -> None:
    put(ops, "agent.echo", stage="full", tiers=["enterprise"])
    seen = {}
    for tier in ("free", "enterprise"):
        token = server.tokens(f"{tier}@example.org", tier=tier)["access_token"]
        with client(server, token) as user:
            seen[tier] = [agent["name"] for agent in user.get("/v1/agents").json()["agents"]]
            body: dict[str, Any] = {"threadId": "t1", "runId": "r1", "messages": [], "tools": [], "context": []}
            body |= {"state": {}, "forwardedProps": {}}
            seen[f"{tier} runs"] = [str(user.post("/v1/agents/echo/run", json=body).status_code)]
    assert seen == {
        "free": ["scripted"],
        "free runs": ["404"],
        "enterprise": ["echo", "scripted"],
        "enterprise runs": ["200"],
    }


def test_registration_and_simulation_can_be_switched_off(server: ServerProcess, ops: httpx.Client) -> None:
    put(ops, "registration", stage="off")
    put(ops, "simulation", stage="off")
    with client(server, None) as anybody:
        pair = {"email": "somebody-new@example.org", "password": "correct horse battery"}
        assert anybody.post("/v1/auth/register", json=pair).json()["code"] == "forbidden"
        asked = anybody.post(
            "/v1/auth/simulate", json={"email": pair["email"]}, headers={"X-Simulation-Key": SIMULATION_KEY}
        )
        assert asked.json()["code"] == "forbidden"


def test_an_edited_file_is_in_force_within_seconds_and_one_that_is_broken_says_so(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(GOLDENPATH_FLAGS_INTERVAL="0.05")
    path = server.data_dir / "flags.toml"
    with operator(server) as ops:

        def listed() -> dict[str, Any]:
            found: dict[str, Any] = ops.get("/v1/admin/flags").json()
            return found

        def rule() -> Any:
            return next(flag["rule"] for flag in listed()["flags"] if flag["name"] == "new_runs")

        file.edit(path, lambda _: {"new_runs": Rule(stage="off", by="ann", why="disk is full")})
        wait(lambda: rule() is not None)
        path.write_text("[new_runs")
        wait(lambda: listed()["problem"])
        assert rule()["stage"] == "off"
        assert "flags_file_broken" in server.log()
        path.unlink()
        wait(lambda: rule() is None)
        assert listed()["problem"] is None
        rows = ops.get("/v1/admin/actions", params={"area": "flag"}).json()["actions"]
    assert [(row["actor"], row["action"]) for row in rows] == [("file", "clear"), ("ann", "set")]


PAGE = Path(__file__).parents[2] / "docs/howto/flags.md"


def test_the_file_of_the_page_is_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert file.decode(block) == {
        "new_runs": Rule(stage="off", why="disk is full"),
        "agent.helper": Rule(stage="canary", environments=("production",)),
    }


async def test_the_agent_of_the_page_does_as_the_flags_say(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "flagged.py").write_text(block)
    server = start_server(target="flagged:app", cwd=tmp_path)
    user = User(server)
    with operator(server) as ops:
        async with user.connect() as socket:
            assert text_of(await socket.run(agent="helper")) == "A long answer by llama3"
            put(ops, "model", variant="large")
            put(ops, "short_answers", stage="internal")
            assert text_of(await socket.run(agent="helper")) == "A long answer by gpt-5"
            put(ops, "short_answers", stage="full")
            assert text_of(await socket.run(agent="helper")) == "A short answer by gpt-5"
    await user.http.aclose()


def wait(condition: Callable[[], object]) -> None:
    """Until something is so that happens in seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
