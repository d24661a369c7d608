"""One isolated engine for each run, and the factory that hands them out.

An engine holds everything a run uses: its context, its task group, its deadline, its clean-ups. Nothing in it is
shared with another engine, and when the run ends the engine takes everything down in reverse order, whatever happened.
The factory makes one only for a run that holds a place (`Admission`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Literal

import msgspec
import structlog

from goldenpath.clock import Clock, timeout
from goldenpath.runtime import containment, offload
from goldenpath.runtime.admission import Ticket
from goldenpath.runtime.offload import call_in_thread
from goldenpath.runtime.registry import Agent
from goldenpath.runtime.run import Interrupted, Run
from goldenpath.runtime.spans import RunEndedError
from goldenpath.runtime.sync_run import SyncRun
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import Interrupt

_logger = structlog.get_logger("goldenpath.engine")

_CALLERS: Final = frozenset({__file__, offload.__file__, containment.__file__})
"""Whose frames lie between the event loop, or a thread, and the agent's code."""

CLEANUP_TIMEOUT = 5.0
"""How long each clean-up may take, in seconds; then it is cancelled and the next one is called."""


class Outcome(msgspec.Struct, frozen=True):
    """How an agent ended. `error` is what the client is told; `result` is the agent's return value."""

    kind: Literal["finished", "interrupt", "failed", "cancelled"]
    result: Any = None
    interrupts: list[Interrupt] | None = None
    error: RequestError | None = None


class EngineStatistics(msgspec.Struct, frozen=True):
    """What the engines are doing now, and have done since the start."""

    created: int
    """Engines made."""
    active: int
    """Engines that work, clean up, or wait for threads of their runs."""
    cleaned: int
    """Engines that have ended and cleaned up, and have no thread left."""
    create_seconds_total: float
    """Seconds spent making the context, run and engine of runs that had got their place."""
    create_seconds_max: float
    """The most that one of them took, in seconds."""


