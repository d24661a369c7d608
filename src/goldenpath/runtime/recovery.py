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
from goldenpath.runtime.interfaces import Unfinished
from goldenpath.runtime.lifecycle import after
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import RunAgentInput, RunStarted, decode_event, decode_run_input
from goldenpath.wire.ids import RunId
from goldenpath.wire.order import RunOrder

_logger = structlog.get_logger("goldenpath.recovery")

_WHY = "the server stopped during this run; send the message again"


async def recover(event_log: EventLog, unfinished: list[Unfinished], clock: Clock) -> int:
    """End every unfinished run and return how many there were. Returns when that is durable."""
    count = 0
    for left in unfinished:
        count += await _end_runs(event_log, left, clock)
    if count:
        await event_log.committed()
        _logger.info("runs_interrupted", count=count)
    return count


async def _end_runs(event_log: EventLog, left: Unfinished, clock: Clock) -> int:
    async with event_log.open(left.thread.key) as log:
        if log is None or log.epoch != left.thread.epoch:
            raise RequestError("internal", "the store lost a thread that has unfinished runs")
        await event_log.prepare_transcript(log)
        orders: dict[RunId, RunOrder] = {}
        for entry in await event_log.restore(log, left):
            order = orders.setdefault(entry.run_id, RunOrder())
            for event in map(decode_event, entry.events):
                if not isinstance(event, RunStarted):
                    order.check(event)
            row = next(row for row in left.runs if row.run_id == entry.run_id)
            row.first_seq = row.first_seq or entry.first_seq
        now = clock.time()
        # A run that has begun comes before those that wait.
        for row in sorted(left.runs, key=lambda row: row.run_id not in orders):
            log.runs[RunId(row.run_id)] = row
            if row.run_id not in orders:
                append_started(log, row, decode_run_input(row.input) if row.input else RunAgentInput(), now)
            if row.status == "queued":
                row.status = after(row.status, "begin")
            end_run(log, row, orders.get(RunId(row.run_id), RunOrder()), interrupted(_WHY), now)
            event_log.finish(log, row)
        return len(left.runs)
