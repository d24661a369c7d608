"""The commands for operators, against a real server: by its calls, and by the file in its data folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from goldenpath.runtime.flags import file
from goldenpath.runtime.flags.rule import Rule
from tests.serverprocess import SIMULATION_KEY, ServerProcess

OPS = "ops@example.org"
PASSWORD = "correct horse battery"


def run(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A command as an operator types it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")}
    return subprocess.run(
        [sys.executable, "-m", "goldenpath.cli", *arguments],
        env={**clean, "COLUMNS": "200", **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ok(*arguments: str, stdin: str = "", **environ: str) -> str:
    done = run(*arguments, stdin=stdin, **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def by(server: ServerProcess) -> dict[str, str]:
    """The environment of an operator at the server's machine."""
    token = ok("operator", "token", "--as", "ann", "--data-dir", str(server.data_dir)).strip()
    return {"GOLDENPATH_TOKEN": token, "GOLDENPATH_URL": server.url}


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


# --- by the calls -----------------------------------------------------------------------------------------------------


def test_whoever_has_the_servers_secret_is_its_first_operator(
    server: ServerProcess, by: dict[str, str], start_server: Callable[..., ServerProcess]
) -> None:
    me = httpx.get(f"{server.url}/v1/auth/me", headers={"Authorization": f"Bearer {by['GOLDENPATH_TOKEN']}"}).json()
    assert (me["user_id"], me["permissions"]) == ("cli_ann", ["operator"])
    made = ok("operator", "add", OPS, stdin=f"{PASSWORD}\n", **by)
    assert OPS in made
    login = httpx.post(f"{server.url}/v1/auth/login", json={"email": OPS, "password": PASSWORD})
    assert login.json()["user_id"] in made
    other = start_server()  # another server has another secret
    refused = run("flags", "list", **{**by, "GOLDENPATH_URL": other.url})
    assert (refused.returncode, "unauthorized" in refused.stderr) == (1, True)


def test_a_flag_is_set_seen_and_cleared(by: dict[str, str]) -> None:
    ok("flags", "set", "agent.echo", "--stage", "canary", "--tier", "mid", "--why", "try it", **by)
    listed = ok("flags", "list", **by)
    (line,) = [line for line in listed.splitlines() if line.startswith("agent.echo ")]
    assert line.split(maxsplit=1)[1] == "canary, tiers mid (cli_ann: try it)"
    assert any(line.startswith("new_runs ") and "default true" in line for line in listed.splitlines())
    found = json.loads(ok("flags", "list", "--json", **by))
    assert next(flag for flag in found["flags"] if flag["name"] == "agent.echo")["rule"]["tiers"] == ["mid"]
    ok("flags", "clear", "agent.echo", "--why", "enough", **by)
    (last, first) = json.loads(ok("operator", "actions", "--area", "flag", "--limit", "2", "--json", **by))["actions"]
    assert [(row["actor"], row["action"], row["why"]) for row in (first, last)] == [
        ("cli_ann", "set", "try it"),
        ("cli_ann", "clear", "enough"),
    ]
    assert "flag: clear agent.echo" in ok("operator", "actions", **by)


def test_time_outs_are_rolled_back_and_that_is_undone(by: dict[str, str]) -> None:
    before = json.loads(ok("rollback", "status", "--json", **by))
    assert (before["in_effect"], before["timeouts"]["factory"]) == ([], 10.0)
    rolled = ok("rollback", "timeouts", "--why", "too slow", **by)
    assert "rolled back: timeouts" in rolled
    assert "factory 30 s, websocket_recv 35 s, agent_execution 30 s" in rolled
    ok("rollback", "flags", "--why", "still too slow", **by)
    assert "rolled back: flags, timeouts" in ok("rollback", "status", **by)
    undone = ok("rollback", "undo", "--why", "it was the network", **by)
    assert "undone: flags" in undone
    assert "rolled back: timeouts\n" in undone
    assert "undone: timeouts" in ok("rollback", "undo", "--why", "it was the network", **by)
    nothing = run("rollback", "undo", "--why", "once more", **by)
    assert (nothing.returncode, "not_found" in nothing.stderr) == (1, True)
    assert json.loads(ok("rollback", "status", "--json", **by))["timeouts"] == before["timeouts"]
    history = ok("rollback", "history", **by).splitlines()
    (first,) = [
        number for number, line in enumerate(history) if line.endswith("  cli_ann  rollback: roll back timeouts")
    ]
    assert history[first + 1 :][:3] == [
        "       why: too slow",
        '       before: {"timeouts":null}',
        '       after: {"timeouts":{"variant":"rolled_back"}}',
    ]


def test_without_a_hook_the_code_is_not_rolled_back(by: dict[str, str]) -> None:
    refused = run("rollback", "code", "--why", "it is the code", **by)
    assert (refused.returncode, "GOLDENPATH_DEPLOY_HOOK" in refused.stderr) == (1, True)


