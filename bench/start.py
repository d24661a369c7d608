"""From starting the process to its first answered request."""

from __future__ import annotations

import time

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import Server, Side


def sample(side: Side, options: Options) -> Figures:  # noqa: ARG001
    server = Server(side)
    try:
        began = time.monotonic()
        server.spawn()
        alive = server.wait_ready("/livez", pause=0.002)
        ready = server.wait_ready("/readyz", pause=0.002) if side == "goldenpath" else alive
        memory = server.memory()
        stopping = time.monotonic()
        server.stop()
        return {
            "alive_s": alive - began,
            "ready_s": ready - began,
            "stop_s": time.monotonic() - stopping,
            "pss_mb": memory.pss / 1e6,
        }
    finally:
        server.__exit__()


BENCHMARK = Benchmark(
    name="start",
    title="Start",
    about="From starting the process (an empty data directory, byte code compiled) to the first 200 of /livez, asked"
    " every 2 ms; and of /readyz.",
    rows=(
        Row("alive_s", "first answered request", "s", budget=1.0, stretch=0.6, digits=2),
        Row("ready_s", "ready", "s", digits=2),
        Row("pss_mb", "memory then (PSS)", "MB"),
        Row("stop_s", "SIGTERM to exit, idle", "s", digits=2),
    ),
    sample=sample,
    repetitions=7,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
