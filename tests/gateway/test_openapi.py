"""The OpenAPI document says what the server does: schemathesis tries every operation of it against a real one."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from starlette.routing import Route, WebSocketRoute

from goldenpath import __version__
from goldenpath.runtime.app import App
from goldenpath.runtime.gateway.openapi import openapi
from goldenpath.runtime.server import Server
from goldenpath.runtime.settings import Settings
from tests.gateway.users import run_input
from tests.serverprocess import SIMULATION_KEY, ServerProcess


def accepting(operation: str, *statuses: str) -> dict[str, Any]:
    """What a request that keeps the schema may be answered with."""
    return {"include-name": operation, "checks": {"positive_data_acceptance": {"expected-statuses": list(statuses)}}}


CONFIG = {
    "seed": 1,
    "generation": {"deterministic": True, "max-examples": 20},
    "request-timeout": 20,
    "operations": [
        # What no schema says: a password is measured in bytes, a page's cursor is one that the server gave, `epoch`
        # needs `after`. A plain request for a WebSocket is none.
        accepting("POST /v1/auth/register", "201", "400", "409"),
        accepting("GET /v1/threads", "200", "400", "401"),
        accepting("GET /v1/threads/{thread_id}/events", "400", "401", "404"),
        accepting("GET /v1/ws", "426"),
    ],
}


def build(data_dir: str) -> Server:
    return App(Settings(environment="testing", data_dir=data_dir)).build()


with TemporaryDirectory() as _folder:
    DOCUMENT = openapi(build(_folder).site.table, __version__)
described = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG))
_users = itertools.count(1)


def authorization(server: ServerProcess) -> dict[str, str]:
    """The headers of a new user, of whom nothing exists."""
    token = server.tokens(f"openapi-{next(_users)}@example.org")["access_token"]
    return {"Authorization": f"Bearer {token}", "X-Simulation-Key": SIMULATION_KEY}


@described.parametrize()
def test_every_answer_is_one_that_the_document_promises(case: Case[Any], server: ServerProcess) -> None:
    case.call_and_validate(base_url=server.url, headers=authorization(server))


@described.parametrize()
def test_every_answer_without_a_token_too(case: Case[Any], server: ServerProcess) -> None:
    case.call_and_validate(base_url=server.url)


EXISTING = [
    ("GET", "/v1/threads/{thread_id}", 200),
    ("GET", "/v1/threads/{thread_id}/messages", 200),
    ("GET", "/v1/threads/{thread_id}/ends", 200),
    ("GET", "/v1/threads/{thread_id}/runs/{run_id}", 200),
    ("POST", "/v1/threads/{thread_id}/runs/{run_id}/cancel", 202),
    ("GET", "/v1/threads", 200),
    ("DELETE", "/v1/threads/{thread_id}", 204),
]


def test_what_exists_is_answered_as_the_document_says(server: ServerProcess) -> None:
    headers = authorization(server)
    run = described["/v1/agents/{agent}/run"]["POST"].Case(
        path_parameters={"agent": "echo"}, body=run_input("t1", "r1"), media_type="application/json"
    )
    assert run.call_and_validate(base_url=server.url, headers=headers).status_code == 200
    with httpx.stream("GET", f"{server.url}/v1/threads/t1/events", headers=headers) as events:
        assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream")
    tried = {("POST", "/v1/agents/{agent}/run"), ("GET", "/v1/threads/{thread_id}/events")}
    for method, path, status in EXISTING:
        parameters = {name: value for name, value in (("thread_id", "t1"), ("run_id", "r1")) if f"{{{name}}}" in path}
        answer = described[path][method].Case(path_parameters=parameters).call(base_url=server.url, headers=headers)
        assert answer.status_code == status, answer.text
        described[path][method].validate_response(answer)
        tried.add((method, path))
    assert {(method, path) for method, path in operations() if path.startswith(("/v1/threads", "/v1/agents/"))} == tried


def operations() -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}


def test_the_app_routes_what_the_document_describes_and_nothing_else(tmp_path: Path) -> None:
    routed: set[tuple[str, str]] = set()
    for route in build(str(tmp_path)).site.routes:
        assert isinstance(route, Route | WebSocketRoute)
        methods = {"GET"} if isinstance(route, WebSocketRoute) else (route.methods or set()) - {"HEAD"}
        routed |= {(method, route.path.replace(":path}", "}")) for method in methods}
    assert routed == operations()


def test_the_document_is_valid_openapi_3_1() -> None:
    described.validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    broken = copy.deepcopy(DOCUMENT)
    del broken["paths"]["/livez"]["get"]["responses"]["200"]["description"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(broken).validate()


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names) == len(operations())


def test_the_server_serves_the_document(server: ServerProcess) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json() == DOCUMENT
