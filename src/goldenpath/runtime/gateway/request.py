"""Reading an HTTP request and writing its answer: limits, JSON, problem documents. Knows no route."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from goldenpath.wire.allowed import told
from goldenpath.wire.depth import MAX_DEPTH, is_too_deep
from goldenpath.wire.errors import Problem, RequestError
from goldenpath.wire.ids import is_name

T = TypeVar("T")

WRITE_TIMEOUT: Final = "goldenpath.write_timeout"
"""The ASGI extension of our own server: it cuts a client that takes nothing."""

_PROBLEM: Final = b"application/problem+json"
_JSON: Final = b"application/json"
_WITHOUT_BODY: Final = {204, 304}
DEFAULT_PAGE: Final = 50
"""How many rows a page has where nobody says."""
MAX_PAGE: Final = 200
"""How many it may have."""
MAX_INTEGER: Final = 10**18 - 1
"""The largest number that a query may hold."""
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_WHOLE: Final = 4
_DISCARDED: Final = 8 << 20
"""How much of a body that is too big is read and thrown away. Where the server below would close while the client still
sends, the client would see its connection reset and never the answer."""
_DISCARDING: Final = 2.0
"""For how long at most, in seconds."""


class ClientGoneError(Exception):
    """The client left before it was answered: there is nobody to answer."""


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has left. What it still sends is thrown away. A server below that cannot tell whether the
    client is there (its `receive` raises) is not believed: then it never returns."""
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await asyncio.get_running_loop().create_future()


