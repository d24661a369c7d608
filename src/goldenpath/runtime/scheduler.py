"""The life of accepted runs: it carries out what admission decides.

Every run is here from its acceptance until its agent is gone. The scheduler begins it when it gets a place, ends it
where it is stopped in the queue, gives its place back when its end is durable, and drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final

import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime.admission import Admission, RefusedError, Ticket
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.context import Principal
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.engine import EngineFactory, Outcome
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.execution import Execution
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import RunRow
from goldenpath.runtime.registry import Agent
from goldenpath.runtime.run_events import lost
from goldenpath.runtime.run_records import RunRecord, RunRecords
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.runtime.tracing import RunTrace
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import RequestId, RunId
from goldenpath.wire.messages import RunAgentInput

AFTER_GRACE: Final = 0.5
"""How long the drain waits after `cancel_grace` for what the ends of cut runs still need, in seconds."""

_logger = structlog.get_logger("goldenpath.scheduler")


class Scheduler:
    """The accepted runs of one process. Belongs to one event loop; everything but `drain` is synchronous."""

    def __init__(
        self,
        *,
        admission: Admission[Execution],
        engines: EngineFactory,
        breakers: Breakers,
        deadlines: Deadlines,
        event_log: EventLog,
        commits: GroupCommit,
        clock: Clock,
        settings: Settings,
        flags: Flags,
        signals: Signals,
        records: RunRecords,
    ) -> None:
        self.admission = admission
        self.engines = engines
        self._breakers = breakers
        self._deadlines = deadlines
        self._event_log = event_log
        self._commits = commits
        self._clock = clock
        self._settings = settings
        self._flags = flags
        self._signals = signals
        self._records = records
        self._executions: dict[tuple[str, RunId], Execution] = {}
        self._draining = False
        self._drain_lock = asyncio.Lock()
        self._drained = False
        self._hurry = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """How many runs are queued or running, or were ended while their agents are still at work."""
        return len(self._executions)

    @property
    def abandoned(self) -> int:
        """How many agents are still at work after the drain, though their runs have ended."""
        return sum(execution.at_work for execution in self._executions.values()) if self._drained else 0

    def progress(self) -> Iterator[tuple[RunRecord, int, int]]:
        """The record of each run that is running, how many events it has, and how many bytes its agent has said."""
        for execution in self._executions.values():
            if execution.at_work and not execution.over:
                yield execution.record, *execution.progress()

    @property
    def draining(self) -> bool:
        """Whether no run is accepted any more."""
        return self._draining

    # --- accepting ----------------------------------------------------------------------------------------------------

    def accept(
        self,
        log: ThreadLog,
        row: RunRow,
        agent: Agent,
        principal: Principal,
        request_id: RequestId,
        run_input: RunAgentInput,
        *,
        preempt: bool,
        trace: RunTrace | None = None,
    ) -> None:
        """Take in a new run of `log`: it begins now, or waits. With `preempt` the thread's other runs are cancelled
        first. Raises `RequestError` (`quota_exceeded`, `queue_full`): a refusal has no effect."""
        execution = Execution(
            log=log,
            row=row,
            agent=agent,
            principal=principal,
            request_id=request_id,
            run_input=run_input,
            event_log=self._event_log,
            commits=self._commits,
            engines=self.engines,
            breakers=self._breakers,
            deadlines=self._deadlines,
            clock=self._clock,
            settings=self._settings,
            flags=self._flags,
            signals=self._signals,
            records=self._records,
            trace=trace,
            released=self._on_released,
            freed=self._settle,
        )
        limits = self._settings.tier(principal.tier)
        ticket = Ticket(
            principal.user_id, log.epoch, execution, max_running=limits.max_running, max_queued=limits.max_queued
        )
        admitted = self._submit(ticket, log, preempt=preempt)
        execution.admitted()
        # Only now, and only until it is given back: what refers to itself waits for the garbage collector, and a user
        # who floods the server would make everybody wait for that.
        execution.ticket = ticket
        if trace is not None:
            trace.queue_begins(log.key.thread_id, execution.run_id)
        if preempt:
            self.cancel(log)
        log.runs[execution.run_id] = row
        self._executions[log.epoch, execution.run_id] = execution
        self._idle.clear()
        if admitted:
            execution.begin()
        elif not execution.begun:  # those that it preempted may have left it their place
            execution.wait(self._deadlines.timeouts.now.queue)

    def _submit(self, ticket: Ticket[Execution], log: ThreadLog, *, preempt: bool) -> bool:
        """Whether the run may start now. With `preempt` the thread's other runs are going to be cancelled, but only
        when the run is accepted."""
        leaving = 0
        if preempt:  # the places in the queue that the thread's own runs leave are this one's to take
            leaving = sum(not each.begun and each.stop_reason is None for each in self._of(log))
        try:
            return self.admission.submit(ticket, leaving=leaving)
        except RefusedError as refused:
            raise RequestError(refused.code, str(refused), retry_after=1.0) from None

    def _of(self, log: ThreadLog) -> list[Execution]:
        found = (self._executions.get((log.epoch, RunId(run_id))) for run_id in log.runs)
        return [execution for execution in found if execution is not None]

    # --- the end of a run ---------------------------------------------------------------------------------------------

    def _on_released(self, execution: Execution) -> None:
        """An execution gave up its place or shall leave the queue: free what it holds, and let others go on."""
        log = execution.log
        if execution.over:
            self._executions.pop((log.epoch, execution.run_id), None)
        self._settle(log)
        ticket, execution.ticket = execution.ticket, None
        if ticket is not None and ticket.running:
            # Not before its end is durable: a user whose runs end at once then takes a turn a commit, not the core.
            self._commits.when_committed(lambda: self._release(ticket))
        elif ticket is not None:
            self._release(ticket)
        if not self._executions:
            self._idle.set()

    def _release(self, ticket: Ticket[Execution]) -> None:
        for admitted in self.admission.release(ticket):
            self._begin(admitted.run)

    def _begin(self, execution: Execution) -> None:
        self._settle(execution.log)
        execution.begin()

    def _settle(self, log: ThreadLog) -> None:
        """End the runs that were stopped in the queue and whose turn in the thread has come."""
        while log.runs and not log.deleted:
            executions = [self._executions.get((log.epoch, run_id)) for run_id in log.runs]
            first = executions[0]
            if first is None or first.begun or first.stop_reason is None:
                return
            if any(execution is not None and execution.begun for execution in executions):
                return  # it has got ahead while the transcript was loaded: its events are not to be cut in two
            if log.transcript is None:
                self._spawn(self._settle_later(log))
                return
            first.end_unbegun(first.stop_reason)
            del self._executions[log.epoch, first.run_id]

    async def _settle_later(self, log: ThreadLog) -> None:
        await self._event_log.prepare_transcript(log)
        self._settle(log)
        if not self._executions:
            self._idle.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def cancel(self, log: ThreadLog, run_id: RunId | None = None) -> list[RunId]:
        """Stop one run of `log`, or (None) all. Returns the ids of those that were active; each gets its terminal
        event."""
        cancelled = []
        for execution in self._of(log):
            if execution.over or (run_id is not None and execution.run_id != run_id):
                continue
            cancelled.append(execution.run_id)
            if execution.begun:
                execution.stop(Outcome("cancelled"))
            elif execution.stop_reason is None:
                execution.stop_reason = Outcome("cancelled")
                self._on_released(execution)
        return cancelled

    def clear(self, log: ThreadLog) -> None:
        """Stop all runs of `log`, which was deleted: nobody sees their ends."""
        executions = self._of(log)
        log.runs.clear()
        for execution in executions:
            if execution.begun:
                execution.stop(Outcome("cancelled"))
            else:
                execution.leave_queue()
                if execution.trace is not None:
                    execution.trace.run_ends("cancelled", None)
                execution.close_record()
                execution.row.finished_at = self._clock.time()
                self._on_released(execution)

    # --- drain --------------------------------------------------------------------------------------------------------

    def refuse_new_runs(self) -> None:
        """From now on `draining`: whoever starts runs refuses them."""
        self._draining = True

    def hurry(self) -> None:
        """A drain, now or later, gives runs no more time to end by themselves."""
        self._hurry.set()

    async def drain(self, seconds: float) -> None:
        """Give the active runs `seconds` to end, then end them with `run_interrupted`. Queued ones end at once.

        Afterwards only agents that ignore every cancel are left (`abandoned`), and runs whose history could not be
        read, which the next start ends. Whoever repeats it waits for the same drain. One that is cancelled may be
        repeated.
        """
        self.refuse_new_runs()
        async with self._drain_lock:
            if not self._drained:
                await self._drain(seconds)
                self._drained = True

    async def _drain(self, seconds: float) -> None:
        why = lost("the server shut down; send the message again")
        for execution in list(self._executions.values()):
            if not execution.begun and not execution.over and execution.stop_reason is None:
                execution.stop_reason = why
                self._on_released(execution)
        with suppress(TimeoutError):
            async with timeout(self._clock, seconds):
                await self._idle_or_hurried()
        if not self._idle.is_set():
            left = list(self._executions.values())
            _logger.warning("drain_cut", runs=len(left))
            for execution in left:
                execution.stop(why)
            try:
                async with timeout(self._clock, self._settings.cancel_grace + AFTER_GRACE):
                    await self._idle.wait()
            except TimeoutError:
                _logger.warning("runs_left", runs=len(self._executions))
        for execution in self._executions.values():
            execution.give_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _idle_or_hurried(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._idle, self._hurry)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
