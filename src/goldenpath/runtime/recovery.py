"""Ending what an earlier process left behind, before the first request is answered.

A run that was active gets what closes it and RUN_ERROR `run_interrupted`; a run that still waited gets RUN_STARTED with
its messages first, so that what its user said is in the history. Nothing that anybody saw changes: the events are those
of the segments and the journal, in their places.
"""

from __future__ import annotations

import structlog

from goldenpath.clock import Clock
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.execution import append_started, end_run, interrupted
from goldenpath.runtime.interfaces import JournalEntry, RunRow, Unfinished
from goldenpath.runtime.lifecycle import after
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire.errors import GoldenpathError
from goldenpath.wire.events import RunAgentInput, RunStarted, decode_event, decode_run_input
from goldenpath.wire.ids import RunId
from goldenpath.wire.order import RunOrder

_logger = structlog.get_logger("goldenpath.recovery")

_WHY = "the server stopped during this run; send the message again"


class RecoveryError(GoldenpathError):
    """Threads whose unfinished runs could not be ended. They stay closed; all others are served."""


async def recover(event_log: EventLog, unfinished: list[Unfinished], clock: Clock) -> int:
    """End every unfinished run and return how many there were. Returns when that is durable.

    Threads may be used as soon as their own runs are ended. Raises `RecoveryError` after all others were ended where
    that failed for some.
    """
    count = failed = 0
    for left in unfinished:
        try:
            async with event_log.recovering(left) as (log, entries):
                _end_runs(event_log, log, left.runs, entries, clock.time())
        except Exception:
            _logger.exception("thread_not_recovered", epoch=left.thread.epoch)
            failed += 1
        else:
            count += len(left.runs)
    if count:
        await event_log.committed()
        _logger.info("runs_interrupted", count=count)
    if failed:
        raise RecoveryError(f"{failed} threads could not be recovered")
    return count


def _end_runs(event_log: EventLog, log: ThreadLog, rows: list[RunRow], entries: list[JournalEntry], now: float) -> None:
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
        if row.run_id not in orders:
            append_started(log, row, decode_run_input(row.input) if row.input else RunAgentInput(), now)
        if row.status == "queued":
            row.status = after(row.status, "begin")
        end_run(log, row, orders.get(RunId(row.run_id), RunOrder()), interrupted(_WHY), now)
        event_log.finish(log, row)
