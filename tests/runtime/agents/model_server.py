"""Endpoints for the openai agent: an independent mock of the providers, and one that does whatever a test wants."""

from __future__ import annotations

import asyncio
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx

DIALECTS = {
    "openai": "/v1",
    "groq": "/groq/openai/v1",
    "together": "/together/v1",
    "mistral": "/mistral/v1",
    "xai": "/xai/v1",
    "perplexity": "/perplexity/v1",
}
"""The paths at which the mock speaks as these providers do."""


class ModelServer:
    """`llmock serve` (a package of its own authors) in a process of its own: plays models and their faults."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "from llmock.cli import app; app()", "serve", "--port", "0"]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.url = self._started()
        self._control = httpx.Client(base_url=f"{self.url}/_llmock", timeout=20)

    def _started(self) -> str:
        """Wait until it says where it listens."""
        stderr = self._process.stderr
        assert stderr is not None
        deadline = time.monotonic() + 30
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stderr, selectors.EVENT_READ)
            while time.monotonic() < deadline and self._process.poll() is None:
                if selector.select(1):
                    said += os.read(stderr.fileno(), 4096)
                found = re.search(rb"running on (http://[0-9.:]+)", said)
                if found:
                    return found[1].decode()
        self._process.kill()
        raise AssertionError(f"the mock did not start: {said.decode()}")

    def base_url(self, dialect: str = "openai") -> str:
        return self.url + DIALECTS[dialect]

    def will(self, *behaviors: dict[str, Any]) -> None:
        """Queue what the next requests get."""
        self._control.post("/scenario", json={"behaviors": behaviors}).raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        """The requests that came since the last reset, once none is under way."""
        answer = self._control.get("/requests").raise_for_status()
        found: list[dict[str, Any]] = answer.json()["requests"]
        return found

    def reset(self) -> None:
        """Forget requests and what was queued."""
        self._control.post("/reset").raise_for_status()

    def close(self) -> None:
        self._control.close()
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stderr is not None
        self._process.stderr.close()


Conversation = Callable[[dict[str, Any], asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""What an endpoint does with one request: its body, and where to write."""


class Endpoint:
    """Where a raw endpoint listens. `closed` is set when a client closed its connection before the answer ended."""

    def __init__(self) -> None:
        self.base_url = ""
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []


@asynccontextmanager
async def raw_endpoint(converse: Conversation, port: int = 0) -> AsyncIterator[Endpoint]:
    """An endpoint that answers every request as `converse` does, down to the bytes. `port` 0: a free one."""
    endpoint = Endpoint()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET "):  # a server that starts looks whether anybody is there
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                return
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length is not None
            body = json.loads(await reader.readexactly(int(length[1])))
            endpoint.heads.append(head.decode())
            endpoint.bodies.append(body)
            endpoint.asked.set()
            answering = asyncio.create_task(converse(body, writer))
            leaving = asyncio.create_task(reader.read())
            await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() or answering.exception() is not None:
                endpoint.closed.set()
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    async with server:
        port = server.sockets[0].getsockname()[1]
        endpoint.base_url = f"http://127.0.0.1:{port}/v1"
        yield endpoint


def head(content_type: str = "text/event-stream", status: str = "200 OK", *more: str) -> bytes:
    """The head of a response that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    """One chunk of a stream."""
    body = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    return f"data: {json.dumps(body)}\n\n".encode()


def answering(*parts: bytes) -> Conversation:
    """A conversation that writes these bytes and is done."""

    async def converse(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return converse
