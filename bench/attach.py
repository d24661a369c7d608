"""How soon a client that was away for 1,000 events has them: warm, and cold after a restart of the server."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench import workload
from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.crowd import Crowd
from bench.lab import target_of
from bench.returning import Returned
from bench.server import Server, Side
from bench.tally import percentile
from goldenpath.lab.operations import OperationError
from goldenpath.lab.user import User

REPLAYED = 1000
RUNS = 18
HEAD = RUNS * workload.EVENTS
USERS = 20
TIMES = 5
TIMEOUT = 30.0


def sample(side: Side, options: Options) -> Figures:
    return uvloop.run(_measure(side, options.pick(TIMES, 1)))


async def _measure(side: Side, times: int) -> Figures:
    returned = Returned()
    took: dict[str, list[tuple[float, float]]] = {}
    with Server(side) as server:
        async with Crowd(target_of(server), USERS, checkers=[returned]) as crowd:
            await crowd.stream(RUNS, per_thread=RUNS, timeout=TIMEOUT)
            took["warm"] = await _attach_all(crowd, returned, times)
            crowd.drop()
            server.stop()
            server.start()
            took["cold"] = await _attach_all(crowd, returned, 1)
    figures: Figures = {"clean": crowd.clean, "verdict": crowd.verdict}
    for name, both in took.items():
        for what, values in zip(("first", "last"), zip(*both, strict=True), strict=True):
            figures[f"{name}_{what}_p50_ms"] = percentile(values, 50) * 1000
            figures[f"{name}_{what}_p95_ms"] = percentile(values, 95) * 1000
    return figures


async def _attach_all(crowd: Crowd, returned: Returned, times: int) -> list[tuple[float, float]]:
    """Each user in turn connects anew and attaches; nothing else goes on. Of each, seconds from sending `attach` to the
    first and to the last replayed event."""
    took = []
    for _ in range(times):
        for user in crowd.users.values():
            user.drop()
            await user.connect()
            await asyncio.sleep(0.02)
            took.append(await _attach(crowd, user, returned))
    return took


async def _attach(crowd: Crowd, user: User, returned: Returned) -> tuple[float, float]:
    done = asyncio.Event()
    returned.begin()
    returned.on_caught_up = lambda _: done.set()
    thread = crowd.thread(user, 0)
    epoch = crowd.lab.judge.stream(user.number, user.viewer, thread).epoch
    began = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT):
            await user.attach(thread, epoch=epoch, after=HEAD - REPLAYED)
            await done.wait()
    except (TimeoutError, OperationError):
        crowd.phases[-1].failed["incomplete"] += 1
        return TIMEOUT, TIMEOUT
    return returned.first[user.number] - began, returned.caught_up[user.number] - began


BENCHMARK = Benchmark(
    name="attach",
    title="Attach with replay of 1,000 events",
    about="20 threads of 1,044 events; a new connection attaches 1,000 events before the end, one after another: five"
    " times each while the server is warm, then once each after a restart. The hand-written chat cannot resume.",
    sides=("goldenpath",),
    rows=(
        Row("warm_first_p50_ms", "warm: first event, p50", "ms", budget=5, stretch=2),
        Row("warm_first_p95_ms", "warm: first event, p95", "ms"),
        Row("warm_last_p50_ms", "warm: last event, p50", "ms", budget=20, stretch=8),
        Row("warm_last_p95_ms", "warm: last event, p95", "ms"),
        Row("cold_first_p50_ms", "after a restart: first event, p50", "ms", budget=5, stretch=2),
        Row("cold_last_p50_ms", "after a restart: last event, p50", "ms", budget=20, stretch=8),
        Row("cold_last_p95_ms", "after a restart: last event, p95", "ms"),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