def test_the_hook_is_called_and_its_end_is_in_the_history(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    script = tmp_path / "deploy.sh"
    script.write_text('#!/bin/sh\nread facts\necho "deploying: $facts"\n')
    script.chmod(0o755)
    server = start_server(GOLDENPATH_DEPLOY_HOOK=str(script))
    token = ok("operator", "token", "--data-dir", str(server.data_dir)).strip()
    by = {"GOLDENPATH_TOKEN": token, "GOLDENPATH_URL": server.url}
    assert "deploy hook: " in ok("rollback", "code", "--why", "it is the code", **by)

    def ended() -> list[dict[str, Any]]:
        rows = json.loads(ok("rollback", "history", "--json", **by))["actions"]
        return [row["after"] for row in rows if row["action"] == "hook ended"]

    wait(ended)
    (after,) = ended()
    assert (after["ok"], after["ended"]) == (True, "exit code 0")
    assert '"why":"it is the code"' in after["output"]


def test_an_incident_rolls_back(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    token = ok("operator", "token", "--data-dir", str(server.data_dir)).strip()
    by = {"GOLDENPATH_TOKEN": token, "GOLDENPATH_URL": server.url}
    assert "rolled back: nothing" in ok("rollback", "incident", "P3", "--why", "a small one", **by)
    told = ok("rollback", "incident", "P1", "--why", "nobody can connect", **by)
    assert "rolled back: flags" in told
    assert "by itself: yes, but not for " in told


# --- by the file ------------------------------------------------------------------------------------------------------


def test_a_kill_switch_works_without_a_log_in_within_seconds(server: ServerProcess, by: dict[str, str]) -> None:
    here = ("--data-dir", str(server.data_dir))
    headers = {"X-Simulation-Key": SIMULATION_KEY}

    def simulate() -> int:
        body = {"email": "user@example.org"}
        return httpx.post(f"{server.url}/v1/auth/simulate", json=body, headers=headers).status_code

    began = time.monotonic()
    ok("flags", "set", "simulation", "--stage", "off", "--why", "it leaks", *here)
    wait(lambda: simulate() == 403)
    assert time.monotonic() - began < 10  # a switch takes 10 s at most
    assert "simulation" in ok("flags", "list", *here)
    ok("flags", "clear", "simulation", "--why", "it does not", *here)
    wait(lambda: simulate() == 200)
    (_, first) = json.loads(ok("operator", "actions", "--area", "flag", "--limit", "2", "--json", **by))["actions"]
    assert (first["subject"], first["why"]) == ("simulation", "it leaks")


def test_time_outs_are_rolled_back_without_a_log_in_within_seconds(server: ServerProcess, by: dict[str, str]) -> None:
    here = ("--data-dir", str(server.data_dir))

    def status() -> Any:
        headers = {"Authorization": f"Bearer {by['GOLDENPATH_TOKEN']}"}
        return httpx.get(f"{server.url}/v1/admin/rollback", headers=headers).json()

    began = time.monotonic()
    ok("rollback", "timeouts", "--why", "too slow", *here)
    wait(lambda: status()["in_effect"] == ["timeouts"])
    assert time.monotonic() - began < 30  # a roll-back of the time-outs takes 30 s at most
    assert status()["timeouts"] == {"factory": 30.0, "websocket_recv": 35.0, "agent_execution": 30.0}
    ok("rollback", "flags", "--why", "still too slow", *here)
    wait(lambda: status()["in_effect"] == ["flags", "timeouts"])
    ok("rollback", "undo", "--why", "over", *here)
    wait(lambda: status()["in_effect"] == [])


def test_what_a_person_wrote_into_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    file.edit(path, lambda _: {"feature": Rule(stage="canary"), "out": Rule(), "other": Rule(stage="off")})
    ok("rollback", "flags", "--why", "too slow", "--data-dir", str(tmp_path))
    rules = file.read(path)
    assert {name: rule.stage for name, rule in rules.items()} == {
        "feature": "off",
        "out": "full",
        "other": "off",
        "disable_timeout_optimizations": "full",
        "force_legacy_timeouts": "full",
    }
    ok("rollback", "undo", "--why", "over", "--data-dir", str(tmp_path))
    assert set(file.read(path)) == {"feature", "out", "other"}


# --- what is wrong is one line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("flags", "set", "new_runs", "--why", "x", "--data-dir", "{tmp}/none"), 1, "there is no folder"),
        (("flags", "set", "new_runs", "--why", " ", "--data-dir", "{tmp}"), 1, "why"),
        (("flags", "set", "new_runs", "--stage", "of", "--why", "x", "--data-dir", "{tmp}"), 1, "'of'"),
        (("flags", "set", "new_runs", "--percent", "101", "--why", "x", "--data-dir", "{tmp}"), 1, "0 to 100"),
        (
            ("flags", "set", "new_runs", "--tier", "fre", "--why", "x", "--data-dir", "{tmp}"),
            1,
            "there is no tier 'fre'; there are free, ",
        ),
        (("flags", "set", "timeouts", "--why", "x", "--data-dir", "{tmp}"), 1, "configured, rolled_back"),
        (("flags", "list", "--url", "http://127.0.0.1:9"), 2, "operator token"),
        (("flags", "list", "--url", "http://127.0.0.1:9", "--token", "x"), 1, "127.0.0.1:9"),
        (("rollback", "status"), 2, "--url"),
        (("operator", "token", "--data-dir", "{tmp}/none"), 1, "GOLDENPATH_SECRET"),
        (("operator", "token", "--as", "a b", "--data-dir", "{tmp}"), 1, "--as"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = run(*(each.replace("{tmp}", str(tmp_path)) for each in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_a_server_starts_beside_the_variables_of_the_commands(
    start_server: Callable[..., ServerProcess],
) -> None:
    assert start_server(GOLDENPATH_URL="http://127.0.0.1:9", GOLDENPATH_TOKEN="x").port
