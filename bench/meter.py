"""What a phase cost: wall time, the CPU of the server and of this client, and what others took of their two cores."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.server import CLIENT_CORE, SERVER_CORE, core_seconds, cpu_seconds, kernel_seconds

SATURATED = 0.9
"""A process that used this share of its core was its own limit."""


@dataclass(frozen=True)
class Usage:
    """Seconds. `disturbance` is what others took of a core, as a share of `wall`; None where that is not known."""

    wall: float
    server_cpu: float
    client_cpu: float
    disturbance: float | None

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

    def figures(self) -> dict[str, float | None]:
        return {
            "wall_s": self.wall,
            "server_cpu_s": self.server_cpu,
            "server_busy": self.server_busy,
            "client_busy": self.client_busy,
            "disturbance": self.disturbance,
            "client_saturated": float(self.client_saturated),
        }


class Meter:
    """Started when made; `stop` tells what was used since. `server` is its process id, None: not on this machine."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._others = Others(lambda: sum(self._used()))
        self._began = time.perf_counter()
        self._start = self._used()

    def _used(self) -> tuple[float, float]:
        return cpu_seconds(self._server) if self._server is not None else 0.0, time.process_time()

    def stop(self) -> Usage:
        wall = time.perf_counter() - self._began
        server, client = (now - then for now, then in zip(self._used(), self._start, strict=True))
        return Usage(wall, server, client, self._others.share())


class Others:
    """Started when made; `share` says what other processes used of the two cores since: all of it but what `own` says
    (CPU seconds so far) and what the kernel's threads used, which work for everybody: they write our pages back."""

    def __init__(self, own: Callable[[], float]) -> None:
        self._own = own
        self._began = time.perf_counter()
        self._start = self._foreign()
        self._kernel = kernel_seconds()

    def _foreign(self) -> float:
        return core_seconds(SERVER_CORE) + core_seconds(CLIENT_CORE) - self._own()

    def share(self) -> float | None:
        """As a share of one core's time; None where the system does not tell."""
        if sys.platform != "linux":
            return None
        foreign = self._foreign() - self._start
        kernel = sum(used - self._kernel.get(thread, 0.0) for thread, used in kernel_seconds().items())
        return max(0.0, foreign - kernel) / (time.perf_counter() - self._began)


def family_seconds() -> float:
    """CPU seconds that this process has used so far, and the servers that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
