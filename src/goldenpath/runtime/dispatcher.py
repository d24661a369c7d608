"""What every transport asks for, in one place: start, cancel, attach, list, read, delete.

Each call names the principal, and every log is found by (principal's user, thread): there is no way to ask for
somebody else's. What belongs to another user is therefore answered exactly as what does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime.admission import RefusedError, Ticket
from goldenpath.runtime.context import Principal
from goldenpath.runtime.engine import EngineFactory, Outcome
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.execution import Execution, interrupted
from goldenpath.runtime.interfaces import LogStore, RunRow, RunStatus, ThreadKey, ThreadRow
from goldenpath.runtime.lifecycle import ENDED
from goldenpath.runtime.registry import Registry
from goldenpath.runtime.run_ends import RunEnds
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import LogDeletedError, ThreadLog
from goldenpath.runtime.turns import Turns
from goldenpath.wire.answers import RunEnd
from goldenpath.wire.commands import OnBusy
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import RunAgentInput, UserMessage, encode
from goldenpath.wire.ids import RequestId, RunId, ThreadId, UserId, new_id

SHOWN_RUNS: Final = 200
"""How many runs the description of a thread lists at most."""
SHOWN_ENDS: Final = 1000
"""Of how many runs, the newest, the ends are shown."""
BEYOND_QUEUE: Final = 64
"""How many runs that were cancelled in the queue a thread may hold until their turn comes."""

AFTER_GRACE: Final = 0.5
"""How long the drain waits after `cancel_grace` for what the ends of cut runs still need, in seconds."""

_logger = structlog.get_logger("goldenpath.dispatcher")


class RunRequest(msgspec.Struct, frozen=True):
    """A run as a client asks for it. Exactly one of `text` and `input`; absent ids are made."""

    agent: str
    text: str | None = None
    input: RunAgentInput | None = None
    thread_id: str | None = None
    run_id: str | None = None
    on_busy: OnBusy = "enqueue"


class Accepted(msgspec.Struct, frozen=True):
    """An accepted run. Its subscriber reads after `seq`. `status` is that of the acceptance, or, where the run was
    `known` because its id had been accepted before, that of now."""

    log: ThreadLog
    run: RunRow
    seq: int
    status: RunStatus
    known: bool


class Dispatcher:
    """The commands. Belongs to one event loop; calls may run concurrently. Cancelling a call does not undo it."""

    def __init__(
        self,
        *,
        agents: Registry,
        event_log: EventLog,
        engines: EngineFactory[Execution],
        store: LogStore,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self.agents = agents
        self.event_log = event_log
        self.engines = engines
        self._store = store
        self._clock = clock
        self._settings = settings
        self._ends = RunEnds(event_log, store, settings.max_history_bytes)
        self._turns = Turns(clock)
        self._executions: dict[tuple[str, RunId], Execution] = {}
        self._draining = False
        self._drained = False
        self._hurry = asyncio.Event()
        self.recovered = asyncio.Event()
        """Set once all runs that an earlier process left have their ends. Until then what is in their logs is not known
        yet: calls for them wait."""
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
        return len(self._executions) if self._drained else 0

    @property
    def draining(self) -> bool:
        return self._draining

    # --- start --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def start(self, principal: Principal, request: RunRequest, request_id: RequestId) -> AsyncIterator[Accepted]:
        """Accept a run, or find the one of this id. Enters when the acceptance is durable; the log stays in memory
        while the context is open.

        Raises `RequestError`: `unknown_agent`, `thread_busy`, `quota_exceeded`, `queue_full`, `overloaded`,
        `draining`, `payload_too_large`; `not_found` where the thread was deleted meanwhile.
        """
        given = request.input
        thread_id = ThreadId(request.thread_id or (given and given.thread_id) or new_id("thread"))
        named = request.run_id or (given and given.run_id)
        run_id = RunId(named or new_id("run"))
        async with self.event_log.create(ThreadKey(principal.user_id, thread_id)) as log:
            known = log.run(run_id)
            if known is None and named and log.may_have_had(run_id):
                known = await self._store.run(log.epoch, run_id) or log.run(run_id)
            if known is not None:
                await self.event_log.committed()
                if log.deleted:
                    raise RequestError("not_found", "the thread was deleted")
                yield Accepted(log, known, self._position(log, known), known.status, known=True)
                return
            execution = self._accept(principal, request, log, run_id, request_id)
            seq, status = log.visible, execution.row.status
            await self.event_log.committed()
            if log.deleted:
                raise RequestError("not_found", "the thread was deleted")
            yield Accepted(log, execution.row, seq, status, known=False)

    def _accept(
        self, principal: Principal, request: RunRequest, log: ThreadLog, run_id: RunId, request_id: RequestId
    ) -> Execution:
        """The decision: without a pause, so that nothing can come between the checks and their effect."""
        agent = self.agents.get(request.agent, principal)
        if self._draining:
            raise RequestError("draining", "the server is shutting down", retry_after=1.0)
        if not self.event_log.healthy:
            raise RequestError("overloaded", "the log cannot be written at present", retry_after=2.0)
        if log.deleted:
            raise RequestError("not_found", "the thread was deleted")
        if request.on_busy == "reject" and log.runs:
            raise RequestError("thread_busy", "the thread has a run already", retry_after=1.0)
        if log.history_bytes > self._settings.max_history_bytes:
            raise RequestError("payload_too_large", "the thread's history is full; start a new thread")
        limits = self._settings.tier(principal.tier)
        if len(log.runs) > limits.max_queued + BEYOND_QUEUE:
            raise RequestError("quota_exceeded", "too many runs of this thread wait for their end", retry_after=1.0)
        run_input = _input_of(request, log.key.thread_id, run_id)
        now = self._clock.time()
        row = RunRow(log.epoch, run_id, agent.name, "queued", now, input=encode(run_input))
        execution = Execution(
            log=log,
            row=row,
            agent=agent,
            principal=principal,
            request_id=request_id,
            run_input=run_input,
            event_log=self.event_log,
            engines=self.engines,
            clock=self._clock,
            settings=self._settings,
            released=self._on_released,
            freed=self._settle,
        )
        ticket = Ticket(
            principal.user_id, log.epoch, execution, max_running=limits.max_running, max_queued=limits.max_queued
        )
        admitted = self._submit(ticket, log, interrupt=request.on_busy == "interrupt")
        # Only now, and only until it is given back: what refers to itself waits for the garbage collector, and a user
        # who floods the server would make everybody wait for that.
        execution.ticket = ticket
        if request.on_busy == "interrupt":
            self._cancel(log, None)
        log.runs[run_id] = row
        self._executions[log.epoch, run_id] = execution
        self._idle.clear()
        log.updated_at = now
        if admitted:
            execution.begin()
        elif not execution.begun:  # those that it interrupted may have left it their place
            execution.wait(self._settings.queue_timeout)
        self.event_log.save(log, row)
        return execution

    def _submit(self, ticket: Ticket[Execution], log: ThreadLog, *, interrupt: bool) -> bool:
        """Whether the run may start now. With `interrupt` the thread's other runs are going to be cancelled, but only
        when the run is accepted: a refusal has no effect."""
        leaving = [each for each in self._executions_of(log) if not each.begun and each.stop_reason is None]
        try:
            # The places in the queue that the thread's own runs leave are this one's to take.
            return self.engines.admission.submit(ticket, leaving=len(leaving) if interrupt else 0)
        except RefusedError as refused:
            raise RequestError(refused.code, str(refused), retry_after=1.0) from None

    def _executions_of(self, log: ThreadLog) -> list[Execution]:
        found = (self._executions.get((log.epoch, RunId(run_id))) for run_id in log.runs)
        return [execution for execution in found if execution is not None]

    def _position(self, log: ThreadLog, run: RunRow) -> int:
        return run.first_seq - 1 if run.first_seq else log.visible

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
            self.event_log.when_committed(lambda: self._release(ticket))
        elif ticket is not None:
            self._release(ticket)
        if not self._executions:
            self._idle.set()

    def _release(self, ticket: Ticket[Execution]) -> None:
        for admitted in self.engines.admission.release(ticket):
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
        await self.event_log.prepare_transcript(log)
        self._settle(log)
        if not self._executions:
            self._idle.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- cancel -------------------------------------------------------------------------------------------------------

    async def cancel(self, principal: Principal, thread_id: str, run_id: str | None) -> list[RunId]:
        """Stop one run, or all of the thread. Returns the ids of those that were active; each gets its terminal event.

        Raises `RequestError` (`not_found`) for a thread or run that this user does not have.
        """
        async with self.opened(principal, thread_id) as log:
            if run_id is not None:
                await self._known(log, RunId(run_id))
            cancelled = self._cancel(log, None if run_id is None else RunId(run_id))
            if run_id is None:
                await self._ends_durable(log)  # what is not among them is said to have ended
            return cancelled

    def _cancel(self, log: ThreadLog, run_id: RunId | None) -> list[RunId]:
        cancelled = []
        for identity in list(log.runs):
            execution = self._executions.get((log.epoch, RunId(identity)))
            if execution is None or execution.over or (run_id is not None and identity != run_id):
                continue
            cancelled.append(execution.run_id)
            if execution.begun:
                execution.stop(Outcome("cancelled"))
            elif execution.stop_reason is None:
                execution.stop_reason = Outcome("cancelled")
                self._on_released(execution)
        return cancelled

    # --- threads ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def opened(self, principal: Principal, thread_id: str) -> AsyncIterator[ThreadLog]:
        """The principal's log of this name, kept in memory meanwhile. Raises `RequestError` (`not_found`)."""
        async with self.event_log.open(ThreadKey(principal.user_id, ThreadId(thread_id))) as log:
            if log is None:
                raise RequestError("not_found", "there is no such thread")
            yield log

    async def threads(self, user_id: UserId, limit: int, before: tuple[float, str] | None) -> list[ThreadRow]:
        """A page of a user's threads, newest first, with what is in memory on top of what is stored."""
        await self.event_log.recovery()
        rows = await self._store.threads(user_id, limit, before)
        for row in rows:
            log = self.event_log.active(row.key)
            if log is not None and log.epoch == row.epoch:
                row.head = log.visible
        return rows

    async def runs(self, log: ThreadLog) -> list[RunRow]:
        """The newest runs of a thread, oldest first."""
        await self._ends_durable(log)
        rows = await self._store.runs(log.epoch, SHOWN_RUNS) if log.durable else []
        shown = {row.run_id: row for row in rows}
        for live in (*log.recent_runs.values(), *log.runs.values()):
            if live.run_id in shown or live.status not in ENDED:
                shown[live.run_id] = live
        return list(shown.values())

    async def _ends_durable(self, log: ThreadLog) -> None:
        """Wait until every end of a run of `log` is durable: nobody may be told of one before."""
        if any(row.last_seq > log.visible for row in log.recent_runs.values()):
            await self.event_log.committed()

    async def run(self, principal: Principal, thread_id: str, run_id: str) -> RunRow:
        """One run. Raises `RequestError` (`not_found`)."""
        async with self.opened(principal, thread_id) as log:
            return await self._known(log, RunId(run_id))

    async def _known(self, log: ThreadLog, run_id: RunId) -> RunRow:
        row = log.run(run_id)
        if row is None and log.may_have_had(run_id):
            row = await self._store.run(log.epoch, run_id) or log.run(run_id)
        if row is not None and row.last_seq > log.visible:
            await self.event_log.committed()  # it has ended, but nobody may be told before that is durable
        if row is None:
            raise RequestError("not_found", "there is no such run")
        return row

    async def messages(self, principal: Principal, thread_id: str) -> tuple[ThreadLog, int, list[bytes]]:
        """The history, complete up to the returned seq. Raises `RequestError` (`not_found`)."""
        async with self.opened(principal, thread_id) as log:
            try:
                seq, messages = await self.event_log.history(log)
            except LogDeletedError:
                raise RequestError("not_found", "there is no such thread") from None
            return log, seq, messages

    async def ends(self, principal: Principal, thread_id: str) -> tuple[ThreadLog, list[RunEnd]]:
        """How the newest runs ended (`RunEnds.read`); no end is missing that is in the history as read before.

        A user's come one after another (`Turns`). Raises `RequestError` (`not_found`).
        """
        async with self.opened(principal, thread_id) as log:
            await self._ends_durable(log)
            async with self._turns.turn(principal.user_id):
                ends = await self._ends.read(log, await self._store.runs(log.epoch, SHOWN_ENDS))
            if log.deleted:
                raise RequestError("not_found", "there is no such thread")
            return log, ends

    async def delete(self, principal: Principal, thread_id: str) -> None:
        """Remove a thread. Returns when that is durable. Raises `RequestError` (`not_found`)."""
        async with self.opened(principal, thread_id) as log:
            executions = self._executions_of(log)
            self.event_log.delete(log)
            log.runs.clear()
            for execution in executions:
                if execution.begun:
                    execution.stop(Outcome("cancelled"))
                else:
                    execution.leave_queue()
                    execution.row.finished_at = self._clock.time()
                    self._on_released(execution)
            await self.event_log.committed()

    # --- drain --------------------------------------------------------------------------------------------------------

    def refuse_new_runs(self) -> None:
        """From now on `start` raises `draining`."""
        self._draining = True

    def hurry(self) -> None:
        """A drain, now or later, gives runs no more time to end by themselves."""
        self._hurry.set()

    async def drain(self, seconds: float) -> None:
        """Give the active runs `seconds` to end, then end them with `run_interrupted`. Queued ones end at once.

        Afterwards only agents that ignore every cancel are left (`abandoned`). Repeating it does nothing.
        """
        self.refuse_new_runs()
        if self._drained:
            return
        self._drained = True
        why = interrupted("the server shut down; send the message again")
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
                _logger.warning("agents_left_running", runs=len(self._executions))

    async def _idle_or_hurried(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._idle, self._hurry)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _input_of(request: RunRequest, thread_id: str, run_id: str) -> RunAgentInput:
    if request.input is not None:
        return msgspec.structs.replace(request.input, thread_id=thread_id, run_id=run_id)
    message = UserMessage(request.text or "", id=new_id("msg"))
    return RunAgentInput(thread_id=thread_id, run_id=run_id, messages=[message])
