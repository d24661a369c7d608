"""10,000 clients lose their connections at once in the middle of an answer, and all come back at once."""

from __future__ import annotations

import asyncio
import gc
import random
from functools import partial
from time import perf_counter

import uvloop
from picows import WSError

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.crowd import Crowd, limited
from bench.load.frames import Frame
from bench.load.tally import percentile
from bench.load.user import User
from bench.meter import Meter
from bench.server import Server, Side
from bench.streaming import target_of

CLIENTS = 10_000
DELAY_MS = 1000
AWAY = 4.0
AT_ONCE = 1000
"""Connections that the client machine has in the making at once; more would overflow the accept queue."""
TIMEOUT = 90.0


def sample(side: Side, options: Options) -> Figures:
    clients = options.pick(CLIENTS, 500)
    with Server(side, environment={"GOLDENPATH_MAX_ENGINES": str(2 * CLIENTS)}) as server:
        return uvloop.run(_measure(server, clients))


async def _measure(server: Server, clients: int) -> Figures:
    async with Crowd(target_of(server), range(clients), read_buffer=2048) as crowd:
        gc.freeze()
        tally = crowd.reset()
        tally.expected = clients
        running = set(crowd.users)
        ended = asyncio.Event()
        caught_up: dict[User, float] = {}
        all_caught_up = asyncio.Event()
        heads: dict[User, int] = {}
        failures = 0

        def on_done(user: User) -> None:
            running.discard(user)
            if not running:
                ended.set()

        def on_attached(user: User, frame: Frame) -> None:
            heads[user] = frame.head

        def on_event(user: User, now: float) -> None:
            if user not in caught_up and user.seq >= heads.get(user, 1 << 60):
                caught_up[user] = now
                if len(caught_up) == clients:
                    all_caught_up.set()

        schedule = random.Random(1)
        start = perf_counter()
        for offset, user in sorted(((schedule.random() * 2, user) for user in crowd.users), key=lambda pair: pair[0]):
            wait = start + offset - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            user.on_done = on_done
            user.plan(1, delay_ms=DELAY_MS, prefix="storm")
            user.send(start + offset)
        await asyncio.sleep(2)
        crowd.drop()
        seen = sum(user.seq for user in crowd.users)
        await asyncio.sleep(AWAY)

        for user in crowd.users:
            user.on_attached, user.on_event = on_attached, on_event
        storm = perf_counter()

        async def resume(user: User) -> None:
            nonlocal failures
            for _ in range(20):
                try:
                    await user.connect(2048)
                except (WSError, OSError):
                    failures += 1
                    await asyncio.sleep(0.2)
                    continue
                user.attach()
                return

        meter = Meter(server.pid)
        try:
            async with asyncio.timeout(TIMEOUT):
                await limited([partial(resume, user) for user in crowd.users], AT_ONCE)
                await all_caught_up.wait()
        except TimeoutError:
            tally.failed["not caught up"] += clients - len(caught_up)
        usage = meter.stop()
        memory = server.memory()
        replayed = sum(heads.values()) - seen
        try:
            async with asyncio.timeout(TIMEOUT):
                await ended.wait()
        except TimeoutError:
            tally.failed["not ended"] += len(running)
        took = [when - storm for when in caught_up.values()]
        gc.unfreeze()
    return {
        "clean": tally.is_clean,
        "verdict": tally.verdict(),
        "all_s": max(took, default=TIMEOUT),
        "p50_s": percentile(took, 50),
        "p99_s": percentile(took, 99),
        "resumes_per_second": len(took) / max(took, default=TIMEOUT),
        "replayed": replayed,
        "failed_connects": failures,
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
