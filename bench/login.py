"""Logging in without a password hash, over HTTP; and checking a token, as every request and upgrade does."""

from __future__ import annotations

import time
import timeit
from collections.abc import Awaitable, Callable

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.http import Http
from bench.load.tally import percentile
from bench.server import SERVER_CORE, Server, Side, pin
from bench.streaming import target_of

REQUESTS = 1000
CHECKS = 50_000


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        figures = uvloop.run(_measure(server, options.pick(REQUESTS, 100)))
    if side == "goldenpath":
        figures["check_us"] = uvloop.run(_check(options.pick(CHECKS, 5_000)))
    return figures


async def _check(loops: int) -> float:
    """The time of one check of a token that was seen before, in microseconds."""
    from goldenpath import App, Settings  # noqa: PLC0415

    pin(SERVER_CORE)
    server = App(Settings(environment="testing", database=":memory:", simulation_key="bench")).build()
    async with server.running():
        token = (await server.accounts.simulate("bench", "check@example.com")).access_token
        return min(timeit.repeat(lambda: server.accounts.check_now(token), number=loops, repeat=3)) / loops * 1e6


async def _measure(server: Server, requests: int) -> Figures:
    target = target_of(server)
    figures: Figures = {}
    async with Http(server.url) as http:

        async def timed(name: str, call: Callable[[int], Awaitable[object]]) -> None:
            took = []
            cpu = server.cpu()
            for number in range(requests):
                began = time.perf_counter()
                await call(number)
                took.append(time.perf_counter() - began)
            figures[f"{name}_cpu_us"] = (server.cpu() - cpu) / requests * 1e6
            figures[f"{name}_p50_ms"] = percentile(took, 50) * 1000
            figures[f"{name}_p99_ms"] = percentile(took, 99) * 1000

        await target.login_one(http, 0)
        for _ in range(50):
            await http.request("GET", "/livez")
        await timed("livez", lambda _: http.request("GET", "/livez"))
        await timed("first_login", lambda number: target.login_one(http, 1 + number))
        await timed("login", lambda number: target.login_one(http, 1 + number))
    return figures


BENCHMARK = Benchmark(
    name="login",
    title="Login and token check",
    about="1,000 requests of each kind over one kept connection, one after another. A login is a simulated one: no"
    " password hash. The token check is the CPU of GET /v1/auth/me (answer included) above that of GET /livez.",
    rows=(
        Row("login_p50_ms", "login of a known user, p50", "ms", budget=2, stretch=1, digits=2),
        Row("login_p99_ms", "login of a known user, p99", "ms", digits=2),
        Row("first_login_p50_ms", "first login of a user, p50", "ms", digits=2),
        Row("login_cpu_us", "server CPU of a login", "us", digits=0),
        Row("check_us", "checking a token (cached)", "us", budget=20, stretch=5),
        Row("livez_cpu_us", "server CPU of GET /livez", "us", digits=0),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
