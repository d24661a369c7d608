"""What adapters over HTTP share: one client session, errors in the lab's words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from goldenpath.lab.target import TargetError

_AT_ONCE = 256
"""How many requests go over connections of their own at once; more wait."""


class Web:
    """HTTP to one origin. Belongs to the event loop it was made on."""

    def __init__(self, url: str, *, at_once: int = _AT_ONCE) -> None:
        self.url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=at_once, ttl_dns_cache=None),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent",),
        )

    async def request(
        self, method: str, path: str, *, json: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer, whatever the status. Raises `TargetError` where there is none."""
        async with self.stream(method, path, json=json, headers=headers) as answer:
            try:
                return answer.status, await answer.read()
            except (aiohttp.ClientError, OSError) as error:
                raise TargetError("disconnected", _words(error), definite=False) from None

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, json: Any = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is still to come. Raises `TargetError` (`unreachable`, `garbage`, `disconnected`)."""
        try:
            answer = await self._session.request(method, self.url + path, json=json, headers=headers)
        except aiohttp.InvalidURL:
            raise TargetError("unreachable", f"{self.url}{path} is no URL") from None
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            raise TargetError("unreachable", f"{self.url} cannot be reached: {_reason(error)}") from None
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            raise TargetError("garbage", f"{method} {path}: {_words(error)}", definite=False) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise TargetError("disconnected", f"{method} {path}: {_words(error)}", definite=False) from None
        try:
            yield answer
        finally:
            answer.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _reason(error: OSError) -> str:
    """What the system says: aiohttp wraps it in words of its own."""
    cause = getattr(error, "os_error", error)
    return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or _words(cause)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
