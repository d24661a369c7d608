"""Events as a program reads them, one after another, from a buffer with a bound.

A stream that is not read makes the client stop reading from the network for a moment, and if that does not help, the
stream *lags*: it takes no more events, and once its buffer is empty enough its place in the log is asked for again.
So a slow reader costs the server a repeated read, and nobody else anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

import msgspec

from goldenpath.client.errors import ClientClosed, Gap
from goldenpath.client.frames import decode_event
from goldenpath.client.resume import Reader
from goldenpath.wire import events as ev
from goldenpath.wire.commands import Cursor

OVERHEAD: Final = 256
"""What a buffered event takes beside its JSON, in bytes, about."""
SLACK: Final = 4 << 20
"""How far a buffer may go over its mark, in bytes: when reading stops, what was read from the network already still
comes. Beyond that a stream lags at once."""


class Delivery(NamedTuple):
    """An event with its place. `run_id` is None for the snapshot after a gap."""

    seq: int
    run_id: str | None
    event: ev.Event


class Flow(Protocol):
    """Who fills streams, and is told how full they are."""

    def full(self, stream: Stream) -> None:
        """The buffer is over its mark: stop reading."""
        ...

    def overfull(self, stream: Stream) -> None:
        """The buffer is far over its mark: this stream must lag."""
        ...

    def relieved(self, stream: Stream) -> None:
        """The buffer of a full or lagging stream is below half of its mark."""
        ...

    def closed(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        ...


class _Entry(NamedTuple):
    epoch: str
    seq: int
    run_id: str | None
    raw: msgspec.Raw
    size: int


class Stream:
    """One reader of one thread, filled by a `Feed`. `buffer` is the mark, in bytes."""

    def __init__(self, flow: Flow, thread_id: str, after: Cursor | None, buffer: int) -> None:
        self.thread_id = thread_id
        self.reader = Reader(after)
        self.is_lagging = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flow = flow
        self._mark = buffer
        self._entries: deque[_Entry | Gap] = deque()
        self._size = 0
        self._is_full = False
        self._waiter: asyncio.Future[None] | None = None
        self._end: Exception | None = None
        self._is_closed = False
        self._read = after

    @property
    def cursor(self) -> Cursor | None:
        """The place after the last event that was read: attaching after it gives exactly the rest. After a gap was
        raised, the place before it, until an event beyond it was read."""
        return self._read

    @property
    def is_full(self) -> bool:
        """Whether the buffer went over its mark, and not below half of it since."""
        return self._is_full

    @property
    def buffered_bytes(self) -> int:
        """About what the events that wait to be read take."""
        return self._size

    # --- what the feed does -------------------------------------------------------------------------------------

    def wants(self, run_id: str | None) -> bool:  # noqa: ARG002 - others are choosier
        """Whether events of this run (None: a snapshot) are for this stream."""
        return True

    def place(self, epoch: str, seq: int) -> None:
        """The subscription stands: this is "now" for a stream that reads from now."""
        self.reader.place(epoch, seq)
        if self._read is None or self._read.epoch is None:
            self._read = self.reader.cursor
        self.open()

    def open(self) -> None:
        """The server has accepted the subscription."""
        if not self.opened.done():
            self.opened.set_result(None)

    def put(self, epoch: str, seq: int, run_id: str | None, raw: msgspec.Raw) -> None:
        """Take an event in."""
        size = len(bytes(raw)) + OVERHEAD
        self._entries.append(_Entry(epoch, seq, run_id, raw, size))
        self._size += size
        self._wake()
        if self._size > self._mark:
            if not self._is_full:
                self._is_full = True
                self._flow.full(self)
            if self._size > self._mark + SLACK and not self.is_lagging:
                self._flow.overfull(self)

    def put_gap(self, gap: Gap) -> None:
        """Events are missing here."""
        self._entries.append(gap)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes; raised once what is buffered has been read."""
        if self._end is None:
            self._end = error
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # retrieved: a stream may be gone before anybody waits for it
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the program does ----------------------------------------------------------------------------------

    async def _next(self) -> _Entry:
        """The next event. Raises `Gap` once where events are missing, why the stream ended when it is empty, and
        StopAsyncIteration when the program closed it."""
        while not self._entries:
            if self._is_closed:
                raise StopAsyncIteration
            if self._end is not None:
                raise self._end
            if self._waiter is not None:
                raise RuntimeError("another task reads this stream")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        entry = self._entries.popleft()
        if isinstance(entry, Gap):
            raise entry
        self._read = Cursor(seq=entry.seq, epoch=entry.epoch)
        self._size -= entry.size
        if (self._is_full or self.is_lagging) and self._size <= self._mark // 2:
            self._is_full = False
            self._flow.relieved(self)
        return entry

    async def aclose(self) -> None:
        """Read no more. What the server does with the thread goes on. Harmless when repeated."""
        self._is_closed = True
        self._entries.clear()
        self._size = 0
        self.fail(ClientClosed())
        self._flow.closed(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class Attachment(Stream):
    """Every event of a thread, in order, each once, through any number of reconnects.

    `async for seq, run_id, event in attachment`. Raises `Gap` where events are missing; iterating on continues behind
    the gap, beginning with a MESSAGES_SNAPSHOT if `gap.snapshot`. Ends by raising: `ThreadDetached`, `ConnectionLost`,
    `RequestError`. Cancelling a read loses nothing. One task at a time may read.
    """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        entry = await self._next()
        return Delivery(entry.seq, entry.run_id, decode_event(entry.raw))


class Run(Stream):
    """One run, from its RUN_STARTED to its terminal event: `async for event in run`.

    Raises and reads as `Attachment`, except that a `Gap` is its end: the log no longer holds the whole run, what came
    of it says `Client.api.run_status` and the thread's messages. `status` is what the server said when it accepted, and
    `ended_with` the terminal event, None before it was read.
    """

    def __init__(
        self, flow: Flow, thread_id: str, run_id: str, status: str, cancel: Callable[[], Awaitable[object]], buffer: int
    ) -> None:
        super().__init__(flow, thread_id, None, buffer)
        self.run_id = run_id
        self.status = status
        self.ended_with: ev.RunFinished | ev.RunError | None = None
        self._cancel = cancel

    def wants(self, run_id: str | None) -> bool:
        return run_id == self.run_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ev.Event:
        if self.ended_with is not None:
            raise StopAsyncIteration
        try:
            entry = await self._next()
        except Gap:
            await self.aclose()
            raise
        event = decode_event(entry.raw)
        if isinstance(event, ev.RunFinished | ev.RunError):
            self.ended_with = event
            await self.aclose()
        return event

    async def wait(self) -> ev.RunFinished | ev.RunError:
        """Read to the end and return the terminal event; events on the way are dropped. Safe to cancel.

        Raises as reading does, and `ClientClosed` when the stream was closed before.
        """
        async for _ in self:
            pass
        if self.ended_with is None:
            raise ClientClosed
        return self.ended_with

    async def cancel(self) -> None:
        """Ask for the run's end. Its terminal event still comes. Harmless when it has ended."""
        await self._cancel()
