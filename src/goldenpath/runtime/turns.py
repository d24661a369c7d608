"""Heavy work that users ask for, one piece at a time for each user, with pauses as long as the work.

A whole history takes the event loop for as long as it is large. However many a user asks for at once, on however many
connections, they take at most half of the loop, and between two of them everybody else has a turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from goldenpath.clock import Clock
from goldenpath.wire.ids import UserId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REMEMBERED: Final = 1024
"""Of how many users that ask for nothing now the end of the pause is remembered."""


class _Turn:
    __slots__ = ("asking", "free_at", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.asking = 0
        self.free_at = 0.0


class Turns:
    """Belongs to one event loop. Cancelling who waits, or works, is safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._users: OrderedDict[UserId, _Turn] = OrderedDict()

    @asynccontextmanager
    async def turn(self, user_id: UserId) -> AsyncIterator[None]:
        """Wait for this user's turn; the work is done in the block."""
        turn = self._users.setdefault(user_id, _Turn())
        self._users.move_to_end(user_id)
        turn.asking += 1
        try:
            async with turn.lock:
                pause = turn.free_at - self._clock.monotonic()
                if pause > 0:
                    await self._clock.sleep(pause)
                began = self._clock.monotonic()
                try:
                    yield
                finally:
                    now = self._clock.monotonic()
                    turn.free_at = 2 * now - began
        finally:
            turn.asking -= 1
            self._forget()

    def _forget(self) -> None:
        """Keep those that ask, and the latest of the others."""
        while len(self._users) > REMEMBERED:
            user_id, turn = next(iter(self._users.items()))
            if turn.asking:
                return
            del self._users[user_id]
