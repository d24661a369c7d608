"""The log in memory: for tests, and for a server without a disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from typing import TypeVar

import msgspec

from goldenpath.runtime.interfaces import (
    Commit,
    JournalEntry,
    RunRow,
    Segment,
    StoreError,
    ThreadKey,
    ThreadRow,
    Unfinished,
)
from goldenpath.runtime.run_states import ENDED
from goldenpath.wire.ids import Epoch, RunId, UserId

E = TypeVar("E", JournalEntry, Segment)


class _Kept(msgspec.Struct):
    """A segment, with what retention asks for. `size` counts a line break between events, as a file would."""

    segment: Segment
    created_at: float
    size: int


class _Log:
    """Everything that is stored under one epoch."""

    __slots__ = ("messages", "runs", "segments")

    def __init__(self) -> None:
        self.runs: dict[RunId, RunRow] = {}
        self.segments: list[_Kept] = []
        self.messages: list[bytes] = []

    def unfinished(self) -> list[RunRow]:
        """The runs without a terminal event, in the order in which they were accepted."""
        return [run for run in self.runs.values() if run.status not in ENDED]


class MemoryLog:
    """`LogStore` without a file. Rows are copied on the way in and out. A call never waits, so none sees half a commit.

    What it holds outlives no process; apart from that it does what `SqliteLog` does, duplicates refused included.
    """

    def __init__(self) -> None:
        self._threads: dict[ThreadKey, ThreadRow] = {}
        self._of_user: defaultdict[UserId, set[ThreadKey]] = defaultdict(set)
        self._keys: dict[Epoch, ThreadKey] = {}
        self._logs: defaultdict[Epoch, _Log] = defaultdict(_Log)
        self._journal: dict[int, list[JournalEntry]] = {}

    async def commit(self, commit: Commit) -> None:
        self._check(commit)
        for epoch in commit.deleted:
            self._delete(epoch)
        for thread in commit.threads:
            self._put_thread(thread)
        for run in commit.runs:
            self._logs[run.epoch].runs[run.run_id] = copy(run)
        if commit.journal:
            self._journal[commit.number] = [_copied(entry) for entry in commit.journal]
        for segment in commit.segments:
            kept = _Kept(_copied(segment), commit.now, sum(map(len, segment.events)) + len(segment.events) - 1)
            self._logs[segment.epoch].segments.append(kept)
        for rows in commit.messages:
            self._logs[rows.epoch].messages[rows.position :] = rows.messages
        if commit.trim_journal:
            for number in [number for number in self._journal if number < commit.trim_journal]:
                del self._journal[number]

    def _check(self, commit: Commit) -> None:
        """Refuse a commit that would store something twice, before anything of it is stored."""
        if commit.journal and commit.number in self._journal:
            raise StoreError(f"the journal has commit {commit.number} already")
        for thread in commit.threads:
            key = self._keys.get(thread.epoch)
            if key not in (None, thread.key) and thread.epoch not in commit.deleted:
                raise StoreError(f"epoch {thread.epoch} is another thread's")
        places: dict[Epoch, set[int]] = {}
        for segment in commit.segments:
            taken = places.get(segment.epoch)
            if taken is None:
                known = () if segment.epoch in commit.deleted else self._segments(segment.epoch)
                taken = places[segment.epoch] = {kept.segment.first_seq for kept in known}
            if segment.first_seq in taken:
                raise StoreError(f"epoch {segment.epoch} has a segment from {segment.first_seq} on already")
            taken.add(segment.first_seq)

    def _delete(self, epoch: Epoch) -> None:
        self._logs.pop(epoch, None)
        key = self._keys.pop(epoch, None)
        if key is not None:
            del self._threads[key]
            self._of_user[key.user_id].discard(key)
            if not self._of_user[key.user_id]:
                del self._of_user[key.user_id]

    def _put_thread(self, thread: ThreadRow) -> None:
        known = self._threads.get(thread.key)
        if known is not None:
            thread = msgspec.structs.replace(
                thread, epoch=known.epoch, created_at=known.created_at, floor=max(known.floor, thread.floor)
            )
        self._threads[thread.key] = copy(thread)
        self._keys[thread.epoch] = thread.key
        self._of_user[thread.key.user_id].add(thread.key)

    def _segments(self, epoch: Epoch) -> list[_Kept]:
        log = self._logs.get(epoch)
        return log.segments if log is not None else []

    async def recover(self) -> tuple[int, list[Unfinished]]:
        unfinished: dict[Epoch, Unfinished] = {}
        segmented: dict[Epoch, int] = {}
        for epoch, log in self._logs.items():
            runs = log.unfinished()
            if runs:
                ids = {run.run_id for run in runs}
                first = min((kept.segment.first_seq for kept in log.segments if kept.segment.run_id in ids), default=0)
                thread = self._threads[self._keys[epoch]]
                unfinished[epoch] = Unfinished(copy(thread), [copy(run) for run in runs], first, [])
                segmented[epoch] = max((kept.segment.last_seq for kept in log.segments), default=0)
        for _, entries in sorted(self._journal.items()):
            for entry in entries:
                if entry.epoch in unfinished and entry.first_seq > segmented[entry.epoch]:
                    unfinished[entry.epoch].journal.append(_copied(entry))
        return max(self._journal, default=0), list(unfinished.values())

    async def thread(self, key: ThreadKey) -> ThreadRow | None:
        return copy(self._threads.get(key))

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        keys = self._of_user.get(user_id, ())
        places = [((self._threads[key].updated_at, str(key.thread_id)), key) for key in keys]
        places = [place for place in places if before is None or place[0] < before]
        return [copy(self._threads[key]) for _, key in sorted(places, reverse=True)[:limit]]

    async def run(self, epoch: Epoch, run_id: RunId) -> RunRow | None:
        log = self._logs.get(epoch)
        return copy(log.runs.get(run_id)) if log is not None else None

    async def runs(self, epoch: Epoch, limit: int) -> list[RunRow]:
        log = self._logs.get(epoch)
        return [copy(run) for run in list(log.runs.values())[-limit:]] if log is not None and limit else []

    async def segments(self, epoch: Epoch, after: int, max_bytes: int) -> list[Segment]:
        found: list[Segment] = []
        size = 0
        for kept in self._segments(epoch):
            if kept.segment.last_seq > after:
                found.append(_copied(kept.segment))
                size += kept.size
                if size >= max_bytes:
                    break
        return found

    async def messages(self, epoch: Epoch) -> list[bytes]:
        log = self._logs.get(epoch)
        return list(log.messages) if log is not None else []

    async def oversized(self, max_bytes: int) -> list[Epoch]:
        return [epoch for epoch, log in self._logs.items() if sum(kept.size for kept in log.segments) > max_bytes]

    async def retain(self, before: float, epochs: Sequence[Epoch], max_bytes: int) -> list[tuple[Epoch, int]]:
        grown = set(epochs)
        lost: list[tuple[Epoch, int]] = []
        for epoch, log in self._logs.items():
            floor = max((kept.segment.last_seq + 1 for kept in log.segments if kept.created_at < before), default=0)
            held = 0
            for kept in reversed(log.segments if epoch in grown else ()):
                held += kept.size
                if held > max_bytes:
                    floor = max(floor, kept.segment.last_seq + 1)
                    break
            unfinished = {run.run_id for run in log.unfinished()}
            for kept in log.segments:
                if kept.segment.run_id in unfinished:
                    floor = min(floor, kept.segment.first_seq)
                    break
            left = [kept for kept in log.segments if kept.segment.last_seq >= floor]
            if len(left) < len(log.segments):
                log.segments = left
                thread = self._threads[self._keys[epoch]]
                thread.floor = max(thread.floor, floor)
                lost.append((epoch, floor))
        return lost


def _copied(item: E) -> E:
    return msgspec.structs.replace(item, events=list(item.events))
