"""One user who takes all it can: many sockets, several runs asked for on each at any time, no pause."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench import workload
from bench.load.target import Target

SOCKETS = 16
OUTSTANDING = 4
REFUSED_PAUSE = 0.01


class _Socket(WSListener):
    """Counts by substring: the flood must not use up the client core that measures the others."""

    def __init__(self, flood: Flood, number: int) -> None:
        self._flood = flood
        self._number = number
        self._sent = 0
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self._transport = None
        if self._flood.active:
            self._flood.disconnected += 1

    def ask(self) -> None:
        if self._transport is None or not self._flood.active:
            return
        self._sent += 1
        thread = f"flood-{self._number}-{self._sent % OUTSTANDING}"
        mark = workload.marker(self._flood.user, 0)
        # A run id that was used before would ask for its replay instead of a run.
        command = self._flood.target.run_command(self._sent, thread, f"r{self._flood.floods}-{self._sent}", mark, 0)
        self._transport.send(WSMsgType.TEXT, command)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        if frame.msg_type is not WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        finished = payload.count(b'"RUN_FINISHED"') + payload.count(b'"RUN_ERROR"')
        refused = payload.count(b'"ok":false')
        self._flood.finished += finished
        self._flood.refused += refused
        for _ in range(finished):
            self.ask()
        for _ in range(refused):
            asyncio.get_running_loop().call_later(REFUSED_PAUSE, self.ask)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()


class Flood:
    """`finished`, `refused` and `disconnected` count since it was made."""

    def __init__(self, target: Target, user: int) -> None:
        self.target = target
        self.user = user
        self.active = False
        self.finished = self.refused = self.disconnected = 0
        self.floods = 0
        """How often it was started."""
        self._sockets: list[_Socket] = []

    async def start(self) -> None:
        await self.target.login(range(self.user, self.user + 1))
        self.active = True
        self.floods += 1
        for number in range(SOCKETS):
            socket = _Socket(self, number)
            await ws_connect(
                lambda socket=socket: socket, self.target.websocket_url, extra_headers=self.target.headers(self.user)
            )
            self._sockets.append(socket)
        for socket in self._sockets:
            for _ in range(OUTSTANDING):
                socket.ask()

    async def stop(self) -> None:
        self.active = False
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
        await asyncio.sleep(0.5)
