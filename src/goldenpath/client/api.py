"""The HTTP calls. Each raises `RequestError` for what the server refuses, `ConnectionLost` when it does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from goldenpath.client.errors import ConnectionLost, ProtocolViolation
from goldenpath.client.tokens import TokenKeeper
from goldenpath.clock import Clock
from goldenpath.wire.answers import AgentInfo, Agents, Ends, Me, Messages, RunInfo, ThreadInfo, Threads, Tokens
from goldenpath.wire.commands import Cursor
from goldenpath.wire.errors import Problem, RequestError
from goldenpath.wire.messages import Message, decode_message

T = TypeVar("T")


class History(msgspec.Struct, frozen=True):
    """A thread's messages, complete up to `cursor`: attaching after it continues without loss or repeat."""

    thread_id: str
    cursor: Cursor
    messages: list[Message]


class Api:
    """The calls of one server for one user. Calls may run concurrently, and cancelling one is safe.

    `http` is shared and not closed where it is given; without it each call has 30 s for every step (connect, send,
    receive). An access token that has run out is renewed, and the call repeated once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        random: Random,
        http: httpx.AsyncClient | None = None,
        email: str | None = None,
        password: str | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._own_http = http is None
        self._http = httpx.AsyncClient(timeout=30.0) if http is None else http

        async def log_in() -> Tokens:
            return await self._tokens("/v1/auth/login", {"email": email, "password": password})

        self.tokens = TokenKeeper(clock, random, self._renew, log_in if email is not None else None)

    async def aclose(self) -> None:
        """Stop; calls that are running fail."""
        await self.tokens.aclose()
        if self._own_http:
            await self._http.aclose()

    # --- accounts -----------------------------------------------------------------------------------------------

    async def register(self, email: str, password: str) -> Tokens:
        """Make an account and use it from now on. `conflict` when the e-mail is taken."""
        return self._adopted(await self._tokens("/v1/auth/register", {"email": email, "password": password}))

    async def login(self, email: str, password: str) -> Tokens:
        """Log in and use this user from now on. `unauthorized` for any wrong pair, `rate_limited` after many."""
        return self._adopted(await self._tokens("/v1/auth/login", {"email": email, "password": password}))

    async def simulate(
        self, email: str, key: str, *, permissions: Sequence[str] | None = None, tier: str | None = None
    ) -> Tokens:
        """Be a simulated user, for tests; `key` is the server's simulation key."""
        body: dict[str, Any] = {"email": email}
        claims = {"permissions": None if permissions is None else list(permissions), "tier": tier}
        body.update({name: value for name, value in claims.items() if value is not None})
        return self._adopted(await self._tokens("/v1/auth/simulate", body, {"X-Simulation-Key": key}))

    async def refresh(self) -> None:
        """Renew the tokens now. Rarely needed: it happens by itself in time."""
        await self.tokens.renew(self.tokens.access)

    async def logout(self) -> None:
        """End this login: its tokens and sockets, everywhere."""
        await self._call("POST", "/v1/auth/logout")
        self.tokens.forget()

    async def me(self) -> Me:
        """Who the user is, and what the user may do."""
        return await self._get("/v1/auth/me", Me)

    # --- agents, threads, runs ----------------------------------------------------------------------------------

    async def agents(self) -> list[AgentInfo]:
        """The agents that this user may run."""
        return (await self._get("/v1/agents", Agents)).agents

    async def threads(self, *, limit: int | None = None, cursor: str | None = None) -> Threads:
        """A page of the user's threads, the latest first; `cursor` is the page before's `next_cursor`."""
        query = {"limit": limit, "cursor": cursor}
        return await self._get(
            "/v1/threads", Threads, {name: value for name, value in query.items() if value is not None}
        )

    async def thread(self, thread_id: str) -> ThreadInfo:
        """One thread: its epoch, its head and its latest runs. `not_found` where there is none of the user's."""
        return await self._get(_path("threads", thread_id), ThreadInfo)

    async def messages(self, thread_id: str) -> History:
        """The thread's history."""
        found = await self._get(_path("threads", thread_id, "messages"), Messages)
        return History(
            found.thread_id,
            Cursor(seq=found.seq, epoch=found.epoch),
            [decode_message(message) for message in found.messages],
        )

    async def ends(self, thread_id: str) -> Ends:
        """How those of the thread's runs ended that did not just finish, as far as their events are held. The terminal
        events are JSON: `goldenpath.wire.events.decode_event` reads one."""
        return await self._get(_path("threads", thread_id, "ends"), Ends)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete the thread and cancel its runs. Who follows it is detached."""
        await self._call("DELETE", _path("threads", thread_id))

    async def run_status(self, thread_id: str, run_id: str) -> RunInfo:
        """One run: its status, its times, its error."""
        return await self._get(_path("threads", thread_id, "runs", run_id), RunInfo)

    async def cancel_run(self, thread_id: str, run_id: str) -> RunInfo:
        """Ask for the run's end; harmless when it has ended. Its terminal event follows."""
        answer = await self._call("POST", _path("threads", thread_id, "runs", run_id, "cancel"))
        return _decoded(answer, RunInfo)

    # --- how calls are made -------------------------------------------------------------------------------------

    def _adopted(self, tokens: Tokens) -> Tokens:
        self.tokens.adopt(tokens)
        return tokens

    async def _renew(self, refresh_token: str) -> Tokens:
        return await self._tokens("/v1/auth/refresh", {"refresh_token": refresh_token})

    async def _tokens(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Tokens:
        return _decoded(await self._send("POST", path, body=body, headers=headers or {}), Tokens)

    async def _get(self, path: str, shape: type[T], query: dict[str, Any] | None = None) -> T:
        return _decoded(await self._call("GET", path, query), shape)

    async def _call(self, method: str, path: str, query: dict[str, Any] | None = None) -> httpx.Response:
        token = await self.tokens.valid()
        try:
            return await self._send(method, path, query=query, headers=_bearer(token))
        except RequestError as error:
            if error.code != "unauthorized" or not self.tokens.can_renew:
                raise
        await self.tokens.renew(token)
        return await self._send(method, path, query=query, headers=_bearer(await self.tokens.valid()))

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, f"{self._base}{path}", params=query, json=body, headers=headers)
        except (httpx.HTTPError, OSError) as error:
            never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            raise ConnectionLost(f"{method} {path}: {error or type(error).__name__}", definite=never_sent) from error
        if answer.is_success:
            return answer
        raise refusal(answer.status_code, answer.content)


def refusal(status: int, body: bytes) -> RequestError:
    """The error that an HTTP answer tells of: its problem document, or one made from the status where a proxy on the
    way answered."""
    try:
        return msgspec.json.decode(body, type=Problem).error()
    except (msgspec.DecodeError, UnicodeError):
        if status == 401:
            return RequestError("unauthorized", "HTTP 401")
        if status == 429:
            return RequestError("rate_limited", "HTTP 429")
        if status >= 500:
            return RequestError("overloaded" if status == 503 else "internal", f"HTTP {status}")
        return RequestError("bad_request", f"HTTP {status}")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _decoded(answer: httpx.Response, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProtocolViolation(f"{answer.request.method} {answer.request.url.path}: {error}") from None
