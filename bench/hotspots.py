"""Where the server's time goes: `python -m bench.hotspots [--users 100] [--delay-ms 0]`. Needs py-spy.

Prints the functions by the share of samples in which they ran themselves, and in which they were on the stack.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import uvloop

from bench.benchmark import prepare
from bench.crowd import Crowd
from bench.lab import target_of
from bench.server import CLIENT_CORE, Server

LINES = 30


async def load(server: Server, users: int, delay_ms: int, seconds: float, out: Path) -> str:
    """Stream while py-spy watches; what the crowd saw."""
    async with Crowd(target_of(server), users) as crowd:
        await crowd.stream(1)
        command = ["py-spy", "record", "--pid", str(server.pid), "--duration", f"{seconds:g}", "--rate", "200"]
        command += ["--format", "raw", "--output", str(out), "--nonblocking"]
        taskset = shutil.which("taskset")
        spy = await asyncio.create_subprocess_exec(
            *([taskset, "-c", str(CLIENT_CORE)] if taskset else []),
            *command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        verdict = ""
        try:
            async with asyncio.timeout(seconds + 30):
                while spy.returncode is None:
                    tally, usage = await crowd.stream(
                        3, delay_ms=delay_ms, over=1.0 if delay_ms else 0.0, server=server.pid
                    )
                    verdict = f"{tally}; {usage.server_cpu / max(1, tally.events) * 1e6:.1f} us an event"
        finally:
            if spy.returncode is None:
                spy.kill()
            await spy.wait()
    return verdict


def table(raw: str) -> list[str]:
    """The folded stacks as two rankings."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rsplit(":", 1)[0] for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    samples = own.total() or 1
    lines = [f"{'self':>6} {'total':>6}"]
    lines += [f"{n / samples:6.1%} {total[frame] / samples:6.1%} {frame}" for frame, n in own.most_common(LINES)]
    lines += ["", "by total:"]
    return lines + [f"{own[frame] / samples:6.1%} {n / samples:6.1%} {frame}" for frame, n in total.most_common(LINES)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hotspots", description=__doc__)
    parser.add_argument("--side", default="goldenpath")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if shutil.which("py-spy") is None:
        print("Needs py-spy: pip install py-spy", file=sys.stderr)
        return 2
    prepare()
    with Server(options.side) as server:
        out = server.directory / "profile.txt"
        print(uvloop.run(load(server, options.users, options.delay_ms, min(options.seconds, 60.0), out)))
        print("\n".join(table(out.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
