"""What load tools say of a server that stands still: the truth is known by arithmetic.

The server answers at once, but stands still for one second in every five. Of requests that are due 500 times a second,
whatever the server does, a fifth waits, for anything between no time and a second: p95 750 ms, p99 950 ms, at most
1,000 ms. A tool that asks only when it was answered sends fewer requests while the server stands still, and reports
that as speed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.lab import Lab, without_http
from bench.peers import tools
from bench.peers.frozen import FROZEN, PERIOD
from bench.server import CLIENT_CORE, ROOT, SERVER_CORE, Side, pin, pinned
from goldenpath.histogram import Histogram
from goldenpath.lab.arrivals import constant
from goldenpath.lab.measurements import Measurements
from goldenpath.lab.runner import Load, Runner
from goldenpath.lab.workloads.asking import Asking

RATE = 500
USERS = 50
PERIODS = 5
VUS: Mapping[str, int] = {"k6-few": USERS, "k6-ample": 2 * RATE}
"""One for each user, as one may think; and more than can ever wait at once."""


class FrozenServer:
    """The process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"

    def answered(self) -> list[float]:
        """It ends: when it answered each run, in the order in which they were asked."""
        answered = json.loads(self._process.communicate(timeout=30)[0])
        return [answered[run] for run in sorted(answered, key=lambda run: int(run.rpartition("-")[2]))]


@contextmanager
def frozen_server() -> Iterator[FrozenServer]:
    """Starts it on the server's core; it is gone at the end of the block."""
    command = pinned([sys.executable, "-m", "bench.peers.frozen"], SERVER_CORE)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield FrozenServer(process)
        finally:
            process.kill()


class Seen(NamedTuple):
    """What the lab saw."""

    latency: Histogram
    wrong: list[str]
    """What it found wrong."""
    zero: float
    """When the load began, a time of `perf_counter`."""
    late: float
    """How late its own loop was at worst, in seconds: nothing can be measured closer than that."""


async def by_the_lab(url: str, load: Load) -> Seen:
    """Let the lab's users ask as `load` says."""
    measurements = Measurements()
    lab = Lab(without_http(url), checkers=[measurements])
    runner = Runner(load, Asking(characters=16), lab.user)
    failures = await runner.set_up()
    lateness = [0.0]
    watching = asyncio.create_task(_watch(lateness))
    zero = perf_counter()
    await runner.run(zero)
    watching.cancel()
    await runner.close()
    await lab.close()
    latency = Histogram.load(measurements.measured().durations["first_token"])
    return Seen(latency, failures + lab.wrong(), zero, lateness[0])


async def _watch(lateness: list[float]) -> None:
    while True:
        due = perf_counter() + 0.001
        await asyncio.sleep(0.001)
        lateness[0] = max(lateness[0], perf_counter() - due)


def truth(seconds: float) -> Figures:
    """Of requests spread evenly over whole periods."""

    def percentile(percent: float) -> float:
        return max(0.0, FROZEN - PERIOD * (1 - percent / 100)) * 1000

    return {"p95_ms": percentile(95), "p99_ms": percentile(99), "max_ms": percentile(100), "answered": RATE * seconds}


def sample(side: Side, options: Options) -> Figures:
    seconds = int(options.pick(PERIODS, 1) * PERIOD)
    if side == "truth":
        return truth(seconds)
    with frozen_server() as server, tempfile.TemporaryDirectory(prefix="bench-honesty-") as directory:
        if side == "lab":
            return _lab(server.url, seconds)
        out = Path(directory) / "figures"
        try:
            return {**_peer(side, server.url, seconds, out), "clean": True}
        except tools.NoTools as error:
            return {"clean": False, "verdict": str(error)}


def _lab(url: str, seconds: int) -> Figures:
    pin(CLIENT_CORE)
    gc.collect()
    load = Load(users=USERS, arrivals=constant(RATE, seconds), seed=1)
    seen = uvloop.run(by_the_lab(url, load))
    latency = seen.latency
    figures: Figures = {f"p{percent}_ms": (latency.percentile(percent) or 0) * 1000 for percent in (95, 99)}
    figures |= {"max_ms": (latency.highest or 0) * 1000, "answered": latency.count}
    return {**figures, "clean": not seen.wrong, "verdict": "; ".join(seen.wrong[:3]) or "clean"}


def _peer(side: Side, url: str, seconds: int, out: Path) -> dict[str, float]:
    if side == "locust":
        tools.run(tools.locust("locust_frozen.py", url, USERS, seconds, out), timeout=seconds + 60)
        return tools.read_locust(out)
    settings = {"URL": url.replace("http", "ws"), "RATE": RATE, "SECONDS": seconds, "VUS": VUS[side]}
    tools.run(tools.k6("k6_frozen.js", settings, out), timeout=seconds + 60)
    return tools.read_k6(out)


BENCHMARK = Benchmark(
    name="honesty",
    title="What is said of a server that stands still for one second in five",
    about=f"500 requests a second of {USERS} users for {PERIODS * PERIOD:g} s: by the lab (open model, from the"
    f" intended start), by Locust ({USERS} users with constant_throughput), by k6 (constant-arrival-rate) with"
    f" {VUS['k6-few']} and with {VUS['k6-ample']:,} VUs, of which an iteration takes one while it waits.",
    rows=(
        Row("p95_ms", "latency, p95", "ms", digits=0),
        Row("p99_ms", "latency, p99", "ms", digits=0),
        Row("max_ms", "latency, highest", "ms", digits=0),
        Row("answered", "requests that were sent and answered", "", "higher", digits=0),
        Row("dropped", "requests that it did not send, by its own account", "", digits=0),
    ),
    sample=sample,
    sides=("truth", "lab", "locust", "k6-few", "k6-ample"),
    repetitions=1,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
