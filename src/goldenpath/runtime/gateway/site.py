"""All paths of one server as one ASGI app: the calls, the probes, the pages, the WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute, Router, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.degradation import Degradation
from goldenpath.runtime.gateway.asgi_socket import refuse_upgrade, serve_asgi_socket
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.http import HttpApi
from goldenpath.runtime.gateway.openapi import openapi
from goldenpath.runtime.gateway.pages import Pages
from goldenpath.runtime.gateway.probes import Probes
from goldenpath.runtime.gateway.request import Answer, Request, no_upgrade, problem
from goldenpath.runtime.gateway.routes import Endpoint, Route, routes
from goldenpath.runtime.gateway.upgrade import SocketPath
from goldenpath.runtime.startup import Startup
from goldenpath.wire.errors import RequestError


class Site:
    """The ASGI app of one server. `admin` are the operators' calls, `table` is everything that it answers over HTTP."""

    def __init__(
        self,
        gateway: Gateway,
        registry: CollectorRegistry,
        version: str,
        admin: Iterable[Route],
        *,
        startup: Startup,
        breakers: Breakers,
        degradation: Degradation,
    ) -> None:
        self._version = version
        api = HttpApi(gateway)
        self.table: list[Route] = [
            *routes(api),
            Route("GET", "/v1/ws", "socket", "Open a WebSocket", 101, "socket", open=_socket, upgrade=True),
            *Probes(gateway, registry, version, startup=startup, breakers=breakers, degradation=degradation).routes(),
            *admin,
            *Pages(gateway.settings).routes(),
            Route("GET", "/openapi.json", "openapi", "This document", 200, "pages", open=self._openapi),
        ]
        self.routes: list[BaseRoute] = [
            *(WebSocketRoute(path, _Socket(gateway, socket)) for path, socket in gateway.sockets.items()),
            *(
                StarletteRoute(path, _Methods(endpoints), methods=list(endpoints))
                for path, endpoints in _by_path(api, self.table).items()
            ),
        ]
        router: ASGIApp = Router(self.routes, default=_not_found, redirect_slashes=False)
        origins = gateway.settings.allowed_origins
        if origins:
            from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - only where it is asked for

            router = CORSMiddleware(
                router,
                allow_origins=list(origins),
                allow_methods=["GET", "POST", "PUT", "DELETE"],
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

    async def _openapi(self, request: Request) -> Answer:  # noqa: ARG002 - the calls' one form
        return Answer(200, self._document)

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(openapi(self.table, self._version))


def _by_path(api: HttpApi, table: list[Route]) -> dict[str, dict[str, Endpoint]]:
    """The endpoints of each path by method. A path is one route of Starlette's, which says of a wrong method what the
    right ones are."""
    found: dict[str, dict[str, Endpoint]] = {}
    for route in table:
        found.setdefault(route.path, {})[route.method] = Endpoint(api, route)
    return found


class _Methods:
    """The endpoints of one path as an ASGI app."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoints[method](scope, receive, send)


async def _socket(request: Request) -> Answer:  # noqa: ARG001 - the calls' one form
    """A plain GET of the WebSocket's path."""
    return no_upgrade()


class _Socket:
    """The WebSocket route of one path as an ASGI app."""

    def __init__(self, gateway: Gateway, path: SocketPath) -> None:
        self._gateway = gateway
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve_asgi_socket(self._gateway, self._path, scope, receive, send)


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
