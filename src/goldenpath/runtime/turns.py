"""Heavy work that users ask for, one piece at a time for each user, with pauses as long as the work.

A whole history takes the event loop for as long as it is large. However many a user asks for at once, on however many
connections, they take at most half of the loop, and between two of them everybody else has a turn. Beyond a bound
nobody waits: who asks for more is refused.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from goldenpath.clock import Clock
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import UserId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LONG: Final = 64 * 1024
"""Reading so many bytes of JSON is such work, too: a megabyte of empty lists takes 60 ms."""
MAX_WAITING: Final = 64
"""How many pieces of one user's work may wait; a socket asks for one at a time, so only a flood of calls has more."""
REMEMBERED: Final = 1024
"""Of how many users that ask for nothing now the end of the pause is remembered."""


class TurnStatistics(msgspec.Struct, frozen=True):
    """What all users' turns come to."""

    working: int
    """Pieces of work that are being done."""
    waiting: int
    """Those that wait for their turn."""
    taken: int
    """Turns that were taken."""
    refused: int
    """Pieces that were refused, because too many of the user's waited."""


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
        self._asking = self._working = self._taken = self._refused = 0

    def statistics(self) -> TurnStatistics:
        return TurnStatistics(self._working, self._asking - self._working, self._taken, self._refused)

    @asynccontextmanager
    async def turn(self, user_id: UserId) -> AsyncIterator[None]:
        """Wait for this user's turn; the work is done in the block. Raises `RequestError` (`rate_limited`) where too
        much of the user's work waits already."""
        turn = self._users.setdefault(user_id, _Turn())
        if turn.asking > MAX_WAITING:
            self._refused += 1
            raise RequestError("rate_limited", "too many of your calls for histories wait already", retry_after=1.0)
        with self._asked(user_id, turn):
            async with turn.lock, self._paced(turn):
                yield

    @asynccontextmanager
    async def ahead(self, user_id: UserId) -> AsyncIterator[None]:
        """The turn of a run of this user's: it waits for the pause, but for nobody in the row, and is never refused,
        because admission bounds the runs. The work in the block does not wait for anything."""
        turn = self._users.setdefault(user_id, _Turn())
        with self._asked(user_id, turn):
            async with self._paced(turn):
                yield

    @contextmanager
    def _asked(self, user_id: UserId, turn: _Turn) -> Iterator[None]:
        self._users.move_to_end(user_id)
        turn.asking += 1
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            turn.asking -= 1
            self._forget()

    @asynccontextmanager
    async def _paced(self, turn: _Turn) -> AsyncIterator[None]:
        """Wait for the end of the pause, and begin another one after the block."""
        while (pause := turn.free_at - self._clock.monotonic()) > 0:  # a run may have gone ahead meanwhile
            await self._clock.sleep(pause)
        began = self._clock.monotonic()
        self._working += 1
        self._taken += 1
        try:
            yield
        finally:
            self._working -= 1
            now = self._clock.monotonic()
            turn.free_at = max(turn.free_at, 2 * now - began)

    def _forget(self) -> None:
        """Keep those that ask, and the latest of the others."""
        while len(self._users) > REMEMBERED:
            user_id, turn = next(iter(self._users.items()))
            if turn.asking:
                return
            del self._users[user_id]
