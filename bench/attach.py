"""How soon a client that was away for 1,000 events has them: warm, and cold after a restart of the server."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench import workload
from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.crowd import Crowd
from bench.load.tally import percentile
from bench.load.user import User
from bench.server import Server, Side
from bench.streaming import target_of

REPLAYED = 1000
RUNS = 18
HEAD = RUNS * workload.EVENTS
USERS = 20
TIMES = 5
TIMEOUT = 30.0


def sample(side: Side, options: Options) -> Figures:
    return uvloop.run(_measure(side, options.pick(TIMES, 1)))


async def _measure(side: Side, times: int) -> Figures:
    figures: Figures = {"clean": True, "verdict": ""}
    with Server(side) as server:
        async with Crowd(target_of(server), range(USERS)) as crowd:
            tally, _ = await crowd.stream(RUNS, per_thread=RUNS, timeout=TIMEOUT)
            figures["clean"], figures["verdict"] = tally.is_clean, tally.verdict()
            if not tally.is_clean:
                return figures
            figures |= await _attach_all(crowd, "warm", times, figures)
            crowd.drop()
            server.stop()
            server.start()
            figures |= await _attach_all(crowd, "cold", 1, figures)
    return figures


async def _attach_all(crowd: Crowd, name: str, times: int, figures: Figures) -> Figures:
    """Each user in turn connects anew and attaches; nothing else goes on."""
    first, last = [], []
    tally = crowd.reset()
    # The run whose middle the replay begins in is not seen from its start, but completes.
    tally.expected = times * len(crowd.users) * (RUNS - (HEAD - REPLAYED) // workload.EVENTS)
    for _ in range(times):
        for user in crowd.users:
            user.drop()
            user.rewind(HEAD - REPLAYED)
            await user.connect()
            await asyncio.sleep(0.02)
            took = await _attach(user)
            first.append(took[0])
            last.append(took[1])
    return {
        f"{name}_first_p50_ms": percentile(first, 50) * 1000,
        f"{name}_first_p95_ms": percentile(first, 95) * 1000,
        f"{name}_last_p50_ms": percentile(last, 50) * 1000,
        f"{name}_last_p95_ms": percentile(last, 95) * 1000,
        "clean": figures["clean"] and tally.is_clean,
        "verdict": f"{figures['verdict']}; {name}: {tally.verdict()}",
    }


async def _attach(user: User) -> tuple[float, float]:
    """Seconds from sending `attach` to the first and to the last replayed event."""
    start, first, last = user.seq, 0.0, 0.0
    done = asyncio.Event()

    def on_event(user: User, now: float) -> None:
        nonlocal first, last
        if not first and user.seq > start:
            first = now
        if user.seq >= HEAD:
            last = now
            done.set()

    user.on_event = on_event
    began = time.perf_counter()
    user.attach()
    try:
        async with asyncio.timeout(TIMEOUT):
            await done.wait()
    except TimeoutError:
        user.tally.violate("incomplete", f"user {user.number} got {user.seq - start} of {REPLAYED} events")
        return TIMEOUT, TIMEOUT
    finally:
        user.on_event = None
    return first - began, last - began


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
