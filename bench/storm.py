"""10,000 clients lose their connections at once in the middle of an answer, and all come back at once."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from time import perf_counter

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.crowd import Crowd
from bench.lab import target_of
from bench.meter import Meter
from bench.returning import Network, Returned
from bench.server import Server, Side
from bench.tally import percentile

CLIENTS = 10_000
DELAY_MS = 1000
BEFORE = 4.0
"""Seconds after which they vanish; they begin within two."""
AWAY = 4.0
RETRY = 0.2
AT_ONCE = 1000
"""Connections that the client machine has in the making at once; more would overflow the accept queue."""
TIMEOUT = 90.0


def sample(side: Side, options: Options) -> Figures:
    clients = options.pick(CLIENTS, 500)
    with Server(side, environment={"GOLDENPATH_MAX_ENGINES": str(2 * CLIENTS)}) as server:
        return uvloop.run(_measure(server, clients))


async def _measure(server: Server, clients: int) -> Figures:
    returned, network = Returned(), Network(at_once=AT_ONCE, retry=RETRY)
    target = target_of(server, network)
    async with Crowd(target, clients, checkers=[returned], resumes=True, patience=2 * TIMEOUT) as crowd:
        gc.freeze()
        streaming = asyncio.create_task(crowd.stream(1, delay_ms=DELAY_MS, over=2.0, timeout=2 * TIMEOUT))
        await asyncio.sleep(BEFORE)
        network.up.clear()
        crowd.drop()
        seen = sum(crowd.lab.judge.stream(number, 0, crowd.thread(user, 0)).seq for number, user in crowd.users.items())
        await asyncio.sleep(AWAY)

        everybody = asyncio.Event()
        returned.begin()
        returned.on_caught_up = lambda _: everybody.set() if len(returned.caught_up) == clients else None
        meter, storm = Meter(server.pid), perf_counter()
        network.up.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await everybody.wait()
        usage = meter.stop()
        memory = server.memory()
        took = [when - storm for when in returned.caught_up.values()]
        replayed = sum(returned.heads.values()) - seen
        await streaming
        gc.unfreeze()
    return {
        "clean": crowd.clean and len(took) == clients,
        "verdict": f"{len(took)} of {clients} caught up; {crowd.verdict}",
        "all_s": max(took, default=TIMEOUT),
        "p50_s": percentile(took, 50),
        "p99_s": percentile(took, 99),
        "resumes_per_second": len(took) / max(took, default=TIMEOUT),
        "replayed": replayed,
        "failed_connects": network.failures,
        "server_mb": memory.pss / 1e6,
        **usage.figures(),
        "server_cpu_us_per_resume": usage.server_cpu / clients * 1e6,
    }


BENCHMARK = Benchmark(
    name="storm",
    title="Resume storm: 10,000 clients at once",
    about="10,000 users each have a run with 1 s between deltas (10,000 events/s); all connections are reset, and"
    " 4 s later all connect and attach at once. Caught up is who has every event up to the head that its attach was"
    " told. Then every run is followed to its end. The hand-written chat cannot resume.",
    sides=("goldenpath",),
    rows=(
        Row("all_s", "all caught up", "s", budget=10, stretch=4, digits=2),
        Row("p50_s", "half caught up", "s", digits=2),
        Row("resumes_per_second", "resumes", "1/s", "higher", digits=0),
        Row("replayed", "events replayed", "", "higher", digits=0),
        Row("failed_connects", "connections refused or timed out, and tried again", "", digits=0),
        Row("server_cpu_us_per_resume", "server CPU per resume (streaming included)", "us", digits=0),
        Row("server_busy", "server's share of its core", "", "higher", digits=2),
        Row("client_busy", "client's share of its core", "", digits=2),
        Row("server_mb", "server's memory (PSS)", "MB", digits=0),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
