"""Creating an engine for a run, executing an agent that does nothing in it, and cleaning it up; all in one process."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import SERVER_CORE, Side, pin
from bench.tally import percentile

ENGINES = 5_000
WARM = 500


@dataclass(frozen=True)
class PeerContext:
    user_id: str
    thread_id: str
    run_id: str


def sample(side: Side, options: Options) -> Figures:
    pin(SERVER_CORE)
    engines = options.pick(ENGINES, 1_000)
    took = uvloop.run(_goldenpath(engines) if side == "goldenpath" else _peer(engines))
    return {"p50_us": percentile(took, 50) * 1e6, "p99_us": percentile(took, 99) * 1e6}


async def _goldenpath(engines: int) -> list[float]:
    # Imported here so that the other side does not need them.
    from goldenpath.clock import SystemClock  # noqa: PLC0415
    from goldenpath.runtime.admission import Admission, Ticket  # noqa: PLC0415
    from goldenpath.runtime.breakers import Breakers  # noqa: PLC0415
    from goldenpath.runtime.context import Principal, UserExecutionContext  # noqa: PLC0415
    from goldenpath.runtime.deadlines import Deadlines  # noqa: PLC0415
    from goldenpath.runtime.dependencies import policies_of  # noqa: PLC0415
    from goldenpath.runtime.engine import EngineFactory  # noqa: PLC0415
    from goldenpath.runtime.event_log import EventLog  # noqa: PLC0415
    from goldenpath.runtime.flags.definition import BUILTIN  # noqa: PLC0415
    from goldenpath.runtime.flags.flags import Flags  # noqa: PLC0415
    from goldenpath.runtime.interfaces import ThreadKey, ThreadRow  # noqa: PLC0415
    from goldenpath.runtime.registry import Registry  # noqa: PLC0415
    from goldenpath.runtime.run import Run, RunLimits  # noqa: PLC0415
    from goldenpath.runtime.settings import Settings  # noqa: PLC0415
    from goldenpath.runtime.signals import Signals  # noqa: PLC0415
    from goldenpath.runtime.stores.database import Database  # noqa: PLC0415
    from goldenpath.runtime.stores.sqlite_log import SqliteLog  # noqa: PLC0415
    from goldenpath.runtime.thread_log import ThreadLog  # noqa: PLC0415
    from goldenpath.runtime.timeouts import CurrentTimeouts  # noqa: PLC0415
    from goldenpath.runtime.turns import Turns  # noqa: PLC0415
    from goldenpath.wire.ids import Epoch, RequestId, RunId, SessionId, ThreadId, UserId  # noqa: PLC0415
    from goldenpath.wire.messages import RunAgentInput  # noqa: PLC0415

    cleaned = 0

    def clean_up() -> None:
        nonlocal cleaned
        cleaned += 1

    async def nothing(run: Run) -> None:
        run.on_cleanup(clean_up)

    settings, clock = Settings(), SystemClock()
    agent = Registry().add("nothing", nothing, description="")
    admission: Admission[RunId] = Admission(max_running=100, max_waiting=100)
    factory = EngineFactory(clock)
    principal = Principal(UserId("user_1"), SessionId("session_1"), 4e9)
    key = ThreadKey(principal.user_id, ThreadId("thread-1"))
    log = ThreadLog(ThreadRow(key, Epoch("epoch"), clock.time(), clock.time()), durable=True)
    # Never opened: the agent says nothing.
    event_log = EventLog(SqliteLog(Database(Path("unused.db"), ())), clock, settings, Turns(clock), Signals())
    breakers = Breakers(clock, random.random, policies_of(settings))
    deadlines = Deadlines(clock, CurrentTimeouts(settings.timeouts))
    limits = RunLimits(settings.max_event_bytes, settings.max_run_bytes)
    flags = Flags(BUILTIN, "local").of(principal)
    took = []
    gc.collect()
    for number in range(WARM + engines):
        run_id = RunId(f"run-{number}")
        began = time.perf_counter()
        ticket = Ticket(principal.user_id, key, run_id, max_running=2, max_queued=16)
        admission.submit(ticket)

        def make_run(run_id: RunId = run_id) -> Run:
            now = clock.monotonic()
            context = UserExecutionContext(
                principal, key.thread_id, run_id, RequestId("req_0123456789"), now + settings.run_timeout, clock.time()
            )
            return Run(context, RunAgentInput(), [], log, event_log.commits, clock, limits, breakers, flags, deadlines)

        outcome = await factory.create(ticket, agent, make_run).execute()
        admission.release(ticket)
        took.append(time.perf_counter() - began)
        if outcome.kind != "finished":
            raise RuntimeError(f"the agent ended as {outcome.kind}")
    statistics = factory.statistics()
    if statistics.active or cleaned != WARM + engines:
        raise RuntimeError(f"not cleaned up: {statistics}")
    return took[WARM:]


async def _peer(engines: int) -> list[float]:
    """What a server by hand does for a run: a context, a task, a time-out, a set of tasks."""
    tasks: set[asyncio.Task[None]] = set()

    async def nothing(context: PeerContext) -> None:
        async with asyncio.timeout(600):
            if not context.user_id:
                raise ValueError("no user")

    took = []
    gc.collect()
    for number in range(WARM + engines):
        began = time.perf_counter()
        task = asyncio.create_task(nothing(PeerContext("user_1", "thread-1", f"run-{number}")))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await task
        took.append(time.perf_counter() - began)
    return took[WARM:]


BENCHMARK = Benchmark(
    name="engine",
    title="An engine, created and cleaned up",
    about="5,000 times, after 500 to warm up: take a place at admission, create the run's context and engine, execute"
    " an agent that registers one clean-up and does nothing else, clean up, give the place back. By hand: a task with a"
    " time-out in a set of tasks, with no admission, isolation or clean-up.",
    rows=(
        Row("p50_us", "create and clean up, p50", "us", budget=100, stretch=40),
        Row("p99_us", "create and clean up, p99", "us"),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
