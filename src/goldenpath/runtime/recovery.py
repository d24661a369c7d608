"""Ending what an earlier process left behind, before anybody may use the threads that it left it in.

A run that was active gets what closes it and RUN_ERROR `run_interrupted`; a run that still waited gets RUN_STARTED with
its messages first, so that what its user said is in the history. Nothing that anybody saw changes: the events are those
of the segments and the journal, in their places.
"""

from __future__ import annotations

import asyncio

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import JournalEntry, LogStore, RunRow, Unfinished
from goldenpath.runtime.run_events import append_started, end_run, lost
from goldenpath.runtime.run_states import after
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.events import RunStarted, decode_event
from goldenpath.wire.ids import RunId
from goldenpath.wire.messages import RunAgentInput, decode_run_input
from goldenpath.wire.order import RunOrder

_logger = structlog.get_logger("goldenpath.recovery")

_WHY = "the server stopped during this run; send the message again"
_WHY_NOT_BEGUN = "the server stopped before this run began; send the message again"


class RecoveryError(GoldenpathError):
    """Threads whose unfinished runs could not be ended. They stay closed; all others are served."""


class Recovery:
    """Ends the runs that an earlier process left in `store`. Belongs to one event loop, and to one life of it."""

    def __init__(
        self, event_log: EventLog, commits: GroupCommit, store: LogStore, clock: Clock, settings: Settings
    ) -> None:
        self._event_log = event_log
        self._commits = commits
        self._store = store
        self._clock = clock
        self._settings = settings
        self.done = asyncio.Event()
        """Set once every run that was left has its end. Until then what is in those logs is not known yet."""

    async def run(self, unfinished: list[Unfinished]) -> int:
        """End every unfinished run and return how many there were. Returns when that is durable.

        Threads may be used as soon as their own runs are ended. Raises `RecoveryError` after all others were ended
        where that failed for some.
        """
        count = failed = 0
        for left in unfinished:
            try:
                async with self._event_log.readmit(left) as log:
                    self._end_runs(log, left.runs, await self._restore(log, left))
            except Exception:
                _logger.exception("thread_not_recovered", epoch=left.thread.epoch)
                failed += 1
            else:
                count += len(left.runs)
        if count:
            await self._commits.committed()
            _logger.info("runs_interrupted", count=count)
        if failed:
            raise RecoveryError(f"{failed} threads could not be recovered")
        self.done.set()
        return count

    async def _restore(self, log: ThreadLog, left: Unfinished) -> list[JournalEntry]:
        """Bring the events of the unfinished runs back into memory and the transcript. Returns them in order."""
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

    def _end_runs(self, log: ThreadLog, rows: list[RunRow], entries: list[JournalEntry]) -> None:
        now = self._clock.time()
        orders: dict[RunId, RunOrder] = {}
        for entry in entries:
            order = orders.setdefault(entry.run_id, RunOrder())
            for event in map(decode_event, entry.events):
                if not isinstance(event, RunStarted):
                    order.check(event)
            row = next(row for row in rows if row.run_id == entry.run_id)
            row.first_seq = row.first_seq or entry.first_seq
        # A run that has begun comes before those that wait.
        for row in sorted(rows, key=lambda row: row.run_id not in orders):
            log.runs[RunId(row.run_id)] = row
            begun = row.run_id in orders
            if not begun:
                append_started(log, row, decode_run_input(row.input) if row.input else RunAgentInput(), now)
            if row.status == "queued":
                row.status = after(row.status, "begin")
            end_run(log, row, orders.get(RunId(row.run_id), RunOrder()), lost(_WHY if begun else _WHY_NOT_BEGUN), now)
            self._event_log.finish(log, row)
