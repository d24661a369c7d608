"""The OpenAPI 3.1 document, made from the route table and the types that the code itself decodes and encodes."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import msgspec

from goldenpath.runtime.gateway.routes import Route
from goldenpath.wire.errors import ERRORS, Problem
from goldenpath.wire.ids import NAME_PATTERN, POSITION_PATTERN
from goldenpath.wire.messages import PROTOCOL_VERSION_PATTERN

_TEMPLATE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)(:path)?}")
_NAME = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
_VERSION = {"type": "string", "pattern": f"^{PROTOCOL_VERSION_PATTERN}$"}
_MESSAGE = {
    "type": "object",
    "description": "One message of the stream.",
    "properties": {
        "id": {"type": "string", "pattern": f"^{POSITION_PATTERN}$", "description": "EPOCH.SEQ of the event."},
        "event": {"type": "string", "description": "`gap` before the snapshot of a gap."},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "An AG-UI event."},
    },
    "required": ["data"],
}


def openapi(routes: list[Route], version: str) -> dict[str, Any]:
    """The document for `routes`."""
    types: list[Any] = [Problem]
    for route in routes:
        types += [kind for kind in (route.body, route.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        paths[_PARAMETER.sub(r"{\1}", route.path)][route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Goldenpath",
            "version": version,
            "description": "AI agents for many users. The WebSocket at /v1/ws is described in docs/protocol.md.",
        },
        "paths": dict(paths),
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, by_type: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route, by_type),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"} if any_path else _NAME}
        for name, any_path in _PARAMETER.findall(route.path)
    ]
    parameters += [
        {"name": given.name, "in": given.place, "schema": given.schema, "description": given.description}
        for given in route.parameters
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema: dict[str, Any] = by_type[route.body]
        if route.stream is not None:  # over HTTP the ids of a run are the client's to choose
            named = {
                "properties": {"threadId": _NAME, "runId": _NAME, "protocolVersion": _VERSION},
                "required": ["threadId", "runId"],
            }
            schema = {"allOf": [schema, named]}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.permission is not None:
        operation["description"] = f"Needs the permission `{route.permission}`."
    if route.needs_token:
        operation["security"] = [{"bearer": []}]
    return operation


def _responses(route: Route, by_type: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.summary}
    if route.stream is not None:
        good["content"] = {"text/event-stream": {"schema": _MESSAGE}}
    elif route.answer is not None:
        good["content"] = {route.media_type: {"schema": by_type[route.answer]}}
    elif route.status == 200:
        good["content"] = {route.media_type: {}}
    responses: dict[str, Any] = {str(route.status): good}
    problem = {"application/problem+json": {"schema": by_type[Problem]}}
    if route.upgrade:
        responses["426"] = {"description": "This is no upgrade.", "content": problem}
    codes: dict[int, list[str]] = defaultdict(list)
    for name in route.all_errors:
        codes[ERRORS[name].status].append(name)
    for status, names in sorted(codes.items()):
        responses[str(status)] = {
            "description": "; ".join(f"`{name}`: {ERRORS[name].meaning}" for name in names),
            "content": problem,
        }
    return responses
