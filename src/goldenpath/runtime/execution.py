"""One accepted run, from its acceptance to its terminal event.

The promise kept here: whatever happens to the agent, the log gets RUN_STARTED, then the run's events, then exactly one
RUN_FINISHED or RUN_ERROR, and the place is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from goldenpath.clock import Clock, Timer
from goldenpath.runtime.admission import Ticket
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.context import Principal, UserExecutionContext
from goldenpath.runtime.deadlines import Deadlines, TimedOut
from goldenpath.runtime.engine import Engine, EngineFactory, Outcome
from goldenpath.runtime.event_log import EventLog
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import RunRow
from goldenpath.runtime.registry import Agent
from goldenpath.runtime.run import Run, RunLimits
from goldenpath.runtime.run_events import append_started, end_run
from goldenpath.runtime.run_records import RunRecord, RunRecords
from goldenpath.runtime.run_states import after
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.silence import LOOKS, Silence
from goldenpath.runtime.stacks import task_name
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.runtime.tracing import RunTrace
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import encode
from goldenpath.wire.ids import RequestId, RunId, ThreadId
from goldenpath.wire.messages import RunAgentInput, decode_run_input
from goldenpath.wire.order import RunOrder

_logger = structlog.get_logger("goldenpath.execution")

PATIENCE: Final = (
    "an agent that waits for something slow says so by silence=SECONDS of @app.agent or by `async with"
    " run.within(SECONDS)`; for all agents it is agent_execution_timeout; see docs/timeouts.md"
)
"""What somebody is told whose agent was ended because it was silent: the likeliest first surprise of a slow model."""


class Execution:
    """One accepted run. `_work` is the task that carries it out; everything else is synchronous."""

    def __init__(
        self,
        *,
        log: ThreadLog,
        row: RunRow,
        agent: Agent,
        principal: Principal,
        request_id: RequestId,
        run_input: RunAgentInput,
        event_log: EventLog,
        commits: GroupCommit,
        engines: EngineFactory,
        breakers: Breakers,
        deadlines: Deadlines,
        clock: Clock,
        settings: Settings,
        flags: Flags,
        signals: Signals,
        records: RunRecords,
        trace: RunTrace | None,
        released: Callable[[Execution], None],
        freed: Callable[[ThreadLog], None],
    ) -> None:
        self.log = log
        self.row = row
        self.agent = agent
        self.principal = principal
        self.ticket: Ticket[Execution] | None = None
        self.stop_reason: Outcome | None = None
        """Set once the run shall end for a reason from outside: a cancel, a drain."""
        self._request_id = request_id
        self._input = run_input
        self._event_log = event_log
        self._commits = commits
        self._engines = engines
        self._breakers = breakers
        self._deadlines = deadlines
        self._clock = clock
        self._settings = settings
        self._flags = flags
        self._signals = signals
        self._records = records
        self.trace = trace
        self._task_name = task_name(agent.name, row.run_id)
        self._accepted_at = now = clock.monotonic()
        self.record = RunRecord(
            principal.user_id, principal.tier, log.key.thread_id, row.run_id, agent.name, now, row.created_at
        )
        """What operators see of it, once it is admitted."""
        self._began_at = 0.0
        self._released = released
        self._freed = freed
        self._task: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._grace: Timer | None = None
        self._queue_timer: Timer | None = None
        self._overdue: Timer | None = None
        self._watch: Timer | None = None
        """Of the factory, then of the agent's silence."""

    @property
    def run_id(self) -> RunId:
        return RunId(self.row.run_id)

    @property
    def over(self) -> bool:
        """Whether the terminal event is in the log, or the log is gone."""
        return self.row.finished_at is not None

    @property
    def begun(self) -> bool:
        """Whether the run has left the queue."""
        return self._task is not None

    @property
    def at_work(self) -> bool:
        """Whether its agent is at work, or was before the run ended."""
        return self._engine is not None

    # --- waiting ------------------------------------------------------------------------------------------------------

    def admitted(self) -> None:
        """It has a place, or one in the queue."""
        self._records.accept(self.record)

    def wait(self, seconds: float) -> None:
        """Stay in the queue for at most `seconds`; then the run ends with `timeout` when its turn comes."""
        self._queue_timer = self._clock.call_later(seconds, self._waited_too_long, seconds)

    def leave_queue(self) -> None:
        """It waits no longer: its timer would keep it in memory. Harmless when repeated."""
        if self._queue_timer is not None:
            self._queue_timer.cancel()
            self._queue_timer = None

    def _waited_too_long(self, seconds: float) -> None:
        if not self.begun and not self.over and self.stop_reason is None:
            self.stop_reason = Outcome("failed", error=self._deadlines.fired("queue", seconds))
            self._released(self)

    # --- running ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start carrying the run out. Its ticket holds a place."""
        self.leave_queue()
        if self.row.status == "queued":
            self.row.status = after(self.row.status, "begin")
        self._began_at = now = self._clock.monotonic()
        self._signals.queue_wait.record(now - self._accepted_at, now)
        self.record.begun(now)
        self._task = asyncio.create_task(self._work(), name=self._task_name)

    async def _work(self) -> None:
        try:
            try:
                outcome = await self._carry_out()
            except asyncio.CancelledError:
                if not self.at_work:
                    return  # `give_up`
                outcome = self.stop_reason or Outcome("cancelled")
            except Exception as error:
                _logger.exception("run_failed", run_id=self.run_id)
                outcome = self._internal(error)
            for timer in (self._grace, self._overdue, self._watch):
                if timer is not None:
                    timer.cancel()
            if not self.over:
                self._end(self.stop_reason or outcome)
                self._freed(self.log)
        finally:
            if self._engine is None:
                self._released(self)
            else:
                self._engine.run.when_threads_end(lambda: self._released(self))

    def _internal(self, error: Exception) -> Outcome:
        text = f"{type(error).__name__}; request {self._request_id}"
        return Outcome("failed", error=RequestError("internal", text))

    async def _carry_out(self) -> Outcome:
        if self.trace is not None:
            self.trace.run_begins(self.log.key.thread_id, self.run_id)
        engine = self._engine = await self._prepare()
        if engine is None:
            return self.stop_reason or Outcome("cancelled")
        grace = self._settings.cancel_grace
        self._overdue = self._clock.call_later(engine.limit + grace, self._out_of_time)
        self._watch_silence(engine)
        return await engine.execute()

    async def _prepare(self) -> Engine | None:
        """The run's engine, with its history loaded; None where the run is to end before it."""
        factory, clock = self._signals.factory, self._clock
        seconds = self._deadlines.timeouts.now.factory
        self._watch = clock.call_later(seconds, self._made_too_late, seconds)
        try:
            await self._event_log.prepare_transcript(self.log)
            if self.stop_reason is not None or self.log.deleted:
                return None
            self._append_started()
            self.record.started_at = clock.monotonic()
            self.log.words_awaited_by = self.record
            assert self.ticket is not None
            engine = self._engines.create(self.ticket, self.agent, self._make_run)
        except Exception:
            factory.failed.add(clock.monotonic())
            raise
        finally:
            self._watch.cancel()
        self.record.made_at = now = clock.monotonic()
        factory.took.record(now - self._began_at, now)
        return engine

    def _made_too_late(self, seconds: float) -> None:
        """The run ends as soon as its history can be read: ended without it, it would lose what its user said."""
        if self._engine is None and self.stop_reason is None and not self.over:
            self._signals.factory.timed_out.add(self._clock.monotonic())
            self.stop_reason = Outcome("failed", error=self._deadlines.fired("factory", seconds))

    def _watch_silence(self, engine: Engine) -> None:
        limit = engine.run.timeouts.agent_execution if self.agent.silence is None else self.agent.silence
        if limit < engine.limit:  # else its time is over first
            silence = Silence(limit, engine.run.mark, self._clock.monotonic())
            self._watch = self._clock.call_later(limit / LOOKS, self._look, engine, silence, limit)

    def _look(self, engine: Engine, silence: Silence, limit: float) -> None:
        if self.over or self.stop_reason is not None or engine.outcome is not None:
            return
        run = engine.run
        pause = silence.look(run.mark, self._clock.monotonic(), excused=run.excused)
        if pause is None:
            _logger.warning("agent_silent", agent=self.agent.name, run_id=self.run_id, seconds=limit, advice=PATIENCE)
            self.stop(Outcome("failed", error=self._deadlines.fired("agent_execution", limit)))
        else:
            self._watch = self._clock.call_later(pause, self._look, engine, silence, limit)

    def _append_started(self) -> None:
        append_started(self.log, self.row, self._input, self._clock.time())
        self._commits.save(self.log, self.row)  # when it began is durable together with its RUN_STARTED

    def _make_run(self) -> Run:
        settings, clock = self._settings, self._clock
        now = clock.monotonic()
        context = UserExecutionContext(
            principal=self.principal,
            thread_id=ThreadId(self.log.key.thread_id),
            run_id=self.run_id,
            request_id=self._request_id,
            deadline=now + self._deadlines.timeouts.now.run,
            created_at=clock.time(),
        )
        messages = self.log.transcript.messages if self.log.transcript is not None else []
        limits = RunLimits(settings.max_event_bytes, settings.max_run_bytes)
        given = decode_run_input(encode(self._input))  # the agent's own: the transcript keeps the messages of ours
        mine, deadlines = self._flags.of(self.principal), self._deadlines
        return Run(
            context, given, messages, self.log, self._commits, clock, limits, self._breakers, mine, deadlines,
            self.record, self.trace, self._task_name,
        )  # fmt: skip

    # --- ending -------------------------------------------------------------------------------------------------------

    def stop(self, outcome: Outcome) -> None:
        """End the run with `outcome`: at once where its agent obeys, after the grace where it does not.

        For a run that has begun. The first reason counts; where its agent has ended already, and cleans up, it ends as
        its agent did, after the grace at the latest.
        """
        if self.over or self.stop_reason is not None:
            return
        self.stop_reason = self._ended_as or outcome
        if self._task is None or self._engine is None:
            # It is about to start, and will see the reason: it begins and ends all the same. Where its history cannot
            # be read, that waits: ended without it, the run would lose what its user said.
            return
        self._engine.run.cancelled = True
        self._task.cancel()
        self._grace = self._clock.call_later(self._settings.cancel_grace, self._force)

    def _out_of_time(self) -> None:
        """The engine cancelled the agent at its time limit, and the agent did not stop, or its clean-ups take long."""
        if self.over or self._engine is None:
            return
        if self.stop_reason is None:
            self.stop_reason = self._ended_as or self._engine.out_of_time()
        self._engine.run.cancelled = True
        self._force()

    def _force(self) -> None:
        """The agent did not stop in time: end the run without it. It keeps its place until it really ends."""
        if self.over or self._task is None or self._task.done():
            return
        event = "agent_ignores_cancel" if self._ended_as is None else "cleanup_outlives_run"
        _logger.warning(event, agent=self.agent.name, run_id=self.run_id)
        self._end(self.stop_reason or Outcome("cancelled"))
        self._nudge()
        self._freed(self.log)

    def _nudge(self) -> None:
        """Cancel again and again: an agent that swallowed one cancel may obey the next."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._grace = self._clock.call_later(self._settings.cancel_grace, self._nudge)

    def give_up(self) -> None:
        """The server ends and the history could not be read: leave the run to the next start, which ends it. Harmless
        for a run that has begun."""
        if self._task is not None and not self.at_work:
            self._task.cancel()

    @property
    def _ended_as(self) -> Outcome | None:
        """How the agent ended; None while it works, or has not begun."""
        return self._engine.outcome if self._engine is not None else None

    def end_unbegun(self, outcome: Outcome) -> None:
        """Begin and end a queued run at once; its thread is free. Its transcript must be loaded."""
        self.leave_queue()
        self.row.status = after(self.row.status, "begin")
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        """End the run in its log. Where that fails, it fails: its thread must go on, and whoever waits be told."""
        try:
            self._write_end(outcome)
        except Exception as error:
            _logger.exception("run_not_ended", run_id=self.run_id)
            if not self.over:
                end_run(self.log, self.row, RunOrder(), self._internal(error), self._clock.time())
                self._event_log.finish(self.log, self.row)
        self.close_record()

    def close_record(self) -> None:
        """The run is over. Harmless when repeated."""
        record, row = self.record, self.row
        record.events, record.bytes = self.progress()
        status = "cancelled" if self.log.deleted else row.status
        self._records.close(record, status, row.error, self._clock.monotonic())

    def progress(self) -> tuple[int, int]:
        """How many events the run has so far, and how many bytes its agent has said."""
        row = self.row
        last = row.last_seq or self.log.head
        return last - row.first_seq + 1 if row.first_seq else 0, 0 if self._engine is None else self._engine.run.size

    def _note_end(self, outcome: Outcome) -> None:
        runs, now = self._signals.run, self._clock.monotonic()
        code = outcome.error.code if outcome.error is not None else None
        if isinstance(outcome.error, TimedOut):
            self.record.timed_out = outcome.error.level
        if self.trace is not None:
            self.trace.run_ends(outcome.kind, code)
        if outcome.kind == "cancelled" or code == "run_interrupted":
            runs.refused.add(now)
        elif not self.begun:
            self._signals.queue_timeouts.add(now)
        elif outcome.kind == "failed":
            made_late = isinstance(outcome.error, TimedOut) and outcome.error.level == "factory"
            (runs.timed_out if code == "timeout" and not made_late else runs.failed).add(now)
        else:
            runs.took.record(now - self._began_at, now)

    def _write_end(self, outcome: Outcome) -> None:
        """Close what is open and write the terminal event."""
        log, row = self.log, self.row
        self._note_end(outcome)
        if log.deleted:
            row.finished_at = self._clock.time()
            return
        if row.started_at is None:
            self._append_started()
        run = self._engine.run if self._engine is not None else None
        if run is not None:
            run.ended = True
        order = run.order if run is not None else RunOrder()
        pending = run.pending_tool_calls if run is not None else []
        usage = run.token_usage if run is not None else []
        limit = self._settings.max_event_bytes
        end_run(log, row, order, outcome, self._clock.time(), pending=pending, usage=usage, max_bytes=limit)
        self._event_log.finish(log, row)
