"""Goldenpath inside somebody else's application: mounted in a FastAPI app, under an ASGI server of their choice.

    python asgi_host.py uvicorn|hypercorn|granian PORT

Run as a process by transports.py. Everything is at its defaults, as a user finds it, but for how long an idle
connection is kept: no test may meet its end.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI

from goldenpath import App

HOST = "127.0.0.1"
KEEP_ALIVE = 600
"""Seconds."""


def mounted() -> FastAPI:
    """The host's own application with a route of its own, and Goldenpath at its root."""
    goldenpath = App()
    host = FastAPI(lifespan=goldenpath.lifespan)

    @host.get("/own")
    async def own() -> dict[str, str]:
        return {"served_by": "the host"}

    host.mount("/", goldenpath)
    return host


async def uvicorn(app: FastAPI, port: int) -> None:
    import uvicorn

    await uvicorn.Server(
        uvicorn.Config(app, HOST, port, log_level="warning", timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE)
    ).serve()


async def hypercorn(app: FastAPI, port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.graceful_timeout = 1
    config.keep_alive_timeout = KEEP_ALIVE
    await serve(app, config, shutdown_trigger=_stopped())  # type: ignore[arg-type]


async def granian(app: FastAPI, port: int) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    server = Server(app, HOST, port, interface=Interfaces.ASGI)
    stopped = _stopped()
    serving = asyncio.create_task(server.serve())
    await stopped()
    server.stop()  # type: ignore[no-untyped-call]
    await serving


def _stopped() -> Callable[[], Awaitable[object]]:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    return stopping.wait


async def _announce(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            break
    print(f"serves at http://{HOST}:{port} (mounted)", file=sys.__stdout__, flush=True)


async def main(name: str, port: int) -> None:
    if port == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
    announcing = asyncio.create_task(_announce(port))
    await {"uvicorn": uvicorn, "hypercorn": hypercorn, "granian": granian}[name](mounted(), port)
    announcing.cancel()


if __name__ == "__main__":
    sys.stdout = sys.stderr  # what a server logs is no announcement
    structlog.configure([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
