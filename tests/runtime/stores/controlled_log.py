"""A real store that fails, or waits, when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from goldenpath.runtime.interfaces import (
    Commit,
    LogStore,
    RunRow,
    Segment,
    StoreError,
    ThreadKey,
    ThreadRow,
    Unfinished,
)
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.wire.ids import Epoch, RunId, UserId

T = TypeVar("T")


class ControlledLog:
    """`LogStore` around another one. What it lets through, the other one does."""

    def __init__(self, store: LogStore) -> None:
        self.store = store
        self.in_memory = isinstance(store, MemoryLog)
        self.failing_commits = 0
        """How many of the next commits fail before they reach the store."""
        self.fault: Exception | None = None
        """What the next commits raise that no store may raise."""
        self.reads_fail = False
        self.commits: list[Commit] = []
        """Those that became durable."""
        self.attempts = 0
        self.reads: list[str] = []
        """The names of the reads that were asked for."""
        self.in_flight = asyncio.Event()
        """Whether a commit was handed in and has not returned."""
        self._commit_gate = asyncio.Event()
        self._commit_gate.set()
        self._read_gates: dict[str, tuple[asyncio.Event, bool]] = {}

    def hold_commits(self) -> None:
        """Keep commits from now on under way."""
        self._commit_gate.clear()

    def release_commits(self) -> None:
        self._commit_gate.set()

    def hold_read(self, name: str, *, before: bool = False) -> asyncio.Event:
        """Keep the next read `name` until the returned event is set: its answer, or with `before` the reading."""
        gate = asyncio.Event()
        self._read_gates[name] = (gate, before)
        return gate

    async def commit(self, commit: Commit) -> None:
        self.attempts += 1
        self.in_flight.set()
        try:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(commit), type=Commit)
            await self._commit_gate.wait()
            if self.fault is not None:
                raise self.fault
            if self.failing_commits:
                self.failing_commits -= 1
                raise StoreError("told to fail")
            await self.store.commit(commit)
            self.commits.append(kept)
        finally:
            self.in_flight.clear()

    async def _read(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.reads.append(name)
        gate, before = self._read_gates.pop(name, (None, False))
        if gate is not None and before:
            await gate.wait()
        if self.reads_fail:
            raise StoreError("told to fail")
        found = await call()
        if gate is not None:
            await gate.wait()
        return found

    async def recover(self) -> tuple[int, list[Unfinished]]:
        return await self._read("recover", self.store.recover)

    async def thread(self, key: ThreadKey) -> ThreadRow | None:
        return await self._read("thread", lambda: self.store.thread(key))

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        return await self._read("threads", lambda: self.store.threads(user_id, limit, before))

    async def run(self, epoch: Epoch, run_id: RunId) -> RunRow | None:
        return await self._read("run", lambda: self.store.run(epoch, run_id))

    async def runs(self, epoch: Epoch, limit: int) -> list[RunRow]:
        return await self._read("runs", lambda: self.store.runs(epoch, limit))

    async def segments(self, epoch: Epoch, after: int, max_bytes: int) -> list[Segment]:
        return await self._read("segments", lambda: self.store.segments(epoch, after, max_bytes))

    async def messages(self, epoch: Epoch) -> list[bytes]:
        return await self._read("messages", lambda: self.store.messages(epoch))

    async def oversized(self, max_bytes: int) -> list[Epoch]:
        return await self._read("oversized", lambda: self.store.oversized(max_bytes))

    async def retain(self, before: float, epochs: Sequence[Epoch], max_bytes: int) -> list[tuple[Epoch, int]]:
        return await self._read("retain", lambda: self.store.retain(before, epochs, max_bytes))
