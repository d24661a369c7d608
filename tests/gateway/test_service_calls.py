"""What operators see and decide of breakers and degradation, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.test_admin import client, operator
from tests.serverprocess import ServerProcess

WRITES = "/v1/admin/breakers/database:write"
WHY = {"why": "a test"}


def log_in(server: ServerProcess, email: str) -> Any:
    """Register: something that has to write."""
    with client(server, None) as anybody:
        return anybody.post("/v1/auth/register", json={"email": email, "password": "correct horse battery"})


def run(server: ServerProcess, tier: str) -> Any:
    """Ask for a run as a user of a tier; the answer."""
    token = server.tokens(f"{tier}@example.org", tier=tier)["access_token"]
    body = {"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "user", "content": "hello"}]}
    with client(server, token) as user:
        return user.post("/v1/agents/echo/run", json=body)


def test_an_operator_opens_and_closes_a_breaker(start_server: Any) -> None:
    server = start_server()
    with operator(server) as ops:
        found = ops.get("/v1/admin/breakers").json()
        (view,) = (view for view in found["dependencies"] if view["dependency"] == "database:write")
        assert {check["what"]: check["verdict"] for check in found["checks"]}["database"] == "ok"
        assert (view["breaker"]["state"], view["breaker"]["forced"], view["tenants"]) == ("closed", None, 0)
        assert ops.post(WRITES, json={"decision": "open", **WHY}).json()["forced"] == "open"
        refused = log_in(server, "ann@example.org")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 5
        assert ops.post(WRITES, json={"decision": "automatic", **WHY}).json()["forced"] is None
        assert log_in(server, "ann@example.org").status_code == 201
        actions = ops.get("/v1/admin/actions", params={"area": "breaker"}).json()["actions"]
    assert [(row["subject"], row["before"], row["after"]) for row in actions] == [
        ("database:write", "open", "automatic"),
        ("database:write", "automatic", "open"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/admin/breakers/model:nowhere", {"decision": "open", **WHY}, 404),
        (WRITES, {"decision": "open", "tenant": "nobody", **WHY}, 404),
        (WRITES, {"decision": "ajar", **WHY}, 400),
        (WRITES, {"decision": "open", "why": " "}, 400),
        ("/v1/admin/degradation", {"level": "worse", **WHY}, 400),
        ("/v1/admin/degradation", {"level": "refuse", "why": ""}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(server: ServerProcess, path: str, body: Any, status: int) -> None:
    with operator(server) as ops:
        assert ops.post(path, json=body).status_code == status
        assert ops.get("/v1/admin/degradation").json()["level"] == "normal"


def test_an_operator_sheds_tiers_and_what_runs_goes_on(server: ServerProcess) -> None:
    with operator(server) as ops:
        view = ops.post("/v1/admin/degradation", json={"level": "shed_low", **WHY}).json()
        assert (view["level"], view["forced"], view["refused_tiers"]) == ("shed_low", True, ["free"])
        refused = run(server, "free")
        assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (503, "overloaded", True)
        assert refused.headers["Retry-After"] == "5"
        assert run(server, "mid").status_code == 200
        ops.post("/v1/admin/degradation", json={"level": "refuse", **WHY})
        assert run(server, "mid").status_code == 200  # it is known: nothing new is asked for
        assert run(server, "enterprise").status_code == 503
        assert "goldenpath_degradation_level 3.0" in ops.get("/metrics").text
        ops.post("/v1/admin/degradation", json={"level": "automatic", **WHY})
        assert run(server, "free").status_code == 200
        (latest,) = ops.get("/v1/admin/actions", params={"area": "degradation", "limit": 1}).json()["actions"]
    assert (latest["before"], latest["after"], latest["why"]) == ("refuse", "automatic", "a test")
