"""Events per second that one core streams to 100 users when the agent does not wait."""

from __future__ import annotations

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import Side
from bench.streaming import measure

USERS = 100
ROUNDS = 10


def sample(side: Side, options: Options) -> Figures:
    return measure(side, USERS, messages=3 * options.pick(ROUNDS, 2))


BENCHMARK = Benchmark(
    name="throughput",
    title="Throughput: 100 users, no delay",
    about="100 users send 3 messages in each of 10 threads, one after another; 58 events a run; one server core.",
    sides=("goldenpath", "peer", "peer-sqlite"),
    rows=(
        Row("events_per_second", "events/s", "1/s", "higher", budget=200_000, stretch=400_000, digits=0),
        Row("events_per_cpu_second", "events per CPU second of the server", "1/s", "higher", digits=0),
        Row("events_per_message", "events in one WebSocket message", "", "higher"),
        Row("server_busy", "server's share of its core", "", "higher", digits=2),
        Row("client_busy", "client's share of its core", "", digits=2),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
