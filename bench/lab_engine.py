"""How much one core of the lab can take: everything it receives is written, decoded and checked.

The server sends prepared frames as fast as Python can (bench/peers/replay.py), so that the lab is the limit, or nearly.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import timeit
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import psutil
import uvloop

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load.crowd import limited
from bench.server import CLIENT_CORE, Server, Side, pin
from goldenpath.lab.arrivals import Looping
from goldenpath.lab.canary import Canaries
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.histogram import Histogram
from goldenpath.lab.history import HistoryWriter, path_of
from goldenpath.lab.judge import Judge
from goldenpath.lab.measurements import Measurements
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.runner import Load, Runner
from goldenpath.lab.target import Sink
from goldenpath.lab.targets.goldenpath import GoldenpathTarget
from goldenpath.lab.targets.goldenpath import Options as TargetOptions
from goldenpath.lab.user import User
from goldenpath.lab.workloads.asking import Asking

USERS = 100
ASKED = 40
"""Runs of each user, of 58 events each."""
PACED_USERS = 3_000
PACED_SECONDS = 10.0
DELAY_MS = 20
CONNECTIONS = 10_000
CONNECTING = 64
VALUES = 100_000


class Replay(GoldenpathTarget):
    """The replay server: nobody logs in."""

    def __init__(self, url: str) -> None:
        super().__init__(TargetOptions(url=url, agent="replay"))

    async def open(self) -> None:
        """It is there."""

    async def login(self, user: int, op: int, sink: Sink) -> None:
        """Nobody asks."""


class Stand:
    """Everything that a worker process has, in this one."""

    def __init__(self, url: str, directory: Path) -> None:
        self.target = Replay(url)
        self.writer = HistoryWriter(path_of(directory, 1))
        self.measurements = Measurements()
        format_, canaries, progress = make_format("goldenpath", {}), Canaries("bench"), Progress()
        self.judge = Judge(format_, [*standard_checkers(format_, canaries), self.measurements, progress])
        self.recorder = Recorder(self.judge, self.writer)
        self.user: Callable[[int], User] = partial(
            User, target=self.target, recorder=self.recorder, progress=progress, canaries=canaries, seed=1
        )

    async def close(self) -> None:
        await self.target.close()
        self.writer.close()

    def wrong(self) -> list[str]:
        """What was found that is not there."""
        findings = [finding for finding in self.judge.findings() if finding.counts or finding.broken]
        return [f"{finding.checker}: {finding.counts or finding.broken}" for finding in findings]


@asynccontextmanager
async def stand(url: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as directory:
        made = Stand(url, Path(directory))
        try:
            yield made
        finally:
            await made.close()


def sample(side: Side, options: Options) -> Figures:  # noqa: ARG001
    pin(CLIENT_CORE)
    figures: Figures = {"clean": True, "verdict": "clean", "record_ns": _record()}
    for key, together in (("single", 1), ("coalesced", 25)):
        with Server("replay", arguments=("--together", str(together))) as server:
            figures |= _keyed(
                key, uvloop.run(_drive(server.url, USERS, Looping(iterations=options.pick(ASKED, 2)))), figures
            )
    with Server("replay", arguments=("--delay-ms", str(DELAY_MS))) as server:
        users, seconds = options.pick(PACED_USERS, 50), options.pick(int(PACED_SECONDS), 2)
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
    async with stand(url) as lab:
        runner = Runner(Load(users=users, arrivals=arrivals, seed=1), Asking(threads=1, characters=16), lab.user)
        await runner.set_up()
        gc.collect()
        gc.freeze()
        began, cpu = perf_counter(), process_time()
        await runner.run(began)
        wall, cpu = perf_counter() - began, process_time() - cpu
        events = lab.judge.events
        await runner.close()
        return {"per_second": events / wall, "per_cpu_second": events / cpu, "busy": cpu / wall, "wrong": lab.wrong()}


async def _connect(url: str, count: int) -> Figures:
    """Connections that are open and idle."""
    async with stand(url) as lab:
        process = psutil.Process()
        users = [lab.user(number) for number in range(count)]
        gc.collect()
        before = process.memory_info().rss
        began = perf_counter()
        connecting: list[Callable[[], Awaitable[None]]] = [user.connect for user in users]
        await limited(connecting, CONNECTING)
        wall = perf_counter() - began
        grown = process.memory_info().rss - before
        await asyncio.gather(*(user.close() for user in users))
        return {"connects_per_second": count / wall, "connections_mb": grown / 1e6}


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
    " users who ask again at once, frames one by one and 25 to a message; 3,000 users with an event every 20 ms each;"
    " 10,000 idle connections; a value recorded in a histogram.",
    rows=(
        Row(
            "single_per_cpu_second", "frames one by one, validated, a second of CPU", "1/s", "higher", 150_000, digits=0
        ),
        Row("single_per_second", "the same a second, with the server that there is", "1/s", "higher", digits=0),
        Row("coalesced_per_cpu_second", "25 to a message, a second of CPU", "1/s", "higher", 1_000_000, digits=0),
        Row("coalesced_per_second", "the same a second, with the server that there is", "1/s", "higher", digits=0),
        Row("paced_per_second", "3,000 users with 50 events/s each: events a second", "1/s", "higher", digits=0),
        Row("paced_busy", "of this, how busy the lab's core was", "of a core", digits=2),
        Row("connects_per_second", "connections made a second", "1/s", "higher", 7_000, digits=0),
        Row("connections_mb", "10,000 open connections", "MB", budget=262, digits=0),
        Row("record_ns", "a recorded value", "ns", budget=150, digits=0),
    ),
    sample=sample,
    sides=("lab",),
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
