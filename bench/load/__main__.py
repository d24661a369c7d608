"""The reference workload against a running server, checked event by event.

python -m bench.load --target peer --url http://127.0.0.1:9000 --users 100 --messages 30
python -m bench.load --target goldenpath --url http://127.0.0.1:8700 --simulation-key KEY --delay-ms 20 --over 1
"""

from __future__ import annotations

import argparse
import gc
import json
import sys

import uvloop

from bench.load.crowd import Crowd
from bench.load.target import Target
from bench.server import CLIENT_CORE, pin, raise_file_limit


async def run(options: argparse.Namespace) -> dict[str, object]:
    target = Target(options.target, options.url, options.simulation_key)
    async with Crowd(target, range(options.users)) as crowd:
        gc.freeze()
        gc.disable()
        tally, usage = await crowd.stream(
            options.messages,
            delay_ms=options.delay_ms,
            over=options.over,
            timeout=options.timeout,
            server=options.server_pid,
        )
    return {
        "verdict": tally.verdict(),
        "clean": tally.is_clean,
        "events": tally.events,
        "events_per_second": tally.events / usage.wall,
        "events_per_message": tally.events / max(1, tally.messages),
        "bytes_per_event": tally.received_bytes / max(1, tally.events),
        "server_cpu_ms_per_run": usage.server_cpu / max(1, tally.completed) * 1000,
        **tally.latencies(),
        **usage.figures(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--target", default="goldenpath", choices=["goldenpath", "peer", "replay"])
    parser.add_argument("--url", default="http://127.0.0.1:8700")
    parser.add_argument("--simulation-key", default="")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--messages", type=int, default=3)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--over", type=float, default=0.0, help="spread the users' starts over so many seconds")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--server-pid", type=int, help="whose CPU to read")
    options = parser.parse_args()
    pin(CLIENT_CORE)
    raise_file_limit()
    result = uvloop.run(run(options))
    print(json.dumps(result, indent=1))
    if result["client_saturated"]:
        print("The client was saturated: the server may be faster than this.", file=sys.stderr)
    return 0 if result["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
