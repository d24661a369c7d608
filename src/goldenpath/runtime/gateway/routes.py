"""The table of HTTP routes: the app, the OpenAPI document and the isolation tests are all made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from starlette.types import Receive, Scope, Send

from goldenpath.runtime.context import Principal, check_permission
from goldenpath.runtime.gateway.faults import told
from goldenpath.runtime.gateway.http import HttpApi
from goldenpath.runtime.gateway.request import MAX_INTEGER, Answer, ClientGoneError, Request, problem
from goldenpath.wire import answers
from goldenpath.wire.errors import ErrorName
from goldenpath.wire.ids import EPOCH_PATTERN, POSITION_PATTERN
from goldenpath.wire.messages import RunAgentInput

OpenCall = Callable[[Request], Awaitable[Answer]]
OwnCall = Callable[[Request, Principal], Awaitable[Answer]]
StreamCall = Callable[[Request, Principal, Send], Awaitable[None]]


class Parameter(msgspec.Struct, frozen=True):
    """A query or header parameter, as the OpenAPI document shows it."""

    name: str
    place: Literal["query", "header"]
    schema: dict[str, Any]
    description: str


class Route(msgspec.Struct, frozen=True):
    """One call. Exactly one of `open`, `own` and `stream` carries it out: without a principal, with one, as SSE.

    `errors` are those of its own; `all_errors` adds those that come with a token, a body, or the server's faults.
    """

    method: str
    path: str
    name: str
    summary: str
    status: int
    tag: str
    errors: tuple[ErrorName, ...] = ()
    body: type | None = None
    answer: type | None = None
    open: OpenCall | None = None
    own: OwnCall | None = None
    stream: StreamCall | None = None
    parameters: tuple[Parameter, ...] = ()
    media_type: str = "application/json"
    """Of a complete answer."""
    permission: str | None = None
    """What a principal needs beside a token; None: nothing. Whoever lacks it gets `forbidden`."""
    upgrade: bool = False
    """Whether it is for upgrades, which another protocol answers; a plain request is a 426."""

    @property
    def needs_token(self) -> bool:
        return self.open is None

    @property
    def all_errors(self) -> tuple[ErrorName, ...]:
        with_token: tuple[ErrorName, ...] = ()
        if self.needs_token:
            with_token = ("unauthorized", "upstream_unavailable", "rate_limited", "timeout")
        with_permission: tuple[ErrorName, ...] = ("forbidden",) if self.permission else ()
        with_body: tuple[ErrorName, ...] = ("bad_request", "payload_too_large", "timeout") if self.body else ()
        faults: tuple[ErrorName, ...] = ("overloaded", "internal")
        return tuple(dict.fromkeys((*with_token, *with_permission, *with_body, *self.errors, *faults)))


_SEQ = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}


def _string(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


def routes(api: HttpApi) -> list[Route]:
    """Every call of `api`."""
    return [
        Route(
            "POST", "/v1/auth/register", "register", "Create a user and log in", 201, "auth",
            errors=("forbidden", "conflict", "rate_limited"), body=answers.Credentials, answer=answers.Tokens,
            open=api.register,
        ),
        Route(
            "POST", "/v1/auth/login", "login", "Log in with e-mail and password", 200, "auth",
            errors=("unauthorized", "rate_limited"), body=answers.Credentials, answer=answers.Tokens, open=api.login,
        ),
        Route(
            "POST", "/v1/auth/refresh", "refresh", "Exchange a refresh token for new tokens", 200, "auth",
            errors=("unauthorized",), body=answers.RefreshRequest, answer=answers.Tokens, open=api.refresh,
        ),
        Route(
            "POST", "/v1/auth/simulate", "simulate", "Log in as a simulated user, never in production", 200, "auth",
            errors=("unauthorized", "forbidden", "not_configured", "rate_limited"),
            body=answers.SimulateRequest, answer=answers.Tokens, open=api.simulate,
            parameters=(Parameter("X-Simulation-Key", "header", {"type": "string"}, "The simulation key."),),
        ),
        Route("POST", "/v1/auth/logout", "logout", "End this session", 204, "auth", own=api.logout),
        Route("GET", "/v1/auth/me", "me", "Who I am", 200, "auth", answer=answers.Me, own=api.me),
        Route(
            "GET", "/v1/agents", "agents", "The agents I may run", 200, "agents",
            answer=answers.Agents, own=api.agents,
        ),
        Route(
            "POST", "/v1/agents/{agent}/run", "run_agent", "Run an agent; AG-UI events of this run over SSE", 200,
            "agents",
            errors=(
                "unknown_agent", "not_found", "conflict", "quota_exceeded", "queue_full", "draining",
            ),
            body=RunAgentInput, stream=api.run_agent,
        ),
        Route(
            "GET", "/v1/threads", "threads", "My threads, newest first", 200, "threads",
            errors=("bad_request",), answer=answers.Threads, own=api.threads,
            parameters=(
                Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, "How many at most."),
                Parameter("cursor", "query", {"type": "string"}, "next_cursor of the page before."),
            ),
        ),
        Route(
            "GET", "/v1/threads/{thread_id}", "thread", "One thread", 200, "threads",
            errors=("bad_request", "not_found"), answer=answers.ThreadInfo, own=api.thread,
        ),
        Route(
            "DELETE", "/v1/threads/{thread_id}", "delete_thread", "Delete a thread", 204, "threads",
            errors=("bad_request", "not_found"), own=api.delete_thread,
        ),
        Route(
            "GET", "/v1/threads/{thread_id}/messages", "messages", "The history", 200, "threads",
            errors=("bad_request", "not_found"), answer=answers.Messages, own=api.messages,
        ),
        Route(
            "GET", "/v1/threads/{thread_id}/ends", "ends", "How its runs ended, where they did not just finish", 200,
            "threads", errors=("bad_request", "not_found"), answer=answers.Ends, own=api.ends,
        ),
        Route(
            "GET", "/v1/threads/{thread_id}/events", "events", "The log after a cursor, then live, over SSE", 200,
            "threads", errors=("bad_request", "not_found", "draining"), stream=api.events,
            parameters=(
                Parameter("after", "query", _SEQ, "The last seq that was seen."),
                Parameter("epoch", "query", _string(EPOCH_PATTERN), "Its epoch."),
                Parameter("Last-Event-ID", "header", _string(POSITION_PATTERN), "EPOCH.SEQ; wins over the query."),
            ),
        ),
        Route(
            "GET", "/v1/threads/{thread_id}/runs/{run_id}", "run", "One run", 200, "threads",
            errors=("bad_request", "not_found"), answer=answers.RunInfo, own=api.run,
        ),
        Route(
            "POST", "/v1/threads/{thread_id}/runs/{run_id}/cancel", "cancel", "Cancel a run", 202, "threads",
            errors=("bad_request", "not_found"), answer=answers.RunInfo, own=api.cancel,
        ),
    ]  # fmt: skip


class Endpoint:
    """A route as an ASGI app: authentication, errors as problem documents, and no traceback for anybody."""

    def __init__(self, api: HttpApi, route: Route) -> None:
        self._api = api
        self.route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, self._api.patience)
        started = False

        async def watched_send(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            given = await self._answer(request, watched_send)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is: told and, where it is ours, logged
            given = problem(told(error, "request_failed", route=self.route.name))
        finally:
            request.close()
        if given is not None and not started:
            await given.send(send)

    async def _answer(self, request: Request, send: Send) -> Answer | None:
        route = self.route
        if route.open is not None:
            return await route.open(request)
        principal = await self._api.principal(request)
        if route.permission is not None:  # who holds it may always act
            if not principal.may(route.permission):
                self._api.count(principal)
            check_permission(principal, route.permission)
        elif route.body is None:  # one with a body is counted by its size, once that is known
            self._api.count(principal)
        if route.own is not None and route.body is None:
            async with self._api.in_time():
                return await route.own(request, principal)
        if route.own is not None:  # its body has a time of its own
            return await route.own(request, principal)
        assert route.stream is not None
        await route.stream(request, principal, send)
        return None
