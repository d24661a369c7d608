"""Operators flip every flag, roll time-outs and flags back and forth, open and close breakers and shed tiers, while the
lab streams: by the lab's checkers no event is lost, and no connection dropped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import HERE, assert_sound
from tests.gateway.test_admin import operator
from tests.serverprocess import SIMULATION_KEY, ServerProcess

WHY = {"why": "a test"}
REFUSALS = {"overloaded", "unknown_agent", "upstream_unavailable"}
"""What users may be told of kill switches and levels, of the agent's flag, and of breakers. Nothing else goes wrong."""
LEVELS = ("success=0", "sustained-errors=1", "worst-served=1000")
"""That runs are refused is what operators want here; every other level holds, and every check."""


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data", target="slow_echo:app", cwd=HERE).start()
    yield server
    assert server.stop() == 0, server.log()
    assert_sound(server)


def steps(ops: httpx.Client) -> Iterator[None]:
    """Everything that an operator can do to a running server, and back: one thing at a time."""
    flags = ops.get("/v1/admin/flags").json()["flags"]
    assert len(flags) > 7
    for flag in flags:
        for rule in rules_of(flag):
            changed = done(ops.put(f"/v1/admin/flags/{flag['name']}", json={**rule, **WHY}))
            assert (changed["changed"], changed["saved"]) == (True, True)
            yield
        done(ops.delete(f"/v1/admin/flags/{flag['name']}", params=WHY))
        yield
    rolled = done(ops.post("/v1/admin/rollback", json={"level": "timeouts", **WHY}))
    assert (rolled["in_effect"], rolled["timeouts"]["agent_execution"]) == (["timeouts"], 30.0)
    yield
    rolled = done(ops.post("/v1/admin/rollback", json={"level": "flags", **WHY}))
    assert rolled["in_effect"] == ["flags", "timeouts"]
    yield
    for level in ("flags", "timeouts"):
        assert done(ops.post("/v1/admin/rollback/undo", json=WHY))["level"] == level
        yield
    for dependency in ("database:write", "database:read"):
        for decision in ("open", "closed", "automatic"):
            done(ops.post(f"/v1/admin/breakers/{dependency}", json={"decision": decision, **WHY}))
            yield
    for level in ("shed_low", "shed_most", "refuse", "normal", "automatic"):
        done(ops.post("/v1/admin/degradation", json={"level": level, **WHY}))
        yield


def rules_of(flag: dict[str, Any]) -> Iterator[dict[str, Any]]:
    variants = [None] if flag["variants"] is None else [each for each in flag["variants"] if each != flag["default"]]
    for variant in variants:
        for stage in ("off", "canary", "staged", "full"):
            yield {"stage": stage} if variant is None else {"stage": stage, "variant": variant}


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def test_operators_change_everything_while_the_lab_streams(
    streaming: ServerProcess, tmp_path: Path, long_run: bool
) -> None:
    users, rate, duration = (100, 150, 60) if long_run else (24, 40, 12)
    out = tmp_path / "lab"
    command = [sys.executable, "-m", "goldenpath.cli", "lab", "run", "sustained", "--target", streaming.url]
    command += ["--users", str(users), "--rate", str(rate), "--duration", str(duration), "--out", str(out)]
    command += [part for level in LEVELS for part in ("--level", level)]
    env = {**streaming.environ(), "GOLDENPATH_SIMULATION_KEY": SIMULATION_KEY}
    rounds = 0
    with operator(streaming) as ops, subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as lab:
        try:
            while ops.get("/health").json()["connections"]["connected"] < users:
                assert lab.poll() is None
            while lab.poll() is None:
                for _ in steps(ops):
                    try:
                        lab.wait(0.05)
                        break
                    except subprocess.TimeoutExpired:
                        continue
                else:
                    rounds += 1
            said, _ = lab.communicate()
        finally:
            lab.kill()
        sockets = ops.get("/health").json()["connections"]
    assert lab.returncode == 0, said
    assert rounds > 0
    report = json.loads((out / "performance_report.json").read_text())
    (scenario,) = report["scenarios"]
    assert (report["verdict"], scenario["verdict"], scenario["violations"]) == ("pass", "pass", [])
    assert scenario["events"] > 100 * users
    # Nobody had to connect again, or was refused: each user's one connection lasted from the begin to the end.
    assert scenario["outcomes"]["connect"] == {"ok": users}
    assert sockets["accepted"] == sockets["peak"] == users
    asked = scenario["outcomes"]["ask"]
    # The switches bit: which of them met somebody's question depends on how fast this machine asks and switches.
    assert {"ok"} < set(asked) <= {"ok", *REFUSALS}
    assert asked["ok"] > sum(asked.values()) / 2
