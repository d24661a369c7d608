"""What stands between the gateway and the log, on a clock and a store that a test controls."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from goldenpath.clock import Clock, ManualClock
from goldenpath.runtime.admission import Admission
from goldenpath.runtime.breakers import Breakers
from goldenpath.runtime.context import Principal, UserExecutionContext
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.degradation import Degradation
from goldenpath.runtime.dispatcher import Accepted, Dispatcher, RunRequest
from goldenpath.runtime.engine import EngineFactory
from goldenpath.runtime.execution import Execution
from goldenpath.runtime.flags.definition import BUILTIN, agent_flags
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.interfaces import LogStore, ThreadKey
from goldenpath.runtime.overload import Overload
from goldenpath.runtime.registry import Agent, Registry
from goldenpath.runtime.run import Run, RunLimits
from goldenpath.runtime.run_records import RunRecords
from goldenpath.runtime.scheduler import Scheduler
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.timeouts import CurrentTimeouts
from goldenpath.wire import events as ev
from goldenpath.wire.commands import OnBusy
from goldenpath.wire.ids import RequestId, RunId, SessionId, ThreadId, UserId
from goldenpath.wire.messages import Message, RunAgentInput, decode_message
from tests.runtime.logs import LiveRun, Logs

FLAGS = Flags(BUILTIN, "testing")
"""With no rules."""


def principal(user: str = "ann", tier: str = "free") -> Principal:
    return Principal(UserId(user), SessionId(f"session-{user}"), 4e9, tier=tier)


def breakers(clock: Clock) -> Breakers:
    return Breakers(clock, lambda: 0.0, {})


def deadlines(clock: Clock, settings: Settings) -> Deadlines:
    return Deadlines(clock, CurrentTimeouts(settings.timeouts))


def make_run(
    logs: Logs, live: LiveRun, *, seconds: float = 60.0, messages: list[Message] | None = None, **limits: int
) -> Run:
    """The run of an accepted row, as an execution makes it."""
    clock = logs.clock
    context = UserExecutionContext(
        principal=principal(live.log.key.user_id),
        thread_id=live.log.key.thread_id,
        run_id=RunId(live.row.run_id),
        request_id=RequestId("request-1"),
        deadline=clock.monotonic() + seconds,
        created_at=clock.time(),
    )
    bounds = RunLimits(limits.get("max_event_bytes", 1 << 19), limits.get("max_run_bytes", 1 << 26))
    return Run(
        context,
        RunAgentInput(),
        messages or [],
        live.log,
        logs.event_log.commits,
        clock,
        bounds,
        breakers(clock),
        FLAGS.of(context.principal),
        deadlines(clock, logs.settings),
    )


async def turns(count: int = 20) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon without the clock. Real time passes only where threads are at work."""
    async with asyncio.timeout(20):
        for number in itertools.count():
            if condition():
                return
            await asyncio.sleep(0 if number < 200 else 0.001)


class Agents(Registry):
    """Defines the flag of each agent, as the server does when it starts."""

    def __init__(self, flags: Flags) -> None:
        super().__init__()
        self._flags = flags

    def add(self, name: str, function: Callable[[Any], Any], **options: Any) -> Agent:
        agent = super().add(name, function, **options)
        for flag in agent_flags([name]):
            self._flags.define(flag)
        return agent


class Runs(Logs):
    """One process's dispatcher with its agents, scheduler and event log."""

    def __init__(self, store: LogStore | None = None, clock: ManualClock | None = None, **settings: Any) -> None:
        super().__init__(store, clock, **settings)
        self.flags = Flags(BUILTIN, self.settings.environment)
        self.agents = Agents(self.flags)
        self.admission: Admission[Execution] = Admission(
            max_running=self.settings.max_engines, max_waiting=self.settings.max_waiting
        )
        self.engines = EngineFactory(self.clock)
        self.deadlines = deadlines(self.clock, self.settings)
        self.records = RunRecords()
        self.scheduler = Scheduler(
            admission=self.admission,
            engines=self.engines,
            breakers=breakers(self.clock),
            deadlines=self.deadlines,
            event_log=self.event_log,
            commits=self.event_log.commits,
            clock=self.clock,
            settings=self.settings,
            flags=self.flags,
            signals=self.signals,
            records=self.records,
        )
        self.degradation = Degradation(list(self.settings.tiers))
        self.overload = Overload(list(self.settings.tiers), lag_bound=None, wait_bound=None)
        self.dispatcher = Dispatcher(
            agents=self.agents,
            event_log=self.event_log,
            commits=self.event_log.commits,
            scheduler=self.scheduler,
            store=self.store,
            turns=self.turns,
            degradation=self.degradation,
            overload=self.overload,
            clock=self.clock,
            settings=self.settings,
            flags=self.flags,
            tracing=None,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Runs]:
        """Start, end what is unfinished, and drain at the end."""
        await self.recovery.run(await self.event_log.start())
        try:
            yield self
        finally:
            self.store.release_commits()
            self.store.failing_commits = 0
            await self.meanwhile(self.scheduler.drain(0))
            await self.meanwhile(self.event_log.stop())

    async def start(
        self,
        agent: str,
        run_id: str | None = "r1",
        *,
        thread: str = "t1",
        user: str = "ann",
        tier: str = "free",
        on_busy: OnBusy = "enqueue",
        text: str | None = "hello",
        run_input: RunAgentInput | None = None,
    ) -> Accepted:
        """Have a run accepted; `run_id` None: of an id that the server makes. Raises as the dispatcher does."""
        request = RunRequest(agent, None if run_input else text, run_input, thread, run_id, on_busy)
        async with self.dispatcher.start(principal(user, tier), request, RequestId(f"request-{run_id}")) as accepted:
            return accepted

    async def over(self, accepted: Accepted) -> list[ev.Event]:
        """Wait for the end of a run without moving the clock. Returns its events."""
        await until(lambda: accepted.run.finished_at is not None)
        await self.settle()
        return await self.said(accepted)

    async def said(self, accepted: Accepted) -> list[ev.Event]:
        """The events of a run as they stand in the log now."""
        events = await self.whole(accepted.log.key)
        return [ev.decode_event(event) for run_id, event in events if run_id == accepted.run.run_id]

    async def history(self, thread: str = "t1", user: str = "ann") -> list[Message]:
        _, _, messages = await self.dispatcher.messages(principal(user), thread)
        return [decode_message(message) for message in messages]

    def key(self, thread: str = "t1", user: str = "ann") -> ThreadKey:
        return ThreadKey(UserId(user), ThreadId(thread))


def kinds(events: list[ev.Event]) -> list[str]:
    """The types of events, in order."""
    return [str(event.__struct_config__.tag) for event in events]


def terminal(events: list[ev.Event]) -> str:
    """How a run ended: the code of its RUN_ERROR or the outcome of its RUN_FINISHED. It begins and ends once."""
    types = kinds(events)
    assert types.count("RUN_STARTED") == 1
    assert types[0] == "RUN_STARTED"
    assert types.count("RUN_FINISHED") + types.count("RUN_ERROR") == 1
    last = events[-1]
    if isinstance(last, ev.RunError):
        return str(last.code)
    assert isinstance(last, ev.RunFinished)
    assert last.outcome is not None
    return str(last.outcome.__struct_config__.tag)
