"""All paths of one server as one ASGI app: the calls, the probes, the pages, the WebSocket."""

from __future__ import annotations

import mimetypes
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from goldenpath.runtime.gateway.asgi_socket import refuse_upgrade, serve_asgi_socket
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.http import HttpApi
from goldenpath.runtime.gateway.openapi import openapi
from goldenpath.runtime.gateway.probes import Probes
from goldenpath.runtime.gateway.request import Answer, problem
from goldenpath.runtime.gateway.routes import routes, starlette_routes
from goldenpath.wire.errors import RequestError

_POLICY: Final = (
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
PAGE_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


class Site:
    """The ASGI app of one server."""

    def __init__(self, gateway: Gateway, registry: CollectorRegistry, version: str) -> None:
        self._gateway = gateway
        self._version = version
        self._api = HttpApi(gateway)
        probes = Probes(gateway, registry, version)
        self.routes: list[BaseRoute] = [
            *starlette_routes(self._api),
            WebSocketRoute("/v1/ws", _Socket(gateway)),
            Route("/openapi.json", _Plain(self._openapi), methods=["GET"]),
            Route("/livez", _Plain(probes.livez), methods=["GET"]),
            Route("/readyz", _Plain(probes.readyz), methods=["GET"]),
            Route("/health", _Plain(probes.health), methods=["GET"]),
            Route("/metrics", _Plain(probes.metrics), methods=["GET"]),
            Route("/", _Plain(self._chat), methods=["GET"]),
            Route("/assets/{path:path}", _Plain(self._asset), methods=["GET"]),
        ]
        router: ASGIApp = Router(self.routes, default=_not_found, redirect_slashes=False)
        origins = gateway.settings.allowed_origins
        if origins:
            from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - only where it is asked for

            router = CORSMiddleware(
                router,
                allow_origins=list(origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["authorization", "content-type", "last-event-id"],
            )
        self._app = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # In another app Starlette's router leaves its errors to that one's handlers; ours are problem documents.
        scope = {name: value for name, value in scope.items() if name != "app"}
        if scope["type"] == "http":
            await self._app(scope, receive, _refuse_methods(scope, send))
        else:
            await self._app(scope, receive, send)

    async def _openapi(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await Answer(200, self._document).send(send)

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(openapi(routes(self._api), self._version))

    # --- pages --------------------------------------------------------------------------------------------------------

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await _file(self._pages / "chat.html").send(send)

    async def _asset(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        path = scope["path_params"]["path"]
        await self._assets.get(path, problem(RequestError("not_found", "there is no such file"))).send(send)

    @cached_property
    def _pages(self) -> Traversable:
        return files("goldenpath.runtime.gateway") / "pages"

    @cached_property
    def _assets(self) -> dict[str, Answer]:
        """Every file of the pages, in memory: a path is looked up, never opened."""
        return dict(_walk(self._pages, ""))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Answer]]:
    found: list[tuple[str, Answer]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, _file(entry)))
    return found


def _file(entry: Traversable) -> Answer:
    kind = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return Answer(200, entry.read_bytes(), kind.encode(), PAGE_HEADERS)


class _Plain:
    """An ASGI app that Starlette does not take for a request function."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Socket:
    """The WebSocket route as an ASGI app."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve_asgi_socket(self._gateway, scope, receive, send)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    if scope["type"] == "websocket":
        await refuse_upgrade(scope, send, RequestError("not_found", "there is no WebSocket at this path"))
        return
    await problem(RequestError("not_found", "there is nothing at this path")).send(send)


def _refuse_methods(scope: Scope, send: Send) -> Send:
    """Starlette answers a wrong method in plain text; ours is a problem document like every other error."""
    replaced = False

    async def checked(message: Any) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start" and message["status"] == 405:
            replaced = True
            allow = tuple((name, value) for name, value in message["headers"] if name == b"allow")
            error = RequestError("bad_request", f"{scope['method']} is not possible here")
            await problem(error, status=405, headers=allow).send(send)
            return
        await send(message)

    return checked
