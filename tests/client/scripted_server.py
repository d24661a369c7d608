"""A server that does what a test tells it, right or wrong: the other side of the protocol, written independently."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Json = dict[str, Any]
Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection, from the server's side."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def welcome(self, **limits: int) -> None:
        """The first frame."""
        known = {"max_message_bytes": 1 << 20, "max_attached_threads": 64, "max_running": 2, "max_queued": 16}
        await self.send(
            {
                "type": "welcome",
                "protocol": 1,
                "connection_id": "c",
                "user_id": "u",
                "heartbeat": 25,
                "limits": known | limits,
            }
        )

    async def command(self, op: str | None = None) -> Json:
        """The next command, of this kind if one is named."""
        line = await self.connection.recv()
        assert isinstance(line, str)
        command: Json = json.loads(line)
        assert op in (None, command["op"]), command
        return command

    async def send(self, *frames: Json) -> None:
        """One message of one line a frame."""
        await self.connection.send("\n".join(json.dumps(frame) for frame in frames))

    async def grant(self, command: Json, *, epoch: str = "e", seq: int = 0, head: int = 0, gap: bool = False) -> None:
        """Reply to `run` or `attach`."""
        reply = {"re": command["id"], "ok": True, "thread_id": command["thread_id"], "epoch": epoch, "seq": seq}
        if command["op"] == "run":
            more = {"gap": True} if gap else {}
            await self.send(reply | {"run_id": command["run_id"], "status": "finished" if gap else "running"} | more)
        else:
            await self.send(reply | {"head": max(seq, head), "gap": gap})

    async def refuse(self, command: Json, code: str) -> None:
        """Reply with an error."""
        error = {"code": code, "message": "no", "retryable": False, "definite": True, "retry_after": None}
        await self.send({"re": command["id"], "ok": False, "error": error})

    async def events(self, *numbers: int, thread_id: str = "t", run_id: str | None = "r") -> None:
        """Event frames, all in one message; each event tells its number."""
        await self.send(*(event(number, thread_id, run_id) for number in numbers))

    def abort(self) -> None:
        """End the connection without a word."""
        self.connection.transport.abort()

    async def until_closed(self) -> tuple[int | None, list[Json]]:
        """Wait for the client's good-bye. Returns its code, and the commands that came before."""
        commands: list[Json] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                commands.append(await self.command())
        return self.connection.close_code, commands


def event(number: int, thread_id: str = "t", run_id: str | None = "r") -> Json:
    """The frame of an event that tells its number."""
    value = {"type": "CUSTOM", "name": "number", "value": number}
    return {"thread_id": thread_id, "run_id": run_id, "seq": number, "event": value}


def terminal(number: int, thread_id: str = "t", run_id: str = "r") -> Json:
    """The frame of a run's last event."""
    value = {"type": "RUN_FINISHED", "threadId": thread_id, "runId": run_id}
    return {"thread_id": thread_id, "run_id": run_id, "seq": number, "event": value}


def snapshot(number: int, thread_id: str = "t") -> Json:
    """The frame of the snapshot after a gap."""
    value = {"type": "MESSAGES_SNAPSHOT", "messages": []}
    return {"thread_id": thread_id, "run_id": None, "seq": number, "event": value}


class LogScript:
    """Serves the log of thread `t`, which holds `events` events of `padding` bytes each, to one connection after the
    other, as fast as the client reads. `commands` are the ops that came."""

    def __init__(self, events: int, padding: int) -> None:
        self._events = events
        self._padding = "x" * padding
        self.commands: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.welcome()
        sender: asyncio.Task[None] | None = None
        try:
            while True:
                command = await peer.command()
                self.commands.append(command["op"])
                if command["op"] == "ping":
                    await peer.send({"re": command["id"], "ok": True, "time": "now"})
                    continue
                if sender is not None:
                    sender.cancel()
                    await asyncio.wait([sender])
                if command["op"] == "attach":
                    await peer.grant(command, seq=command["after"]["seq"], head=self._events)
                    sender = asyncio.create_task(self._send(peer, command["after"]["seq"]))
                else:
                    await peer.send({"re": command["id"], "ok": True})
        finally:
            if sender is not None:
                sender.cancel()

    async def _send(self, peer: Peer, after: int) -> None:
        for number in range(after + 1, self._events + 1):
            frame = event(number)
            frame["event"]["metadata"] = {"padding": self._padding}
            await peer.send(frame)


class ScriptedServer:
    """Runs the next script for each connection; the last one for all that follow. Refusals come first, each a status
    and a body for one upgrade. What a script raises fails the test at its end."""

    def __init__(self, *scripts: Script, refusals: Sequence[tuple[int, Json]] = ()) -> None:
        self._scripts = scripts
        self._refusals = list(refusals)
        self._server: Server | None = None
        self.connections = 0
        self.tokens: list[str] = []
        self.failures: list[BaseException] = []

    @property
    def port(self) -> int:
        assert self._server is not None
        number: int = next(iter(self._server.sockets)).getsockname()[1]
        return number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle, "127.0.0.1", 0, process_request=self._upgrade, compression=None, ping_interval=None
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        if self.failures:
            raise self.failures[0]

    def _upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if not self._refusals:
            return None
        status, body = self._refusals.pop(0)
        content = json.dumps(body).encode()
        headers = Headers({"Content-Type": "application/problem+json", "Content-Length": str(len(content))})
        return Response(status, HTTPStatus(status).phrase, headers, content)

    async def _handle(self, connection: ServerConnection) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(connection))
        except (ConnectionClosed, asyncio.CancelledError):
            pass  # the client left first
        except BaseException as error:  # noqa: BLE001
            self.failures.append(error)
            connection.transport.abort()
