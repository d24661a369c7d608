"""Where the keys of an identity provider come from, and when they are fetched again.

Keys are fetched at the first token, again in the background when they are old, and at once for a key id that is not
among them (providers rotate keys), but not twice within `COOLDOWN` seconds: tokens with made-up key ids must not
turn into a flood against the provider. Callers that need the same fetch share it. When the provider is down, the keys
that are there stay good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.auth.key_set import BadKeySet, KeySet
from goldenpath.wire.errors import GoldenpathError, RequestError

_logger = structlog.get_logger("goldenpath.auth")

COOLDOWN: Final = 5.0
MAX_AGE: Final = 600.0


class FetchError(GoldenpathError):
    """A document that could not be fetched; the message names the reason, not the document."""


class FetchTimeout(FetchError):
    """The answer did not come in time."""


Fetch = Callable[[str], Awaitable[bytes]]
"""Gets the document at a URL. Raises `FetchError`; ends by itself within seconds."""


class KeySource:
    """The keys at one `url` for `algorithms`. Belongs to one event loop; `find` may be called concurrently, and
    cancelling it harms nobody else's call."""

    def __init__(self, url: str, algorithms: tuple[str, ...], fetch: Fetch, clock: Clock) -> None:
        self._url = url
        self._algorithms = algorithms
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._failed = False
        self._flight: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The key object that verifies `algorithm` under `kid`; None when the provider has no such key.

        Raises `RequestError` `upstream_unavailable` when that cannot be known because the provider does not answer.
        """
        key = self._known(kid, algorithm)
        if key is not None:
            if self._clock.monotonic() - self._fetched_at > MAX_AGE:
                self._refetch()
            return key
        self._refetch()
        await self._landed()
        key = self._known(kid, algorithm)
        if key is None and self._failed:
            wait = max(1.0, self._tried_at + COOLDOWN - self._clock.monotonic())
            raise RequestError("upstream_unavailable", "The identity provider does not answer.", retry_after=wait)
        return key

    def _known(self, kid: str | None, algorithm: str) -> Any | None:
        return None if self._keys is None else self._keys.find(kid, algorithm)

    def _refetch(self) -> None:
        """Begin a fetch unless one is under way or was begun a moment ago."""
        now = self._clock.monotonic()
        if self._flight is None and now - self._tried_at >= COOLDOWN:
            self._tried_at = now
            self._flight = asyncio.get_running_loop().create_task(self._fly())

    async def _fly(self) -> None:
        self._failed = True  # until it has not
        try:
            self._keys = KeySet.read(await self._fetch(self._url), self._algorithms)
        except (FetchError, BadKeySet) as error:
            _logger.warning("keys_not_fetched", url=self._url, why=str(error))
        else:
            self._failed = False
            self._fetched_at = self._clock.monotonic()
        finally:
            self._flight = None

    async def _landed(self) -> None:
        if self._flight is not None:
            await asyncio.wait([self._flight])

    async def close(self) -> None:
        """Abandon the fetch under way. Harmless when repeated."""
        if self._flight is not None:
            flight = self._flight
            flight.cancel()
            await asyncio.wait([flight])
