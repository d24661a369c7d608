"""How much one core of the lab can take: everything it receives is written, decoded and checked.

The server sends prepared frames as fast as Python can (bench/peers/replay.py), so that the lab is the limit, or nearly.
"""

from __future__ import annotations

import asyncio
import tempfile
import timeit
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, process_time

import psutil
import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.lab import Lab, without_http
from bench.server import CLIENT_CORE, Server, Side, pin
from goldenpath.histogram import Histogram
from goldenpath.lab.arrivals import Looping
from goldenpath.lab.history import HistoryWriter, path_of
from goldenpath.lab.measurements import Measurements
from goldenpath.lab.runner import Load, Runner, limited
from goldenpath.lab.worker import spare_the_collector
from goldenpath.lab.workloads.asking import Asking

USERS = 100
ASKED = 40
"""Runs of each user, of 58 events each."""
LONGER = 20
"""How many times as many deltas the answers have that show what a frame costs apart from its run."""
PACED_USERS = 3_000
"""With an event every 20 ms each, and a moment between two runs: 150,000 events a second, or nearly."""
PACED_SECONDS = 10.0
DELAY_MS = 20
CONNECTIONS = 10_000
VALUES = 20_000
"""Between two times that they are folded: a worker does that twice a second."""


@asynccontextmanager
async def replayed(url: str) -> AsyncIterator[Lab]:
    """The lab before a server that sends prepared frames; its history is written."""
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as directory:
        writer = HistoryWriter(path_of(Path(directory), 1), "bench")
        lab = Lab(without_http(url), checkers=[Measurements()], writer=writer)
        try:
            yield lab
        finally:
            await lab.close()


def sample(side: Side, options: Options) -> Figures:  # noqa: ARG001
    pin(CLIENT_CORE)
    figures: Figures = {"clean": True, "verdict": "clean", "record_ns": _record()}
    for key, together, longer in (("single", 1, 1), ("coalesced", 25, 1), ("long", 25, LONGER)):
        with Server("replay", arguments=("--together", str(together), "--longer", str(longer))) as server:
            arrivals = Looping(iterations=max(2, options.pick(ASKED, 2) // longer))
            figures |= _keyed(key, uvloop.run(_drive(server.url, USERS, arrivals)), figures)
    with Server("replay", arguments=("--delay-ms", str(DELAY_MS))) as server:
        users, seconds = options.pick(PACED_USERS, 50), options.pick(int(PACED_SECONDS), 4)
        arrivals = Looping(iterations=None, seconds=float(seconds), over=2.0)
        figures |= _keyed("paced", uvloop.run(_drive(server.url, users, arrivals)), figures)
    with Server("replay") as server:
        figures |= uvloop.run(_connect(server.url, options.pick(CONNECTIONS, 500)))
    return figures


def _keyed(key: str, measured: Figures, figures: Figures) -> Figures:
    wrong = measured.pop("wrong")
    keyed: Figures = {f"{key}_{name}": value for name, value in measured.items()}
    if wrong:
        keyed |= {"clean": False, "verdict": f"{figures['verdict']}; {key}: {wrong}"}
    return keyed


async def _drive(url: str, users: int, arrivals: Looping) -> Figures:
    """Users who ask by these arrivals: how many events this core takes in, and what it costs."""
    async with replayed(url) as lab:
        runner = Runner(Load(users=users, arrivals=arrivals, seed=1), Asking(threads=1, characters=16), lab.user)
        await runner.set_up()
        spare_the_collector()
        began, cpu = perf_counter(), process_time()
        steady = asyncio.create_task(_steady(lab, arrivals))
        await runner.run(began)
        wall, cpu = perf_counter() - began, process_time() - cpu
        events = lab.judge.events
        await runner.close()
        figures = {"per_second": events / wall, "per_cpu_second": events / cpu, "wrong": lab.wrong()}
        return figures | await steady


async def _steady(lab: Lab, arrivals: Looping) -> Figures:
    """Between the last user's beginning and the first one's end; nothing where the load has no such time."""
    if arrivals.seconds is None:
        return {}
    await asyncio.sleep(arrivals.over)
    began, cpu, events = perf_counter(), process_time(), lab.judge.events
    await asyncio.sleep(arrivals.seconds - arrivals.over)
    wall, cpu, events = perf_counter() - began, process_time() - cpu, lab.judge.events - events
    return {"steady": events / wall, "steady_per_cpu_second": events / cpu, "busy": cpu / wall}


async def _connect(url: str, count: int) -> Figures:
    """Connections that are open and idle."""
    async with replayed(url) as lab:
        process = psutil.Process()
        users = [lab.user(number) for number in range(count)]
        spare_the_collector()
        before = process.memory_info().rss
        began, cpu = perf_counter(), process_time()
        await limited(user.connect for user in users)
        wall, cpu = perf_counter() - began, process_time() - cpu
        grown = process.memory_info().rss - before
        await asyncio.gather(*(user.close() for user in users))
        return {
            "connects_per_cpu_second": count / cpu,
            "connects_per_second": count / wall,
            "connections_mb": grown / 1e6,
        }


def _record() -> float:
    """Nanoseconds that a value in a histogram costs, folding included."""
    values = [0.001 + 0.00001 * number for number in range(VALUES)]

    def record() -> None:
        histogram = Histogram()
        add = histogram.record
        for value in values:
            add(value)
        histogram.fold()

    return min(timeit.repeat(record, number=1, repeat=5)) / VALUES * 1e9


BENCHMARK = Benchmark(
    name="lab_engine",
    title="What one core of the lab can take",
    about="The lab's own users, history and checkers against a server that sends prepared frames on the other core: 100"
    " users who ask again at once, frames one by one and 25 to a message, in short runs and in long ones; 3,000 users"
    " with an event every 20 ms each; 10,000 idle connections; a value recorded in a histogram.",
    rows=(
        Row(
            "single_per_cpu_second", "frames one by one, validated, a second of CPU", "1/s", "higher", 150_000, digits=0
        ),
        Row("single_per_second", "the same a second, with the server that there is", "1/s", "higher", digits=0),
        Row("coalesced_per_cpu_second", "25 to a message, a second of CPU", "1/s", "higher", 1_000_000, digits=0),
        Row("long_per_cpu_second", "the same in runs of 1,008 events", "1/s", "higher", 1_000_000, digits=0),
        Row("coalesced_per_second", "the same a second, with the server that there is", "1/s", "higher", digits=0),
        Row("paced_steady", "3,000 users with 50 events/s each: events a second", "1/s", "higher", 145_000, digits=0),
        Row("paced_steady_per_cpu_second", "the same, a second of CPU", "1/s", "higher", digits=0),
        Row("paced_busy", "how busy the lab's core was with it", "of a core", digits=2),
        Row("connects_per_cpu_second", "connections made, a second of CPU", "1/s", "higher", 7_000, digits=0),
        Row("connects_per_second", "the same a second, with the server that there is", "1/s", "higher", digits=0),
        Row("connections_mb", "10,000 open connections", "MB", budget=262, digits=0),
        Row("record_ns", "a recorded value", "ns", budget=150, digits=0),
    ),
    sample=sample,
    sides=("lab",),
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
