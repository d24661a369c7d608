"""An OpenAI-compatible endpoint over HTTP: sends a request, streams the chunks of its answer, names what went wrong.

Nothing that an endpoint does may hurt more than the run that asked: what it sends is bounded, every wait ends, and no
error's text holds what the endpoint said or the key that it was given.

Imported only when an agent first needs it: httpx takes long to import.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx
import msgspec
from httpx_sse import EventSource, SSEError

from goldenpath.runtime.agents.chat_reply import Chunk, decode_chunk
from goldenpath.runtime.deadlines import Deadline, Deadlines
from goldenpath.wire.errors import ErrorName, RequestError

MAX_REPLY_BYTES: Final = 16 << 20
"""Of one streamed answer; more is taken for a broken endpoint."""
MAX_ERROR_BYTES: Final = 64 << 10
MAX_RETRY_AFTER: Final = 3600.0

_STATUS_CODES: Final[dict[int, tuple[ErrorName, str]]] = {
    400: ("bad_request", "refused the conversation"),
    401: ("not_configured", "does not accept the server's key"),
    403: ("not_configured", "does not accept the server's key"),
    404: ("not_configured", "does not know the model or the path"),
    408: ("timeout", "took too long"),
    413: ("bad_request", "refused the conversation as too large"),
    422: ("bad_request", "refused the conversation"),
    429: ("upstream_unavailable", "is busy"),
    504: ("timeout", "took too long"),
}
_safe = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Patience(NamedTuple):
    """How long an endpoint may take."""

    deadlines: Deadlines
    whole: Deadline
    """For all of it."""
    connect: float
    """Seconds to connect in."""
    silence: float
    """Seconds without a byte."""


class Endpoint:
    """Where chat completions are asked for. Immutable, so that any number of runs may share it.

    Making one reads the certificates of the machine: do it off the event loop.
    """

    def __init__(self, base_url: str, api_key: str | None) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._api_key = api_key
        # Without TLS nothing is verified, and reading the certificates would be the larger part of a short run.
        secure = base_url.lower().startswith("https:")
        self._tls = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A connection pool for one run, closed with it: a pool of several runs could hand what one of them left in a
        connection to another."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        async with httpx.AsyncClient(verify=self._tls, headers=headers) as client:
            yield Connection(client, self._url, self._api_key)


class Connection:
    """One run's way to the endpoint."""

    def __init__(self, client: httpx.AsyncClient, url: str, api_key: str | None) -> None:
        self._client = client
        self._url = url
        self._api_key = api_key

    @asynccontextmanager
    async def ask(self, body: Mapping[str, Any], patience: Patience) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Send `body` and iterate the chunks of the answer, within `patience`.

        The iterator ends after the last chunk; an answer that ends early raises. Leaving the block, by an error or a
        cancel too, closes the HTTP stream at once. Raises `RequestError`: `timeout` (`TimedOut`, which says of what),
        `upstream_unavailable`, `not_configured`, or `bad_request` where the endpoint refuses what it was asked.
        """
        deadlines, whole = patience.deadlines, patience.whole
        now = deadlines.clock.monotonic()
        connect = whole.child("model_connect", patience.connect, now)
        silence = whole.child("model", patience.silence, now)
        timeout = httpx.Timeout(silence.remaining(now), connect=connect.remaining(now))
        request = self._client.build_request(
            "POST",
            self._url,
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
            timeout=timeout,
        )
        try:
            async with deadlines.within(whole):
                response = await self._client.send(request, stream=True)
                try:
                    if response.status_code != httpx.codes.OK:
                        raise await self._refusal(response)
                    async with aclosing(self._chunks(response)) as chunks:
                        yield chunks
                finally:
                    await response.aclose()
        except httpx.ConnectTimeout:
            raise deadlines.fired(connect.level, connect.seconds) from None
        except httpx.TimeoutException:
            raise deadlines.fired(silence.level, silence.seconds) from None
        except httpx.HTTPError as error:
            # Only the kind: the text may name internal hosts.
            message = f"the connection to the model endpoint failed ({type(error).__name__})"
            raise RequestError("upstream_unavailable", message) from None

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[Chunk, None]:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _broken("compressed its answer unasked")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        finished = False
        try:
            async with aclosing(EventSource(response).aiter_sse()) as events:
                async for event in events:
                    if event.data == "[DONE]":
                        return
                    if not event.data:
                        continue
                    chunk = _chunk(event.data)
                    if chunk.error is not None:
                        raise _broken(f"reported an error{self._safely(chunk.error)}")
                    finished = finished or any(choice.finish_reason for choice in chunk.choices or ())
                    yield chunk
        except SSEError:
            raise _broken("did not answer with an event stream") from None
        if not finished:
            raise _broken("ended its answer early")

    async def _refusal(self, response: httpx.Response) -> RequestError:
        status = response.status_code
        code, what = _STATUS_CODES.get(status, ("upstream_unavailable", "failed"))
        body = b""
        async for data in response.aiter_bytes():
            body += data
            if len(body) > MAX_ERROR_BYTES:
                break
        detail = ""
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            detail = self._safely(answer.get("error"))
        return RequestError(
            code, f"the model endpoint {what} ({status}{detail})", retry_after=_retry_after(response.headers)
        )

    def _safely(self, error: Any) -> str:
        """What may be told of an endpoint's error: a code that is one plain word, because texts may quote the key."""
        if isinstance(error, dict):
            for word in (error.get("code"), error.get("type")):
                if isinstance(word, str) and _safe.fullmatch(word) and not (self._api_key and self._api_key in word):
                    return f", {word}"
        return ""


class _Bounded(httpx.AsyncByteStream):
    """A body that raises once it is longer than any honest answer: the parser keeps what it was given until a line
    ends."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._stream:
            size += len(data)
            if size > MAX_REPLY_BYTES:
                raise _broken(f"sent more than {MAX_REPLY_BYTES} bytes")
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


def _chunk(data: str) -> Chunk:
    try:
        return decode_chunk(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _broken("sent something that is no chunk of a chat completion") from None


def _broken(what: str) -> RequestError:
    return RequestError("upstream_unavailable", f"the model endpoint {what}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= MAX_RETRY_AFTER else None
