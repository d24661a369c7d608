"""kill -9 while 50 users stream: how long until the first of them, and the last, goes on."""

from __future__ import annotations

import asyncio
import time

import uvloop
from picows import WSError

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.crowd import Crowd
from bench.load.tally import percentile
from bench.load.user import User
from bench.server import Server, Side
from bench.streaming import target_of

USERS = 50
RETRY = 0.02
TIMEOUT = 30.0


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        return uvloop.run(_measure(server, options.pick(USERS, 10)))


async def _measure(server: Server, users: int) -> Figures:
    async with Crowd(target_of(server), range(users)) as crowd:
        before, _ = await crowd.stream(3, timeout=TIMEOUT)
        tally = crowd.reset()
        waiting = set(crowd.users)
        ended = asyncio.Event()

        def on_done(user: User) -> None:
            waiting.discard(user)
            if not waiting:
                ended.set()

        for user in crowd.users:
            # The second message goes out when the first one's run was declared interrupted.
            user.plan(2, delay_ms=20, prefix="restart")
            user.on_done = on_done
            user.may_be_cut = True
            user.send(time.perf_counter())
        await asyncio.sleep(0.5)
        for user in crowd.users:
            user.expects_disconnect = True
        killed = time.perf_counter()
        server.kill()
        spawned = time.perf_counter()
        server.spawn()
        resumed: list[float] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                async with asyncio.TaskGroup() as group:
                    for user in crowd.users:
                        group.create_task(_come_back(user, resumed))
                await ended.wait()
        except TimeoutError:
            tally.failed["timeout"] += len(waiting)
        interrupted = tally.failed.pop("run_interrupted", 0)
    clean = before.is_clean and interrupted == users == tally.completed and not tally.failed and not tally.violations
    first = min(resumed, default=killed + TIMEOUT)
    return {
        "clean": clean,
        "verdict": f"{interrupted} interrupted, {tally.completed} went on of {users}; {dict(tally.failed)};"
        f" {dict(tally.violations)} {'; '.join(tally.samples)}",
        "first_s": first - killed,
        "from_spawn_s": first - spawned,
        "all_s": max(resumed, default=killed + TIMEOUT) - killed,
        "p50_s": percentile(resumed, 50) - killed,
    }


async def _come_back(user: User, resumed: list[float]) -> None:
    """Connect until it works, attach after the last event seen, note when the next one came."""
    before = (user.message, user.seq)
    came = asyncio.Event()

    def on_event(user: User, now: float) -> None:
        if (user.message, user.seq) > before and not came.is_set():
            resumed.append(now)
            came.set()

    user.on_event = on_event
    while True:
        try:
            await user.connect(timeout=5)
            break
        except (WSError, OSError):
            await asyncio.sleep(RETRY)
    user.attach()
    await came.wait()
    user.on_event = None


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
