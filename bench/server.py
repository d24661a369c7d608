"""A server under measurement: started on a core of its own, observed from outside, stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import psutil

Side = Literal["goldenpath", "peer", "peer-sqlite", "replay", "truth", "lab", "locust", "k6", "k6-few", "k6-ample"]
LABELS: Final[dict[str, str]] = {
    "goldenpath": "goldenpath",
    "peer": "FastAPI by hand",
    "peer-sqlite": "FastAPI by hand + SQLite",
    "replay": "prepared frames",
    "truth": "the truth, by arithmetic",
    "lab": "goldenpath lab",
    "locust": "Locust",
    "k6": "k6",
    "k6-few": "k6, too few VUs",
    "k6-ample": "k6, VUs enough",
}
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
KERNEL_PARENT: Final = "2"
"""The process that is the parent of the kernel's threads, on Linux."""
ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Memory:
    """Bytes that a process holds: resident, and its own share of what is shared (PSS; RSS where not known)."""

    rss: int
    pss: int


class ServerFailed(RuntimeError):
    """The server did not become ready, or died; holds the end of what it printed."""


def pin(core: int) -> bool:
    """Keep this process on one core. False where the platform cannot, or there is one core only."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) <= core:
        return False
    os.sched_setaffinity(0, {core})
    return True


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command that does the same on one core, where the platform can and there is more than one."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core), *command] if taskset and (os.cpu_count() or 1) > 1 else [*command]


def raise_file_limit() -> int:
    """Allow as many open files as the system permits, also for the servers started later. Returns the limit."""
    import resource  # noqa: PLC0415 - not on every platform

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process on `SERVER_CORE`. A context manager: starts, waits until ready, stops, removes its data.

    `restart` starts it anew on the same data and port. `environment` is added to the server's own; other `GOLDENPATH_`
    settings of the caller do not reach it. `arguments` are added to its command line.
    """

    def __init__(
        self,
        side: Side,
        *,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        start_by: float = 30.0,
    ) -> None:
        self.side = side
        self.port = free_port()
        self.simulation_key = secrets.token_urlsafe(16)
        self.directory = Path(tempfile.mkdtemp(prefix="bench-"))
        self.log = self.directory / "server.log"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("GOLDENPATH_", "E2E_"))
        } | {
            "ENVIRONMENT": "testing",
            "GOLDENPATH_SIMULATION_KEY": self.simulation_key,
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        self._arguments = arguments
        self._start_by = start_by
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed("not started")
        return self._process.pid

    def command(self) -> list[str]:
        python = Path(sys.executable)
        if self.side == "goldenpath":
            run = [str(python.parent / "goldenpath"), "serve", "bench.reference_agent:app"]
            run += ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.directory / "data")]
        else:
            module = "replay" if self.side == "replay" else "fastapi_chat"
            run = [str(python), "-m", f"bench.peers.{module}", "--port", str(self.port)]
            if self.side == "peer-sqlite":
                run += ["--sqlite", str(self.directory / "chat.db")]
        run += self._arguments
        return pinned(run, SERVER_CORE)

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self, path: str = "/livez", pause: float = 0.005) -> float:
        """Wait for the first 200 at `path`; returns the `time.monotonic` of its arrival. Raises `ServerFailed`."""
        until = time.monotonic() + self._start_by
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                raise ServerFailed(self.tail())
            if self._answers(path):
                return time.monotonic()
            time.sleep(pause)
        raise ServerFailed(f"not ready after {self._start_by} s\n{self.tail()}")

    def _answers(self, path: str) -> bool:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(request.encode())
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def start(self) -> Self:
        self.spawn()
        self.wait_ready("/readyz" if self.side == "goldenpath" else "/livez")
        return self

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> int | None:
        """SIGTERM, and after 20 s SIGKILL. Returns the exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def tail(self, lines: int = 30) -> str:
        """The end of what the server printed."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def tracebacks(self) -> int:
        """How many tracebacks the server printed so far."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace").count("Traceback (most recent call last)")
        return 0

    def cpu(self) -> float:
        """CPU seconds that the process has used so far, all threads."""
        return cpu_seconds(self.pid)

    def memory(self) -> Memory:
        info = psutil.Process(self.pid).memory_full_info()
        return Memory(rss=info.rss, pss=getattr(info, "pss", info.rss))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process: in nanoseconds where the kernel tells, else in clock ticks."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime((~pid << 3) | 2)  # the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def core_seconds(core: int) -> float:
    """Seconds that a core has so far been busy with processes of any kind, or taken by the host of a virtual machine; 0
    where not known. Grain: 10 ms."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, StopIteration, ValueError, IndexError):
            lines = Path("/proc/stat").read_text().splitlines()
            fields = next(line for line in lines if line.startswith(f"cpu{core} ")).split()
            user, nice, system, steal = (int(fields[column]) for column in (1, 2, 3, 8))
            return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


def kernel_seconds() -> dict[int, float]:
    """CPU seconds that each of the kernel's threads has used so far, by its id; empty where not known."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if fields[1] == KERNEL_PARENT:
                found[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found
