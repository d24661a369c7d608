"""Alerts of a real server: rules and receivers of a file, what operators see, and a real receiver that is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gateway.test_admin import operator
from tests.runtime.alerts.receiver import receiving
from tests.serverprocess import ServerProcess

RULES = """
[rules.somebody_is_here]
signal = "connections"
below = 1
for = 0
severity = "info"
actions = ["chat"]
summary = "Nobody is connected."

[receivers.team]
takes = ["chat"]
webhook = "{url}?key=${{CHAT_KEY}}"
"""


async def test_who_is_named_in_the_file_is_told(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    async with receiving(503) as team:
        file = tmp_path / "alerts.toml"
        file.write_text(RULES.format(url=team.url))
        server = await asyncio.to_thread(start_server, GOLDENPATH_ALERTS_FILE=str(file), CHAT_KEY="hidden-key")
        assert await team.alerts(2) == ["somebody_is_here firing"] * 2
        seen, told, journal = await asyncio.to_thread(_as_operator, server)
        assert await team.alerts(1) == ["test firing"]
        await asyncio.to_thread(server.stop)
    (alert,) = [alert for alert in seen["alerts"] if alert["name"] == "somebody_is_here"]
    assert (alert["state"], alert["value"], alert["bound"]) == ("firing", 0.0, "< 1")
    assert seen["alerts"][0] == alert
    assert [(change["alert"], change["state"]) for change in seen["history"]] == [("somebody_is_here", "firing")]
    assert seen["receivers"] == told["receivers"] == ["team"]
    assert [(row["actor"], row["action"], row["subject"]) for row in journal["actions"]] == [
        ("server", "firing", "somebody_is_here")
    ]
    assert "hidden-key" not in server.log() + json.dumps(seen)


def _as_operator(server: ServerProcess) -> tuple[Any, Any, Any]:
    with operator(server) as ops:
        seen = ops.get("/v1/admin/alerts").json()
        told = ops.post("/v1/admin/alerts/test")
        assert told.status_code == 202
        return seen, told.json(), ops.get("/v1/admin/actions", params={"area": "alert"}).json()
