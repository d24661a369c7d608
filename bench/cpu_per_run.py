"""CPU that the server spends on one run of 58 events when tokens come 20 ms apart."""

from __future__ import annotations

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import Side
from bench.streaming import above_ideal, measure


def sample(side: Side, options: Options) -> Figures:
    figures = measure(side, 100, messages=options.pick(3, 1), delay_ms=20, over=1.0)
    return figures | above_ideal(figures, 20, 1000)


BENCHMARK = Benchmark(
    name="cpu_per_run",
    title="CPU per run: 100 users, 20 ms between deltas",
    about="100 users start within one second and send 3 messages one after another; 50 deltas 20 ms apart.",
    sides=("goldenpath", "peer", "peer-sqlite"),
    rows=(
        Row("cpu_ms_per_run", "server CPU per run", "ms", budget=1.4, stretch=0.8, digits=2),
        Row("first_token_p50_above_ms", "first token above 20 ms, p50", "ms"),
        Row("first_token_p99_above_ms", "first token above 20 ms, p99", "ms"),
        Row("run_p50_above_ms", "run above 1,000 ms, p50", "ms"),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
