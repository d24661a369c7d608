"""Whether an event costs more when there are more users: CPU per event at 1,000 users over that at 10."""

from __future__ import annotations

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import Side
from bench.streaming import measure

FEW, MANY = 10, 1000


def sample(side: Side, options: Options) -> Figures:
    # Few users send more messages, so that both have enough events for a stable figure.
    few = measure(side, FEW, messages=options.pick(9, 2), delay_ms=20, over=1.0)
    many = measure(side, MANY, messages=options.pick(3, 1), delay_ms=20, over=1.0)
    return {
        "clean": few["clean"] and many["clean"],
        "verdict": f"{few['verdict']}; {many['verdict']}",
        "few": few["cpu_us_per_event"],
        "many": many["cpu_us_per_event"],
        "growth": many["cpu_us_per_event"] / few["cpu_us_per_event"],
        "client_saturated": many["client_saturated"],
        "disturbance": max(few["disturbance"] or 0, many["disturbance"] or 0),
    }


BENCHMARK = Benchmark(
    name="growth",
    title="Cost of growth: CPU per event at 1,000 users over 10",
    about="The reference workload with 20 ms between deltas for 10 users (9 messages each) and for 1,000 (3 each).",
    rows=(
        Row("few", "CPU per event, 10 users", "us"),
        Row("many", "CPU per event, 1,000 users", "us"),
        Row("growth", "1,000 users over 10", "x", budget=1.3, stretch=1.1, digits=2),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
