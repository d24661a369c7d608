"""A goldenpath server: HTTP for logging in and reading, one WebSocket for each viewer (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from goldenpath.lab.frames import UNREADABLE
from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.sockets import SocketClient
from goldenpath.lab.targets.web import Web, beginning, quoted, raise_for_status

_SECRET: Final = "known to every user of the lab"  # noqa: S105
_ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("login", "refresh", "connect", "resume", "cancel", "history", "threads", "intrude", "trespass")
)
_UPGRADE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_TRESPASSES: Final[dict[str, dict[str, str]]] = {
    "no token": {},
    "a made-up token": {"Authorization": "Bearer bWFkZQ.bWFkZQ.dXA"},
}
_UNAUTHORIZED: Final = 401
_CONFLICT: Final = 409


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach it."""

    url: str
    simulation_key: str = ""
    """With it users are simulated OAuth users; without, they register."""
    agent: str = "echo"


class _Tokens(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class GoldenpathTarget:
    """One server, or whatever stands before several."""

    format = "goldenpath"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.format_options: Mapping[str, Any] = {}
        self.abilities: frozenset[Ability] = _ABILITIES | ({"echo"} if options.agent == "echo" else set())
        self.web = Web(options.url)
        self.websocket_url = "ws" + self.web.url.removeprefix("http") + "/v1/ws"
        self.tokens: dict[int, str] = {}
        """Of the users who are logged in."""
        self.good_for: dict[int, float | None] = {}
        """How many seconds each of them is."""

    async def open(self) -> None:
        status, body = await self.web.reach("/readyz")
        if status != 200:
            raise TargetError("refused", f"{self.web.name}/readyz answers {status}: {quoted(body)}")

    def client(self, user: int, viewer: int, sink: Sink) -> GoldenpathClient:
        return GoldenpathClient(self, user, viewer, sink)

    async def login(self, user: int, op: int, sink: Sink) -> None:
        """Log a user in, registering them where they are not known yet."""
        email = f"lab-{user}@example.com"
        overhear = partial(sink.overheard, user)
        if self.options.simulation_key:
            headers = {"X-Simulation-Key": self.options.simulation_key}
            status, body = await self.web.request(
                "POST", "/v1/auth/simulate", json={"email": email}, headers=headers, overhear=overhear
            )
        else:
            account = {"email": email, "password": _SECRET}
            status, body = await self.web.request("POST", "/v1/auth/login", json=account, overhear=overhear)
            if status == _UNAUTHORIZED:
                status, body = await self.web.request("POST", "/v1/auth/register", json=account, overhear=overhear)
                if status == _CONFLICT:
                    raise TargetError("refused", f"{email} exists with another password")
        if status >= 300:
            sink.answered(user, op, status, body)
        raise_for_status(status, body)
        try:
            tokens = msgspec.json.decode(body, type=_Tokens)
        except UNREADABLE as error:
            raise TargetError("garbage", f"the answer to the login is no goldenpath server's: {error}") from None
        self.tokens[user] = tokens.access_token
        self.good_for[user] = tokens.expires_in
        overhear("the answer to the login", _without_tokens(body))
        sink.answered(
            user, op, status, msgspec.json.encode({"expires_in": tokens.expires_in})
        )  # no tokens in a history

    def authorization(self, user: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.get(user, '')}"}

    async def close(self) -> None:
        await self.web.close()


class GoldenpathClient(SocketClient):
    """One viewer: a WebSocket, and HTTP with the user's token."""

    def __init__(self, target: GoldenpathTarget, user: int, viewer: int, sink: Sink) -> None:
        super().__init__(user, viewer, sink)
        self.target = target
        self._overhear = partial(sink.overheard, user)

    async def login(self, op: Invoke) -> None:
        await self.target.login(self.user, op.op, self.sink)

    @property
    def good_for(self) -> float | None:
        return self.target.good_for.get(self.user)

    async def refresh(self, op: Invoke) -> None:
        self.send({"id": op.op, "op": "refresh", "token": self.target.tokens.get(self.user, "")})

    async def connect(self) -> None:
        await self.open(self.target.websocket_url, self.target.authorization(self.user))

    def ask(self, op: Invoke) -> None:
        agent = self.target.options.agent
        self.send({"id": op.op, "op": "run", "agent": agent, "thread_id": op.thread, "run_id": op.run, "text": op.text})

    async def attach(self, op: Invoke) -> None:
        command: dict[str, Any] = {"id": op.op, "op": "attach", "thread_id": op.thread}
        if op.after is not None:
            command["after"] = {"epoch": op.epoch, "seq": op.after}
        self.send(command)

    async def cancel(self, op: Invoke) -> None:
        self.send({"id": op.op, "op": "cancel", "thread_id": op.thread, "run_id": op.run})

    async def history(self, op: Invoke) -> None:
        await self._get(op, f"/v1/threads/{op.thread}/messages")

    async def threads(self, op: Invoke) -> None:
        await self._get(op, "/v1/threads")

    async def _get(self, op: Invoke, path: str) -> None:
        status, body = await self.target.web.request(
            "GET", path, headers=self.target.authorization(self.user), overhear=self._overhear
        )
        self.sink.answered(self.user, op.op, status, body)
        raise_for_status(status, body)

    async def intrude(self, op: Invoke) -> bool:
        for method, path in _ways_to(op):
            headers = self.target.authorization(self.user)
            status, body = await self.target.web.request(method, path, headers=headers, overhear=self._overhear)
            self.sink.answered(self.user, op.op, status, body)
            if status < 300:
                raise TargetError("admitted", f"{method} {path} answers {status}", definite=False)
        headers = {**self.target.authorization(self.user), "Accept": "text/event-stream"}
        await self._refused(op, "GET", f"/v1/threads/{op.thread}/events", headers)
        if not self.connection:
            return False
        self.send({"id": f"{op.op}:cancel", "op": "cancel", "thread_id": op.thread, "run_id": op.run})
        token = self.target.tokens.get(-1 if op.owner is None else op.owner)
        if token is not None:
            self.send({"id": f"{op.op}:refresh", "op": "refresh", "token": token})
        self.send({"id": op.op, "op": "attach", "thread_id": op.thread, "after": {"seq": 0}})
        return True

    async def trespass(self, op: Invoke) -> None:
        authorization = _TRESPASSES[op.text]
        await self._refused(op, "GET", "/v1/threads", authorization)
        await self._refused(op, "GET", "/v1/ws", {**authorization, **_UPGRADE})
        run = {"threadId": op.thread, "runId": f"{op.run}-trespassing", "messages": []}
        await self._refused(op, "POST", f"/v1/agents/{self.target.options.agent}/run", authorization, json=run)
        if op.thread:
            await self._refused(op, "GET", f"/v1/threads/{op.thread}/events", authorization)
            for method, path in _ways_to(op):
                await self._refused(op, method, path, authorization)

    async def _refused(self, op: Invoke, method: str, path: str, headers: dict[str, str], *, json: Any = None) -> None:
        """Raises `TargetError` (`admitted`) where it is not."""
        web = self.target.web
        async with web.stream(method, path, json=json, headers=headers, overhear=self._overhear) as answer:
            if answer.status < 300:
                raise TargetError("admitted", f"{method} {path} answers {answer.status}", definite=False)
            self.sink.answered(self.user, op.op, answer.status, await beginning(answer))


def _ways_to(op: Invoke) -> tuple[tuple[str, str], ...]:
    """Every request about a thread and its run whose answer ends by itself."""
    thread = f"/v1/threads/{op.thread}"
    return (
        ("GET", thread),
        ("GET", f"{thread}/messages"),
        ("GET", f"{thread}/ends"),
        ("GET", f"{thread}/runs/{op.run}"),
        ("POST", f"{thread}/runs/{op.run}/cancel"),
        ("DELETE", thread),
    )


def _without_tokens(body: bytes) -> bytes:
    """The answer to a login, without what is secret in it."""
    answer = msgspec.json.decode(body)
    return msgspec.json.encode({name: value for name, value in answer.items() if "token" not in name.lower()})