class Request:
    """One HTTP request. `path` holds the path parameters, decoded. `patience`: how long its body may stand still, in
    seconds; as a whole it may take `_WHOLE` times as long."""

    def __init__(self, scope: Scope, receive: Receive, patience: float) -> None:
        self.scope = scope
        self.receive = receive
        self._patience = patience
        self._leaving: asyncio.Task[None] | None = None
        self.path: dict[str, str] = scope.get("path_params", {})
        self.client: tuple[str, int] | None = scope.get("client")
        """The other end of the connection; None where the server does not know."""
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._query: dict[str, str] | None = None

    @property
    def cuts_slow_clients(self) -> bool:
        """Whether the server below cuts a client that takes nothing."""
        return WRITE_TIMEOUT in (self.scope.get("extensions") or {})

    def header(self, name: bytes) -> str | None:
        """The first header of this lower-case name."""
        for key, value in self.headers:
            if key == name:
                return str(value, "latin-1")
        return None

    def only_header(self, name: bytes) -> str | None:
        """The header of this lower-case name. Raises `RequestError` (`bad_request`) where there are several."""
        if sum(key == name for key, _ in self.headers) > 1:
            raise RequestError("bad_request", f"a request has one {name.decode()} header")
        return self.header(name)

    def name(self, parameter: str) -> str:
        """A path parameter that is a thread id, a run id or an agent's name. Raises `RequestError` (`bad_request`)."""
        value = self.path[parameter]
        if not is_name(value):
            raise RequestError("bad_request", f"{parameter} is not a valid id")
        return value

    def query(self, name: str) -> str | None:
        """A query parameter, the last where it is repeated; None where it is absent."""
        if self._query is None:
            from urllib.parse import parse_qsl  # noqa: PLC0415 - most requests have no query

            text = self.scope["query_string"].decode("latin-1")
            self._query = dict(parse_qsl(text, keep_blank_values=True))
        return self._query.get(name)

    def integer(self, name: str) -> int | None:
        """A query parameter that is a whole number >= 0. Raises `RequestError` (`bad_request`)."""
        value = self.query(name)
        if value is None:
            return None
        if not _DIGITS.fullmatch(value):
            raise RequestError("bad_request", f"{name} is not a whole number")
        return int(value)

    def limit(self, default: int = DEFAULT_PAGE, most: int = MAX_PAGE) -> int:
        """The query parameter `limit`: how many at most are asked for. Raises `RequestError` (`bad_request`)."""
        given = self.integer("limit")
        limit = default if given is None else given
        if not 1 <= limit <= most:
            raise RequestError("bad_request", f"limit is from 1 to {most}")
        return limit

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `RequestError` (`payload_too_large`) over `limit` bytes and (`timeout`) where it does
        not come, `ClientGoneError`."""
        try:
            async with asyncio.timeout(_WHOLE * self._patience):
                return await self._body(limit)
        except TimeoutError:
            raise RequestError("timeout", f"the body did not come within {_WHOLE * self._patience:g} s") from None

    async def _body(self, limit: int) -> bytes:
        announced = self.header(b"content-length")
        if announced is not None and _DIGITS.fullmatch(announced) and int(announced) > limit:
            if self.header(b"expect") is None:  # else the client waits for our word before it sends
                await self._discard()
            raise RequestError("payload_too_large", f"the body has {announced} bytes; at most {limit} are taken")
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            part, more = await self._part()
            size += len(part)
            if size > limit:
                if more:
                    await self._discard()
                raise RequestError("payload_too_large", f"the body has more than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    @property
    def leaving(self) -> asyncio.Task[None]:
        """Ends when the client has left; is cancelled when the request is answered. For a request whose body nobody
        reads any more.

        One for the whole request: granian, asked again after a `receive` that was cancelled, says at times that a
        client has left who is there.
        """
        if self._leaving is None:
            self._leaving = asyncio.create_task(_disconnected(self.receive))
        return self._leaving

    def close(self) -> None:
        """It is answered: nobody needs to know any more whether the client is there. Harmless when repeated."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def while_connected(self, call: Coroutine[Any, Any, T]) -> T:
        """What `call` returns, or raises. It is cancelled when the client leaves, which must be safe at any point, and
        `ClientGoneError` is raised. For a request whose body nobody reads. Cancelling cancels `call`.
        """
        calling, leaving = asyncio.create_task(call), self.leaving
        try:
            await asyncio.wait((calling, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise ClientGoneError
            return await calling
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    async def _part(self) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(self._patience):
                message = await self.receive()
        except TimeoutError:
            raise RequestError("timeout", f"nothing of the body came for {self._patience:g} s") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message.get("body", b""), message.get("more_body", False)

    async def _discard(self) -> None:
        size, more = 0, True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARDING):
                while more and size < _DISCARDED:
                    part, more = await self._part()
                    size += len(part)

    async def json(self, shape: type[T], limit: int) -> T:
        """The body as `shape`. Raises as `body` and `parse` do."""
        return parse(await self.body(limit), shape)


def parse(body: bytes, shape: type[T], *, nested: bool = False) -> T:
    """A body as `shape`; `nested`: it may hold any JSON somewhere. Raises `RequestError` (`bad_request`)."""
    try:
        value = msgspec.json.decode(body, type=shape)
    except UnicodeError:
        raise RequestError("bad_request", "the body is not UTF-8") from None
    except RecursionError:
        raise RequestError("bad_request", f"the body is nested deeper than {MAX_DEPTH}") from None
    except msgspec.MsgspecError as error:
        raise RequestError("bad_request", f"the body: {told(error, shape)}") from None
    if nested and is_too_deep(body):
        raise RequestError("bad_request", f"the body is nested deeper than {MAX_DEPTH}")
    return value


class Answer(msgspec.Struct, frozen=True):
    """A complete answer."""

    status: int
    body: bytes = b""
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def head(self) -> list[tuple[bytes, bytes]]:
        """All headers, those that tell of the body included."""
        if self.status in _WITHOUT_BODY:
            return [*self.headers]
        return [*self.headers, (b"content-type", self.content_type), (b"content-length", b"%d" % len(self.body))]

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.head})
        await send({"type": "http.response.body", "body": self.body})


def answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON. Nothing that we answer may be cached: it is somebody's own."""
    return Answer(status, msgspec.json.encode(value), headers=((b"cache-control", b"no-store"),))


def problem(error: RequestError, *, status: int | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An error as a problem document, with the headers that its code asks for."""
    document = Problem.of(error, status=status)
    extra = list(headers)
    if document.status == 401:
        extra.append((b"www-authenticate", b"Bearer"))
    if error.retry_after is not None:
        extra.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    return Answer(document.status, msgspec.json.encode(document), _PROBLEM, tuple(extra))


def no_upgrade() -> Answer:
    """The answer to a plain request of a WebSocket's path."""
    error = RequestError("bad_request", "this is the path of a WebSocket: ask for an upgrade")
    return problem(error, status=426, headers=((b"upgrade", b"websocket"), (b"connection", b"upgrade")))
