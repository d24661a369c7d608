"""What adapters over HTTP share: one client session, errors in the lab's words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from goldenpath.lab.frames import UNREADABLE
from goldenpath.lab.target import LARGEST, TOO_LARGE, TargetError
from goldenpath.lab.targets.secrets import without_parameters

_AT_ONCE: Final = 256
"""How many requests go over connections of their own at once; more wait."""
_REACHING: Final = 15.0
"""Seconds in which a target has to show that it is there."""
_KEPT: Final = 2.0
"""Seconds for which an idle connection is used again: less than servers keep one (uvicorn 5), for a request that meets
its end is lost."""
_QUOTED: Final = 200
_REFUSAL: Final = 64 * 1024
"""Bytes of a refusal that are kept."""


Overhear = Callable[[str, bytes], None]
"""Is told what else came: where, in words, and what."""


def _nothing(place: str, payload: bytes) -> None:
    """Nobody listens."""


def overhear_headers(answer: aiohttp.ClientResponse, overhear: Overhear) -> None:
    """Tell of each header of an answer, and of the words of its status."""
    if answer.reason:
        overhear("a status line", answer.reason.encode(errors="replace"))
    for name, value in answer.raw_headers:
        overhear("a header", name + b": " + value)


class Web:
    """HTTP to one origin. Belongs to the event loop it was made on. `at_once`: how many requests go over connections of
    their own at once, while more wait; 0: any number."""

    def __init__(self, url: str, *, at_once: int = _AT_ONCE) -> None:
        self.url = url.rstrip("/")
        self.name = without_parameters(self.url)
        """The URL as it may be shown."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=at_once, ttl_dns_cache=None, keepalive_timeout=_KEPT),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent",),
            cookie_jar=aiohttp.DummyCookieJar(),  # one user's cookies are nothing for another
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        overhear: Overhear = _nothing,
    ) -> tuple[int, bytes]:
        """Status and body of an answer, whatever the status. `overhear` is told of its headers. Raises `TargetError`
        where there is none."""
        async with self.stream(method, path, json=json, headers=headers, overhear=overhear) as answer:
            try:
                return answer.status, await _whole(answer)
            except (aiohttp.ClientError, OSError) as error:
                raise TargetError("disconnected", _words(error), definite=False) from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        overhear: Overhear = _nothing,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is still to come; closed at the end of the block. Raises `TargetError`."""
        answer = await self.begin(method, path, json=json, headers=headers)
        overhear_headers(answer, overhear)
        try:
            yield answer
        finally:
            answer.close()

    async def begin(
        self, method: str, path: str, *, json: Any = None, headers: dict[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """An answer whose body is still to come; the caller closes it. Raises `TargetError`
        (`unreachable`, `garbage`, `disconnected`)."""
        try:
            return await self._session.request(
                method,
                self.url + path,
                json=json,
                headers=headers,
                allow_redirects=False,  # what is secret in the headers is for this origin
            )
        except aiohttp.InvalidURL:
            raise TargetError("unreachable", f"{self.name}{path} is no URL") from None
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            raise TargetError("unreachable", f"{self.name} cannot be reached: {reason(error)}") from None
        except aiohttp.ClientResponseError as error:  # what came is no HTTP
            said = " ".join(error.message.replace("^", " ").split())
            raise TargetError("garbage", f"{method} {self.name}{path}: {said}", definite=False) from None
        except aiohttp.ClientPayloadError as error:
            raise TargetError("garbage", f"{method} {self.name}{path}: {_words(error)}", definite=False) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise TargetError("disconnected", f"{method} {self.name}{path}: {_words(error)}", definite=False) from None

    async def reach(self, path: str) -> tuple[int, bytes]:
        """What GET answers, with the beginning of the body: to see whether anybody is there. Raises `TargetError`, also
        where no answer comes in time (`timeout`)."""
        try:
            async with asyncio.timeout(_REACHING), self.stream("GET", path) as answer:
                return answer.status, b"" if answer.status < 400 else await answer.content.read(_QUOTED)
        except TimeoutError:
            raise TargetError("timeout", f"{self.name} takes connections, but answers nothing") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TargetError("disconnected", _words(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """Raises `TargetError` (`garbage`) where it is too large: a few kilobytes may unpack to any size."""
    parts: list[bytes] = []
    size = 0
    while part := await answer.content.readany():
        size += len(part)
        if size > LARGEST:
            raise TargetError("garbage", f"{answer.status}: {TOO_LARGE}", definite=False)
        parts.append(part)
    return b"".join(parts)


def reason(error: OSError) -> str:
    """What the system says: aiohttp wraps it in words of its own."""
    cause = getattr(error, "os_error", error)
    return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or _words(cause)


async def beginning(answer: aiohttp.ClientResponse) -> bytes:
    """The body of a refusal, as far as it is kept. Raises `TargetError` where it is cut off."""
    try:
        return await answer.content.read(_REFUSAL)
    except (aiohttp.ClientError, OSError) as error:
        raise TargetError("disconnected", f"{answer.status}: {_words(error)}", definite=False) from None


class _Problem(msgspec.Struct):
    code: str = "refused"
    detail: str = ""
    definite: bool | None = None


def raise_for_status(status: int, body: bytes) -> None:
    """Raise `TargetError` where `status` is not 2xx, with the code and words of its problem document. Without one, a
    server's own failure (5xx) leaves open what it did."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise TargetError("redirected", f"{status}: the target answers with a redirect, which is not followed")
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except UNREADABLE:
        problem = _Problem(detail=quoted(body))
    definite = problem.definite if problem.definite is not None else status < 500
    raise TargetError(problem.code, f"{status}: {problem.detail or quoted(body)}", definite=definite)


def quoted(body: bytes) -> str:
    """The beginning of an answer, for people, in one line."""
    return " ".join(body[:_QUOTED].decode(errors="replace").split()) or "(nothing)"


def _words(error: BaseException) -> str:
    """What an exception says, in one line."""
    return without_parameters(" ".join(str(error).split())) or type(error).__name__
