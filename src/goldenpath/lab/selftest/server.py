"""The process of the reference server: `python -m goldenpath.lab.selftest.server --fault NAME --seed N`.

It prints its port, and ends when its stdin does, so that it never outlives who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec
import uvloop
from aiohttp import web

from goldenpath.lab.selftest.faults import FAULTS, RIGHT
from goldenpath.lab.selftest.gateway import Gateway
from goldenpath.lab.selftest.reference import ReferenceServer
from goldenpath.lab.selftest.settings import Settings


def make_server(fault: str, settings: Settings, seed: int) -> ReferenceServer:
    """A server with one fault, or one that is right, by name. Raises KeyError for a name that there is not."""
    return (RIGHT[fault] if fault in RIGHT else FAULTS[fault]).server(settings, seed)


async def serve(server: ReferenceServer) -> None:
    """Until stdin ends."""
    runner = web.AppRunner(Gateway(server).app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()
    await runner.cleanup()


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser(description="The lab's reference server.")
    parser.add_argument("--fault", default="clean", choices=[*RIGHT, *FAULTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", default="{}", help="JSON, see Settings")
    options = parser.parse_args()
    settings = msgspec.json.decode(options.settings, type=Settings)
    uvloop.run(serve(make_server(options.fault, settings, options.seed)))


if __name__ == "__main__":
    main()
