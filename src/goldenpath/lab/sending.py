"""How a viewer's questions get to the target: at once, when it is their turn, or when the viewer is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from goldenpath.lab.coming_back import ComingBack
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Client


class Sending:
    """One viewer's. `settled` has to follow each `send`. Cancelling what it returns is safe."""

    def __init__(self, client: Client, recorder: Recorder, progress: Progress, coming_back: ComingBack) -> None:
        self._client = client
        self._recorder = recorder
        self._progress = progress
        self._coming_back = coming_back
        self._turn = asyncio.Lock()
        self._whose = 0
        """The operation whose turn it is; 0: nobody's."""
        self._unsent: dict[int, Invoke] = {}

    def send(self, op: Invoke) -> Awaitable[None] | None:
        """Send it, where it can be sent. None: it is sent already, or will be when the viewer is back. Raises
        `TargetError`, or what is returned does."""
        if not self._client.connection:
            self._coming_back.begin_again()
        if self._client.in_turn:
            self._unsent[op.op] = op
            return self._send_in_turn(op)
        if self._client.connection or not self._coming_back.is_under_way:
            return self._client.ask(op)
        self._unsent[op.op] = op
        return None

    async def _send_in_turn(self, op: Invoke) -> None:
        await self._turn.acquire()
        self._whose = op.op
        while self._coming_back.is_under_way:
            await self._coming_back.wait()
        await self.go(op)

    async def go(self, op: Invoke) -> None:
        """Send it over the connection that there is now. Raises `TargetError`."""
        connection = self._client.connection
        self._progress.raise_for_garbage(connection)
        self._unsent.pop(op.op, None)
        self._recorder.sent(op, connection)
        sending = self._client.ask(op)
        if sending is not None:
            await sending

    def is_sent(self, op: Invoke) -> bool:
        """Whether the target may know of it."""
        return op.op not in self._unsent

    def settled(self, op: Invoke, *, ended: bool) -> None:
        """It is over for who asked; as the client's `settled`."""
        if self._unsent.pop(op.op, None) is None:
            self._client.settled(op, ended=ended)
        if self._whose == op.op:
            self._whose = 0
            self._turn.release()
