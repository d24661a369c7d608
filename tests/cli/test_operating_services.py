"""The commands for operators that look at alerts, breakers and degradation, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_operating import ok, run
from tests.runtime.alerts.receiver import receiving
from tests.serverprocess import ServerProcess


def operator_of(server: ServerProcess) -> dict[str, str]:
    token = ok("operator", "token", "--as", "ann", "--data-dir", str(server.data_dir)).strip()
    return {"GOLDENPATH_TOKEN": token, "GOLDENPATH_URL": server.url}


@pytest.fixture(scope="module")
def by(server: ServerProcess) -> dict[str, str]:
    """The environment of an operator at the server's machine."""
    return operator_of(server)


async def test_whoever_is_told_of_alerts_can_be_tried(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    async with receiving() as on_call:
        file = tmp_path / "alerts.toml"
        file.write_text(f'[receivers.on-call]\ntakes = ["page"]\nwebhook = "{on_call.url}"\n')
        server = await asyncio.to_thread(start_server, GOLDENPATH_ALERTS_FILE=str(file))
        by = await asyncio.to_thread(operator_of, server)
        told = await asyncio.to_thread(lambda: ok("alerts", "test", **by))
        assert told == "on-call: reached; 0 waiting, 1 delivered, 0 failed, 0 given up\n"
        assert await on_call.alerts(1) == ["test firing"]
        shown = await asyncio.to_thread(lambda: ok("alerts", "show", **by))
        await asyncio.to_thread(server.stop)
    assert "who is told: on-call (page): reached; 0 waiting, 1 delivered, 0 failed, 0 given up\n" in shown


async def test_who_cannot_be_reached_is_named_with_the_reason_and_the_exit_code_says_so(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    async with receiving() as on_call, receiving(*[500] * 20) as team:
        file = tmp_path / "alerts.toml"
        file.write_text(
            f'[receivers.on-call]\ntakes = ["page"]\nwebhook = "{on_call.url}"\n'
            f'[receivers.team]\ntakes = ["chat"]\nwebhook = "{team.url}"\n'
        )
        server = await asyncio.to_thread(start_server, GOLDENPATH_ALERTS_FILE=str(file))
        by = await asyncio.to_thread(operator_of, server)
        done = await asyncio.to_thread(lambda: run("alerts", "test", **by))
        await asyncio.to_thread(server.stop)
    on_call_line, team_line = done.stdout.splitlines()
    assert on_call_line.startswith("on-call: reached;")
    assert team_line.startswith("team: not reached: it answers 500; 1 waiting, 0 delivered, ")
    assert done.returncode == 1


def test_a_test_that_nobody_is_told_of_says_so(by: dict[str, str]) -> None:
    done = run("alerts", "test", **by)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "goldenpath: nobody is told: name receivers in GOLDENPATH_ALERTS_FILE\n"


def test_alerts_are_shown_and_that_nobody_is_told(by: dict[str, str]) -> None:
    shown = ok("alerts", "show", **by)
    (line,) = [line for line in shown.splitlines() if "websocket_timeout_regression" in line]
    assert all(word in line for word in ("inactive", "connect_avg_ms", "> 10000", "page"))
    assert "who is told: nobody: name receivers in GOLDENPATH_ALERTS_FILE" in shown
    assert {alert["state"] for alert in json.loads(ok("alerts", "show", "--json", **by))["alerts"]} == {"inactive"}


def test_into_a_pipe_no_name_is_broken(by: dict[str, str]) -> None:
    shown = ok("alerts", "show", **by, COLUMNS="")
    (line,) = [line for line in shown.splitlines() if "websocket_timeout_regression" in line]
    assert all(word in line for word in ("connect_avg_ms", "not measured"))


def test_a_breaker_is_opened_and_left_to_itself_again(server: ServerProcess, by: dict[str, str]) -> None:
    server.tokens("user@example.org")  # something that writes
    listed = ok("breakers", "list", **by)
    assert all(word in listed for word in ("database:write", "closed", "signing key")), listed
    opened = ok("breakers", "set", "database:write", "open", "--why", "it is moved", **by)
    assert opened == "database:write: open by an operator\n"
    assert "open by an operator" in ok("breakers", "list", **by)
    account = {"email": "new@example.org", "password": "correct horse battery"}
    assert httpx.post(f"{server.url}/v1/auth/register", json=account).status_code == 503
    left = ok("breakers", "set", "database:write", "automatic", "--why", "it is there", **by)
    assert left == "database:write: closed\n"
    (action, _) = actions(by, "breaker")
    assert (action["actor"], action["before"], action["after"]) == ("cli_ann", "open", "automatic")


SEARCHING = """
from goldenpath import App, Run

app = App()


@app.agent("searching")
async def searching(run: Run) -> None:
    with run.dependency("search:eu/west 1?#%2F", what="the search"):
        await run.text("found")
"""


def test_a_breaker_is_found_by_its_name_whatever_an_agent_calls_it(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    (tmp_path / "searching.py").write_text(SEARCHING)
    server = start_server(target="searching:app", cwd=tmp_path)
    token = server.tokens("user@example.org")["access_token"]
    body = {"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "user", "content": "hello"}]}
    url = f"{server.url}/v1/agents/searching/run"
    assert "found" in httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"}).text
    name, by = "search:eu/west 1?#%2F", operator_of(server)
    assert ok("breakers", "set", name, "open", "--why", "it is moved", **by) == f"{name}: open by an operator\n"
    assert actions(by, "breaker")[0]["subject"] == name


def test_tiers_are_shed_and_taken_again(by: dict[str, str]) -> None:
    shed = ok("degradation", "set", "shed_low", "--why", "the new model is slow", **by)
    assert "level: shed_low" in shed
    assert "decided by: an operator" in shed
    assert "refused: free" in ok("degradation", "show", **by)
    assert "level: normal" in ok("degradation", "set", "automatic", "--why", "it is fast again", **by)
    (_, action) = actions(by, "degradation")
    assert (action["after"], action["why"]) == ("shed_low", "the new model is slow")


def actions(by: dict[str, str], area: str) -> list[dict[str, Any]]:
    """The last two."""
    found = json.loads(ok("operator", "actions", "--area", area, "--limit", "2", "--json", **by))
    rows: list[dict[str, Any]] = found["actions"]
    return rows


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("breakers", "set", "model:nowhere", "open", "--why", "x"), "nothing of this name"),
        (("breakers", "set", "database:write", "ajar", "--why", "x"), "ajar"),
        (("degradation", "set", "worse", "--why", "x"), "worse"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(by: dict[str, str], arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments, **by)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert told in done.stderr


def test_who_has_no_right_any_more_is_told_how_to_get_it(by: dict[str, str]) -> None:
    done = run("alerts", "show", **{**by, "GOLDENPATH_TOKEN": "old"})
    assert done.returncode == 1
    assert "`goldenpath operator token` makes a new one" in done.stderr
