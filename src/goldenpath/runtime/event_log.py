"""All logs of the process: opening them, reading them, ending their runs, deleting them.

What is in memory is in the `LogCache`; what was appended goes to disk by the `GroupCommit`, which makes it visible;
`Retention` removes what is too old or too much.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import (
    LogStore,
    MessageRows,
    RunRow,
    StoreError,
    ThreadKey,
    ThreadRow,
    Unfinished,
)
from goldenpath.runtime.log_cache import LogCache
from goldenpath.runtime.retention import Retention
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.thread_log import Batch, Follower, LogDeletedError, ThreadLog, clip
from goldenpath.runtime.turns import Turns
from goldenpath.wire.events import encode
from goldenpath.wire.ids import UserId, new_epoch
from goldenpath.wire.messages import decode_message
from goldenpath.wire.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

LOAD_PAUSE: Final = 1.0
"""How long to wait before a history that could not be read is tried again, in seconds."""

_logger = structlog.get_logger("goldenpath.event_log")


class EventLogStatistics(msgspec.Struct, frozen=True):
    """What the event log holds now and has done since the start."""

    logs: int
    """Logs in memory."""
    idle_logs: int
    """Those of them that nobody uses, kept for those who come back."""
    quiet_bytes: int
    """Bytes that the logs weigh in which nothing is under way, about: at most `cache_bytes`."""
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

    def __init__(self, store: LogStore, clock: Clock, settings: Settings, turns: Turns, signals: Signals) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self.cache = LogCache(store, settings.cache_bytes)
        self.commits = GroupCommit(store, clock, settings, signals, shown=self.cache.rest, gone=self.cache.gone)
        """The way to disk: what appends to a log says so there."""
        self._turns = turns
        self.retention = Retention(store, self.cache, self.commits, clock, settings)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> list[Unfinished]:
        """Start committing. Returns what an earlier process left unfinished: until `Recovery` has ended those runs,
        everybody else waits for their threads."""
        number, unfinished = await self._store.recover()
        self.cache.close(left.thread.key for left in unfinished)
        self.commits.keeps_journal = bool(unfinished)
        self.commits.start(number)
        self.retention.start()
        return unfinished

    async def stop(self) -> None:
        """Commit what is pending, then stop. Nothing may be appended afterwards. Raises `StoreError` where something
        could not be written."""
        self.cache.stop()
        await self.retention.stop()
        await self.commits.stop()

    def statistics(self) -> EventLogStatistics:
        return EventLogStatistics(
            logs=len(self.cache.logs),
            idle_logs=self.cache.idle_count,
            quiet_bytes=self.cache.quiet_bytes,
            bytes=sum(log.size for log in self.cache.logs.values()),
            followers=sum(len(log.followers) for log in self.cache.logs.values()),
            commits=self.commits.commits,
            events=self.commits.events,
            failures=self.commits.failures,
            last_commit_duration=self.commits.last_duration,
            healthy=self.commits.healthy,
        )

    # --- opening ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, key: ThreadKey) -> AsyncIterator[ThreadLog | None]:
        """The log of an existing thread, or None; it stays in memory while the context is open."""
        log = await self.cache.load(key)
        if log is None:
            yield None
            return
        self.cache.pin(log)
        try:
            if not log.durable:
                await self.commits.committed()
            yield log if log.durable and not log.deleted else None
        finally:
            self.cache.unpin(log)

    @asynccontextmanager
    async def create(self, key: ThreadKey) -> AsyncIterator[ThreadLog]:
        """The log of a thread, made now if there is none; it stays in memory while the context is open.

        A made log exists for others once a run was accepted into it and committed."""
        log = await self.cache.load(key) or self.cache.logs.get(key)
        if log is None:
            now = self._clock.time()
            log = ThreadLog(ThreadRow(key, new_epoch(now), now, now), durable=False)
            log.transcript = self._transcript()
            self.cache.logs[key] = log
        self.cache.pin(log)
        try:
            yield log
        finally:
            self.cache.unpin(log)

    def subscribe(self, follower: Follower) -> None:
        """Let `follower` be told of what becomes visible; its log stays in memory. The log is pinned by the caller.

        Raises `LogDeletedError`: nothing would ever come.
        """
        if follower.log.deleted:
            raise LogDeletedError(follower.log.key.thread_id)
        self.cache.pin(follower.log)
        follower.log.followers[follower] = None

    def unsubscribe(self, follower: Follower) -> None:
        """Undo `subscribe`. Harmless when repeated, or when the log was deleted."""
        follower.release()
        if follower.log.followers.pop(follower, follower) is None:
            self.cache.unpin(follower.log)

    # --- appending ----------------------------------------------------------------------------------------------------

    def finish(self, log: ThreadLog, run: RunRow) -> None:
        """Store the end of a run whose terminal event was just appended: its events, its messages and its row."""
        if log.deleted:
            return
        self.commits.segment(log)
        log.updated_at = self._clock.time()
        self.commits.save(log, run)  # first: whatever becomes of the messages, the run has ended
        log.fold(log.head)
        transcript = log.transcript
        if transcript is not None:
            if transcript.is_dirty:
                position = transcript.dirty_from
                bodies = [encode(message) for message in transcript.tail(position)]
                self.commits.write_messages(MessageRows(log.epoch, position, bodies))
            if transcript.refused_patches:  # of older events: a run is told at once
                _logger.warning("patches_too_large", epoch=log.epoch, count=transcript.refused_patches)
                transcript.refused_patches = 0
            transcript.mark_clean()
            log.message_count = len(transcript)
            log.history_bytes = transcript.size_bytes

    def delete(self, log: ThreadLog) -> None:
        """Remove a thread and everything of it: at once for everybody in this process, on disk with the next commit."""
        if log.deleted:
            return
        log.deleted = True
        self.cache.forget(log)
        for follower in list(log.followers):
            follower.on_deleted()
            follower.release()
        log.followers.clear()
        self.commits.delete(log)

    @asynccontextmanager
    async def readmit(self, left: Unfinished) -> AsyncIterator[ThreadLog]:
        """The log of a thread that an earlier process left unfinished runs in, with its transcript. When the context is
        left everybody may open the log; where it is left by an error nobody may, and whoever tries gets `internal`.
        """
        log = ThreadLog(left.thread, durable=True)
        with self.cache.readmit(log):
            await self.prepare_transcript(log)
            yield log
        self.commits.keeps_journal = self.cache.recovering

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, log: ThreadLog, after: int, max_bytes: int) -> Batch | None:
        """The next visible events after `after`, from memory or from the store.

        None when there are none, or when retention removed them (`log.removed` then says so).
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

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        """A page of a user's threads, newest first, with what is in memory on top of what is stored. `before` is where
        the page before ended; None: there is none."""
        await self.cache.recovery()
        rows = await self._store.threads(user_id, limit, before)
        for row in rows:
            log = self.cache.logs.get(row.key)
            if log is not None and log.epoch == row.epoch:
                row.head = log.visible
        return rows

    async def history(self, log: ThreadLog) -> tuple[int, list[bytes]]:
        """The messages, as JSON, complete up to the returned seq. A user's histories come one after another (`Turns`).
        Raises `LogDeletedError`, `RequestError` (`rate_limited`). Cancelling is safe."""
        async with self._turns.turn(log.key.user_id):
            return await self._history(log)

    async def _history(self, log: ThreadLog) -> tuple[int, list[bytes]]:
        while True:
            if log.deleted:
                raise LogDeletedError(log.key.thread_id)
            if log.transcript is not None:
                if log.folded <= log.visible:
                    log.fold(log.visible)
                    return log.visible, [encode(message) for message in log.transcript.messages]
                await self.commits.committed()
            elif log.head > log.visible:
                await self.commits.committed()
            else:
                seq = log.visible
                messages = await self._store.messages(log.epoch)
                if log.head == seq and log.transcript is None and not log.deleted:
                    return seq, messages

    async def prepare_transcript(self, log: ThreadLog) -> None:
        """Load the transcript of a log whose next run is about to begin. Harmless when repeated.

        Tries until the store can be read: a run without its history would lose what its user said. Taking it in
        is a turn of the user's (`Turns`). Cancelling is safe.
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
        async with self._turns.ahead(log.key.user_id):
            if log.transcript is None:
                log.transcript = self._transcript(messages)
                log.transcript.mark_clean()
                log.folded = log.head

    def _transcript(self, messages: Iterable[bytes] = ()) -> Transcript:
        limit = self._settings.max_event_bytes  # what could not be said in one event does not come about in several
        return Transcript(map(decode_message, messages), max_document_bytes=limit)
