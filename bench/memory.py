"""What one more idle connected user costs the server in memory."""

from __future__ import annotations

import asyncio

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.crowd import Crowd
from bench.server import Server, Side
from bench.streaming import target_of

WARM, USERS = 200, 4000
SETTLE = 1.5


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        return uvloop.run(_measure(server, options.pick(USERS, 500)))


async def _measure(server: Server, users: int) -> Figures:
    target = target_of(server)
    # The first users pay for what is allocated once.
    async with Crowd(target, range(WARM), read_buffer=2048):
        await asyncio.sleep(SETTLE)
        before = server.memory()
        await target.login(range(WARM, WARM + users))
        await asyncio.sleep(SETTLE)
        logged_in = server.memory()
        async with Crowd(target, range(WARM, WARM + users), read_buffer=2048) as crowd:
            await asyncio.sleep(SETTLE)
            connected = server.memory()
            lost = sum(1 for user in crowd.users if user.transport is None)
    return {
        "clean": lost == 0,
        "verdict": f"{lost} of {users} connections lost",
        "kb_per_user": (connected.pss - before.pss) / users / 1000,
        "kb_per_connection": (connected.pss - logged_in.pss) / users / 1000,
        "kb_per_login": (logged_in.pss - before.pss) / users / 1000,
        "base_mb": before.pss / 1e6,
    }


BENCHMARK = Benchmark(
    name="memory",
    title="Memory per idle connected user",
    about="4,000 users log in, connect and do nothing; the growth of the server's PSS, after the first 200, divided by"
    " their number. KB is 1,000 bytes.",
    rows=(
        Row("kb_per_user", "logged in and connected", "KB", budget=20, stretch=10),
        Row("kb_per_connection", "of this, the connection", "KB"),
        Row("kb_per_login", "of this, the login", "KB"),
        Row("base_mb", "server with 200 users", "MB"),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
