"""What 500 and 1,000 users wait, on one server core, when tokens come 20 ms apart."""

from __future__ import annotations

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import Side
from bench.streaming import above_ideal, measure

SIZES = (500, 1000)


def sample(side: Side, options: Options) -> Figures:
    merged: Figures = {"clean": True, "verdict": ""}
    for users in SIZES:
        figures = measure(side, users, messages=options.pick(3, 1), delay_ms=20, over=1.0)
        figures |= above_ideal(figures, 20, 1000)
        merged["clean"] = merged["clean"] and figures["clean"]
        merged["verdict"] += f"{users} users: {figures['verdict']}. "
        for name in ("client_saturated", "disturbance"):
            merged[name] = max(merged.get(name, 0), figures[name] or 0)
        merged |= {f"{name}_{users}": value for name, value in figures.items() if name not in ("clean", "verdict")}
    return merged


def rows(users: int) -> tuple[Row, ...]:
    budget = users == 1000
    return (
        Row(f"first_token_p50_above_ms_{users}", f"{users:,} users: first token above 20 ms, p50", "ms"),
        Row(f"first_token_p95_above_ms_{users}", f"{users:,} users: first token above 20 ms, p95", "ms"),
        Row(
            f"first_token_p99_above_ms_{users}",
            f"{users:,} users: first token above 20 ms, p99",
            "ms",
            budget=10 if budget else None,
            stretch=5 if budget else None,
        ),
        Row(
            f"run_p50_above_ms_{users}",
            f"{users:,} users: run above 1,000 ms, p50",
            "ms",
            budget=30 if budget else None,
            stretch=15 if budget else None,
        ),
        Row(f"cpu_ms_per_run_{users}", f"{users:,} users: server CPU per run", "ms", digits=2),
        Row(f"server_busy_{users}", f"{users:,} users: server's share of its core", "", digits=2),
    )


BENCHMARK = Benchmark(
    name="thousand",
    title="Latency: 500 and 1,000 users, 20 ms between deltas",
    about="The users start within one second and send 3 messages one after another; latency counts from the intended"
    " start; ideal are 20 ms to the first token and 1,000 ms a run.",
    sides=("goldenpath", "peer", "peer-sqlite"),
    rows=(*rows(500), *rows(1000)),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
