"""The client's tokens: which one is valid, when to renew it, and renewing it once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from goldenpath.client.errors import ConnectionLost
from goldenpath.client.reconnect import Backoff
from goldenpath.clock import Clock
from goldenpath.wire.answers import Tokens
from goldenpath.wire.errors import RequestError


class TokenKeeper:
    """Holds the tokens of one user.

    `renew` trades a refresh token for new tokens, `log_in` starts again where that is refused (None: it cannot).
    Renewing runs once for all who wait for it, and goes on when one of them is cancelled.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        renew: Callable[[str], Awaitable[Tokens]],
        log_in: Callable[[], Awaitable[Tokens]] | None = None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._renew = renew
        self._log_in = log_in
        self._access: str | None = None
        self._refresh: str | None = None
        self._expires_at: float | None = None
        self._due_at: float | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.renewals = 0
        self.on_change: Callable[[str], None] | None = None
        """Called with every new access token."""

    @property
    def access(self) -> str | None:
        """The present access token, valid or not; None before a login and after a logout."""
        return self._access

    @property
    def can_renew(self) -> bool:
        """Whether there is any way to another access token."""
        return self._refresh is not None or self._log_in is not None

    @property
    def due_at(self) -> float | None:
        """When to renew, in monotonic seconds: when three quarters of the life are over, or 90 s before the end,
        whichever is later. None where that is not known or not possible."""
        return self._due_at if self.can_renew else None

    def set(self, access: str, refresh: str | None = None) -> None:
        """Take tokens whose life is not known."""
        self._access, self._refresh = access, refresh
        self._expires_at = self._due_at = None

    def adopt(self, tokens: Tokens) -> None:
        """Take the tokens of a login or a renewal."""
        self._access, self._refresh = tokens.access_token, tokens.refresh_token
        now = self._clock.monotonic()
        self._expires_at = now + tokens.expires_in
        self._due_at = self._expires_at - min(90.0, tokens.expires_in / 4)
        if self.on_change is not None:
            self.on_change(tokens.access_token)

    def forget(self) -> None:
        """After a logout."""
        self._access = self._refresh = self._log_in = self._expires_at = self._due_at = None

    def expires_in(self, seconds: float) -> None:
        """The server says how long the present token still lives. Half of that is waited, so that tokens which live
        shorter than the server's notice are not renewed without pause."""
        now = self._clock.monotonic()
        self._expires_at = now + seconds
        due = now + seconds / 2
        self._due_at = due if self._due_at is None else min(self._due_at, due)

    async def valid(self) -> str:
        """An access token that has not expired yet, as far as is known. Raises as `renew` does."""
        if self._access is None or (self._expires_at is not None and self._clock.monotonic() >= self._expires_at):
            await self.renew(self._access)
        if self._access is None:
            raise RequestError("unauthorized", "log in first")
        return self._access

    async def renew(self, used: str | None) -> None:
        """Get another token than `used`; does nothing if there is one already. Safe to cancel.

        Raises `RequestError` (`unauthorized`) when there is no way to one, `ConnectionLost` when the server cannot be
        reached.
        """
        if self._access != used:
            return
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_once(), name="token renewal")
            self._renewing.add_done_callback(self._renewed)
        await asyncio.shield(self._renewing)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody else needs to hear of it

    async def _renew_once(self) -> None:
        tokens: Tokens | None = None
        if self._refresh is not None:
            try:
                tokens = await self._persistently(self._refresh)
            except RequestError as error:
                if error.code != "unauthorized" or self._log_in is None:
                    raise
        if tokens is None:
            if self._log_in is None:
                raise RequestError(
                    "unauthorized", "the access token is not valid any more, and there is no other way in"
                )
            tokens = await self._log_in()
        self.renewals += 1
        self.adopt(tokens)

    async def _persistently(self, refresh: str) -> Tokens:
        # When an answer is lost, the refresh token is spent: the server repeats its answer for 5 s only.
        backoff = Backoff(base=0.1, cap=1.0)
        for attempt in range(4):
            try:
                return await self._renew(refresh)
            except ConnectionLost:
                await self._clock.sleep(backoff.delay(attempt, self._random))
        return await self._renew(refresh)

    async def aclose(self) -> None:
        """Stop a renewal that is going on."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
