"""Whose run is next where only so many can go on at once: users take turns, however much each of them wants, and nobody
has more than half of the places."""

from __future__ import annotations

import asyncio
from collections import Counter, deque


class Turns:
    """Places for runs. Belongs to one event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self.most = (places + 1) // 2
        """How many places one user may have."""
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By user, in the order of their turns."""

    async def take(self, user: str) -> None:
        """Wait for a place."""
        if self._free and self._taken[user] < self.most:
            self._give(user)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        await turn

    def give_back(self, user: str) -> None:
        """A user's place is free: it goes to whoever has waited longest for a turn, who then is the last in line."""
        self._free += 1
        self._taken[user] -= 1
        for each in list(self._waiting):
            if self._taken[each] >= self.most:
                continue
            waiting = self._waiting.pop(each)
            turn = waiting.popleft()
            while turn.cancelled() and waiting:
                turn = waiting.popleft()
            if waiting:
                self._waiting[each] = waiting
            if not turn.cancelled():
                self._give(each)
                turn.set_result(None)
                return

    def _give(self, user: str) -> None:
        self._free -= 1
        self._taken[user] += 1
