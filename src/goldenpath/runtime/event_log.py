"""All logs of the process: opening them, the group commit, replay from the store, retention.

Group commit: one commit is in the store's hands at a time; whatever all runs append meanwhile gathers and goes with the
next. When it has returned, its events become visible together, and every follower that is behind is told once. Commits
start at most once in `commit_interval`, so a lone event leaves at once and a flood leaves in large groups; that is also
what makes several events share one socket write.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.interfaces import (
    Commit,
    JournalEntry,
    LogStore,
    MessageRows,
    RunRow,
    StoreError,
    ThreadKey,
    ThreadRow,
    Unfinished,
)
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import Batch, Follower, LogDeletedError, ThreadLog, clip
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import decode_message, encode
from goldenpath.wire.ids import Epoch, RunId, new_epoch
from goldenpath.wire.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

IDLE_LOGS: Final = 20_000
"""How many logs that nobody uses stay in memory at most."""
TRIM_ROWS: Final = 64
"""Journal rows are removed in groups of this many."""
JOURNAL_ROWS: Final = 4096
"""A log that pins a journal row this old is moved to segments, so that one slow run cannot keep the journal of all."""
JOURNAL_BYTES: Final = 64 << 20
"""The same, by size."""

LOAD_PAUSE: Final = 1.0
"""How long to wait before a history that could not be read is tried again, in seconds."""

_logger = structlog.get_logger("goldenpath.event_log")


class _Taken(NamedTuple):
    """What goes with one commit."""

    commit: Commit
    heads: list[tuple[ThreadLog, int, int]]
    """Logs with new events; the last event that the commit holds, and the last one that is in a segment then."""
    saved: list[ThreadLog]
    """The logs whose thread it makes durable."""
    deleted: list[ThreadLog]
    callbacks: list[Callable[[], None]]
    """Called when it is durable."""


class EventLogStatistics(msgspec.Struct, frozen=True):
    """What the event log holds now and has done since the start."""

    logs: int
    """Logs in memory."""
    idle_logs: int
    """Those of them that nobody uses, kept for those who come back."""
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
        self._logs: dict[ThreadKey, ThreadLog] = {}
        self._idle: OrderedDict[ThreadKey, ThreadLog] = OrderedDict()
        self._idle_bytes = 0
        self._opening: dict[ThreadKey, asyncio.Future[None]] = {}
        self._unrecovered: dict[ThreadKey, asyncio.Future[None]] = {}
        """Threads with runs that an earlier process left unfinished: nobody may open them before they are ended."""
        self._deleting: dict[ThreadKey, ThreadLog] = {}
        """Threads that the store still has, because the commit that deletes them is not durable."""
        self._touched: list[ThreadLog] = []
        self._pending = Commit(0, 0.0)
        self._pending_threads: dict[Epoch, ThreadLog] = {}
        self._pending_runs: dict[tuple[Epoch, RunId], RunRow] = {}
        self._pending_deleted: list[ThreadLog] = []
        self._pending_callbacks: list[Callable[[], None]] = []
        self._number = 0
        self._trimmed = 0
        self._journaled: OrderedDict[ThreadLog, None] = OrderedDict()
        self._journal_bytes = 0
        self._grown: set[Epoch] = set()
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._healthy = True
        self._commits = self._events = self._failures = 0
        self._last_duration = 0.0

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> list[Unfinished]:
        """Start committing. Returns what an earlier process left unfinished: the caller ends those runs, each within
        `recovering`; until then everybody else waits for those threads."""
        self._number, unfinished = await self._store.recover()
        loop = asyncio.get_running_loop()
        self._unrecovered = {left.thread.key: loop.create_future() for left in unfinished}
        commits = asyncio.create_task(self._commit_loop(), name="goldenpath-commits")
        commits.add_done_callback(self._commits_ended)
        self._tasks = [commits, asyncio.create_task(self._retention_loop(), name="goldenpath-retention")]
        return unfinished

    def _commits_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without commits nothing can be shown any more: say so where an operator and a load balancer look.
            self._healthy = False
            _logger.critical("commits_ended", exc_info=error)

    async def stop(self) -> None:
        """Commit what is pending, then stop. Nothing may be appended afterwards."""
        self._stopping = True
        self._work.set()
        for recovered in self._unrecovered.values():
            if not recovered.done():
                recovered.set_result(None)
        if self._tasks:
            commits, retention = self._tasks
            retention.cancel()
            await asyncio.gather(commits, retention, return_exceptions=True)
            self._tasks = []

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to commit succeeded."""
        return self._healthy

    def statistics(self) -> EventLogStatistics:
        return EventLogStatistics(
            logs=len(self._logs),
            idle_logs=len(self._idle),
            bytes=sum(log.size for log in self._logs.values()),
            followers=sum(len(log.followers) for log in self._logs.values()),
            commits=self._commits,
            events=self._events,
            failures=self._failures,
            last_commit_duration=self._last_duration,
            healthy=self._healthy,
        )

    # --- opening ------------------------------------------------------------------------------------------------------

    def active(self, key: ThreadKey) -> ThreadLog | None:
        """The log if it is in memory; None says nothing about the store."""
        return self._logs.get(key)

    @asynccontextmanager
    async def open(self, key: ThreadKey) -> AsyncIterator[ThreadLog | None]:
        """The log of an existing thread, or None; it stays in memory while the context is open."""
        log = await self._load(key)
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
        log = await self._load(key) or self._logs.get(key)
        if log is None:
            now = self._clock.time()
            log = ThreadLog(ThreadRow(key, new_epoch(now), now, now), durable=False)
            log.transcript = Transcript()
            self._logs[key] = log
        self.pin(log)
        try:
            yield log
        finally:
            self.unpin(log)

    async def _load(self, key: ThreadKey) -> ThreadLog | None:
        while True:
            unrecovered = self._unrecovered.get(key)
            if unrecovered is not None:
                await asyncio.wait([unrecovered])
                if key in self._unrecovered:
                    raise RequestError("internal", "the thread could not be recovered")
            log = self._logs.get(key)
            if log is not None:
                return log
            if key in self._deleting:
                return None
            opening = self._opening.get(key)
            if opening is None:
                break
            await asyncio.wait([opening])
        opened = self._opening[key] = asyncio.get_running_loop().create_future()
        try:
            row = await self._store.thread(key)
            if row is None:
                return None
            # The caller pins it before anything else can run: resting it here could forget it first.
            log = self._logs[key] = ThreadLog(row, durable=True)
            return log
        finally:
            del self._opening[key]
            opened.set_result(None)

    def pin(self, log: ThreadLog) -> None:
        """Keep `log` in memory until `unpin`."""
        log.pins += 1
        if self._idle.pop(log.key, None) is not None:
            self._idle_bytes -= log.weight

    def unpin(self, log: ThreadLog) -> None:
        """Undo one `pin`."""
        log.pins -= 1
        self._rest(log)

    def _rest(self, log: ThreadLog) -> None:
        """Let go of a log that nobody needs: keep it a while, because its user may come back, within the bounds."""
        if log.deleted or not log.idle or self._logs.get(log.key) is not log:
            return
        if not log.durable:  # made for a run that was then refused
            del self._logs[log.key]
            return
        if log.key not in self._idle:
            self._idle[log.key] = log
            self._idle_bytes += log.weight
        while self._idle and (self._idle_bytes > self._settings.cache_bytes or len(self._idle) > IDLE_LOGS):
            key, oldest = self._idle.popitem(last=False)
            self._idle_bytes -= oldest.weight
            del self._logs[key]

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
        if not log.touched:
            log.touched = True
            self._touched.append(log)
            if not self._work.is_set():
                self._work.set()

    def save(self, log: ThreadLog, run: RunRow | None = None) -> None:
        """Store the thread's row, and `run`'s, with the next commit."""
        if log.deleted:
            return
        self._pending_threads[log.epoch] = log
        if run is not None:
            self._pending_runs[log.epoch, run.run_id] = run
        self.touch(log)

    def finish(self, log: ThreadLog, run: RunRow) -> None:
        """Store the end of a run whose terminal event was just appended: its events, its messages and its row."""
        if log.deleted:
            return
        self._segment(log)
        log.fold(log.head)
        transcript = log.transcript
        if transcript is not None:
            if transcript.is_dirty:
                position = transcript.dirty_from
                bodies = [encode(message) for message in transcript.tail(position)]
                self._pending.messages.append(MessageRows(log.epoch, position, bodies))
            transcript.mark_clean()
            log.message_count = len(transcript)
            log.history_bytes = transcript.size_bytes
        log.updated_at = self._clock.time()
        self.save(log, run)

    def _segment(self, log: ThreadLog) -> None:
        segments = log.take_segments()
        if segments:
            self._pending.segments.extend(segments)
            self._grown.add(log.epoch)
        if log.journaled_from:
            log.journaled_from = 0
            self._journaled.pop(log, None)

    async def committed(self) -> None:
        """Wait until everything appended and saved so far is durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_committed(lambda: None if future.done() else future.set_result(None))
        await future

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the loop, once everything appended and saved so far is durable. It must not raise."""
        self._pending_callbacks.append(callback)
        self._work.set()

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
        if self._logs.get(log.key) is log:
            del self._logs[log.key]
        if self._idle.pop(log.key, None) is not None:
            self._idle_bytes -= log.weight
        self._journaled.pop(log, None)
        self._deleting[log.key] = log
        epoch = log.epoch
        pending = self._pending
        pending.segments = [segment for segment in pending.segments if segment.epoch != epoch]
        pending.messages = [rows for rows in pending.messages if rows.epoch != epoch]
        self._pending_threads.pop(epoch, None)
        for key in [key for key in self._pending_runs if key[0] == epoch]:
            del self._pending_runs[key]
        self._pending_deleted.append(log)
        self._work.set()
        for follower in list(log.followers):
            follower.on_deleted()
        log.followers.clear()
        log.commit(log.head, log.segmented)  # wakes the agents that wait for room; their next append is refused

    # --- the commit loop ----------------------------------------------------------------------------------------------

    async def _commit_loop(self) -> None:
        interval = self._settings.commit_interval
        started = 0.0
        while True:
            if not self._work.is_set():
                if self._stopping:
                    return
                await self._work.wait()
            ahead = started + interval - self._clock.monotonic()
            if ahead > 0 and not self._stopping:
                await self._clock.sleep(ahead)
            self._work.clear()
            started = self._clock.monotonic()
            taken = self._take()
            await self._commit(taken.commit)
            self._last_duration = self._clock.monotonic() - started
            self._commits += 1
            self._show(taken)

    def _take(self) -> _Taken:
        self._number += 1
        self._relieve_journal()
        touched, self._touched = self._touched, []
        commit, self._pending = self._pending, Commit(0, 0.0)
        commit.number = self._number
        commit.now = self._clock.time()
        heads = []
        for log in touched:
            log.touched = False
            if log.deleted:
                continue
            if log.unsegmented_size > self._settings.segment_bytes:
                self._segment(log)
                commit.segments.extend(self._pending.segments)
                self._pending.segments = []
            entry = log.take_journal()
            if entry is not None:
                commit.journal.append(entry)
                if not log.journaled_from:
                    log.journaled_from = self._number
                    self._journaled[log] = None
                self._journal_bytes += log.appended_size
            log.taken_size = log.appended_size
            self._events += log.head - log.visible
            heads.append((log, log.head, log.segmented))
        commit.threads = [log.row() for log in self._pending_threads.values()]
        saved = list(self._pending_threads.values())
        commit.runs = [msgspec.structs.replace(run) for run in self._pending_runs.values()]
        self._pending_threads = {}
        self._pending_runs = {}
        oldest = next(iter(self._journaled)).journaled_from if self._journaled else self._number
        # What is to be recovered lies in journal rows that no log of this process pins.
        if oldest - self._trimmed >= TRIM_ROWS and not self._unrecovered:
            commit.trim_journal = self._trimmed = oldest
            if not self._journaled:
                self._journal_bytes = 0
        deleted, self._pending_deleted = self._pending_deleted, []
        commit.deleted = [log.epoch for log in deleted]
        callbacks, self._pending_callbacks = self._pending_callbacks, []
        return _Taken(commit, heads, saved, deleted, callbacks)

    def _relieve_journal(self) -> None:
        """Move logs that pin old journal rows to segments."""
        while self._journaled:
            oldest = next(iter(self._journaled))
            if self._number - oldest.journaled_from < JOURNAL_ROWS and self._journal_bytes < JOURNAL_BYTES:
                break
            self._segment(oldest)
            self.touch(oldest)
            if not self._journaled:
                self._journal_bytes = 0

    async def _commit(self, commit: Commit) -> None:
        """Hand `commit` to the store, again and again until it is durable: order and completeness depend on it."""
        pause = 0.05
        while True:
            try:
                await self._store.commit(commit)
            except StoreError as error:
                self._failures += 1
                if self._healthy:
                    _logger.error("commit_failed", error=str(error), number=commit.number)  # noqa: TRY400
                self._healthy = False
                if self._stopping and pause > 1:
                    raise
                await self._clock.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                if not self._healthy:
                    _logger.info("commit_recovered", number=commit.number)
                self._healthy = True
                return

    def _show(self, taken: _Taken) -> None:
        for log in taken.saved:
            log.durable = True
        for log in taken.deleted:
            if self._deleting.get(log.key) is log:
                del self._deleting[log.key]
        for callback in taken.callbacks:
            callback()
        keep = self._settings.segment_bytes
        for log, head, segmented in taken.heads:
            if log.deleted:
                continue
            log.commit(head, segmented)
            for follower in list(log.followers):
                try:
                    follower.notify()
                except Exception:
                    # One connection's fault must not keep what everybody else waits for.
                    _logger.exception("notify_failed")
            if log.size > keep:
                log.drop(keep)
            if log.idle:
                self._rest(log)

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
        for segment in await self._store.segments(log.epoch, after, max_bytes):
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
        """The messages, as JSON, complete up to the returned seq. Raises `LogDeletedError`."""
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
        if self._unrecovered:
            await asyncio.wait(self._unrecovered.values())

    @asynccontextmanager
    async def recovering(self, left: Unfinished) -> AsyncIterator[tuple[ThreadLog, list[JournalEntry]]]:
        """A log with unfinished runs, and all events of those runs in order, which are back in memory and in the
        transcript. The caller ends the runs; when the context is left, everybody may open the log. Where it is left by
        an error nobody may, and whoever tries gets `internal`.
        """
        key = left.thread.key
        log = ThreadLog(left.thread, durable=True)
        recovered = self._unrecovered[key]
        try:
            await self.prepare_transcript(log)
            entries = await self._restore(log, left)
            self._logs[key] = log
            self.pin(log)
            yield log, entries
            del self._unrecovered[key]
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
        grown, self._grown = self._grown, set()
        before = self._clock.time() - self._settings.retention_age
        try:
            floors = dict(await self._store.retain(before, sorted(grown), self._settings.retention_bytes))
        except StoreError:
            self._grown |= grown
            raise
        if floors:
            for log in self._logs.values():
                log.floor = max(log.floor, floors.get(log.epoch, 0))
