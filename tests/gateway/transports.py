"""The ways to serve the protocol, and the one table of what a way cannot do.

Every conformance test runs on each. Where a transport is not able to keep a sentence of docs/protocol.md, its row says
so, and the test of that sentence asks the row: nothing else is skipped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.serverprocess import ServerProcess

ORIGIN = "https://app.example.com"
"""An origin that the sites allow beside their own."""
MAX_ATTACHED = 5
SETTINGS = {
    "GOLDENPATH_ALLOWED_ORIGINS": f'["{ORIGIN}"]',
    "GOLDENPATH_MAX_ATTACHED_THREADS": str(MAX_ATTACHED),
    "GOLDENPATH_DRAIN_TIMEOUT": "0.1",  # tests leave runs behind
}


class Transport(NamedTuple):
    """One way to serve, and its capabilities: what the protocol asks for and an ASGI server may not be able to do."""

    name: str
    own_pings: bool = True
    """A ping goes out after GOLDENPATH_HEARTBEAT of silence, and a silent peer is dropped after two. ASGI has no pings:
    the server below sends its own, in its own rhythm, or none."""
    going_away: bool = True
    """Sockets close with 1001 at SIGTERM. An ASGI server closes them in its own way before the app hears of it."""


TRANSPORTS = (
    Transport("serve"),
    Transport("uvicorn", own_pings=False, going_away=False),
    Transport("hypercorn", own_pings=False, going_away=False),
    Transport("granian", own_pings=False, going_away=False),
)


class MountedServer(ServerProcess):
    """Goldenpath mounted in a FastAPI app under the ASGI server `name`."""

    def __init__(self, name: str, data_dir: Path, **env: Any) -> None:
        super().__init__(data_dir, **env)
        self._name = name

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("asgi_host.py")), self._name, str(self.port)]

    def environ(self) -> dict[str, str]:
        return {**super().environ(), "GOLDENPATH_DATA_DIR": str(self.data_dir)}


def make_site(transport: Transport, data_dir: Path, **env: Any) -> ServerProcess:
    """A server of this kind, not started."""
    if transport.name == "serve":
        return ServerProcess(data_dir, **env)
    return MountedServer(transport.name, data_dir, **env)


def faults(server: ServerProcess) -> list[str]:
    """The lines of the server's log that tell of a fault of its own: tracebacks that are not an agent's."""
    return [
        line
        for line in server.log().splitlines()
        if "Traceback" in line and not (line.startswith("{") and json.loads(line)["event"] == "agent_failed")
    ]
