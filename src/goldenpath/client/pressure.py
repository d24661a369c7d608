"""Back-pressure: what happens when streams are not read.

Reading from the network stops at once, because most readers are only a little behind, and goes on when they have caught
up. It cannot stop for long, since replies, token notices and the other streams come over the same connection: after
`patience` seconds, or as soon as a reply is needed, the full streams are made to lag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from goldenpath.client.socket import Socket
from goldenpath.client.statistics import ClientStatistics
from goldenpath.client.stream import Stream
from goldenpath.clock import Clock


class Pressure:
    """The full streams of one connection. `lag` is told which stream has to lag."""

    def __init__(self, clock: Clock, patience: float, counts: ClientStatistics, lag: Callable[[Stream], None]) -> None:
        self._clock = clock
        self._patience = patience
        self._counts = counts
        self._lag = lag
        self._full: set[Stream] = set()
        self._socket: Socket | None = None
        self._impatience: asyncio.Task[None] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read at the moment."""
        return self._impatience is not None

    def connected(self, socket: Socket) -> None:
        """Reading begins on a new connection."""
        self._socket = socket

    def disconnected(self) -> None:
        """What was full has lagged behind: it shall not be asked for again before it is read."""
        self._socket = None
        self.relent()

    def full(self, stream: Stream) -> None:
        """Stop reading, for a while."""
        self._full.add(stream)
        if self._socket is not None and self._impatience is None:
            self._counts.pauses += 1
            self._socket.pause()
            self._impatience = asyncio.create_task(self._lose_patience(), name="goldenpath client patience")

    async def _lose_patience(self) -> None:
        await self._clock.sleep(self._patience)
        self._impatience = None
        self.relent()

    def relent(self) -> None:
        """Read on, without the streams that are full."""
        for stream in tuple(self._full):
            self._lag(stream)
        self._full.clear()
        self._read_on()

    def forget(self, stream: Stream) -> None:
        """A stream is not full any more, or lags."""
        if stream in self._full:
            self._full.remove(stream)
            if not self._full:
                self._read_on()

    def _read_on(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
        if self._socket is not None:
            self._socket.resume()

    def close(self) -> None:
        """Stop waiting."""
        if self._impatience is not None:
            self._impatience.cancel()
