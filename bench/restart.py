"""kill -9 while 50 users stream: how long until the first of them, and the last, goes on."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.crowd import Crowd
from bench.lab import target_of
from bench.returning import Network, Returned
from bench.server import Server, Side
from bench.tally import percentile

USERS = 50
RETRY = 0.02
TIMEOUT = 30.0


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        return uvloop.run(_measure(server, options.pick(USERS, 10)))


async def _measure(server: Server, users: int) -> Figures:
    returned, network = Returned(), Network(at_once=users, retry=RETRY)
    async with Crowd(target_of(server, network), users, checkers=[returned], resumes=True) as crowd:
        await crowd.stream(3, timeout=TIMEOUT)
        # The second message goes out when the first one's run was declared interrupted.
        streaming = asyncio.create_task(crowd.stream(2, delay_ms=20, timeout=TIMEOUT))
        await asyncio.sleep(0.5)
        returned.begin()
        crowd.lab.recorder.injected("kill", on=True)
        killed = time.perf_counter()
        server.kill()
        spawned = time.perf_counter()
        server.spawn()
        tally, _ = await streaming
        crowd.lab.recorder.injected("kill", on=False)
        interrupted = tally.failed.pop("run_interrupted", 0)
        tally.expected -= interrupted
    came = list(returned.first.values())
    first = min(came, default=killed + TIMEOUT)
    return {
        "clean": crowd.clean and interrupted == users == len(came),
        "verdict": f"{interrupted} interrupted, {len(came)} went on of {users}; {crowd.verdict}",
        "first_s": first - killed,
        "from_spawn_s": first - spawned,
        "all_s": max(came, default=killed + TIMEOUT) - killed,
        "p50_s": percentile(came, 50) - killed,
    }


BENCHMARK = Benchmark(
    name="restart",
    title="kill -9 and restart",
    about="50 users stream with 20 ms between deltas; the server is killed and started again at once on the same data;"
    " every user tries to connect each 20 ms and attaches after its last event; each must be told that its run was"
    " interrupted, and its next message must work. The hand-written chat cannot resume.",
    sides=("goldenpath",),
    rows=(
        Row("first_s", "kill to first resumed event", "s", budget=2, stretch=1, digits=2),
        Row("from_spawn_s", "start of the new process to first resumed event", "s", digits=2),
        Row("all_s", "kill to the last user's first resumed event", "s", digits=2),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
