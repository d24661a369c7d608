"""The operators' calls of a real server: who may make them, and the journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.test_openapi import DOCUMENT, described
from tests.serverprocess import ServerProcess

ADMIN = [
    (method, path)
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path.startswith("/v1/admin/")
]  # fmt: skip
OPS = "ops@example.org"
PASSWORD = "correct horse battery"


def client(server: ServerProcess, token: str | None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=20, trust_env=False)


def operator(server: ServerProcess, email: str = "operator@example.org") -> httpx.Client:
    """A client of a simulated operator."""
    return client(server, server.tokens(email, permissions=["operator"])["access_token"])


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_only_operators_may(server: ServerProcess, method: str, path: str) -> None:
    where = path.replace("{", "").replace("}", "")
    with client(server, None) as nobody:
        assert nobody.request(method, where).status_code == 401
    with client(server, server.tokens("user@example.org", permissions=["admin"])["access_token"]) as user:
        answer = user.request(method, where, content=b"not even JSON")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_an_operator_makes_accounts_and_the_journal_says_so(server: ServerProcess) -> None:
    with operator(server) as ops:
        made = ops.post("/v1/admin/accounts", json={"email": "New@Example.org ", "password": PASSWORD})
        assert made.status_code == 201
        account = made.json()
        assert account["email"] == "new@example.org"
        twice = ops.post("/v1/admin/accounts", json={"email": "new@example.org", "password": PASSWORD})
        assert twice.json()["code"] == "conflict"
        found = ops.get("/v1/admin/actions", params={"area": "account", "limit": 1}).json()["actions"][0]
        me = ops.get("/v1/auth/me").json()
    expected = {"actor": me["user_id"], "area": "account", "action": "create", "subject": account["user_id"]}
    assert expected.items() <= found.items()
    with client(server, None) as anybody:
        login = anybody.post("/v1/auth/login", json={"email": "new@example.org", "password": PASSWORD})
    assert login.json()["user_id"] == account["user_id"]


def test_the_journal_is_read_page_by_page(server: ServerProcess) -> None:
    with operator(server) as ops:
        for number in range(3):
            body = {"email": f"page-{number}@example.org", "password": PASSWORD}
            assert ops.post("/v1/admin/accounts", json=body).status_code == 201
        whole = ops.get("/v1/admin/actions", params={"limit": 3}).json()["actions"]
        paged, cursor = [], dict[str, str]()
        for _ in range(3):
            page = ops.get("/v1/admin/actions", params={"limit": 1, **cursor}).json()
            paged += page["actions"]
            cursor = {"cursor": page["next_cursor"]}
        assert [row["number"] for row in paged] == sorted((row["number"] for row in whole), reverse=True)
        assert ops.get("/v1/admin/actions", params={"limit": 0}).json()["code"] == "bad_request"


def test_an_account_of_the_list_is_an_operator_and_nobody_can_register_it(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(GOLDENPATH_OPERATORS=json.dumps([OPS]), GOLDENPATH_ACCESS_TOKEN_TTL="600")
    pair = {"email": OPS, "password": PASSWORD}
    with client(server, None) as anybody:
        squatter = anybody.post("/v1/auth/register", json={**pair, "email": " OPS@example.org"})
        assert (squatter.status_code, squatter.json()["code"]) == (409, "conflict")
    with operator(server) as first:
        assert first.post("/v1/admin/accounts", json=pair).status_code == 201
    with client(server, None) as anybody:
        tokens = anybody.post("/v1/auth/login", json=pair).json()
    with client(server, tokens["access_token"]) as ops:
        assert ops.get("/v1/auth/me").json()["permissions"] == ["operator"]
        assert ops.get("/v1/admin/actions").status_code == 200
    simulated = server.tokens(OPS)  # of the same e-mail, but not the account
    with client(server, simulated["access_token"]) as other:
        assert other.get("/v1/admin/actions").status_code == 403
    assert server.stop() == 0

    later = ServerProcess(server.data_dir, GOLDENPATH_OPERATORS="[]").start()
    try:
        with client(later, None) as anybody:
            renewed = anybody.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).json()
        with client(later, renewed["access_token"]) as former:
            assert former.get("/v1/admin/actions").status_code == 403
        with operator(later) as ops:
            assert [row["area"] for row in ops.get("/v1/admin/actions").json()["actions"]] == ["account"]
    finally:
        later.kill()


WHY = {"why": "a test"}
CALLS: list[tuple[str, str, dict[str, str], dict[str, str], int]] = [
    ("GET", "/v1/admin/actions", {}, {}, 200),
    ("GET", "/v1/admin/flags", {}, {}, 200),
    ("PUT", "/v1/admin/flags/{flag}", {"flag": "agent.echo"}, {"stage": "canary", **WHY}, 200),
    ("GET", "/v1/admin/flags", {}, {}, 200),
    ("POST", "/v1/admin/rollback", {}, {"level": "flags", **WHY}, 202),
    ("GET", "/v1/admin/rollback", {}, {}, 200),
    ("GET", "/v1/admin/rollback/history", {}, {}, 200),
    ("POST", "/v1/admin/rollback/undo", {}, WHY, 200),
    ("POST", "/v1/admin/incidents", {}, {"severity": "P3", **WHY}, 202),
    ("POST", "/v1/admin/accounts", {}, {"email": "doc@example.org", "password": PASSWORD}, 201),
    ("GET", "/v1/admin/actions", {}, {}, 200),
]


def test_the_answers_to_operators_are_those_of_the_document(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    token = server.tokens("operator@example.org", permissions=["operator"])["access_token"]
    for method, path, parameters, body, status in CALLS:
        given: dict[str, Any] = {"body": body, "media_type": "application/json"} if body else {}
        case = described[path][method].Case(path_parameters=parameters, **given)
        answer = case.call(base_url=server.url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text
        described[path][method].validate_response(answer)
