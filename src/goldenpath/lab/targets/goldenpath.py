"""A goldenpath server: HTTP for logging in and reading, one WebSocket for each viewer (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from goldenpath.lab.records import Closed, Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.web import Web

_RESET: Final = struct.pack("ii", 1, 0)
_SECRET: Final = "known to every user of the lab"  # noqa: S105
_ABILITIES: Final[frozenset[Ability]] = frozenset(("login", "resume", "cancel", "history", "threads", "intrude"))
_UNAUTHORIZED: Final = 401
_CONFLICT: Final = 409


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach it."""

    url: str
    simulation_key: str = ""
    """With it users are simulated OAuth users; without, they register."""
    agent: str = "echo"


class _Problem(msgspec.Struct):
    code: str = "refused"
    detail: str = ""
    definite: bool = True


class _Tokens(msgspec.Struct):
    access_token: str


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

    async def open(self) -> None:
        status, body = await self.web.request("GET", "/readyz")
        if status != 200:
            raise TargetError(
                "refused", f"{self.web.url}/readyz answers {status}: {body[:200].decode(errors='replace')}"
            )

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
        sink.answered(user, op, status, body)
        raise_for_status(status, body)
        try:
            self.tokens[user] = msgspec.json.decode(body, type=_Tokens).access_token
        except msgspec.MsgspecError as error:
            raise TargetError("garbage", f"the answer to the login: {error}") from None

    def authorization(self, user: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.get(user, '')}"}

    async def close(self) -> None:
        await self.web.close()


def raise_for_status(status: int, body: bytes) -> None:
    """Raise `TargetError` where `status` is not 2xx, with the code and words of its problem document."""
    if 200 <= status < 300:
        return
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=body[:200].decode(errors="replace"))
    raise TargetError(problem.code, f"{status}: {problem.detail}", definite=problem.definite)


class _Socket(WSListener):
    """One WebSocket. Brings whole messages to the sink."""

    def __init__(self, client: GoldenpathClient) -> None:
        self._client = client
        self._parts: list[bytes] = []
        self._code = 0
        self.transport: WSTransport | None = None
        self.connection = 0
        self.ours = False
        """Whether it is we who end it."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.connection = self._client.sink.opened(self._client.user, self._client.viewer)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            payload = frame.get_payload_as_bytes()
            if not frame.fin or self._parts:
                self._parts.append(payload)
                if not frame.fin:
                    return
                payload = b"".join(self._parts)
                self._parts.clear()
            self._client.sink.received(self._client.user, self.connection, payload)
        elif kind is WSMsgType.CLOSE:
            self._code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self.transport = None
        self._client.lost(self, self._code)


class GoldenpathClient:
    """One viewer: a WebSocket, and HTTP with the user's token."""

    def __init__(self, target: GoldenpathTarget, user: int, viewer: int, sink: Sink) -> None:
        self.target = target
        self.user = user
        self.viewer = viewer
        self.sink = sink
        self.on_closed: Callable[[Closed], None] | None = None
        self._socket: _Socket | None = None

    @property
    def connection(self) -> int:
        return self._socket.connection if self._socket is not None else 0

    async def login(self, op: Invoke) -> None:
        await self.target.login(self.user, op.op, self.sink)

    async def connect(self) -> None:
        opening = _Socket(self)
        try:
            await ws_connect(
                lambda: opening,
                self.target.websocket_url,
                extra_headers=self.target.authorization(self.user),
                websocket_handshake_timeout=60,
                max_redirects=0,
            )
        except WSError as error:
            raise _refusal(error) from None
        except asyncio.IncompleteReadError:
            raise TargetError("disconnected", "closed in the handshake") from None
        except OSError as error:
            raise TargetError("unreachable", f"{self.target.websocket_url}: {error}") from None
        if opening.transport is None:
            raise TargetError("disconnected", "closed at once")
        self._socket = opening

    def lost(self, socket_: _Socket, code: int) -> None:
        """A WebSocket is gone."""
        if not socket_.connection:
            return  # it never was there
        if self._socket is socket_:
            self._socket = None
        record = self.sink.closed(self.user, socket_.connection, ours=socket_.ours, code=code)
        if self.on_closed is not None:
            self.on_closed(record)

    async def ask(self, op: Invoke) -> None:
        agent = self.target.options.agent
        self._send(
            {"id": op.op, "op": "run", "agent": agent, "thread_id": op.thread, "run_id": op.run, "text": op.text}
        )

    async def attach(self, op: Invoke) -> None:
        command: dict[str, Any] = {"id": op.op, "op": "attach", "thread_id": op.thread}
        if op.after is not None:
            command["after"] = {"epoch": op.epoch, "seq": op.after}
        self._send(command)

    async def cancel(self, op: Invoke) -> None:
        self._send({"id": op.op, "op": "cancel", "thread_id": op.thread, "run_id": op.run})

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
        self._send({"id": op.op, "op": "attach", "thread_id": op.thread, "after": {"seq": 0}})
        return True

    def _send(self, command: dict[str, Any]) -> None:
        if self._socket is None or self._socket.transport is None:
            raise TargetError("disconnected", "there is no connection")
        self._socket.transport.send(WSMsgType.TEXT, msgspec.json.encode(command))

    def drop(self) -> None:
        if self._socket is None or self._socket.transport is None:
            return
        self._socket.ours = True
        underlying = self._socket.transport.underlying_transport
        with suppress(OSError, AttributeError):
            underlying.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        underlying.abort()

    def pause(self, *, reading: bool) -> None:
        if self._socket is None or self._socket.transport is None:
            return
        underlying = self._socket.transport.underlying_transport
        if reading:
            underlying.resume_reading()
        else:
            underlying.pause_reading()

    async def close(self) -> None:
        if self._socket is None or self._socket.transport is None:
            return
        self._socket.ours = True
        transport = self._socket.transport
        transport.send_close()
        transport.disconnect()
        await transport.wait_disconnected()


def _refusal(error: WSError) -> TargetError:
    """What a refused upgrade says."""
    response = getattr(error, "response", None)
    body = getattr(error, "raw_body", None) or b""
    if response is None:
        return TargetError("garbage", str(error), definite=False)
    try:
        raise_for_status(int(response.status), bytes(body))
    except TargetError as refusal:
        return refusal
    return TargetError("garbage", str(error))