class Engine:
    """Everything of one run that must end with it."""

    __slots__ = ("_done", "_late", "agent", "limit", "outcome", "run")

    def __init__(self, agent: Agent, run: Run, done: Callable[[], None]) -> None:
        self.agent = agent
        self.run = run
        self.limit = run.remaining() if agent.timeout is None else min(run.remaining(), agent.timeout)
        """How long the agent may take, in seconds. Then it is cancelled; whether it obeys is its own affair."""
        self.outcome: Outcome | None = None
        """How the agent ended; None while it works. Nothing that happens later, while it cleans up, changes it."""
        self._done = done
        self._late: Outcome | None = None

    def out_of_time(self) -> Outcome:
        """The outcome of a run that took all its time."""
        if self._late is None:
            self._late = Outcome("failed", error=self.run.deadlines.fired("run", self.limit))
        return self._late

    async def execute(self) -> Outcome:
        """Run the agent to its end, whatever that is, and clean up. Returns how it ended; raises nothing.

        Cancelling the calling task cancels the agent; the outcome is then `cancelled`, unless the agent ended in
        another way first. A cancel of the clean-ups does nothing.
        """
        self.outcome = await self._outcome()
        if self.run.cleanups:
            # In a task of their own: the calling one is cancelled again and again when somebody wants to stop the run.
            await _to_its_end(asyncio.create_task(self._clean_up(), name=self.run.task_name))
        self.run.when_threads_end(self._done)
        return self.outcome

    async def _outcome(self) -> Outcome:
        run = self.run
        limit: asyncio.Timeout | None = None
        try:
            async with timeout(run.clock, self.limit) as limit, asyncio.TaskGroup() as group:
                run.group = group
                return Outcome("finished", result=await self._call())
        except BaseException as error:  # noqa: BLE001 - whatever an agent raises ends here
            outcome = self._judge(error, timed_out=limit is not None and limit.expired())
            _forget_frames(error)
            return outcome
        finally:
            run.group = None

    async def _call(self) -> Any:
        if self.agent.is_async:
            return await self.agent.function(self.run)
        work = asyncio.ensure_future(call_in_thread(self.agent.function, SyncRun(self.run, asyncio.get_running_loop())))
        try:
            result = await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done():  # the function's own
                raise
            # A thread cannot be cancelled: it learns at its next emit, and the engine stays until it has ended.
            self.run.cancelled = True
            await _to_its_end(work)
            if not work.cancelled():
                work.exception()
            raise
        if inspect.isawaitable(result):  # a callable that returns a coroutine, e.g. a partial of an async function
            return await result
        return result

    def _judge(self, error: BaseException, *, timed_out: bool) -> Outcome:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, Interrupted):
            return Outcome("interrupt", interrupts=error.interrupts)
        if timed_out and isinstance(error, TimeoutError | asyncio.CancelledError):
            return self.out_of_time()
        if isinstance(error, asyncio.CancelledError | RunEndedError) and self._is_told_to_stop():
            return Outcome("cancelled")
        if isinstance(error, RequestError):
            return Outcome("failed", error=error)
        context = self.run.context
        _logger.error(
            "agent_failed",
            agent=self.agent.name,
            request_id=context.request_id,
            run_id=context.run_id,
            exc_info=(type(error), error, _from_the_agent(error.__traceback__)),
        )
        message = f"the agent {self.agent.name} failed ({type(error).__name__}); request {context.request_id}"
        return Outcome("failed", error=RequestError("agent_error", message))

    def _is_told_to_stop(self) -> bool:
        """Whether the cancel came from outside, rather than from a slip of the agent's, as from awaiting a task that it
        cancelled itself."""
        task = asyncio.current_task()
        return self.run.cancelled or self.run.closed or (task is not None and task.cancelling() > 0)

    async def _clean_up(self) -> None:
        cleanups = self.run.cleanups
        while cleanups:
            callback = cleanups.pop()
            try:
                result = callback()
                if inspect.isawaitable(result):
                    async with timeout(self.run.clock, CLEANUP_TIMEOUT):
                        await result
            except BaseException as error:
                _logger.error("cleanup_failed", agent=self.agent.name, exc_info=error)  # noqa: TRY400 - BaseException too


async def _to_its_end(work: asyncio.Future[Any]) -> None:
    """Wait until `work` is done, whoever cancels the waiting."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])


def _from_the_agent(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the agent's own code on, without our frames that called it."""
    theirs = trace
    while theirs is not None and theirs.tb_frame.f_code.co_filename in _CALLERS:
        theirs = theirs.tb_next
    return theirs or trace


def _forget_frames(error: BaseException) -> None:
    """Let go of the frames that an error went through: they hold the run, which holds them, and only the garbage
    collector, for which everybody waits, would find that."""
    errors: list[BaseException | None] = [error]
    seen: set[int] = set()
    while errors:
        each = errors.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        errors += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            errors += each.exceptions


class EngineFactory:
    """Gives each admitted run an engine of its own, and counts. Belongs to the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._created = self._cleaned = 0
        self._seconds = self._longest = 0.0

    def create(self, ticket: Ticket[Any], agent: Agent, make_run: Callable[[], Run]) -> Engine:
        """An engine for the admitted `ticket`. Raises ValueError for one that holds no place, or what `make_run`
        raises; nothing is left behind then."""
        if not ticket.running:
            raise ValueError("the ticket holds no place")
        started = self._clock.monotonic()
        engine = Engine(agent, make_run(), self._count_cleaned)
        seconds = self._clock.monotonic() - started
        self._created += 1
        self._seconds += seconds
        self._longest = max(self._longest, seconds)
        return engine

    def _count_cleaned(self) -> None:
        self._cleaned += 1

    def statistics(self) -> EngineStatistics:
        return EngineStatistics(
            created=self._created,
            active=self._created - self._cleaned,
            cleaned=self._cleaned,
            create_seconds_total=self._seconds,
            create_seconds_max=self._longest,
        )
