"""A user of a server under test: their tokens, their HTTP client, their sockets."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx

from tests.serverprocess import ServerProcess
from tests.wsclient import Frame, WsClient, connected

_numbers = itertools.count(1)


class User:
    """A simulated user; a new one unless an e-mail is given. `http` carries the access token; close it at the end."""

    def __init__(self, server: ServerProcess, email: str | None = None) -> None:
        self.server = server
        self.email = email or f"user-{next(_numbers)}@example.org"
        tokens = server.tokens(self.email)
        self.id: str = tokens["user_id"]
        self.token: str = tokens["access_token"]
        self.http = httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=20,
            trust_env=False,
            verify=server.verify,
        )

    def connect(self, **options: Any) -> AbstractAsyncContextManager[WsClient]:
        """An open WebSocket."""
        return connected(self.server.ws_url, self.token, **{"ssl": self.server.tls, **options})

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a successful GET."""
        answer = await self.http.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[EventStream]:
        """An open SSE stream."""
        async with self.http.stream(method, path, **options) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            yield EventStream(response)

    async def run(self, thread_id: str, run_id: str, text: str = "hello", agent: str = "echo", **fields: Any) -> Sse:
        """Run an agent over SSE to its end."""
        body = run_input(thread_id, run_id, text, **fields)
        async with self.stream("POST", f"/v1/agents/{agent}/run", json=body) as stream:
            return await stream.rest()


class SseMessage:
    """One message of an SSE stream; `data` is decoded."""

    def __init__(self, lines: list[str]) -> None:
        self.fields = dict(line.split(": ", 1) for line in lines)
        self.id = self.fields.get("id", "")
        self.event = self.fields.get("event")
        self.data: Frame = json.loads(self.fields["data"])

    @property
    def type(self) -> str:
        return str(self.data["type"])

    @property
    def epoch(self) -> str:
        return self.id.rpartition(".")[0]

    @property
    def seq(self) -> int:
        return int(self.id.rpartition(".")[2])


Sse = list[SseMessage]


class EventStream:
    """Reads an SSE response message by message. Comments are kept in `comments`."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments: list[str] = []
        self._parts = response.aiter_raw()
        self._buffer = b""

    async def next(self) -> SseMessage | None:
        """The next message; None at the end of the stream."""
        while True:
            block = await self._block()
            if block is None:
                return None
            lines = block.split("\n")
            self.comments += [line for line in lines if line.startswith(":")]
            lines = [line for line in lines if not line.startswith(":")]
            if lines:
                return SseMessage(lines)

    async def _block(self) -> str | None:
        while b"\n\n" not in self._buffer:
            try:
                self._buffer += await anext(self._parts)
            except StopAsyncIteration:
                assert not self._buffer, f"the stream ends inside a message: {self._buffer!r}"
                return None
        block, _, self._buffer = self._buffer.partition(b"\n\n")
        return block.decode()

    async def rest(self) -> Sse:
        """All messages up to the end of the stream."""
        messages = []
        while (message := await self.next()) is not None:
            messages.append(message)
        return messages

    async def until(self, kind: str) -> Sse:
        """The messages up to the next one of this type, with it."""
        messages = []
        while (message := await self.next()) is not None:
            messages.append(message)
            if message.type == kind:
                return messages
        raise AssertionError(f"the stream ended without {kind}")


def run_input(thread_id: str, run_id: str, text: str = "hello", **fields: Any) -> Frame:
    """An AG-UI RunAgentInput with one user message, whose id is made from the run's."""
    message = {"id": f"message-of-{run_id}", "role": "user", "content": text}
    return {
        "protocolVersion": "1.0",
        "threadId": thread_id,
        "runId": run_id,
        "messages": [message],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
        **fields,
    }


def program(*steps: Frame) -> str:
    """A program for the `scripted` agent."""
    return json.dumps({"steps": list(steps)})
