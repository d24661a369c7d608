"""How many events one core of the lab, of Locust and of k6 takes in from the same server.

The lab writes, decodes and checks every event; the other two count them and look for their run's end, and nothing else.
"""

from __future__ import annotations

import gc
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter, process_time, sleep

import uvloop

from bench import workload
from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.lab_engine import replayed
from bench.peers import tools
from bench.server import CLIENT_CORE, Server, Side, cpu_seconds, pin
from goldenpath.lab.arrivals import Looping
from goldenpath.lab.runner import Load, Runner
from goldenpath.lab.workloads.asking import Asking

USERS = 100
SECONDS = 15
STARTING = 3.0
"""Seconds after which a tool is at work."""


def sample(side: Side, options: Options) -> Figures:
    seconds = options.pick(SECONDS, 6)
    figures: Figures = {"clean": True, "verdict": "clean"}
    for key, together in (("single", 1), ("coalesced", 25)):
        with Server("replay", arguments=("--together", str(together))) as server:
            try:
                measured = uvloop.run(_lab(server, seconds)) if side == "lab" else _peer(side, server, seconds)
            except tools.NoTools as error:
                return {"clean": False, "verdict": f"{key}: {error}"}
        figures |= {f"{key}_{name}": value for name, value in measured.items()}
    return figures


async def _lab(server: Server, seconds: int) -> Figures:
    pin(CLIENT_CORE)
    async with replayed(server.url) as lab:
        load = Load(users=USERS, arrivals=Looping(iterations=None, seconds=seconds), seed=1)
        runner = Runner(load, Asking(threads=1, characters=16), lab.user)
        await runner.set_up()
        gc.collect()
        gc.freeze()
        began, cpu, served = perf_counter(), process_time(), server.cpu()
        await runner.run(began)
        wall, cpu, served = perf_counter() - began, process_time() - cpu, server.cpu() - served
        events = lab.judge.events
        await runner.close()
        gc.unfreeze()
        if wrong := lab.wrong():
            raise tools.NoTools("; ".join(wrong))
        return _figures(events / wall, cpu / wall, served / wall)


def _peer(side: Side, server: Server, seconds: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as directory:
        out = Path(directory) / "figures"
        url = server.url.replace("http", "ws")
        settings = {"URL": url, "SECONDS": seconds, "VUS": USERS, "EVENTS": workload.EVENTS}
        command = (
            tools.locust("locust_replay.py", url, USERS, seconds, out)
            if side == "locust"
            else tools.k6("k6_replay.js", settings, out)
        )
        with tools.started(command, timeout=seconds + 45) as process:
            busy, served = _busy(process, server, seconds)
        read = tools.read_locust(out) if side == "locust" else tools.read_k6(out)
        if read.get("failed") or read.get("wrong"):
            raise tools.NoTools("a run did not have all of its events")
        return _figures(read["answered"] * workload.EVENTS / seconds, busy, served)


def _busy(process: subprocess.Popen[str], server: Server, seconds: int) -> tuple[float, float]:
    """Shares of their cores that a tool and the server use while it is at work."""
    sleep(STARTING)
    if process.poll() is not None:  # what it printed says why
        return 0.0, 0.0
    began, used, served = perf_counter(), cpu_seconds(process.pid), server.cpu()
    sleep(seconds - STARTING - 1)
    wall = perf_counter() - began
    if process.poll() is not None:
        return 0.0, 0.0
    return (cpu_seconds(process.pid) - used) / wall, (server.cpu() - served) / wall


def _figures(rate: float, busy: float, server: float) -> Figures:
    figures: Figures = {"per_second": rate, "busy": busy, "server_busy": server}
    return figures | ({"per_cpu_second": rate / busy} if busy else {})


BENCHMARK = Benchmark(
    name="lab_peers",
    title="What one core of a load tool takes in",
    about=f"A server that sends prepared frames, on a core of its own; {USERS} users who ask again at once, for"
    f" {SECONDS} s each. The lab writes, decodes and checks every event; Locust (with websocket-client) and k6"
    " count the lines of each message and look for the run's end.",
    rows=tuple(
        Row(f"{key}_{name}", f"{how}: {what}", unit, "higher", digits=digits)
        for key, how in (("single", "events one by one"), ("coalesced", "25 to a message"))
        for name, what, unit, digits in (
            ("per_cpu_second", "a second of the tool's CPU", "1/s", 0),
            ("per_second", "a second", "1/s", 0),
            ("busy", "how busy the tool's core was", "of a core", 2),
            ("server_busy", "how busy the server's was", "of a core", 2),
        )
    ),
    sample=sample,
    sides=("lab", "locust", "k6"),
    repetitions=1,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
