"""A goldenpath server: HTTP for logging in and reading, one WebSocket for each viewer (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.sockets import SocketClient
from goldenpath.lab.targets.web import Web, quoted, raise_for_status

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
            raise TargetError("refused", f"{self.web.url}/readyz answers {status}: {quoted(body)}")

    def client(self, user: int, viewer: int, sink: Sink) -> GoldenpathClient:
        return GoldenpathClient(self, user, viewer, sink)

    async def login(self, user: int, op: int, sink: Sink) -> None:
        """Log a user in, registering them where they are not known yet."""
        email = f"lab-{user}@example.com"
        if self.options.simulation_key:
            headers = {"X-Simulation-Key": self.options.simulation_key}
            status, body = await self.web.request("POST", "/v1/auth/simulate", json={"email": email}, headers=headers)
        else:
            account = {"email": email, "password": _SECRET}
            status, body = await self.web.request("POST", "/v1/auth/login", json=account)
            if status == _UNAUTHORIZED:
                status, body = await self.web.request("POST", "/v1/auth/register", json=account)
                if status == _CONFLICT:
                    raise TargetError("refused", f"{email} exists with another password")
        if status >= 300:
            sink.answered(user, op, status, body)
        raise_for_status(status, body)
        try:
            tokens = msgspec.json.decode(body, type=_Tokens)
        except msgspec.MsgspecError as error:
            raise TargetError("garbage", f"the answer to the login: {error}") from None
        self.tokens[user] = tokens.access_token
        self.good_for[user] = tokens.expires_in
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

    async def login(self, op: Invoke) -> None:
        await self.target.login(self.user, op.op, self.sink)

    @property
    def good_for(self) -> float | None:
        return self.target.good_for.get(self.user)

    async def refresh(self, op: Invoke) -> None:
        self.send({"id": op.op, "op": "refresh", "token": self.target.tokens.get(self.user, "")})

    async def connect(self) -> None:
        await self.open(self.target.websocket_url, self.target.authorization(self.user))

    async def ask(self, op: Invoke) -> None:
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
        status, body = await self.target.web.request("GET", path, headers=self.target.authorization(self.user))
        self.sink.answered(self.user, op.op, status, body)
        raise_for_status(status, body)

    async def intrude(self, op: Invoke) -> bool:
        thread = f"/v1/threads/{op.thread}"
        for method, path in (
            ("GET", thread),
            ("GET", f"{thread}/messages"),
            ("GET", f"{thread}/runs/{op.run}"),
            ("POST", f"{thread}/runs/{op.run}/cancel"),
            ("DELETE", thread),
        ):
            headers = self.target.authorization(self.user)
            status, body = await self.target.web.request(method, path, headers=headers)
            self.sink.answered(self.user, op.op, status, body)
            if status < 400:
                raise TargetError("admitted", f"{method} {path} answers {status}", definite=False)
        if not self.connection:
            return False
        self.send({"id": op.op, "op": "attach", "thread_id": op.thread, "after": {"seq": 0}})
        return True

    async def trespass(self, op: Invoke) -> None:
        authorization = _TRESPASSES[op.text]
        for path, more in (("/v1/threads", {}), ("/v1/ws", _UPGRADE)):
            async with self.target.web.stream("GET", path, headers={**authorization, **more}) as answer:
                if answer.status < 400:
                    raise TargetError("admitted", f"GET {path} answers {answer.status}", definite=False)
