"""A user's login, which all viewers of the user share, and which is renewed before it ends: long runs keep their
connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

RENEW_BEFORE: Final = 60.0
"""Seconds before a login ends, at which the user logs in again."""
_SHARE: Final = 0.2
"""Of the time that it is good for: no earlier than this much before its end, where that is later."""
_SOONEST: Final = 0.5
"""Seconds: no login is renewed earlier, however short it is good for."""


class Login:
    """What the viewers share."""

    def __init__(self) -> None:
        self.times = 0
        """How often the user has logged in."""
        self.viewers: set[Renewal] = set()
        """Those that have not left."""


class Renewal:
    """One viewer's part. `log_in` logs the user in again, `refresh` tells the viewer's connection of it; neither may
    raise."""

    def __init__(
        self, login: Login, log_in: Callable[[], Awaitable[None]], refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self.login = login
        self._log_in = log_in
        self._refresh = refresh
        self._due: asyncio.TimerHandle | None = None
        self._task: asyncio.Future[None] | None = None
        login.viewers.add(self)

    def logged_in(self, good_for: float | None) -> None:
        """The user has logged in from here, for so many seconds; None: not known, or for ever."""
        self.login.times += 1
        if good_for is not None:
            due = max(_SOONEST, good_for - min(RENEW_BEFORE, _SHARE * good_for))
            self._due = asyncio.get_running_loop().call_later(due, self._spawn, self._renew)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(work())

    async def _renew(self) -> None:
        times = self.login.times
        await self._log_in()
        if self.login.times == times:
            return  # it is recorded; the connections end with their token then
        for viewer in self.login.viewers - {self}:
            viewer.refresh_soon()
        await self._refresh()

    def refresh_soon(self) -> None:
        """Another viewer has logged the user in again."""
        self._spawn(self._refresh)

    def end(self) -> None:
        """The viewer leaves."""
        self.login.viewers.discard(self)
        if self._due is not None:
            self._due.cancel()
        if self._task is not None:
            self._task.cancel()
