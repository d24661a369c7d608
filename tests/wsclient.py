"""A small WebSocket client for tests, written against docs/protocol.md on the `websockets` library.

It shares no code with the package's own client, and it hides nothing: every frame stays in `frames`, in its order.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Frame = dict[str, Any]

PATIENCE = 20.0
"""How long a test waits for what must come, in seconds."""
_TERMINAL = {"RUN_FINISHED", "RUN_ERROR"}


class WsClient:
    """One connection. `frames` are all frames that were read so far; waiting reads on."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self._ids = itertools.count(1)

    async def raw(self, *messages: str | bytes) -> None:
        """Send messages as they are: str as text, bytes as binary."""
        for message in messages:
            await self.connection.send(message)

    async def send(self, *commands: Frame) -> None:
        """Send commands, all in one message."""
        await self.raw("\n".join(json.dumps(command) for command in commands))

    async def read(self) -> None:
        """Read one message into `frames`. Raises `ConnectionClosed`."""
        async with asyncio.timeout(PATIENCE):
            message = await self.connection.recv()
        assert isinstance(message, str), "the server sent a binary message"
        self.frames += [json.loads(line) for line in message.split("\n") if line.strip()]

    async def wait(self, wanted: Callable[[Frame], bool], start: int = 0) -> Frame:
        """The first frame from index `start` on that is wanted, read before or now."""
        for index in itertools.count(start):
            while index >= len(self.frames):
                await self.read()
            if wanted(self.frames[index]):
                return self.frames[index]
        raise AssertionError

    async def call(self, op: str, **fields: Any) -> Frame:
        """Send one command and return its reply."""
        command_id = f"c{next(self._ids)}"
        await self.send({"id": command_id, "op": op, **fields})
        return await self.reply(command_id)

    async def ok(self, op: str, **fields: Any) -> Frame:
        """Send one command that must succeed, and return its reply."""
        reply = await self.call(op, **fields)
        assert reply["ok"] is True, reply
        return reply

    async def refused(self, op: str, **fields: Any) -> Frame:
        """Send one command that must be refused, and return the error."""
        reply = await self.call(op, **fields)
        assert reply["ok"] is False, reply
        error: Frame = reply["error"]
        return error

    async def reply(self, command_id: Any) -> Frame:
        """The reply to the command of this id."""
        return await self.wait(lambda frame: "re" in frame and frame["re"] == command_id)

    async def welcome(self) -> Frame:
        """The first frame."""
        return await self.wait(lambda _: True)

    async def run(self, text: str = "hello", agent: str = "echo", **fields: Any) -> list[Frame]:
        """Run an agent to its end; the frames of the run's events."""
        reply = await self.ok("run", agent=agent, text=text, **fields)
        return await self.ended(reply["thread_id"], reply["run_id"])

    async def script(self, *steps: Frame, then: list[Frame] | None = None, **fields: Any) -> Frame:
        """Start the `scripted` agent; the reply."""
        program: Frame = {"steps": list(steps)} if then is None else {"steps": list(steps), "then": then}
        return await self.ok("run", agent="scripted", text=json.dumps(program), **fields)

    async def ended(self, thread_id: str, run_id: str) -> list[Frame]:
        """Wait for a run's terminal event; the frames of its events in order of arrival."""

        def is_terminal(frame: Frame) -> bool:
            return _is_event(frame, thread_id, run_id) and frame["event"]["type"] in _TERMINAL

        await self.wait(is_terminal)
        return self.events(thread_id, run_id)

    async def event(self, kind: str, thread_id: str | None = None, run_id: str | None = None, start: int = 0) -> Frame:
        """The first event frame of this type, in this thread and run where they are given."""
        return await self.wait(
            lambda frame: _is_event(frame, thread_id, run_id) and frame["event"]["type"] == kind, start
        )

    def events(self, thread_id: str | None = None, run_id: str | None = None, start: int = 0) -> list[Frame]:
        """The event frames read so far, from index `start` on, in this thread and run where they are given."""
        return [frame for frame in self.frames[start:] if _is_event(frame, thread_id, run_id)]

    async def settle(self) -> None:
        """A round trip: whatever the server sent before it answers is in `frames` then."""
        await self.ok("ping")

    async def closed(self) -> tuple[int | None, str]:
        """Read until the server closes; the close code and reason."""
        try:
            while True:
                await self.read()
        except ConnectionClosed:
            return self.connection.close_code, self.connection.close_reason or ""

    async def close(self) -> None:
        await self.connection.close()


def _is_event(frame: Frame, thread_id: str | None, run_id: str | None) -> bool:
    return (
        "event" in frame
        and (thread_id is None or frame["thread_id"] == thread_id)
        and (run_id is None or frame["run_id"] == run_id)
    )


def text_of(events: list[Frame]) -> str:
    """The text of the assistant messages in these event frames, joined."""
    return "".join(frame["event"]["delta"] for frame in events if frame["event"]["type"] == "TEXT_MESSAGE_CONTENT")


@asynccontextmanager
async def connected(url: str, token: str | None, **options: Any) -> AsyncIterator[WsClient]:
    """An open connection to `url`, closed at the end. `options` are those of `websockets.asyncio.client.connect`;
    raises its `InvalidStatus` where the server refuses the upgrade."""
    headers = dict(options.pop("additional_headers", {}))
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    options = {"max_size": None, "ping_interval": None, "proxy": None, "compression": None, **options}
    async with connect(url, additional_headers=headers, **options) as connection:
        yield WsClient(connection)
