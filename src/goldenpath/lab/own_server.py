"""A goldenpath server of the lab's own: started for a run, with a database of its own, and gone with it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import secrets
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from goldenpath.lab.target import TargetError
from goldenpath.lab.targets import TargetSpec

_START: Final = 30.0
"""Seconds that it may take until it listens, and until it has ended."""
_TAIL: Final = 400
_PR_SET_PDEATHSIG: Final = 1


def _end_with_parent() -> None:
    """In the child: SIGTERM when the lab is gone, however it went. Only on Linux does it see a kill -9 of the lab."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class OwnServer:
    """A child process. `start` again after `kill`: on the same port, with the same data. Not for concurrent use."""

    def __init__(self, directory: Path, app: str | None = None) -> None:
        self.key = secrets.token_hex(16)
        self._directory = directory
        self._app = app
        self._log = directory / "server.log"
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def target(self) -> TargetSpec:
        """How users reach it."""
        return TargetSpec("goldenpath", {"url": self.url, "simulation_key": self.key})

    async def start(self) -> None:
        """Returns when it listens. Raises `TargetError` (`unreachable`) with its last words when it does not."""
        command = ["-m", "goldenpath.cli", "serve", *([self._app] if self._app else [])]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--data-dir", str(self._directory / "data")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")}
        environment |= {"ENVIRONMENT": "testing", "GOLDENPATH_SIMULATION_KEY": self.key}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the lab: it stops its server when it is done
                preexec_fn=_end_with_parent,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START):
                line = (await self._process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        found = re.search(r":(\d+) \(", line)
        if found is None:
            await self.stop()
            raise TargetError("unreachable", f"our own server did not start: {self._last_words()}")
        self._port = int(found[1])

    def _last_words(self) -> str:
        with suppress(OSError):
            return " ".join(self._log.read_text(errors="replace")[-_TAIL:].split())
        return ""

    def signal(self, number: int) -> None:
        """Send a signal. Nothing where it is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill -9; returns when it is gone."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def remove_data(self) -> None:
        """Remove its database. It must have ended."""
        shutil.rmtree(self._directory / "data", ignore_errors=True)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help. Harmless when repeated."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_START):
                await process.wait()
        except TimeoutError:
            await self.kill()
