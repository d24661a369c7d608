"""How the reference server is reached: HTTP and the WebSocket, with aiohttp."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from aiohttp import WSMsgType, web

from goldenpath.lab.selftest.connection import Connection
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.settings import Refusal
from goldenpath.lab.selftest.thread_log import Thread

SIMULATION_KEY: Final = "the key of the lab's own reference server"
_SEND_BUFFER: Final = 32 * 1024
"""Small, so that a reader who does not read is noticed before megabytes are on their way."""
_EXPIRING: Final = 60.0
_EXPIRED: Final = 4401


class _Socket:
    """A WebSocket of aiohttp."""

    def __init__(self, request: web.Request, response: web.WebSocketResponse) -> None:
        self._transport = request.transport
        self._response = response
        if self._transport is not None:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, _SEND_BUFFER)

    async def send(self, text: str) -> None:
        await self._response.send_str(text)

    async def close(self, code: int) -> None:
        await self._response.close(code=code)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Gateway:
    """The routes of one server."""

    def __init__(self, server: ReferenceServer) -> None:
        self._server = server
        self._numbers = count(1)
        self.app = web.Application(middlewares=[_problems])
        thread = "/v1/threads/{thread}"
        self.app.add_routes(
            [
                web.get("/livez", self._alive),
                web.get("/readyz", self._alive),
                web.post("/v1/auth/simulate", self._simulate),
                web.get("/v1/ws", self._websocket),
                web.get("/v1/threads", self._threads),
                web.get(thread, self._thread),
                web.delete(thread, self._delete),
                web.get(thread + "/messages", self._messages),
                web.get(thread + "/runs/{run}", self._run),
                web.post(thread + "/runs/{run}/cancel", self._cancel),
            ]
        )

    async def _alive(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.json_response({"status": "ok"})

    async def _simulate(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Simulation-Key") != SIMULATION_KEY:
            raise Refusal(401, "unauthorized", "a wrong simulation key")
        return web.json_response(self._server.log_in((await request.json())["email"]))

    # --- the WebSocket ------------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        user, expires = self._who(request)
        response = web.WebSocketResponse(compress=False, heartbeat=25)
        await response.prepare(request)
        connection = Connection(f"c{next(self._numbers)}", user, expires)
        connection.reply(self._welcome(connection))
        writing = asyncio.create_task(self._server.write(connection, _Socket(request, response)))
        loop = asyncio.get_running_loop()
        warning = loop.call_at(expires - _EXPIRING, self._warn, connection)
        self._server.connections.add(connection)
        try:
            async with asyncio.timeout_at(expires):
                async for message in response:
                    if message.type is WSMsgType.TEXT:
                        for line in message.data.splitlines():
                            self._server.command(connection, line)
        except TimeoutError:
            await response.close(code=_EXPIRED)
        finally:
            warning.cancel()
            writing.cancel()
            self._server.connections.discard(connection)
            await asyncio.gather(writing, return_exceptions=True)
        return response

    def _warn(self, connection: Connection) -> None:
        left = max(0.0, min(_EXPIRING, connection.expires - asyncio.get_running_loop().time()))
        connection.reply({"type": "token_expiring", "expires_in": left})

    def _welcome(self, connection: Connection) -> dict[str, Any]:
        settings = self._server.settings
        return {
            "type": "welcome",
            "protocol": 1,
            "connection_id": connection.connection_id,
            "user_id": connection.user,
            "heartbeat": 25,
            "limits": {
                "max_message_bytes": 1 << 20,
                "max_attached_threads": 1_000,
                "max_running": self._server.turns.most,
                "max_queued": settings.max_queued,
            },
        }

    # --- reading over HTTP --------------------------------------------------------------------------------------------

    async def _threads(self, request: web.Request) -> web.Response:
        user, _ = self._who(request)
        threads = [{"thread_id": each.thread_id, "head": each.head} for each in self._server.listed(user)]
        return web.json_response({"threads": threads, "next_cursor": None})

    async def _thread(self, request: web.Request) -> web.Response:
        thread = self._known(request, "read")
        runs = [{"run_id": run.run_id, "status": run.status} for run in thread.runs.values()]
        answer = {"thread_id": thread.thread_id, "epoch": thread.epoch, "head": thread.head, "runs": runs}
        return web.json_response(answer)

    async def _messages(self, request: web.Request) -> web.Response:
        return web.json_response(self._server.history(self._known(request, "history")))

    async def _run(self, request: web.Request) -> web.Response:
        thread = self._known(request, "read")
        return _run_of(thread, request)

    # --- changing over HTTP -------------------------------------------------------------------------------------------

    async def _cancel(self, request: web.Request) -> web.Response:
        thread = self._known(request, "cancel")
        answer = _run_of(thread, request)
        self._server.cancel(thread.runs[request.match_info["run"]])
        answer.set_status(202)
        return answer

    async def _delete(self, request: web.Request) -> web.Response:
        self._server.delete(self._known(request, "delete"))
        return web.Response(status=204)

    # ------------------------------------------------------------------------------------------------------------------

    def _who(self, request: web.Request) -> tuple[str, float]:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        found = self._server.who(token if kind == "Bearer" else "")
        if found is None:
            raise Refusal(401, "unauthorized", "a missing, wrong or expired token")
        return found

    def _known(self, request: web.Request, purpose: Any) -> Thread:
        user, _ = self._who(request)
        return self._server.known(user, request.match_info["thread"], purpose)


def _run_of(thread: Thread, request: web.Request) -> web.Response:
    run = thread.runs.get(request.match_info["run"])
    if run is None:
        raise Refusal(404, "not_found", "there is no such run")
    return web.json_response({"run_id": run.run_id, "thread_id": thread.thread_id, "status": run.status})


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A refusal becomes a problem document."""
    try:
        return await handler(request)
    except Refusal as refusal:
        problem = {"title": refusal.code, "status": refusal.status, "code": refusal.code, "detail": refusal.message}
        headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        return web.json_response(
            {"type": "about:blank", **problem},
            status=refusal.status,
            headers=headers,
            content_type="application/problem+json",
        )
