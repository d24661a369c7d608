"""Fetching small documents over HTTP, with a bound on time and size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from goldenpath.runtime.auth.key_source import FetchError, FetchTimeout

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = 5.0
"""Seconds for one fetch, from the look-up of the name to the last byte."""
MAX_BYTES: Final = 512 * 1024


class HttpDocuments:
    """Fetches documents; its connections are opened at the first one. Belongs to one event loop."""

    def __init__(self, *, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def fetch(self, url: str) -> bytes:
        """The document at `url`. Redirects are not followed. Raises `FetchError`; cancelling is safe."""
        client = await self._open()
        import httpx  # noqa: PLC0415 - loaded by _open

        try:
            async with asyncio.timeout(self._timeout), client.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    raise FetchError(f"HTTP status {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise FetchError(f"more than {MAX_BYTES} bytes")
        except TimeoutError:
            raise FetchTimeout(f"no answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(type(error).__name__) from None
        return bytes(body)

    async def _open(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:  # loading httpx and the certificates takes 400 ms
                self._client = await asyncio.to_thread(_client, self._timeout)
            return self._client

    async def close(self) -> None:
        """Close the connections. Harmless when repeated."""
        async with self._opening:
            if self._client is not None:
                client, self._client = self._client, None
                await client.aclose()


def _client(timeout: float) -> httpx.AsyncClient:
    import httpx  # noqa: PLC0415

    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, headers={"Accept": "application/json"})
