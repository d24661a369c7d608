"""The group commit: what all runs append meanwhile goes to disk together, and then becomes visible together.

One commit is in the store's hands at a time; whatever is appended until it returns gathers and goes with the next. Then
its events become visible, and every follower of a log that changed is told once. Commits start at most once in
`commit_interval`, so a lone event leaves at once and a flood leaves in large groups; that is also what makes several
events share one socket write.

Events go to the journal first, a row a commit. When a run ends, or has said enough, they go to a segment of their log,
and the journal need not hold them any more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Final, NamedTuple, ParamSpec

import msgspec
import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.interfaces import Commit, LogStore, MessageRows, RunRow, StoreError
from goldenpath.runtime.run_records import RunRecord
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.thread_log import LogDeletedError, ThreadLog
from goldenpath.wire.ids import Epoch, RunId

TRIM_ROWS: Final = 64
"""Journal rows are removed in groups of this many."""
JOURNAL_ROWS: Final = 4096
"""A log that pins a journal row this old is moved to segments, so that one slow run cannot keep the journal of all."""
JOURNAL_BYTES: Final = 64 << 20
"""The same by what was written to the journal since, in bytes."""

WORDS: Final = (
    b'{"type":"TEXT_MESSAGE_CONTENT"',
    b'{"type":"REASONING_MESSAGE_CONTENT"',
    b'{"type":"TOOL_CALL_START"',
)
"""How an event begins that shows a user that the agent is at work."""

P = ParamSpec("P")

_logger = structlog.get_logger("goldenpath.group_commit")


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
    waiting: list[asyncio.Future[None]]
    """Those who wait until it is."""


class GroupCommit:
    """The way of appended events to disk. `shown` is called with each log whose events became visible, `gone` with each
    whose deletion is durable. Belongs to one event loop; nothing that waits here loses anything when it is cancelled.

    What is told of a commit may raise: that is logged, and everybody else is told all the same.
    """

    def __init__(
        self,
        store: LogStore,
        clock: Clock,
        settings: Settings,
        signals: Signals,
        *,
        shown: Callable[[ThreadLog], None],
        gone: Callable[[ThreadLog], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._signals = signals
        self._shown = shown
        self._gone = gone
        self.healthy = True
        """Whether the last attempt to commit succeeded."""
        self.ended: str | None = None
        """Why nothing is committed any more; None while commits go on, or are tried again."""
        self.commits = self.events = self.failures = 0
        """Commits that became durable, events in them, and attempts that failed."""
        self.last_duration = 0.0
        """Seconds that the last commit took."""
        self.keeps_journal = True
        """Whether journal rows of an earlier process are needed still."""
        self._grown: set[Epoch] = set()
        self._touched: list[ThreadLog] = []
        self._pending = Commit(0, 0.0)
        self._pending_threads: dict[Epoch, ThreadLog] = {}
        self._pending_runs: dict[tuple[Epoch, RunId], RunRow] = {}
        self._pending_deleted: list[ThreadLog] = []
        self._pending_callbacks: list[Callable[[], None]] = []
        self._pending_waiting: list[asyncio.Future[None]] = []
        self._taken_waiting: list[asyncio.Future[None]] = []
        """Those who wait for the commit that is under way."""
        self._waiting: dict[ThreadLog, list[asyncio.Future[None]]] = {}
        """The agents that wait for room, by their logs."""
        self._number = 0
        self._trimmed = 0
        self._journaled: OrderedDict[ThreadLog, int] = OrderedDict()
        """Logs that the journal holds events of, the oldest first, each with what `_written` was before."""
        self._written = 0
        """Bytes of events that went to the journal."""
        self._work = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self, number: int) -> None:
        """Start committing; `number` is that of the last commit in the store."""
        self._number = number
        self._task = asyncio.create_task(self._commit_loop(), name="goldenpath-commits")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without commits nothing can be shown any more: say so where an operator, a load balancer and a supervisor
            # look, and to everybody who waits.
            self.healthy = False
            self.ended = f"nothing is written any more: {error}"
            _logger.critical("commits_ended", exc_info=error)
            rooms = chain.from_iterable(self._waiting.values())
            for future in (*self._taken_waiting, *self._pending_waiting, *rooms):
                if not future.done():
                    future.set_exception(StoreError(self.ended))
            self._waiting.clear()

    async def stop(self) -> None:
        """Commit what is pending, then stop. Nothing may be appended afterwards. Raises `StoreError` where something
        could not be written: nobody has seen it."""
        self._stopping = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise StoreError(f"what came last could not be written: {error}") from error

    def take_grown(self) -> set[Epoch]:
        """The logs that got segments, in the store already, since the last call."""
        grown, self._grown = self._grown, set()
        return grown

    # --- gathering ----------------------------------------------------------------------------------------------------

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

    def write_messages(self, rows: MessageRows) -> None:
        """Replace the messages of a thread from a position on, with the next commit."""
        self._pending.messages.append(rows)

    def segment(self, log: ThreadLog) -> None:
        """Move what the journal holds of `log` to a segment, with the next commit."""
        segments = log.take_segments()
        self._pending.segments.extend(segments)
        if log.words_awaited_by is not None:  # of a short run the journal sees nothing
            self._look_for_words(log, chain.from_iterable(segment.events for segment in segments))
        if log.journaled_from:
            log.journaled_from = 0
            self._journaled.pop(log, None)

    async def committed(self) -> None:
        """Wait until everything appended and saved so far is durable. Raises `StoreError` where it never will be."""
        if self.ended is not None:
            raise StoreError(self.ended)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending_waiting.append(future)
        self._work.set()
        await future

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the loop, once everything appended and saved so far is durable."""
        self._pending_callbacks.append(callback)
        self._work.set()

    async def room(self, log: ThreadLog) -> None:
        """Wait until a commit made more of `log` visible: an agent is too far ahead. Raises `LogDeletedError`, and
        `StoreError` where no commit will."""
        if log.deleted:
            raise LogDeletedError(log.key.thread_id)
        if self.ended is not None:
            raise StoreError(self.ended)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(log, []).append(future)
        await future

    def _wake(self, log: ThreadLog) -> None:
        for future in self._waiting.pop(log, ()):
            if not future.done():
                future.set_result(None)

    def delete(self, log: ThreadLog) -> None:
        """Remove everything of the deleted `log` with the next commit, and let nothing of it be written any more."""
        log.show(log.head, log.segmented)
        self._wake(log)  # the agents that wait for room: their next append is refused
        self._journaled.pop(log, None)
        epoch = log.epoch
        pending = self._pending
        pending.segments = [segment for segment in pending.segments if segment.epoch != epoch]
        pending.messages = [rows for rows in pending.messages if rows.epoch != epoch]
        self._pending_threads.pop(epoch, None)
        for key in [key for key in self._pending_runs if key[0] == epoch]:
            del self._pending_runs[key]
        self._pending_deleted.append(log)
        self._work.set()

    # --- committing ---------------------------------------------------------------------------------------------------

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
            now = self._clock.monotonic()
            self.last_duration = now - started
            self._signals.commit.record(self.last_duration, now)
            self.commits += 1
            self._show(taken)

    def _take(self) -> _Taken:
        self._number += 1
        self._move_to_segments()
        touched, self._touched = self._touched, []
        commit, self._pending = self._pending, Commit(0, 0.0)
        commit.number = self._number
        commit.now = self._clock.time()
        heads = []
        for log in touched:
            log.touched = False
            if log.deleted:
                continue
            entry = log.take_journal()
            if entry is not None:
                commit.journal.append(entry)
                if not log.journaled_from:
                    log.journaled_from = self._number
                    self._journaled[log] = self._written
                self._written += log.appended_size
                if log.words_awaited_by is not None:
                    self._look_for_words(log, entry.events)
            log.taken_size = log.appended_size
            heads.append((log, log.head, log.segmented))
        commit.threads = [log.row() for log in self._pending_threads.values()]
        saved = list(self._pending_threads.values())
        commit.runs = [msgspec.structs.replace(run) for run in self._pending_runs.values()]
        self._pending_threads = {}
        self._pending_runs = {}
        oldest = next(iter(self._journaled)).journaled_from if self._journaled else self._number
        # What is to be recovered lies in journal rows that no log of this process pins.
        if oldest - self._trimmed >= TRIM_ROWS and not self.keeps_journal:
            commit.trim_journal = self._trimmed = oldest
        deleted, self._pending_deleted = self._pending_deleted, []
        commit.deleted = [log.epoch for log in deleted]
        callbacks, self._pending_callbacks = self._pending_callbacks, []
        self._taken_waiting, self._pending_waiting = self._pending_waiting, []
        return _Taken(commit, heads, saved, deleted, callbacks, self._taken_waiting)

    def _look_for_words(self, log: ThreadLog, events: Iterable[bytes]) -> None:
        awaited = log.words_awaited_by
        if awaited is not None and any(event.startswith(WORDS) for event in events):
            self._pending_callbacks.append(partial(self._note_words, awaited))
            log.words_awaited_by = None

    def _note_words(self, record: RunRecord) -> None:
        record.first_words_at = now = self._clock.monotonic()
        self._signals.first_token.record(now - record.accepted_at, now)

    def _move_to_segments(self) -> None:
        """Segment what has become long, and what keeps the journal long: its rows leave it in their order."""
        for log in self._touched:
            if not log.deleted and log.unsegmented_size > self._settings.segment_bytes:
                self.segment(log)
        while self._journaled:
            oldest, written = next(iter(self._journaled.items()))
            if self._number - oldest.journaled_from < JOURNAL_ROWS and self._written - written < JOURNAL_BYTES:
                break
            self.segment(oldest)
            self.touch(oldest)

    async def _commit(self, commit: Commit) -> None:
        """Hand `commit` to the store, again and again until it is durable: order and completeness depend on it."""
        pause = 0.05
        while True:
            try:
                await self._store.commit(commit)
            except StoreError as error:
                self.failures += 1
                if self.healthy:
                    _logger.error("commit_failed", error=str(error), number=commit.number)  # noqa: TRY400
                self.healthy = False
                if self._stopping and pause > 1:
                    raise
                await self._clock.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                if not self.healthy:
                    _logger.info("commit_recovered", number=commit.number)
                self.healthy = True
                return

    def _show(self, taken: _Taken) -> None:
        for log in taken.saved:
            log.durable = True
        # Not before the store has them: a retention that comes in between would find nothing, and forget them.
        self._grown.update(segment.epoch for segment in taken.commit.segments)
        for future in taken.waiting:
            if not future.done():
                future.set_result(None)
        for log in taken.deleted:
            _guarded(self._gone, log)
        for callback in taken.callbacks:
            _guarded(callback)
        keep = self._settings.segment_bytes
        for log, head, segmented in taken.heads:
            if log.deleted:
                continue
            self.events += head - log.visible
            log.show(head, segmented)
            if self._waiting:
                self._wake(log)
            for follower in list(log.followers):
                _guarded(follower.notify)
            if log.size > keep:
                _guarded(log.drop, keep)
            _guarded(self._shown, log)


def _guarded(call: Callable[P, object], *arguments: P.args, **options: P.kwargs) -> None:
    """Tell somebody of a commit. The fault of one must not keep what everybody else waits for."""
    try:
        call(*arguments, **options)
    except Exception:
        _logger.exception("not_told")
