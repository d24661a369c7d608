"""A process of the lab's reference server, for tests."""

from __future__ import annotations

import subprocess
import sys

from goldenpath.lab.selftest.gateway import SIMULATION_KEY
from goldenpath.lab.targets import TargetSpec


class ReferenceProcess:
    """Serves until its stdin ends, or it is killed."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "goldenpath.lab.selftest.server", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.port = int(lines.readline())
        self.spec = TargetSpec("goldenpath", {"url": f"http://127.0.0.1:{self.port}", "simulation_key": SIMULATION_KEY})

    def end(self) -> int:
        """Close its stdin, as whoever started it does by ending; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)

    def kill(self) -> None:
        """kill -9. Harmless when it has ended."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
