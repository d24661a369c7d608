"""What one more idle connected user costs the server in memory."""

from __future__ import annotations

import asyncio

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.lab import Lab, target_of
from bench.server import Memory, Server, Side
from goldenpath.lab.runner import limited

WARM, USERS = 200, 4000
SETTLE = 2.5
"""Seconds after which nothing of what was done is left: the lab keeps a connection for HTTP for two."""


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        return uvloop.run(_measure(server, options.pick(USERS, 500)))


async def _measure(server: Server, count: int) -> Figures:
    lab = Lab(target_of(server))
    users = [lab.user(number) for number in range(WARM + count)]
    warm, more = users[:WARM], users[WARM:]
    try:
        # The first users pay for what is allocated once.
        await limited(user.login for user in warm)
        await limited(user.connect for user in warm)
        before = await settled(server)
        await limited(user.login for user in more)
        logged_in = await settled(server)
        await limited(user.connect for user in more)
        connected = await settled(server)
        lost = sum(1 for user in users if not user.connected)
    finally:
        await limited(user.close for user in users)
        await lab.close()
    wrong = lab.wrong()
    return {
        "clean": lost == 0 and not wrong,
        "verdict": "; ".join([f"{lost} of {len(users)} connections lost", *wrong]),
        "kb_per_user": (connected.pss - before.pss) / count / 1000,
        "kb_per_connection": (connected.pss - logged_in.pss) / count / 1000,
        "kb_per_login": (logged_in.pss - before.pss) / count / 1000,
        "base_mb": before.pss / 1e6,
    }


async def settled(server: Server) -> Memory:
    """What it holds when nothing has happened for a while."""
    await asyncio.sleep(SETTLE)
    return server.memory()


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
