"""What 60 users notice of one who floods the server."""

from __future__ import annotations

import gc

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.crowd import Crowd
from bench.flood import Flood
from bench.lab import target_of
from bench.server import Server, Side
from bench.tally import percentile

USERS = 60
PAIRS = 4
TIMEOUT = 40.0


def sample(side: Side, options: Options) -> Figures:
    with Server(side) as server:
        return uvloop.run(_measure(server, options.pick(PAIRS, 1)))


async def _measure(server: Server, pairs: int) -> Figures:
    quiet: list[float] = []
    flooded: list[float] = []
    quiet_run: list[float] = []
    flooded_run: list[float] = []
    busy = client = 0.0
    flood_got_runs = True
    async with Crowd(target_of(server), USERS) as crowd:
        await crowd.stream(1, timeout=TIMEOUT)
        gc.freeze()
        flood = Flood(crowd.lab, USERS)
        for pair in range(pairs):
            for with_flood in (False, True):
                served = flood.finished
                if with_flood:
                    await flood.start()
                tally, usage = await crowd.stream(
                    3, delay_ms=20, over=1.0, timeout=TIMEOUT, server=server.pid, seed=pair
                )
                if with_flood:
                    await flood.stop()
                    busy, client = max(busy, usage.server_busy), max(client, usage.client_busy)
                (flooded if with_flood else quiet).extend(tally.first_token)
                (flooded_run if with_flood else quiet_run).extend(tally.run)
                flood_got_runs &= not with_flood or flood.finished > served
        gc.unfreeze()
    p99 = percentile(quiet, 99), percentile(flooded, 99)
    return {
        "clean": crowd.clean and flood_got_runs,
        "verdict": crowd.verdict if flood_got_runs else "the flood got no run: there was none",
        "quiet_p99_ms": p99[0] * 1000,
        "flooded_p99_ms": p99[1] * 1000,
        "growth_percent": (p99[1] / p99[0] - 1) * 100,
        "quiet_run_p50_ms": percentile(quiet_run, 50) * 1000,
        "flooded_run_p50_ms": percentile(flooded_run, 50) * 1000,
        "flood_runs": flood.finished,
        "flood_refused": flood.refused,
        "flood_disconnected": flood.disconnected,
        "server_busy": busy,
        "client_busy": client,
        "client_saturated": float(client > 0.9),
    }


BENCHMARK = Benchmark(
    name="fairness",
    title="Fairness: 60 users beside one who floods",
    about="60 users run the reference workload with 20 ms between deltas, in turns without and with one user who keeps"
    " 64 runs without delay asked for on 16 sockets, and asks again at once when one ends, after 10 ms when refused.",
    rows=(
        Row("quiet_p99_ms", "first token without the flood, p99", "ms"),
        Row("flooded_p99_ms", "first token with the flood, p99", "ms"),
        Row("growth_percent", "growth of the others' first-token p99", "%", budget=20, stretch=5, digits=0),
        Row("quiet_run_p50_ms", "run without the flood, p50", "ms", digits=0),
        Row("flooded_run_p50_ms", "run with the flood, p50", "ms", digits=0),
        Row("flood_runs", "runs the flooding user got", "", "higher", digits=0),
        Row("flood_refused", "runs refused to it", "", digits=0),
        Row("server_busy", "server's share of its core, with the flood", "", digits=2),
        Row("client_busy", "client's share of its core, with the flood", "", digits=2),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
