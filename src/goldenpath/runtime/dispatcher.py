"""What every transport asks for, in one place: start, cancel, attach, list, read, delete.

Each call names the principal, and every log is found by (principal's user, thread): there is no way to ask for
somebody else's. What belongs to another user is therefore answered exactly as what does not exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from goldenpath.clock import Clock
from goldenpath.runtime.context import Principal
from goldenpath.runtime.degradation import Degradation
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.flags.definition import ADAPTIVE_ADMISSION, NEW_RUNS, agent_flag
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import LogStore, RunRow, RunStatus, ThreadKey, ThreadRow
from goldenpath.runtime.overload import Overload
from goldenpath.runtime.registry import Agent, Registry, unknown_agent
from goldenpath.runtime.run_ends import RunEnds
from goldenpath.runtime.run_states import ENDED
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.thread_log import LogDeletedError, ThreadLog
from goldenpath.runtime.tracing import RunTrace, Tracing, ending
from goldenpath.runtime.turns import Turns
from goldenpath.wire.answers import RunEnd
from goldenpath.wire.commands import OnBusy
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import encode
from goldenpath.wire.ids import RequestId, RunId, ThreadId, UserId, new_id
from goldenpath.wire.messages import RunAgentInput, UserMessage

SHOWN_RUNS: Final = 200
"""How many runs the description of a thread lists at most."""
SHOWN_ENDS: Final = 1000
"""Of how many runs, the newest, the ends are shown."""
BEYOND_QUEUE: Final = 64
"""How many runs that were cancelled in the queue a thread may hold until their turn comes."""
SWITCHED_OFF: Final = 30.0
"""After how many seconds to try again what an operator has switched off."""


class RunRequest(msgspec.Struct, frozen=True):
    """A run as a client asks for it. Exactly one of `text` and `input`; absent ids are made."""

    agent: str
    text: str | None = None
    input: RunAgentInput | None = None
    thread_id: str | None = None
    run_id: str | None = None
    on_busy: OnBusy = "enqueue"
    traceparent: str | None = None
    """The caller's trace, as W3C Trace Context has it."""


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
        commits: GroupCommit,
        scheduler: Scheduler,
        store: LogStore,
        turns: Turns,
        degradation: Degradation,
        overload: Overload,
        clock: Clock,
        settings: Settings,
        flags: Flags,
        tracing: Tracing | None,
    ) -> None:
        self.agents = agents
        self.event_log = event_log
        self._commits = commits
        self._scheduler = scheduler
        self._store = store
        self._clock = clock
        self._settings = settings
        self._flags = flags
        self._tracing = tracing
        self._ends = RunEnds(event_log, store, settings.max_history_bytes)
        self._turns = turns
        self._degradation = degradation
        self._overload = overload

    def agents_of(self, principal: Principal) -> list[Agent]:
        """The agents that `principal` may run at the moment."""
        return [agent for agent in self.agents.allowed(principal) if self._offers(agent, principal)]

    def _offers(self, agent: Agent, principal: Principal) -> bool:
        return self._flags.enabled(agent_flag(agent.name), principal)

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
                await self._commits.committed()
                if log.deleted:
                    raise RequestError("not_found", "the thread was deleted")
                yield Accepted(log, known, self._position(log, known), known.status, known=True)
                return
            trace = None
            if self._tracing is not None:
                trace = self._tracing.request(request.agent, request_id, request.traceparent)
            with ending(trace):
                row = self._accept(principal, request, log, run_id, request_id, trace)
                seq, status = log.visible, row.status
                await self._commits.committed()
                if log.deleted:
                    raise RequestError("not_found", "the thread was deleted")
            yield Accepted(log, row, seq, status, known=False)

    def _accept(
        self,
        principal: Principal,
        request: RunRequest,
        log: ThreadLog,
        run_id: RunId,
        request_id: RequestId,
        trace: RunTrace | None,
    ) -> RunRow:
        """The decision: without a pause, so that nothing can come between the checks and their effect."""
        agent = self.agents.get(request.agent, principal)
        if not self._offers(agent, principal):
            raise unknown_agent(agent.name)
        if self._scheduler.draining:
            raise RequestError("draining", "the server is shutting down", retry_after=1.0)
        if not self._flags.enabled(NEW_RUNS, principal):
            raise RequestError("overloaded", "new runs are switched off at present", retry_after=SWITCHED_OFF)
        if not self._commits.healthy:
            raise RequestError("overloaded", "the log cannot be written at present", retry_after=2.0)
        self._degradation.check(principal.tier)
        if self._flags.enabled(ADAPTIVE_ADMISSION, principal):
            self._overload.check(principal, self._clock.monotonic())
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
        preempt = request.on_busy == "interrupt"
        self._scheduler.accept(log, row, agent, principal, request_id, run_input, preempt=preempt, trace=trace)
        log.updated_at = now
        self._commits.save(log, row)
        return row

    def _position(self, log: ThreadLog, run: RunRow) -> int:
        return run.first_seq - 1 if run.first_seq else log.visible

    # --- cancel -------------------------------------------------------------------------------------------------------

    async def cancel(self, principal: Principal, thread_id: str, run_id: str | None) -> list[RunId]:
        """Stop one run, or all of the thread. Returns the ids of those that were active; each gets its terminal event.

        Raises `RequestError` (`not_found`) for a thread or run that this user does not have.
        """
        async with self.opened(principal, thread_id) as log:
            if run_id is not None:
                await self._known(log, RunId(run_id))
            cancelled = self._scheduler.cancel(log, None if run_id is None else RunId(run_id))
            if run_id is None:
                await self._ends_durable(log)  # what is not among them is said to have ended
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
        """A page of a user's threads, newest first; `before` is where the page before ended."""
        return await self.event_log.threads(user_id, limit, before)

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
            await self._commits.committed()

    async def run(self, principal: Principal, thread_id: str, run_id: str) -> RunRow:
        """One run. Raises `RequestError` (`not_found`)."""
        async with self.opened(principal, thread_id) as log:
            return await self._known(log, RunId(run_id))

    async def _known(self, log: ThreadLog, run_id: RunId) -> RunRow:
        row = log.run(run_id)
        if row is None and log.may_have_had(run_id):
            row = await self._store.run(log.epoch, run_id) or log.run(run_id)
        if row is not None and row.last_seq > log.visible:
            await self._commits.committed()  # it has ended, but nobody may be told before that is durable
        if row is None:
            raise RequestError("not_found", "there is no such run")
        return row

    async def messages(self, principal: Principal, thread_id: str) -> tuple[ThreadLog, int, list[bytes]]:
        """The history, complete up to the returned seq. Raises `RequestError`: `not_found`, `rate_limited`."""
        async with self.opened(principal, thread_id) as log:
            try:
                seq, messages = await self.event_log.history(log)
            except LogDeletedError:
                raise RequestError("not_found", "there is no such thread") from None
            return log, seq, messages

    async def ends(self, principal: Principal, thread_id: str) -> tuple[ThreadLog, list[RunEnd], bool]:
        """How the newest runs ended (`RunEnds.read`), and whether those are all.

        Where they are, no end is missing that is in the history as read before.

        A user's come one after another (`Turns`). Raises `RequestError`: `not_found`, `rate_limited`.
        """
        async with self.opened(principal, thread_id) as log:
            await self._ends_durable(log)
            async with self._turns.turn(principal.user_id):
                runs = await self._store.runs(log.epoch, SHOWN_ENDS)
                ends, complete = await self._ends.read(log, runs)
            if log.deleted:
                raise RequestError("not_found", "there is no such thread")
            return log, ends, complete and len(runs) < SHOWN_ENDS

    async def delete(self, principal: Principal, thread_id: str) -> None:
        """Remove a thread. Returns when that is durable. Raises `RequestError` (`not_found`)."""
        async with self.opened(principal, thread_id) as log:
            self.event_log.delete(log)
            self._scheduler.clear(log)
            await self._commits.committed()


def _input_of(request: RunRequest, thread_id: str, run_id: str) -> RunAgentInput:
    if request.input is not None:
        return msgspec.structs.replace(request.input, thread_id=thread_id, run_id=run_id)
    message = UserMessage(request.text or "", id=new_id("msg"))
    return RunAgentInput(thread_id=thread_id, run_id=run_id, messages=[message])
