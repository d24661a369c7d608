"""What a phase cost: wall time, and the CPU of the server and of this client."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from bench.server import CLIENT_CORE, SERVER_CORE, core_seconds, cpu_seconds

SATURATED = 0.9
"""A process that used this share of its core was its own limit."""


@dataclass(frozen=True)
class Usage:
    """Seconds. `*_core` is how long the core was busy with anything: what is above our own use, others took."""

    wall: float
    server_cpu: float
    client_cpu: float
    server_core: float
    client_core: float

    @property
    def server_busy(self) -> float:
        return self.server_cpu / self.wall

    @property
    def client_busy(self) -> float:
        return self.client_cpu / self.wall

    @property
    def client_saturated(self) -> bool:
        """Whether the client, not the server, may have set the pace."""
        return self.client_busy > SATURATED

    def figures(self) -> dict[str, float]:
        return {
            "wall_s": self.wall,
            "server_cpu_s": self.server_cpu,
            "server_busy": self.server_busy,
            "client_busy": self.client_busy,
            "server_disturbed": max(0.0, self.server_core - self.server_cpu) / self.wall,
            "client_disturbed": max(0.0, self.client_core - self.client_cpu) / self.wall,
            "client_saturated": float(self.client_saturated),
        }


class Meter:
    """Started when made; `stop` tells what was used since. `server` is its process id, None: not on this machine."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._start = self._read()

    def _read(self) -> tuple[float, float, float, float, float]:
        server = self._server
        return (
            time.perf_counter(),
            cpu_seconds(server) if server is not None else 0.0,
            time.process_time(),
            core_seconds(SERVER_CORE),
            core_seconds(CLIENT_CORE),
        )

    def stop(self) -> Usage:
        return Usage(*(now - then for now, then in zip(self._read(), self._start, strict=True)))


class Others:
    """Started when made; `share` says what others used of the two cores since: everybody but this process and the
    servers that it started and stopped meanwhile."""

    def __init__(self) -> None:
        self._start = self._read()

    def _read(self) -> tuple[float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + children.ru_utime + children.ru_stime
        return time.perf_counter(), core_seconds(SERVER_CORE) + core_seconds(CLIENT_CORE) - own

    def share(self) -> float | None:
        """As a share of one core's time; None where the system does not tell."""
        if sys.platform != "linux":
            return None
        wall, others = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return max(0.0, others) / wall
