"""Whose run is next where only so many can go on at once: users take turns, however much each of them wants."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Places for runs. Belongs to one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By user, in the order of their turns."""

    async def take(self, user: str) -> None:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        await turn

    def give_back(self) -> None:
        """A place is free: it goes to the user who has waited longest for a turn, who then is the last in line."""
        while self._waiting:
            user = next(iter(self._waiting))
            waiting = self._waiting.pop(user)
            turn = waiting.popleft()
            if waiting:
                self._waiting[user] = waiting
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._free += 1
