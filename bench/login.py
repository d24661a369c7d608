"""Logging in without a password hash, over HTTP; and checking a token, as every request and upgrade does."""

from __future__ import annotations

import json
import re
import socket
import time
import timeit
from collections.abc import Callable
from contextlib import closing

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import SERVER_CORE, Server, Side, pin
from bench.tally import percentile

REQUESTS = 1000
CHECKS = 50_000
_WHOLE = re.compile(rb"HTTP/1\.1 (\d).*?content-length: *(\d+)\r\n(?:.*?\r\n)?\r\n", re.DOTALL | re.IGNORECASE)
"""The head of an answer: the class of its status, and how long its body is."""


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        figures = _measure(server, options.pick(REQUESTS, 100))
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


class _Http:
    """One kept connection, one request after another, as cheap as it gets: the lab's client takes 0.25 ms more for
    each, which is half of what is measured here."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self._headers = f"Host: 127.0.0.1\r\nX-Simulation-Key: {server.simulation_key}\r\n"

    def alive(self, _: int) -> None:
        self._request("GET /livez")

    def login(self, user: int) -> None:
        self._request("POST /v1/auth/simulate", json.dumps({"email": f"user{user}@bench.example"}))

    def _request(self, what: str, body: str = "") -> None:
        about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._socket.sendall(f"{what} HTTP/1.1\r\n{self._headers}{about}\r\n{body}".encode())
        answer = b""
        while (whole := _WHOLE.match(answer)) is None or len(answer) < whole.end() + int(whole[2]):
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionResetError(what)
            answer += received
        if whole[1] != b"2":
            raise RuntimeError(f"{what}: {answer[:300]!r}")

    def close(self) -> None:
        self._socket.close()


def _measure(server: Server, requests: int) -> Figures:
    figures: Figures = {}
    connection = _Http(server)

    def timed(name: str, call: Callable[[int], object]) -> None:
        took = []
        cpu = server.cpu()
        for number in range(requests):
            began = time.perf_counter()
            call(number)
            took.append(time.perf_counter() - began)
        figures[f"{name}_cpu_us"] = (server.cpu() - cpu) / requests * 1e6
        figures[f"{name}_p50_ms"] = percentile(took, 50) * 1000
        figures[f"{name}_p99_ms"] = percentile(took, 99) * 1000

    with closing(connection):
        connection.login(requests)
        for number in range(50):
            connection.alive(number)
        timed("livez", connection.alive)
        timed("first_login", connection.login)
        timed("login", connection.login)
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
