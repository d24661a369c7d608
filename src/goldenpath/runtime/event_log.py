"""All logs of the process: opening them, appending to them, reading them, keeping them within their limits.

What is in memory is in the `LogCache`; what was appended goes to disk by the `GroupCommit`, which makes it visible.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import (
    JournalEntry,
    LogStore,
    MessageRows,
    RunRow,
    StoreError,
    ThreadKey,
    ThreadRow,
    Unfinished,
)
from goldenpath.runtime.log_cache import LogCache
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import Batch, Follower, LogDeletedError, ThreadLog, clip
from goldenpath.runtime.turns import Turns
from goldenpath.wire.events import decode_message, encode
from goldenpath.wire.ids import new_epoch
from goldenpath.wire.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOAD_PAUSE: Final = 1.0
"""How long to wait before a history that could not be read is tried again, in seconds."""

_logger = structlog.get_logger("goldenpath.event_log")


class EventLogStatistics(msgspec.Struct, frozen=True):
    """What the event log holds now and has done since the start."""

    logs: int
    """Logs in memory."""
    idle_logs: int
    """Those of them that nobody uses, kept for those who come back."""
    idle_bytes: int
    """Bytes that these weigh."""
    bytes: int
    """Bytes of events in memory."""
    followers: int
    """Subscriptions and SSE streams."""
    commits: int
    """Commits that became durable."""
    events: int
    """Events in them."""
    failures: int
    """Commits that failed; each is tried again."""
    last_commit_duration: float
    """Seconds that the last commit took."""
    healthy: bool
    """0 while commits fail."""


class EventLog:
    """Every log that is in memory, and the way to disk.

    Belongs to one event loop. Cancelling a caller that waits loses nothing: what was appended is committed anyway.
    """

    def __init__(self, store: LogStore, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._cache = LogCache(store, settings.cache_bytes)
        self._commits = GroupCommit(store, clock, settings, shown=self._cache.rest, gone=self._cache.gone)
        self._histories = Turns(clock)
        self._retention: asyncio.Task[None] | None = None
        self._knows_oversized = False
        """Whether those logs are known to retention that are over its limit since before the start."""

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> list[Unfinished]:
        """Start committing. Returns what an earlier process left unfinished: the caller ends those runs, each within
        `recovering`; until then everybody else waits for those threads."""
        number, unfinished = await self._store.recover()
        loop = asyncio.get_running_loop()
        self._cache.unrecovered = {left.thread.key: loop.create_future() for left in unfinished}
        self._commits.keeps_journal = bool(unfinished)
        self._commits.start(number)
        self._retention = asyncio.create_task(self._retention_loop(), name="goldenpath-retention")
        return unfinished

    async def stop(self) -> None:
        """Commit what is pending, then stop. Nothing may be appended afterwards. Raises `StoreError` where something
        could not be written."""
        for recovered in self._cache.unrecovered.values():
            if not recovered.done():
                recovered.set_result(None)
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
        await self._commits.stop()

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to commit succeeded."""
        return self._commits.healthy

    def statistics(self) -> EventLogStatistics:
        return EventLogStatistics(
            logs=len(self._cache.logs),
            idle_logs=self._cache.idle_count,
            idle_bytes=self._cache.idle_bytes,
            bytes=sum(log.size for log in self._cache.logs.values()),
            followers=sum(len(log.followers) for log in self._cache.logs.values()),
            commits=self._commits.commits,
            events=self._commits.events,
            failures=self._commits.failures,
            last_commit_duration=self._commits.last_duration,
            healthy=self._commits.healthy,
        )

    # --- opening ------------------------------------------------------------------------------------------------------

    def active(self, key: ThreadKey) -> ThreadLog | None:
        """The log if it is in memory; None says nothing about the store."""
        return self._cache.logs.get(key)

    @asynccontextmanager
    async def open(self, key: ThreadKey) -> AsyncIterator[ThreadLog | None]:
        """The log of an existing thread, or None; it stays in memory while the context is open."""
        log = await self._cache.load(key)
        if log is None:
            yield None
            return
        self.pin(log)
        try:
            if not log.durable:
                await self.committed()
            yield log if log.durable and not log.deleted else None
        finally:
            self.unpin(log)

    @asynccontextmanager
    async def create(self, key: ThreadKey) -> AsyncIterator[ThreadLog]:
        """The log of a thread, made now if there is none; it stays in memory while the context is open.

        A made log exists for others once a run was accepted into it and committed (`accept`)."""
        log = await self._cache.load(key) or self._cache.logs.get(key)
        if log is None:
            now = self._clock.time()
            log = ThreadLog(ThreadRow(key, new_epoch(now), now, now), durable=False)
            log.transcript = Transcript()
            self._cache.logs[key] = log
        self.pin(log)
        try:
            yield log
        finally:
            self.unpin(log)

    def pin(self, log: ThreadLog) -> None:
        """Keep `log` in memory until `unpin`."""
        self._cache.pin(log)

    def unpin(self, log: ThreadLog) -> None:
        """Undo one `pin`."""
        self._cache.unpin(log)

    def subscribe(self, follower: Follower) -> None:
        """Let `follower` be told of what becomes visible; its log stays in memory. The log is pinned by the caller.

        Raises `LogDeletedError`: nothing would ever come.
        """
        if follower.log.deleted:
            raise LogDeletedError(follower.log.key.thread_id)
        self.pin(follower.log)
        follower.log.followers[follower] = None

    def unsubscribe(self, follower: Follower) -> None:
        """Undo `subscribe`. Harmless when repeated, or when the log was deleted."""
        if follower.log.followers.pop(follower, follower) is None:
            self.unpin(follower.log)

    # --- appending ----------------------------------------------------------------------------------------------------

    def touch(self, log: ThreadLog) -> None:
        """Say that something was appended to `log`: it goes with the next commit. Cheap when repeated."""
        self._commits.touch(log)

    def save(self, log: ThreadLog, run: RunRow | None = None) -> None:
        """Store the thread's row, and `run`'s, with the next commit."""
        self._commits.save(log, run)

    def finish(self, log: ThreadLog, run: RunRow) -> None:
        """Store the end of a run whose terminal event was just appended: its events, its messages and its row."""
        if log.deleted:
            return
        self._commits.segment(log)
        log.fold(log.head)
        transcript = log.transcript
        if transcript is not None:
            if transcript.is_dirty:
                position = transcript.dirty_from
                bodies = [encode(message) for message in transcript.tail(position)]
                self._commits.write_messages(MessageRows(log.epoch, position, bodies))
            transcript.mark_clean()
            log.message_count = len(transcript)
            log.history_bytes = transcript.size_bytes
        log.updated_at = self._clock.time()
        self.save(log, run)

    async def committed(self) -> None:
        """Wait until everything appended and saved so far is durable."""
        await self._commits.committed()

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the loop, once everything appended and saved so far is durable. It must not raise."""
        self._commits.when_committed(callback)

    async def room(self, log: ThreadLog) -> None:
        """Wait until the next commit made something of `log` visible: what an agent too far ahead of the disk does."""
        if log.deleted:
            raise LogDeletedError(log.key.thread_id)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        log.waiters.append(future)
        await future

    def delete(self, log: ThreadLog) -> None:
        """Remove a thread and everything of it: at once for everybody in this process, on disk with the next commit."""
        if log.deleted:
            return
        log.deleted = True
        self._cache.forget(log)
        self._commits.delete(log)
        for follower in list(log.followers):
            follower.on_deleted()
        log.followers.clear()
        log.commit(log.head, log.segmented)  # wakes the agents that wait for room; their next append is refused

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, log: ThreadLog, after: int, max_bytes: int) -> Batch | None:
        """The next visible events after `after`, from memory or from the store.

        None when there are none, or when retention removed them (`log.lost` then says so).
        """
        if after >= log.visible:
            return None
        batch = log.read(after, max_bytes)
        if batch is not None:
            return batch
        for segment in await self._store.segments(log.epoch, after, 1):  # one: a batch is of one run
            start = after + 1 - segment.first_seq
            if start < 0:  # what lay between was removed
                log.floor = max(log.floor, segment.first_seq)
                return None
            stop = log.visible - segment.first_seq + 1
            return Batch(after + 1, segment.run_id, clip(segment.events[start:stop], max_bytes))
        # What is neither in memory nor in a segment was removed, also where the row that was read said otherwise.
        log.floor = max(log.floor, log.tail)
        return None

    async def history(self, log: ThreadLog) -> tuple[int, list[bytes]]:
        """The messages, as JSON, complete up to the returned seq. A user's histories come one after another (`Turns`).
        Raises `LogDeletedError`."""
        async with self._histories.turn(log.key.user_id):
            return await self._history(log)

    async def _history(self, log: ThreadLog) -> tuple[int, list[bytes]]:
        while True:
            if log.deleted:
                raise LogDeletedError(log.key.thread_id)
            if log.transcript is not None:
                if log.folded <= log.visible:
                    log.fold(log.visible)
                    return log.visible, [encode(message) for message in log.transcript.messages]
                await self.committed()
            elif log.head > log.visible:
                await self.committed()
            else:
                seq = log.visible
                messages = await self._store.messages(log.epoch)
                if log.head == seq and log.transcript is None and not log.deleted:
                    return seq, messages

    async def prepare_transcript(self, log: ThreadLog) -> None:
        """Load the transcript of a log whose next run is about to begin. Harmless when repeated.

        Tries until the store can be read: a run without its history would lose what its user said.
        """
        while log.transcript is None and not log.deleted:
            try:
                messages = await self._store.messages(log.epoch)
                break
            except StoreError as error:
                _logger.error("history_unreadable", error=str(error))  # noqa: TRY400
                await self._clock.sleep(LOAD_PAUSE)
        else:
            return
        if log.transcript is None:
            log.transcript = Transcript([decode_message(body) for body in messages])
            log.transcript.mark_clean()
            log.folded = log.head

    async def recovery(self) -> None:
        """Wait until `recovering` was tried for every log that needs it."""
        if self._cache.unrecovered:
            await asyncio.wait(self._cache.unrecovered.values())

    @asynccontextmanager
    async def recovering(self, left: Unfinished) -> AsyncIterator[tuple[ThreadLog, list[JournalEntry]]]:
        """A log with unfinished runs, and all events of those runs in order, which are back in memory and in the
        transcript. The caller ends the runs; when the context is left, everybody may open the log. Where it is left by
        an error nobody may, and whoever tries gets `internal`.
        """
        key = left.thread.key
        log = ThreadLog(left.thread, durable=True)
        recovered = self._cache.unrecovered[key]
        try:
            await self.prepare_transcript(log)
            entries = await self._restore(log, left)
            self._cache.logs[key] = log
            self.pin(log)
            yield log, entries
            del self._cache.unrecovered[key]
            self._commits.keeps_journal = bool(self._cache.unrecovered)
            self.unpin(log)
        finally:
            if not recovered.done():
                recovered.set_result(None)

    async def _restore(self, log: ThreadLog, left: Unfinished) -> list[JournalEntry]:
        entries = []
        runs = {run.run_id for run in left.runs}
        if left.first_seq:
            after = left.first_seq - 1
            while found := await self._store.segments(log.epoch, after, self._settings.segment_bytes):
                entries += [JournalEntry(s.epoch, s.run_id, s.first_seq, s.events) for s in found if s.run_id in runs]
                after = found[-1].last_seq
        segmented = len(entries)
        entries += left.journal
        if entries:
            log.restore(entries, segmented)
        return entries

    # --- retention ----------------------------------------------------------------------------------------------------

    async def _retention_loop(self) -> None:
        while True:
            await self._clock.sleep(self._settings.retention_interval)
            try:
                await self.retain()
            except StoreError as error:
                _logger.error("retention_failed", error=str(error))  # noqa: TRY400

    async def retain(self) -> None:
        """Enforce the retention limits now. Raises `StoreError`."""
        if not self._knows_oversized:
            # Nobody here saw them grow: an earlier process did, perhaps under another limit.
            self._commits.grown.update(await self._store.oversized(self._settings.retention_bytes))
            self._knows_oversized = True
        grown, self._commits.grown = self._commits.grown, set()
        before = self._clock.time() - self._settings.retention_age
        try:
            floors = dict(await self._store.retain(before, sorted(grown), self._settings.retention_bytes))
        except StoreError:
            self._commits.grown |= grown
            raise
        if floors:
            for log in self._cache.logs.values():
                log.floor = max(log.floor, floors.get(log.epoch, 0))
