"""A goldenpath server of the lab's own: started for a run, with a database of its own, and gone with it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from goldenpath.lab.orphans import when_parent_is_gone
from goldenpath.lab.target import TargetError
from goldenpath.lab.targets import TargetSpec

NAME: Final = "a goldenpath server of the lab's own (environment testing, simulated log-in, no password hashing)"
"""What reports call it: its times are those of a server that is so configured."""
_START: Final = 30.0
"""Seconds that it may take until it listens, and until it has ended."""
_TAIL: Final = 400


class OwnServer:
    """A child process, whose log goes to `directory`. `start` again after `kill`: on the same port, with the same data.
    Not for concurrent use."""

    def __init__(self, directory: Path, app: str | None = None) -> None:
        self.key = secrets.token_hex(16)
        self.data = Path(tempfile.mkdtemp(prefix="goldenpath-lab-"))
        """Its database and the secret that signs its tokens: nobody else's to read, and nothing to hand on."""
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
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--data-dir", str(self.data)]
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
                preexec_fn=partial(when_parent_is_gone, signal.SIGKILL),  # a fault may have stopped it, too
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
        shutil.rmtree(self.data, ignore_errors=True)

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
